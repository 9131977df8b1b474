from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moola_pipeline.errors import BadInput, UnwritableFile
from moola_pipeline.labeler import session as session_module
from moola_pipeline.labeler.chart_bars import ChartBars
from moola_pipeline.labeler.choosing import ListedWindows
from moola_pipeline.labeler.marks import (
    NO_MARKS,
    WITHDRAWN,
    Annotating,
    LabelWindow,
    SavedMarks,
    SpanMark,
    WindowMarks,
    judgment_of,
    marks_of,
)
from moola_pipeline.labeler.session import LabelingSession
from moola_pipeline.labels.registry import (
    add_judgments,
    open_judgments,
    registered_judgments,
    registered_labels,
)
from moola_pipeline_tests.labels.weekly_market import SESSION_BARS, weekly_bars

TABLE = weekly_bars(12)
BARS = ChartBars(TABLE)
WHO = Annotating("NQ", "ann", 1)
WINDOWS = [
    LabelWindow(f"w{week}", BARS.stamp(week * SESSION_BARS + 60), "random", split="train")
    for week in range(12)
]
NOTHING = WindowMarks(verdict="nothing")


def opened(
    folder: Path, windows: Sequence[LabelWindow] = WINDOWS, limit: int | None = None
) -> LabelingSession:
    return LabelingSession(BARS, folder, WHO, ListedWindows(windows), limit)


def span(start: int, end: int, type_: Any = "consolidation") -> WindowMarks:
    return WindowMarks(spans=(SpanMark(start=start, end=end, type=type_),))


def save(session: LabelingSession, marks: WindowMarks = NOTHING) -> None:
    session.mark(marks)
    session.save(8.0, "5-minute")


def current(folder: Path) -> dict[str, Any]:
    """What is registered of each window: its marks, or `withdrawn`."""
    held = registered_judgments(folder).current().values()
    return {one.window_id: WITHDRAWN if one.why == WITHDRAWN else marks_of(one, BARS) for one in held}


def test_a_saved_window_is_a_judgment_and_a_row_of_the_labels(tmp_path: Path):
    session = opened(tmp_path)
    save(session, span(41, 46))
    assert session.current == "w1/1"
    (judgment,) = registered_judgments(tmp_path).judgments
    assert (judgment.looked_from, judgment.looked_to) == (BARS.stamp(90), BARS.stamp(134))
    assert judgment.spans[0].started_at == BARS.stamp(101)
    assert (judgment.seconds, judgment.context, judgment.chosen) == (8.0, "5-minute", "random")
    (row,) = registered_labels(tmp_path).to_dict("records")
    assert (row["window_id"], row["expansion_start"], row["expansion_end"]) == ("w0", 41, 46)


def test_a_window_is_saved_only_when_every_mark_has_a_type(tmp_path: Path):
    session = opened(tmp_path)
    with pytest.raises(BadInput, match="Mark the expansions, or press N"):
        session.save(1.0, "")
    session.mark(span(41, 46, None))
    with pytest.raises(BadInput, match="Every mark needs a type"):
        session.save(1.0, "")
    assert not registered_judgments(tmp_path).judgments


def test_undo_goes_back_across_windows_and_supersedes_what_was_saved(tmp_path: Path):
    session = opened(tmp_path)
    save(session, span(41, 46))
    save(session)
    session.mark(span(50, 55))
    for _ in range(3):
        session.undo()
    assert session.current == "w1/1"
    assert session.shown().marks == NO_MARKS
    session.undo()
    assert (session.current, session.shown().status) == ("w0/1", "draft")
    assert session.shown().marks == span(41, 46)
    assert current(tmp_path) == {"w0": WITHDRAWN, "w1": WITHDRAWN}
    journal = registered_judgments(tmp_path)
    assert [one.supersedes for one in journal.judgments] == [None, None, 2, 1]
    assert [one.grade for one in journal.judgments] == [None, None, "D", "D"]
    for _ in range(4):
        session.redo()
    assert current(tmp_path) == {"w0": span(41, 46), "w1": NOTHING}


def test_undo_of_a_revision_registers_what_was_saved_before(tmp_path: Path):
    session = opened(tmp_path)
    save(session, span(41, 46))
    session.back()
    save(session, span(42, 46))
    assert current(tmp_path)["w0"] == span(42, 46)
    session.undo()
    assert current(tmp_path)["w0"] == span(41, 46)
    assert session.shown().status == "changed"


def test_a_new_action_after_undo_ends_what_could_be_redone(tmp_path: Path):
    session = opened(tmp_path)
    session.mark(span(41, 46))
    session.undo()
    session.mark(span(50, 52))
    session.redo()
    assert session.shown().marks == span(50, 52)
    assert not session.facts()["can_redo"]


ACTIONS = st.one_of(
    st.builds(lambda start: ("mark", start), st.integers(30, 74)),
    st.sampled_from([("save",), ("undo",), ("redo",), ("back",), ("nothing",), ("restart",), ("unusable",)]),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(ACTIONS, max_size=25))
def test_any_actions_and_restarts_leave_registered_what_is_shown_as_saved(tmp_path_factory, actions):
    folder = tmp_path_factory.mktemp("labels")
    session = opened(folder)
    for name, *values in actions:
        if session.current is None:
            break
        match name:
            case "mark":
                session.mark(span(values[0], values[0] + 4))
            case "nothing":
                session.mark(NOTHING)
            case "unusable":
                session.mark(WindowMarks(verdict="unusable"))
            case "save" if session.shown().marks.missing is None:
                session.save(1.0, "")
            case "undo" | "redo" | "back":
                getattr(session, name)()
            case "restart":
                before = dict(session.windows)
                session = opened(folder)
                assert session.windows == before
        shown = {
            one.window.window_id: one.saved.marks for one in session.windows.values() if one.saved is not None
        }
        held = {window: marks for window, marks in current(folder).items() if marks != WITHDRAWN}
        assert held == shown


def test_a_kill_between_the_draft_and_the_label_is_finished_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    session = opened(tmp_path)
    session.mark(span(41, 46))

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(session_module, "add_judgments", killed)
        session.save(1.0, "")
    assert not registered_judgments(tmp_path).judgments
    assert opened(tmp_path).windows["w0/1"].status == "saved"
    assert current(tmp_path) == {"w0": span(41, 46)}


def test_a_label_that_was_revised_since_is_not_taken_back_by_the_next_start(tmp_path: Path):
    for last in ("save", "undo", "redo"):
        folder = tmp_path / last
        session = opened(folder, limit=1)
        save(session, span(41, 46))
        if last != "save":
            session.undo()
        if last == "redo":
            session.redo()
        known = open_judgments(folder, BARS.opened)
        [held] = known.journal.current().values()
        marked = judgment_of(WHO, WINDOWS[0], SavedMarks(span(44, 50, "retracement")), BARS)
        add_judgments(folder, [replace(marked, why="the type was wrong")], known)
        assert opened(folder).journal.judgments[-1].why == "the type was wrong"
        assert current(folder) == {held.window_id: span(44, 50, "retracement")}


def test_a_full_disk_saves_nothing_and_says_so_and_work_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    session = opened(tmp_path)
    session.mark(span(41, 46))

    def full(*_: Any) -> None:
        raise UnwritableFile("the disk is full")

    with monkeypatch.context() as patched, pytest.raises(UnwritableFile):
        patched.setattr(session_module, "add_judgments", full)
        session.save(1.0, "")
    assert (session.current, session.shown().status) == ("w0/1", "draft")
    session.save(1.0, "")
    assert current(tmp_path) == {"w0": span(41, 46)}
    assert opened(tmp_path).windows == session.windows


def test_marks_that_contradict_another_window_are_refused_in_one_line(tmp_path: Path):
    near = LabelWindow("near", BARS.stamp(80), "replay")
    session = opened(tmp_path, [WINDOWS[0], near, *WINDOWS[1:]])
    save(session, span(60, 66, "retracement"))
    session.mark(span(40, 46))
    with pytest.raises(BadInput, match="The same bars must have one type"):
        session.save(1.0, "")
    assert session.shown().status == "draft"
    save(session, span(40, 46, "retracement"))
    assert opened(tmp_path, [WINDOWS[0], near, *WINDOWS[1:]]).windows == session.windows


def test_a_session_with_a_limit_ends_after_so_many_windows(tmp_path: Path):
    session = opened(tmp_path, limit=2)
    save(session)
    save(session)
    assert session.current is None
    assert session.facts()["window"] is None
    session.undo()
    assert session.current == "w1/1"


def test_the_models_marks_are_shown_after_saving_only_and_recorded(tmp_path: Path):
    session = opened(tmp_path)
    with pytest.raises(BadInput, match="shown after saving"):
        session.saw_model()
    save(session, span(41, 46))
    session.back()
    session.saw_model()
    save(session, span(42, 46))
    assert [one.saw_model for one in registered_judgments(tmp_path).judgments] == [False, True]


def test_what_is_drawn_does_not_depend_on_later_bars():
    row = 4 * SESSION_BARS + 60
    later = TABLE.copy()
    later.loc[row + 105 :, ["open", "high", "low", "close"]] += 1_000.0
    assert ChartBars(later.iloc[: row + 200]).view(row) == BARS.view(row)


def test_a_view_shows_145_bars_levels_and_weighted_price():
    row = 4 * SESSION_BARS + 60
    view = BARS.view(row)
    assert len(view["bars"]) == 145
    assert view["first"] == -40
    assert view["bars"][40][1:5] == TABLE.loc[row, ["open", "high", "low", "close"]].tolist()
    clock = TABLE["timestamp"].iloc[row].tz_convert("America/New_York")
    assert view["bars"][40][0] // 60 % 1440 == clock.hour * 60 + clock.minute
    session = TABLE.iloc[4 * SESSION_BARS : row + 105]
    typical = session[["high", "low", "close"]].mean(axis=1)
    expected = np.average(typical, weights=session["volume"].astype(float))
    assert view["context"]["5"]["vwap"][-1] == pytest.approx(expected, abs=0.01)
    assert view["context"]["5"]["bars"][-1][4] == session["close"].iloc[-1]
    assert view["levels"] == {}  # sessions a week apart, each from 10:00 New York on
