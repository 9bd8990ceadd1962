"""Run a server's command with a mark on its port, so that no other sweep of this machine chooses the same meanwhile.

    python py/hold_port.py 8000 llamafactory-cli api ...

A server listens when its model is loaded, minutes after its port was chosen. Exit status: 1 when another sweep's server
has the mark, 127 when there is no such command, else the command's.
"""

from __future__ import annotations

import os
import sys

from fewshot_sft.serving import ports


def main(argv: list[str]) -> int:
    """Become the command; return only when that cannot be."""
    port, *command = argv
    if not ports.hold(int(port)):
        print(f"port {port}: another sweep's server is to listen there")
        return 1
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}")
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
