"""docs/langchain.md: its blocks are run as one program, as they stand, against a real server of bin/serve.sh."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import PROJECT, SIZES, processes_marked, served

RUN = f"tiny-llm_train_{SIZES[-1]}"
PAGE = (PROJECT / "docs/langchain.md").read_text(encoding="utf-8")


@pytest.mark.end_to_end
@pytest.mark.timeout(4000)
def test_the_page_does_what_it_says(swept: dict[str, Any], tmp_path: Path) -> None:
    test = json.loads((swept["root"] / "data/llm_test.json").read_text())
    (tmp_path / "data").mkdir()
    (tmp_path / "data/tiny").symlink_to(swept["root"] / "data")
    with (tmp_path / "texts.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(
            [["number", "text"], *enumerate(item["input"].partition("\n")[2] for item in test)]
        )
    program = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))

    with served(swept, "serve.sh", RUN) as said:
        url, key, models = re.search(r"url: +(\S+)\nkey: +(\S+)\nmodels: (.+)\n", said).groups()
        environment = os.environ | {"URL": url, "KEY": key, "RUN": models, "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, "-c", program]
        ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)

    assert models == RUN
    assert processes_marked(str(swept["root"])) == []
    assert ran.returncode == 0, ran.stderr
    # The same question is answered as in the evaluation.
    lines = (swept["root"] / f"objs/{RUN}.predictions.jsonl").read_text().splitlines()[1:]
    pred = {each["index"]: each["pred"] for each in map(json.loads, lines)}
    labels = json.loads((swept["root"] / "data/manifest.json").read_text())["labels"]
    with (tmp_path / "labels.csv").open(encoding="utf-8", newline="") as stream:
        found = {int(row["number"]): row["predicted"] for row in csv.DictReader(stream)}
    assert found == {index: each if each in labels else "" for index, each in pred.items()}
