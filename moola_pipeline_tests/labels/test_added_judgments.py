import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moola_pipeline.bars.schema import nanoseconds
from moola_pipeline.errors import BadInput, Truncated
from moola_pipeline.labels import registry
from moola_pipeline.labels.conflicts import clashing_windows, find_contradictions
from moola_pipeline.labels.importing import add_labels
from moola_pipeline.labels.judgment_rows import judgments_of, rows_of
from moola_pipeline.labels.judgments import Judgment
from moola_pipeline.labels.placement import place_labels
from moola_pipeline.labels.registry import (
    add_judgments,
    open_judgments,
    registered_files,
    registered_judgments,
    registered_labels,
)
from moola_pipeline_tests.labels.weekly_market import label_frame, label_row, weekly_bars, weekly_labels

BARS = weekly_bars(4)
OPENED = nanoseconds(BARS)
TYPES = ("consolidation", "retracement", "unknown")


def judgments(*rows: dict) -> list[Judgment]:
    return judgments_of(label_frame(list(rows)), BARS, "NQ", "2026-01-01T00:00:00+00:00")


def test_judgments_added_one_by_one_end_as_a_file_of_them(tmp_path: Path):
    rows = weekly_labels(BARS)
    path = tmp_path / "all.csv"
    rows.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    add_labels(tmp_path / "file", path, BARS, drop_bad=False)
    known = open_judgments(tmp_path / "single", OPENED)
    for one in judgments_of(rows, BARS, "NQ", "now"):
        known = add_judgments(tmp_path / "single", [one], known)
    assert (tmp_path / "single/labels.csv").read_bytes() == (tmp_path / "file/labels.csv").read_bytes()
    pd.testing.assert_frame_equal(registered_labels(tmp_path / "single"), rows)
    assert registered_judgments(tmp_path / "single") == known.journal
    assert registered_files(tmp_path / "single") == []


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.sampled_from((60, 400, 700)), st.integers(30, 74), st.sampled_from(TYPES))))
def test_any_sequence_of_additions_holds_the_newest_of_each_window(tmp_path_factory, steps: list[tuple]):
    folder, newest = tmp_path_factory.mktemp("home"), {}
    known = open_judgments(folder, OPENED)
    for bar0, start, label in steps:
        (one,) = judgments(label_row(BARS, bar0, label, start))
        known = add_judgments(folder, [one], known)
        assert known.journal.judgments[-1].supersedes == newest.get(bar0, (None,))[0]
        newest[bar0] = (len(known.journal.judgments), one)
    expected = rows_of((one for _, one in newest.values()), BARS)
    if steps:
        pd.testing.assert_frame_equal(registered_labels(folder), expected)
    assert open_judgments(folder, OPENED).rows == known.rows


def test_labels_that_another_process_added_are_kept(tmp_path: Path):
    known = open_judgments(tmp_path, OPENED)
    rows = weekly_labels(BARS).iloc[:2]
    rows.to_csv(tmp_path / "a.csv", index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    add_labels(tmp_path, tmp_path / "a.csv", BARS, drop_bad=False)
    add_judgments(tmp_path, judgments(label_row(BARS, 700, "none")), known)
    assert len(registered_labels(tmp_path)) == 3
    assert len(registered_files(tmp_path)) == 1


@pytest.mark.parametrize(("writes_before_the_kill", "rows"), [(0, 1), (1, 1), (2, 1), (3, 2)])
def test_a_kill_at_any_write_leaves_the_judgments_before_or_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes_before_the_kill: int, rows: int
):
    known = add_judgments(tmp_path, judgments(label_row(BARS, 60, "none")), open_judgments(tmp_path, OPENED))
    done = []

    def dying(write):
        def write_or_die(path, *content):
            if len(done) == writes_before_the_kill:
                raise KeyboardInterrupt
            write(path, *content)
            done.append(path)

        return write_or_die

    (second,) = judgments(label_row(BARS, 400, "unknown", 41))
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        for name in ("append_bytes", "atomic_write_bytes", "write_checksummed"):
            patched.setattr(registry, name, dying(getattr(registry, name)))
        add_judgments(tmp_path, [second], known)
    assert len(registered_labels(tmp_path)) == rows
    known = open_judgments(tmp_path, OPENED)
    add_judgments(tmp_path, [second], known)
    assert len(registered_labels(tmp_path)) == 2


def test_a_journal_cut_short_is_refused_and_not_overwritten(tmp_path: Path):
    known = add_judgments(tmp_path, judgments(label_row(BARS, 60, "none")), open_judgments(tmp_path, OPENED))
    path = tmp_path / "judgments.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    cut = path.read_bytes()
    with pytest.raises(Truncated, match="must hold 1 judgments"):
        add_judgments(tmp_path, judgments(label_row(BARS, 400, "none")), known)
    assert path.read_bytes() == cut


def test_bars_with_two_types_in_two_windows_are_refused_and_nothing_is_written(tmp_path: Path):
    known = open_judgments(tmp_path, OPENED)
    known = add_judgments(tmp_path, judgments(label_row(BARS, 60, "retracement", 70)), known)
    before = (tmp_path / "ledger.json").read_bytes()
    with pytest.raises(BadInput, match="window w60 calls them retracement and window w90 consolidation"):
        add_judgments(tmp_path, judgments(label_row(BARS, 90, "consolidation", 40)), known)
    assert (tmp_path / "ledger.json").read_bytes() == before
    other = dataclasses.replace(judgments(label_row(BARS, 90, "consolidation", 40))[0], annotator="bob")
    add_judgments(tmp_path, [other], known)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from((60, 62, 110)), st.integers(30, 50), st.sampled_from(TYPES)),
        min_size=2,
        max_size=4,
        unique=True,
    )
)
def test_contradictions_are_those_that_a_label_file_would_be_refused_for(tmp_path_factory, marks):
    frame = label_frame([label_row(BARS, bar0, label, start) for bar0, start, label in marks])
    clean = pd.DataFrame({"reason": None, "detail": None}, index=frame.index, dtype="str")
    faults = find_contradictions(frame, clean)["reason"].dropna().to_list()
    refused = bool(faults or clashing_windows(place_labels(frame, BARS).frame))
    folder = tmp_path_factory.mktemp("home")
    try:
        add_judgments(folder, judgments_of(frame, BARS, "NQ", "now"), open_judgments(folder, OPENED))
        accepted = True
    except BadInput:
        accepted = False
    assert accepted == (not refused)


def test_the_journal_holds_what_was_shown_and_how_long_it_took(tmp_path: Path):
    (one,) = judgments(label_row(BARS, 60, "none"))
    one = dataclasses.replace(one, seconds=8.5, context="5-minute bars", saw_model=True)
    add_judgments(tmp_path, [one], open_judgments(tmp_path, OPENED))
    record = json.loads((tmp_path / "judgments.jsonl").read_text())
    assert (record["seconds"], record["context"], record["saw_model"]) == (8.5, "5-minute bars", True)
    assert np.all(registered_labels(tmp_path)["label"] == "none")
