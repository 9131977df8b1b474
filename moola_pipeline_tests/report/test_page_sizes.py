"""The report in a browser: what the first screen holds, and how many pages it prints."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from moola_pipeline.report.html import LossCurves, render_html
from moola_pipeline_tests.labeler.served import browser
from moola_pipeline_tests.report.reports import full_report, gallery_window, made_curves, minimal_report

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
MOST_PAGES = 4


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Addresses of a page with every part, one without a test split, and one with hardly any part."""
    rng, folder = np.random.default_rng(7), tmp_path_factory.mktemp("pages")
    gallery = [gallery_window(rng, rank=rank, note="1 found") for rank in ("best", "worst", *[None] * 10)]
    made = {
        "full": render_html(full_report(), gallery, made_curves()),
        "provisional": render_html(full_report().model_copy(update={"n_folds": 5}), gallery, made_curves()),
        "minimal": render_html(minimal_report(), [], LossCurves()),
    }
    for name, content in made.items():
        (folder / f"{name}.html").write_text(content)
    return {name: (folder / f"{name}.html").as_uri() for name in made}


def opened(chromium: Any, address: str, viewport: dict[str, int]) -> Any:
    page = chromium.new_page(viewport=viewport)
    page.goto(address)
    return page


def bottom(page: Any, selector: str) -> float:
    return page.evaluate(f"document.querySelector({selector!r}).getBoundingClientRect().bottom")


def test_verdict_table_and_both_charts_fit_the_first_screen_of_a_desk(chromium: Any, pages: dict[str, str]):
    page = opened(chromium, pages["full"], DESK)
    assert bottom(page, ".front") < 0.6 * DESK["height"]
    assert bottom(page, ".cases") <= DESK["height"]


def test_the_verdict_fits_the_first_screen_of_a_phone(chromium: Any, pages: dict[str, str]):
    page = opened(chromium, pages["full"], PHONE)
    assert bottom(page, ".card") <= PHONE["height"]


@pytest.mark.parametrize("made", ["full", "provisional", "minimal"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_nothing_is_wider_than_the_screen(
    made: str, viewport: dict[str, int], chromium: Any, pages: dict[str, str]
):
    page = opened(chromium, pages[made], viewport)
    for unfold in (False, True):
        page.evaluate(f"document.querySelectorAll('details').forEach(it => it.open = {str(unfold).lower()})")
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


@pytest.mark.parametrize("made", ["full", "provisional", "minimal"])
def test_it_prints_at_most_four_pages(made: str, chromium: Any, pages: dict[str, str]):
    page = opened(chromium, pages[made], DESK)
    assert 1 <= printed_pages(page) <= MOST_PAGES


def test_an_opened_part_is_printed_and_a_closed_one_is_not(chromium: Any, pages: dict[str, str]):
    page = opened(chromium, pages["full"], DESK)
    page.emulate_media(media="print")
    assert page.locator("#gallery").is_hidden() and page.locator("#checks").is_hidden()
    assert page.locator("#comparison table").is_visible()
    page.evaluate("document.querySelector('#checks').open = true")
    assert page.locator("#checks table").is_visible()


def printed_pages(page: Any) -> int:
    """A4 pages, counted in the PDF that the browser makes."""
    return len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4")))
