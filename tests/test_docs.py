"""The documents say what the scripts do: the settings pages follow bin/settings.table, and links lead somewhere."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import settings_docs

PROJECT = Path(__file__).resolve().parents[1]
PAGES = [path for folder in (PROJECT, PROJECT / "docs") for path in sorted(folder.glob("*.md"))]


def settings() -> list[tuple[str, str, str]]:
    """Return (name, default, meaning) of each setting."""
    return [(name, default, meaning) for name, _, default, meaning in settings_docs.rows()]


def test_there_are_settings():
    assert len(settings()) > 40


def test_the_settings_page_is_up_to_date():
    assert settings_docs.PAGE.read_text(encoding="utf-8") == settings_docs.page(), "run: make docs"


def test_every_setting_is_explained_in_chinese():
    text = (PROJECT / "docs/settings_zh.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| `([A-Z0-9_]+)` \| (?:`([^`]*)`)? *\| (.*) \|$", text, re.MULTILINE)

    assert [(name, default) for name, default, _ in found] == [(name, default) for name, default, _ in settings()]
    assert [name for name, _, meaning in found if not re.search(r"[\u4e00-\u9fff]", meaning)] == []


def test_a_newcomer_reads_1300_words():
    assert len((PROJECT / "README.md").read_text(encoding="utf-8").split()) <= 1300


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_what_a_page_links_to_is_there(path):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))

    assert [link for link in links if "://" not in link and not (path.parent / link).exists()] == []


def test_no_two_modules_and_no_two_classes_have_one_name():
    files = [each for each in (PROJECT / "py").rglob("*.py") if each.name != "__init__.py"]
    names = Counter(each.name for each in files)
    names.update(name for each in files for name in re.findall(r"^class (\w+)", each.read_text("utf-8"), re.MULTILINE))
    assert [name for name, count in names.items() if count > 1] == []
