"""The page in a real browser: keys and mouse, kills, tabs, other origins."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from moola_pipeline.bars.manifest import read_bars
from moola_pipeline.bars.store import registered_store
from moola_pipeline.labeler.chart_bars import ChartBars
from moola_pipeline.labeler.marks import WITHDRAWN, marks_of
from moola_pipeline.labels.registry import registered_judgments
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.labeler.conftest import ANN
from moola_pipeline_tests.labeler.served import (
    LabelerProcess,
    NoRun,
    Served,
    chromium_path,
    sandbox,
    serving,
)

WINDOWS = 20


def planned_marks(number: int) -> list[tuple[int, int, str]]:
    """What is marked in a window: nothing, one expansion, or two."""
    rng = np.random.default_rng(number)
    first, second = int(rng.integers(30, 50)), int(rng.integers(60, 75))
    spans = [(first, first + int(rng.integers(2, 8)), "CRU"[number % 3])]
    spans += [(second, second + int(rng.integers(2, 8)), "RC"[number % 2])] if number % 4 == 3 else []
    return [] if number % 5 == 4 else spans


@contextmanager
def tab(chromium: Any, link: str, **settings: Any) -> Iterator[Any]:
    """A page of its own, past the first-use page; errors of its scripts fail the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, **settings)
    page, faults = context.new_page(), []
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    try:
        page.goto(link)
        page.wait_for_selector("#where:not(:empty), #taken[open], #end:not([hidden])")
        if not page.locator("#taken[open]").count() and first_use(page):
            page.wait_for_selector("#guide[open] :focus")  # until then Enter reaches the button too late
            page.keyboard.press("Enter")
            page.wait_for_selector("#guide:not([open])", state="attached")
        yield page
    finally:
        context.close()  # the server waits for open connections before it stops
    assert not faults


def first_use(page: Any) -> bool:
    return page.evaluate("fetch('state').then((answer) => answer.json())")["heading"]["first_use"]


def wait_saved(page: Any, name: str | None) -> None:
    page.wait_for_function(
        "(name) => (document.getElementById('saved').dataset.name ?? null) !== name", arg=name
    )


def last_saved(page: Any) -> str | None:
    return page.evaluate("document.getElementById('saved').dataset.name ?? null")


def shown_status(page: Any) -> str:
    return page.evaluate("document.getElementById('status').dataset.state")


def settle(page: Any, state: str = "draft") -> None:
    page.wait_for_function("(state) => document.getElementById('status').dataset.state === state", arg=state)


def keys_of(spans: list[tuple[int, int, str]]) -> list[str]:
    """The keys of a window, the last of which saves it."""
    if not spans:
        return ["n", "Enter"]
    keys = [key for start, end, kind in spans for key in (*f"{start:02}", "[", *f"{end:02}", kind.lower())]
    return [*keys, "Enter"]


def by_keyboard(page: Any, spans: list[tuple[int, int, str]]) -> int:
    """Mark a window by keys alone; the number of keys."""
    before, keys = last_saved(page), keys_of(spans)
    for key in keys:
        page.keyboard.press(key)
    wait_saved(page, before)
    return len(keys)


def bar_x(page: Any, bar: int) -> float:
    """Where a bar is, in pixels from the left of the page."""
    box = page.locator("#chart").bounding_box()
    plot = page.evaluate("document.querySelector('#chart td:nth-child(2)').getBoundingClientRect().width")
    return box["x"] + (bar + 40 + 0.5) * plot / 145


def by_mouse(page: Any, spans: list[tuple[int, int, str]]) -> None:
    """Mark a window by the mouse alone."""
    before, box = last_saved(page), page.locator("#chart").bounding_box()
    y = box["y"] + box["height"] / 2
    for n, (start, end, kind) in enumerate(spans, 1):
        page.mouse.move(bar_x(page, start), y)
        page.mouse.down()
        page.mouse.move(bar_x(page, end), y, steps=3)
        page.mouse.up()
        page.wait_for_function("(n) => document.querySelectorAll('.mark').length === n", arg=n)
        page.click(f"button[data-key={kind}]")
        settle(page)
    if not spans:
        page.click("button[data-key=N]")
    page.click("button[data-key=Enter]")
    wait_saved(page, before)


def saved_marks(home: Home) -> dict[str, list[tuple]]:
    """What is registered of each window, without what was withdrawn."""
    store = registered_store(home)
    bars = ChartBars(read_bars(store))
    held = registered_judgments(store.labels).current().values()
    return {
        one.window_id: [(span.start, span.end, span.type) for span in marks_of(one, bars).spans]
        for one in held
        if one.why != WITHDRAWN
    }


def copy_of(home: Home, target: Path) -> Home:
    import shutil

    shutil.copytree(home.root, target)
    return Home(target)


def test_keyboard_and_mouse_give_the_same_judgments(chromium, made_home: Home, tmp_path: Path):
    counts = []
    for name in ("keyboard", "mouse"):
        home = copy_of(made_home, tmp_path / name)
        with serving(home, ANN) as served, tab(chromium, served.link) as page:
            for number in range(WINDOWS):
                if name == "keyboard":
                    counts.append(by_keyboard(page, planned_marks(number)))
                else:
                    by_mouse(page, planned_marks(number))
    keyboard, mouse = (saved_marks(Home(tmp_path / name)) for name in ("keyboard", "mouse"))
    assert len(keyboard) == WINDOWS
    assert keyboard == mouse
    singles = [count for number, count in enumerate(counts) if len(planned_marks(number)) == 1]
    assert max(singles) <= 8


def test_undo_goes_back_to_windows_saved_before_and_redo_saves_them_again(
    chromium, served: Served, home: Home
):
    with tab(chromium, served.link) as page:
        for number in range(3):
            by_keyboard(page, planned_marks(number))
        before = saved_marks(home)
        where = page.text_content("#where")
        for _ in range(4):
            page.keyboard.press("z")
        page.wait_for_function("() => document.getElementById('where').textContent.includes('window 2')")
        settle(page)
        assert len(saved_marks(home)) == 1
        for _ in range(4):
            page.keyboard.press("Shift+Z")
        page.wait_for_function("() => document.getElementById('where').textContent.includes('window 3')")
        settle(page, "saved")
        assert saved_marks(home) == before
        page.keyboard.press("Enter")
        page.wait_for_function("(where) => document.getElementById('where').textContent === where", arg=where)


def test_an_open_expansion_is_not_lost_by_enter(chromium, served: Served):
    with tab(chromium, served.link) as page:
        for key in ("4", "1", "[", "Enter"):
            page.keyboard.press(key)
        page.wait_for_function(
            "() => document.getElementById('message').textContent.startsWith('An expansion is open')"
        )
        assert last_saved(page) is None
        for key in ("4", "7", "c", "Enter"):
            page.keyboard.press(key)
        wait_saved(page, None)
        spans = json.loads(page.evaluate("document.getElementById('saved').dataset.marks"))["spans"]
        assert spans == [{"start": 41, "end": 47, "type": "consolidation"}]


def test_undo_in_another_window_is_said(chromium, served: Served):
    with tab(chromium, served.link) as page:
        by_keyboard(page, [])
        page.keyboard.press("z")
        page.wait_for_function(
            "() => document.getElementById('message').textContent.includes('taken back in window 1')"
        )
        assert shown_status(page) == "draft"


def test_ends_are_nudged_dragged_and_marks_are_deleted(chromium, served: Served):
    def spans() -> list[tuple]:
        return [(one.start, one.end, one.type) for one in served.opened.session.shown().marks.spans]

    with tab(chromium, served.link) as page:
        for key in ("4", "1", "[", "4", "6", "c"):
            page.keyboard.press(key)
        settle(page)
        page.wait_for_selector(".mark.consolidation")
        page.keyboard.press("Alt+ArrowRight")
        page.keyboard.press("Alt+ArrowRight")
        page.wait_for_function("() => document.querySelector('.mark')?.textContent.startsWith('41–48')")
        for key in ("4", "1", "Alt+ArrowLeft"):
            page.keyboard.press(key)
        page.wait_for_function("() => document.querySelector('.mark')?.textContent.startsWith('40–48')")
        assert spans() == [(40, 48, "consolidation")]
        box = page.locator("#chart").bounding_box()
        y = box["y"] + box["height"] / 2
        edge = (bar_x(page, 48) + bar_x(page, 49)) / 2
        page.mouse.move(edge, y)
        page.mouse.down()
        page.mouse.move(bar_x(page, 52), y, steps=3)
        page.mouse.up()
        page.wait_for_function("() => document.querySelector('.mark')?.textContent.startsWith('40–52')")
        page.keyboard.press("Delete")
        page.wait_for_function("() => !document.querySelector('.mark')")
        assert spans() == []
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.getElementById('message').textContent.includes('press N')")


def test_keys_typed_right_after_the_guide_closes_reach_the_window(chromium, served: Served):
    with tab(chromium, served.link) as page:
        page.keyboard.press("?")
        page.wait_for_selector("#guide[open] :focus")
        page.evaluate(
            """() => {
              for (const key of ["Enter", "4", "1"]) {
                const pressed = new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true});
                document.activeElement.dispatchEvent(pressed);
              }
            }"""
        )
        page.wait_for_function("() => document.body.innerText.includes('bar  41')", timeout=10_000)


def test_a_second_tab_is_told_and_takes_over(chromium, served: Served):
    with tab(chromium, served.link) as first:
        by_keyboard(first, planned_marks(0))
        with tab(chromium, served.link) as second:
            second.wait_for_selector("#taken[open]")
            assert "open in another tab" in second.inner_text("#taken-text")
            second.click("#take-over")
            second.wait_for_selector("#where:not(:empty)")
            by_keyboard(second, planned_marks(1))
            first.wait_for_selector("#taken[open]")
            assert "taken over" in first.inner_text("#taken-text")
    assert len(served.opened.session.journal.judgments) == 2


def test_a_page_of_another_origin_gets_nothing(chromium, served: Served, tmp_path: Path):
    (tmp_path / "evil.html").write_text("<title>evil</title>")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, format: str, *args: Any) -> None:
            pass

    evil = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=evil.serve_forever, daemon=True).start()
    try:
        with tab(chromium, served.link) as page:
            other = page.context.new_page()
            other.goto(f"http://127.0.0.1:{evil.server_port}/evil.html")
            got = other.evaluate(
                """async (link) => {
                  const seen = [];
                  const body = JSON.stringify({kind: "open", tab: "evil-tab-1", take_over: true});
                  const headers = {"content-type": "application/json"};
                  const tries = [
                    () => fetch(link + "state"),
                    () => fetch(link + "state", {mode: "no-cors"}),
                    () => fetch(link + "message", {method: "POST", body, headers}),
                    () => fetch(link + "message", {method: "POST", mode: "no-cors", body}),
                    () => import(link + "page/api.js"),
                  ];
                  for (const attempt of tries) {
                    try {
                      const answer = await attempt();
                      seen.push(answer.text ? await answer.text() : "module");
                    } catch { seen.push(""); }
                  }
                  const frame = document.createElement("iframe");
                  frame.src = link;
                  document.body.append(frame);
                  await new Promise((done) => setTimeout(done, 800));
                  try { seen.push(frame.contentDocument.body.innerText); } catch { seen.push(""); }
                  const picture = new Image();
                  picture.src = link + "page/style.css";
                  return seen;
                }""",
                served.link,
            )
            assert got == [""] * len(got)
            by_keyboard(page, planned_marks(0))  # the tab still works: nothing took over
    finally:
        evil.shutdown()
        evil.server_close()


@pytest.mark.parametrize("width", [1280, 820])
def test_nothing_on_the_page_moves_while_one_works(chromium, served: Served, width: int):
    with tab(chromium, served.link) as page:
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(300)

        def places() -> str:
            names = ["chart", "context", "marks", "readout", "move", "levels", "status"]
            found = [page.locator(f"#{name}").bounding_box() for name in names]
            found += [page.locator("button[data-key=Enter]").bounding_box()]
            return json.dumps([{side: box[side] for side in ("x", "y", "height")} for box in found[:-2]])

        before = places()
        for key in ("4", "1", "[", "4", "6", "c", "t", "6", "0", "[", "6", "5", "r"):
            page.keyboard.press(key)
        settle(page)
        assert places() == before
        by = last_saved(page)
        page.keyboard.press("Enter")
        wait_saved(page, by)
        assert places() == before
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_first_use_page_shows_six_examples_and_every_key(chromium, served: Served):
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(served.link)
    page.wait_for_selector("#guide[open]")
    assert page.locator("#guide canvas").count() == 6
    text = page.inner_text("#guide")
    for words in (
        "consolidation, retracement, unknown",
        "undo and redo, across windows",
        "press N",
        "30 to 74",
    ):
        assert words in text
    page.fill("#definition", "An expansion is what I say.")
    page.click("text=Keep this text")
    page.keyboard.press("Escape")
    page.wait_for_selector("#guide:not([open])", state="attached")
    assert served.opened.session.revision == 1
    context.close()


def test_the_end_page_says_what_a_run_would_do_and_starts_it(chromium, home: Home):
    with serving(home, replace(ANN, windows=1)) as served, tab(chromium, served.link) as page:
        by_keyboard(page, [])
        page.wait_for_selector("#start-run")
        assert "moola run rebuilds 3 of 9 assets" in page.inner_text("#end")
        page.click("#start-run")
        page.wait_for_selector("#start-run", state="hidden")
        assert isinstance(served.opened.learning, NoRun)
        assert served.opened.learning.started == 1
        page.keyboard.press("z")
        page.wait_for_selector("#where:not(:empty)")


@pytest.mark.slow
def test_what_the_page_showed_as_saved_survives_ten_kills_of_the_server(chromium, home: Home):
    rng, shown = np.random.default_rng(1), {}
    for round_number in range(10):
        labeler = LabelerProcess(home.root, "--annotator", "ann")
        with tab(chromium, labeler.link) as page:
            killer = threading.Timer(0.3 + 1.5 * float(rng.random()), labeler.kill)
            killer.start()
            number = 0
            while killer.is_alive():
                for key in keys_of(planned_marks(round_number * 50 + number)):
                    page.keyboard.press(key)
                number += 1
                shown |= shown_as_saved(page)
            killer.join()
            page.wait_for_timeout(200)
            shown |= shown_as_saved(page)
    labeler = LabelerProcess(home.root, "--annotator", "ann")
    assert labeler.stop() is not None
    held = saved_marks(home)
    assert shown
    assert {name: held.get(name) for name in shown} == shown


@pytest.mark.slow
def test_what_the_page_showed_as_saved_survives_ten_kills_of_the_browser(chromium, home: Home):
    rng, shown = np.random.default_rng(2), {}
    labeler = LabelerProcess(home.root, "--annotator", "ann")
    for round_number in range(10):
        before = {*psutil.Process().children(recursive=True)}
        second = chromium.browser_type.launch(executable_path=chromium_path(), args=sandbox())
        with suppress(Exception):  # what playwright says of a browser that was killed
            page = second.new_page()
            page.goto(labeler.link)
            page.wait_for_selector("#where:not(:empty), #taken[open]")
            if page.locator("#taken[open]").count():
                page.click("#take-over")
                page.wait_for_selector("#where:not(:empty)")
            if first_use(page):
                page.wait_for_selector("#guide[open]")
                page.keyboard.press("Enter")
            for number in range(3):
                for key in keys_of(planned_marks(round_number * 50 + number)):
                    page.keyboard.press(key)
                shown |= shown_as_saved(page)
            for key in keys_of(planned_marks(round_number))[: int(rng.integers(1, 8))]:
                page.keyboard.press(key)
            shown |= shown_as_saved(page)
        for process in {*psutil.Process().children(recursive=True)} - before:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        with suppress(Exception):
            second.close()
    labeler.stop()
    held = saved_marks(home)
    assert len(shown) >= 10
    assert {name: held.get(name) for name in shown} == shown


def shown_as_saved(page: Any) -> dict[str, list[tuple]]:
    """The window that the page last said was saved, with its marks."""
    data = page.evaluate("({...document.getElementById('saved').dataset})")
    if "name" not in data:
        return {}
    spans = [(span["start"], span["end"], span["type"]) for span in json.loads(data["marks"])["spans"]]
    return {data["name"].split("/")[0]: spans}
