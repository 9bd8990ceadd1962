"""bin/demo.sh in Chromium, with a real server: texts, files, history, Chinese, a telephone."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import CHROMIUM, processes_marked, served

pytest.importorskip("playwright", reason="playwright is not installed (bin/setup.sh dev)")
from playwright.sync_api import Browser, Page, expect

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium (apt-get install chromium)"),
    pytest.mark.end_to_end,
    pytest.mark.timeout(4000),
]
PATIENCE = 120_000  # ms: a server starts
STICKING_OUT = """() => [...document.querySelectorAll('.stApp *')].filter(each => {
  const box = each.getBoundingClientRect();
  return box.width && box.right > innerWidth + 1 && !each.closest('.stDataFrame') && !each.closest('[role=tablist]');
}).map(each => each.outerHTML.slice(0, 150))"""


@pytest.fixture(scope="module")
def address(swept: dict[str, Any]) -> Iterator[str]:
    with served(swept, "demo.sh") as said:
        yield re.search(r"page: +(http://127\.0\.0\.1:\d+)\n", said)[1]
    assert processes_marked(str(swept["root"])) == []


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page; at the end it has asked for nothing elsewhere."""
    expect.set_options(timeout=PATIENCE)
    context = browser.new_context(viewport={"width": 1000, "height": 900}, accept_downloads=True)
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    found = context.new_page()
    found.set_default_timeout(PATIENCE)
    found.goto(address)
    expect(found.get_by_role("heading", name="Which label?")).to_be_visible()
    yield found
    context.close()
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []


def picture(page: Page, name: str) -> None:
    """Keep a picture of the page, where one is wanted."""
    if folder := os.environ.get("PICTURES"):
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def evaluated(swept: dict[str, Any], method: str) -> dict[str, str]:
    """Return the method's runs, the best first, and what the page calls them."""
    records = [json.loads(path.read_text()) for path in (swept["root"] / "objs").glob("tiny-*.json")]
    records = [
        each for each in records if isinstance(each, dict) and each.get("method") == method and "metrics" in each
    ]
    records.sort(key=lambda each: (-each["metrics"]["f1"], each["seed"] != 42, each["size"]))
    several = len({each["seed"] for each in records}) > 1
    return {
        each["run"]: f"{method}, N = {each['size']}" + (f", seed {each['seed']}" if several else "") for each in records
    }


def classify(page: Page) -> None:
    """Click, and wait for the result."""
    page.get_by_role("button", name="Classify").click()
    expect(page.get_by_text(re.compile(r"^History \([1-9]"))).to_be_visible()


def card(page: Page, run: str) -> str:
    """Return what the card of a run says."""
    return page.get_by_test_id("stVerticalBlock").filter(has=page.get_by_text(run, exact=True)).last.inner_text()


def history(page: Page) -> list[dict[str, str]]:
    """Download the history; return its rows."""
    button = page.get_by_test_id("stDownloadButton").get_by_role("button")
    if not button.is_visible():
        page.get_by_text(re.compile(r"^(History|历史) ")).click()
    with page.expect_download() as download:
        button.click()
    return list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8-sig"))))


def test_an_example_of_the_test_set_is_labelled_as_in_the_evaluation(page: Page, swept: dict[str, Any]) -> None:
    page.get_by_role("radio", name="From the test set").click()
    truth = json.loads((swept["root"] / "data/llm_test.json").read_text())[0]
    expect(page.get_by_text("true label: " + truth["output"])).to_be_visible()
    classify(page)
    picture(page, "example")
    (adapter, name), (baseline, its) = (next(iter(evaluated(swept, each).items())) for each in ("lora", "tfidf"))

    found = history(page)

    assert [(row["run"], row["true"]) for row in found] == [(run, truth["output"]) for run in (adapter, baseline)]
    for row in found:
        lines = (swept["root"] / f"objs/{row['run']}.predictions.jsonl").read_text().splitlines()[1:]
        assert row["answer"] == next(each["pred"] for each in map(json.loads, lines) if each["index"] == 0)
    assert [bool(row["probability"]) for row in found] == [False, True]
    assert ("right" if found[0]["label"] == truth["output"] else "wrong") in card(page, name)
    assert "probability" in card(page, its)


def test_a_typed_text_by_two_adapters_one_server_after_the_other(page: Page, swept: dict[str, Any]) -> None:
    (best, _), (another, name), *_ = evaluated(swept, "lora").items()
    page.get_by_role("combobox", name="Runs").click()
    page.get_by_role("option", name=re.compile(rf"^{name} ·")).click()
    page.keyboard.press("Escape")
    page.get_by_label("Text", exact=True).fill("disclosed is a valve\n\nwith a spring and a *piston* .")
    classify(page)
    picture(page, "typed")

    found = history(page)
    assert [row["run"] for row in found if "tfidf" not in row["run"]] == [best, another]
    assert {row["text"] for row in found} == {"disclosed is a valve\n\nwith a spring and a *piston* ."}


def test_a_file_in_chinese_on_a_telephone(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.get_by_role("radio", name="中文").click()
    expect(page.get_by_role("heading", name="属于哪个标签？")).to_be_visible()
    page.get_by_role("radio", name="文件").click()
    content = "text,label\na yarn of a fabric,Textiles; Paper\na drug for a patient,Human Necessities\n"
    file = {"name": "mine.csv", "mimeType": "text/csv", "buffer": content.encode()}
    page.locator("input[type=file]").set_input_files(file)
    expect(page.get_by_text("mine.csv：2 条文本")).to_be_visible()
    page.get_by_role("button", name="分类", exact=True).click()
    expect(page.get_by_text(re.compile("2 条文本中，各运行在 [012] 条上一致"))).to_be_visible()
    picture(page, "telephone")

    assert page.evaluate(STICKING_OUT) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert [row["true"] for row in history(page)] == ["Textiles; Paper", "Human Necessities"] * 2
    picture(page, "telephone-history")
    page.locator("input[type=file]").set_input_files(file | {"name": "mine.csv", "buffer": b"words\nx\n"})
    expect(page.get_by_text("无法读取文件：")).to_be_visible()
    picture(page, "telephone-error")
