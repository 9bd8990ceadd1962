"""The report in Chromium: on a telephone, on a desk, in the dark, on paper; English and Chinese."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from conftest import CHROMIUM
from made_sweep import made_extras, made_sweep

import see_results
from fewshot_sft.settings import Settings

pytest.importorskip("playwright", reason="playwright is not installed (bin/setup.sh dev)")
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium (apt-get install chromium)")

METHODS = ("zero-shot", "lora", "tfidf", "embedding", "llm-embedding")
LABELS = (
    *("Mechanical Engineering; Lightning; Heating; Weapons; Blasting", "تصنيف النصوص العربية", "专利分类"),
    *("word" * 500, "<script>alert(1)</script>", "a", "b", "c", "d"),
)
PAPER = 703  # px: A4 without its margins
OPEN_ALL = "document.querySelectorAll('details').forEach(each => each.open = true)"
# What sticks out of the window; tables are in scrolling regions of their own, but for paper.
STICKING_OUT = """width => [...document.querySelectorAll('body *')].filter(each => {
  const box = each.getBoundingClientRect();
  return box.width && box.right > width + 1 && !each.closest('svg') && !each.closest(".scroll table")
    && getComputedStyle(each).position !== 'absolute';
}).map(each => each.outerHTML.slice(0, 100))"""
CUT = """width => [...document.querySelectorAll('table *')].filter(
  each => each.getBoundingClientRect().right > width + 1).map(each => each.outerHTML.slice(0, 100))"""
HIDDEN = "[...document.querySelectorAll('details > :not(summary)')].filter(each => !each.checkVisibility()).length"


@pytest.fixture(scope="module", params=["en", "zh"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a sweep with labels and texts that are hard to show."""
    folder = tmp_path_factory.mktemp("report")
    values = {f"{name.upper()}_DIR": str(folder / name) for name in ("data", "saves", "logs", "objs")}
    settings = Settings(
        values
        | {"SWEEP_NAME": "x", "MODEL_NAME": "base", "SIZES": "16 64 256", "SEEDS": "0 1", "METHODS": " ".join(METHODS)}
        | {"REPORT_LANG": request.param, "TARGET_F1": "0.9", "PROFILE": "tiny", "TRAIN_FILE": "/very" * 80}
    )
    made_sweep(settings, LABELS, METHODS, texts=["text" * 300, LABELS[1] * 9, "short"])
    calibration = made_extras(settings, "text " * 200, LABELS[0])
    settings.write(folder / "settings.json")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("FEWSHOT_SETTINGS", str(folder / "settings.json"))
        patched.setattr(see_results.calibration, "make", lambda sweep: calibration)
        assert see_results.main(["--no-plots"]) == 0
    return folder / "objs/x/report.html"


def shown(browser: Browser, report: Path, width: int, **context: Any) -> tuple[Page, list[str]]:
    """Open the report; return the page, and what it asked for beside itself or wrote to the console."""
    page = browser.new_context(viewport={"width": width, "height": 800}, **context).new_page()
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda request: heard.append(request.url))
    page.goto(report.as_uri())
    return page, heard


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_sticks_out_and_nothing_is_asked_for(browser: Browser, report: Path, width: int) -> None:
    page, heard = shown(browser, report, width)
    page.evaluate(OPEN_ALL)

    assert heard == [report.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(STICKING_OUT, width) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing(browser: Browser, report: Path, width: int, scheme: str) -> None:
    page, _ = shown(browser, report, width, color_scheme=scheme)
    page.evaluate(OPEN_ALL)

    found = Axe().run(page)

    assert found.violations_count == 0, found.generate_report()
    assert len(found.response["passes"]) > 20


def test_on_paper_no_table_is_cut_and_all_is_open(browser: Browser, report: Path) -> None:
    page, _ = shown(browser, report, PAPER)
    page.emulate_media(media="print")

    assert page.evaluate(STICKING_OUT, PAPER) == page.evaluate(CUT, PAPER) == []
    assert page.evaluate("document.documentElement.scrollWidth") == PAPER
    assert page.evaluate("document.querySelectorAll('details').length") >= 5
    assert page.evaluate(HIDDEN) == 0
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    pdf = page.pdf(prefer_css_page_size=True)
    assert 5 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 20


def test_dark_is_dark(browser: Browser, report: Path) -> None:
    colours = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('.s1')).color]"
    light, dark = (
        shown(browser, report, 800, color_scheme=scheme)[0].evaluate(colours) for scheme in ("light", "dark")
    )

    assert light[0] == "rgb(255, 255, 255)"
    assert dark[0] != light[0]
    assert dark[1] != light[1]


def test_the_keyboard_reaches_a_wide_table(browser: Browser, report: Path) -> None:
    page, _ = shown(browser, report, 360)
    region = page.locator("#confusion .scroll").first
    region.focus()
    page.keyboard.press("ArrowRight")

    page.wait_for_function("document.querySelector('#confusion .scroll').scrollLeft > 0")
    assert region.get_attribute("aria-label")
    assert region.get_attribute("tabindex") == "0"  # Chromium would do without, others would not
