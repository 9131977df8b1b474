from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from moola_pipeline.labeler.chart_bars import ChartBars, new_york_seconds
from moola_pipeline.labeler.choosing import (
    SPLIT_BLOCK,
    TRAINING_BLOCK,
    ListedWindows,
    MixedWindows,
    SplitRows,
    planned,
)
from moola_pipeline.labeler.marks import Annotating, LabelWindow, SavedMarks, WindowMarks, judgment_of
from moola_pipeline.labels.judgments import Journal
from moola_pipeline.labels.splits import SplitSettings
from moola_pipeline.windows.window_geometry import WINDOW_BARS
from moola_pipeline_tests.labels.weekly_market import weekly_bars

TABLE = weekly_bars(120)
BARS = ChartBars(TABLE)
SETTINGS = SplitSettings(
    train_end=date(2025, 12, 31), validation_end=date(2026, 4, 30), test_end=date(2026, 12, 15)
)
ROWS = SplitRows.of(TABLE, SETTINGS)
ANN, BOB = Annotating("NQ", "ann", 1), Annotating("NQ", "bob", 1)
EMPTY = Journal()
NOTHING = SavedMarks(WindowMarks(verdict="nothing"))


def mixed(who: Annotating = ANN, **more) -> MixedWindows:
    return MixedWindows(BARS, ROWS, who, **more)


def draw(chooser: MixedWindows, n: int, journal: Journal = EMPTY) -> tuple[list[LabelWindow], Journal]:
    """Windows drawn one after the other, each judged before the next."""
    drawn = []
    for _ in range(n):
        window = chooser.next(journal, ())
        if window is None:
            break
        drawn.append(window)
        journal = judged(journal, chooser.who, window)
    return drawn, journal


def judged(journal: Journal, who: Annotating, window: LabelWindow, age: timedelta = timedelta()) -> Journal:
    one = judgment_of(who, window, NOTHING, BARS)
    one = replace(one, made_at=(datetime.now(UTC) - age).isoformat())
    return Journal((*journal.judgments, one), journal.digest)


def rows(windows: list[LabelWindow]) -> np.ndarray:
    return np.array([BARS.row_at(window.opened_at) for window in windows])


def test_of_a_hundred_windows_60_train_15_validate_and_25_test():
    assert Counter(planned(SPLIT_BLOCK, n, 0) for n in range(100)) == {
        "train": 60,
        "validation": 15,
        "test": 25,
    }
    assert Counter(planned(TRAINING_BLOCK, n, 0) for n in range(100)) == {
        "doubt": 60,
        "random": 30,
        "repeat": 10,
    }
    drawn, _ = draw(mixed(), 20)
    assert Counter(window.split for window in drawn) == SPLIT_BLOCK


def test_drawn_windows_are_whole_apart_and_in_their_split():
    drawn, _ = draw(mixed(), 40)
    bar0 = rows(drawn)
    assert BARS.is_whole(bar0).all()
    assert np.diff(np.sort(bar0)).min() >= WINDOW_BARS
    assert [window.split for window in drawn] == [ROWS.split_of(int(row)) for row in bar0]
    assert {window.chosen for window in drawn} == {"random"}


def test_windows_are_spread_over_months_and_hours():
    drawn, _ = draw(mixed(only="train"), 12)
    opened = BARS.opened[rows(drawn)]
    months = Counter(opened.astype("M8[ns]").astype("M8[M]").tolist())
    assert max(months.values()) - min(months.values()) <= 1
    assert len({*(new_york_seconds(opened) // 3600 % 24).tolist()}) >= 3


def test_no_split_reads_bars_within_the_embargo_of_the_next_one():
    for split, end in zip(("train", "validation"), SETTINGS.ends, strict=False):
        last = ROWS.ranges[split][1] - 1
        boundary = int(np.searchsorted(BARS.opened, np.datetime64(end + timedelta(days=1), "ns").astype(int)))
        assert last < boundary - SETTINGS.embargo_bars


def test_the_same_judgments_give_the_same_next_window():
    drawn, journal = draw(mixed(), 7)
    assert mixed().next(journal, ()) == mixed().next(journal, ())
    assert mixed().next(journal, ()) not in drawn


def test_training_windows_are_doubted_ones_once_there_is_a_ranking():
    ranked = tuple(int(row) for row in np.flatnonzero(BARS.is_whole(np.arange(len(BARS))))[: 16 * 300 : 300])
    chooser = mixed(only="train", doubtful=lambda: ranked)
    drawn, _ = draw(chooser, 10)
    assert Counter(window.chosen for window in drawn) == {"doubt": 7, "random": 3}  # nothing to repeat yet


def test_a_window_is_repeated_only_forty_windows_and_a_day_later():
    drawn, journal = draw(mixed(only="train"), 35)
    assert {window.pass_number for window in drawn} == {1}
    old = Journal(tuple(replace(one, made_at="2026-01-01T00:00:00+00:00") for one in journal.judgments))
    more, later = draw(mixed(only="train"), 25, old)
    again = [window for window in more if window.chosen == "repeat"]
    first = [one.window_id for one in old.judgments]
    for window in again:
        place = [one.window_id for one in later.judgments].index(window.window_id)
        repeated = next(n for n, one in enumerate(later.judgments) if one.pass_number == 2)
        assert repeated - place >= 40
        assert window.window_id in first
    assert again
    assert not [w for w in draw(mixed(only="train"), 25, journal)[0] if w.chosen == "repeat"]  # judged today


def test_another_annotator_gets_a_share_of_the_same_windows_and_sees_nothing_of_them():
    anns, journal = draw(mixed(), 40)
    bobs, _ = draw(mixed(BOB), 40, journal)
    shared = {window.window_id for window in bobs} & {window.window_id for window in anns}
    assert 5 <= len(shared) <= 20
    assert all(window.before == WindowMarks() and not window.note for window in bobs)
    bar0 = np.unique(rows([*anns, *bobs]))
    assert np.diff(bar0).min() >= WINDOW_BARS


def test_a_replayed_session_is_not_drawn_from_for_validation_and_test():
    first = ROWS.ranges["test"][0]
    sessions = np.unique(BARS.session[first : ROWS.ranges["test"][1]])
    journal = Journal()
    for session in sessions[:-1]:
        row = int(np.searchsorted(BARS.session, session)) + 60
        journal = judged(journal, ANN, LabelWindow(f"r{row}", BARS.stamp(row), "replay"))
    drawn, _ = draw(mixed(only="test"), 3, journal)
    assert {str(session) for session in BARS.session[rows(drawn)]} <= {str(sessions[-1])}


def test_a_split_without_a_free_window_gives_none_and_others_take_over():
    narrow = replace(ROWS, ranges={**ROWS.ranges, "validation": (0, 50)})
    chooser = MixedWindows(BARS, narrow, ANN)
    assert not chooser.has_room("validation", Journal())
    drawn, _ = draw(chooser, 20)
    assert len(drawn) == 20
    assert MixedWindows(BARS, narrow, ANN, only="validation").next(Journal(), ()) is None


def test_counts_are_those_of_usable_first_passes_of_the_annotator():
    drawn, journal = draw(mixed(), 20)
    again = replace(drawn[0], pass_number=2, chosen="repeat")
    journal = judged(journal, ANN, again)
    journal = judged(journal, BOB, drawn[1])
    withdrawn = judgment_of(ANN, drawn[2], None, BARS)
    journal = Journal((*journal.judgments, withdrawn))
    counts = mixed().counts(journal)
    assert sum(counts.values()) == 19


def test_a_list_of_windows_comes_in_its_order():
    drawn, _ = draw(mixed(), 3)
    listed = ListedWindows(drawn)
    assert [listed.next(Journal(), drawn[:n]) for n in range(4)] == [*drawn, None]


@pytest.mark.parametrize("end", SETTINGS.ends)
def test_no_window_starts_on_the_day_after_a_split(end):
    after = np.datetime64(end + timedelta(days=1), "ns").astype(np.int64)
    row = int(np.searchsorted(BARS.opened, after))
    if row + WINDOW_BARS < len(BARS):
        assert ROWS.split_of(row) != dict(zip(SETTINGS.ends, ROWS.ranges, strict=True))[end]
