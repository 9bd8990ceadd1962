"""What happens to a result of something else that is in the way: it is kept, under ``replaced/`` beside it."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def set_aside(paths: list[Path], identity: object, why: str) -> None:
    """Move those files that exist to ``replaced/`` beside them, under names with the identity's beginning; say so."""
    for path in paths:
        if not path.exists():
            continue
        mark = identity[:8] if isinstance(identity, str) else "damaged"
        target = path.parent / "replaced" / f"{path.name}-{mark}"
        target.parent.mkdir(exist_ok=True)
        count = 1
        while target.exists():
            count += 1
            target = target.with_name(f"{path.name}-{mark}-{count}")
        os.replace(path, target)
        print(f"{path}: {why}; the old one is {target}", file=sys.stderr)
