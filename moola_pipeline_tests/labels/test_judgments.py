"""Judgments in time: their rows, the journal, and any sequence of additions against a naive twin."""

import dataclasses
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moola_pipeline.errors import BadInput, ChecksumMismatch, IntegrityError, Truncated
from moola_pipeline.labels.importing import read_labels
from moola_pipeline.labels.judgments import (
    Journal,
    in_file_order,
    journal_lines,
    judgments_of,
    read_journal,
    rows_of,
)
from moola_pipeline.labels.registry import (
    AddSettings,
    add_labels,
    registered_judgments,
    registered_labels,
)
from moola_pipeline_tests.labels.weekly_market import label_frame, label_row, weekly_bars, weekly_labels

BARS = weekly_bars(6)
REMEDY = "Restore it."


def written(path: Path, labels: pd.DataFrame) -> Path:
    labels.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    return path


def test_a_judgment_holds_times_of_what_was_looked_at_and_marked():
    (judgment,) = judgments_of(
        label_frame([label_row(BARS, 360, "retracement", 40, grade="B")]),
        BARS,
        "NQ",
        "2026-01-05T10:00:00+00:00",
    )
    opened = BARS["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (judgment.looked_from, judgment.looked_to) == (opened[390], opened[434])
    (span,) = judgment.spans
    assert (span.started_at, span.ended_at, span.type, span.grade) == (
        opened[400],
        opened[405],
        "retracement",
        "B",
    )
    assert (judgment.instrument, judgment.annotator, judgment.definition, judgment.chosen) == (
        "NQ",
        None,
        1,
        "import",
    )


ROWS = st.lists(
    st.tuples(
        st.sampled_from([360, 660, 960]),
        st.sampled_from([None, 35, 48, 61]),
        st.sampled_from(["retracement", "consolidation", "unknown"]),
        st.sampled_from([None, "A", "D"]),
        st.sampled_from([None, "ann", "bob"]),
        st.sampled_from([1, 2]),
        st.sampled_from([None, "may"]),
    ),
    min_size=1,
    max_size=12,
)


def frame_of(rows: list[tuple]) -> pd.DataFrame:
    """Rows that agree: a window is empty for an annotator, or holds each span once."""
    made = {}
    for bar0, start, label, grade, annotator, number, batch in rows:
        key = (bar0, annotator, number)
        if start is None:
            empty = label_row(BARS, bar0, "none", annotator=annotator, **{"pass": number})
            if not made.get(key):
                made[key] = {None: empty}
        else:
            marks = made.setdefault(key, {})
            marks.pop(None, None)
            marks[start] = label_row(
                BARS, bar0, label, start, grade=grade, annotator=annotator, batch=batch, **{"pass": number}
            )
    return in_file_order(label_frame([row for marks in made.values() for row in marks.values()]))


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_rows_made_into_judgments_come_back_as_they_were(rows: list[tuple]):
    frame = frame_of(rows)
    pd.testing.assert_frame_equal(rows_of(judgments_of(frame, BARS, "NQ", "now"), BARS), frame)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.booleans(), ROWS), min_size=1, max_size=4))
def test_any_sequence_of_additions_and_revisions_ends_as_its_naive_twin(tmp_path_factory, steps):
    folder, twin = tmp_path_factory.mktemp("home"), {}
    for number, (revise, rows) in enumerate(steps):
        frame = frame_of(rows)
        path = written(folder / f"{number}.csv", frame)
        try:
            add_labels(folder / "labels", path, BARS, True, how=AddSettings(revise, "better"))
        except BadInput:
            continue
        new = read_labels(path)
        new = new.loc[~new["window_id"].isin([])]
        for key, group in new.groupby(["window_id", "pass", "annotator", "definition"], dropna=False):
            known = {} if revise else twin.get(str(key), {})
            twin[str(key)] = known | {tuple(map(str, row)): row for row in group.itertuples(index=False)}
    kept = [row for group in twin.values() for row in group.values()]
    if not kept:
        return
    expected = in_file_order(
        label_frame([row._asdict() | dict(zip(label_frame([]).columns, row, strict=True)) for row in kept])
    )
    pd.testing.assert_frame_equal(registered_labels(folder / "labels"), expected)
    journal = registered_judgments(folder / "labels")
    pd.testing.assert_frame_equal(rows_of(journal.current().values(), BARS), expected)


def made_journal(path: Path) -> Journal:
    lines, journal = journal_lines(Journal(), judgments_of(weekly_labels(BARS), BARS, "NQ", "now"))
    path.write_bytes(lines)
    return journal


def test_a_journal_reads_back_and_ignores_lines_that_were_never_acknowledged(tmp_path: Path):
    path = tmp_path / "judgments.jsonl"
    journal = made_journal(path)
    assert read_journal(path, 6, journal.digest, REMEDY) == journal
    more, _ = journal_lines(journal, judgments_of(weekly_labels(BARS).iloc[:1], BARS, "NQ", "later"))
    longer = path.read_bytes() + more
    path.write_bytes(longer)
    assert read_journal(path, 6, journal.digest, REMEDY) == journal
    path.write_bytes(longer[:-7])  # a cut last line
    assert read_journal(path, 6, journal.digest, REMEDY) == journal


def test_every_flipped_byte_of_a_journal_is_noticed(tmp_path: Path):
    path = tmp_path / "judgments.jsonl"
    journal = made_journal(path)
    content = path.read_bytes()
    for place in np.random.default_rng(0).choice(len(content), 150, replace=False):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(place % 8)
        path.write_bytes(bytes(flipped))
        with pytest.raises((ChecksumMismatch, IntegrityError, Truncated)) as caught:
            read_journal(path, 6, journal.digest, REMEDY)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("lines", [0, 5])
def test_a_journal_that_lost_lines_is_refused(tmp_path: Path, lines: int):
    path = tmp_path / "judgments.jsonl"
    journal = made_journal(path)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]))
    with pytest.raises(Truncated, match=f"it must hold 6 judgments, got {lines}"):
        read_journal(path, 6, journal.digest, REMEDY)


def test_two_lines_in_another_order_are_refused(tmp_path: Path):
    path = tmp_path / "judgments.jsonl"
    journal = made_journal(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
    with pytest.raises(ChecksumMismatch, match="does not follow the line before it"):
        read_journal(path, 6, journal.digest, REMEDY)


def test_a_revision_replaces_a_judgment_and_the_history_keeps_both(tmp_path: Path):
    folder = tmp_path / "labels"
    first = label_frame([label_row(BARS, 360, "retracement", 40)])
    moved = label_frame([label_row(BARS, 360, "consolidation", 41)])
    add_labels(folder, written(tmp_path / "a.csv", first), BARS, drop_bad=False)
    how = AddSettings(revise=True, why="one bar later")
    add_labels(folder, written(tmp_path / "b.csv", moved), BARS, drop_bad=False, how=how)
    pd.testing.assert_frame_equal(registered_labels(folder), moved)
    old, new = registered_judgments(folder).judgments
    assert (old.supersedes, old.why, new.supersedes, new.why) == (None, "", 1, "one bar later")


def test_a_second_annotator_may_judge_the_same_bars_otherwise(tmp_path: Path):
    folder = tmp_path / "labels"
    first = label_frame([label_row(BARS, 360, "retracement", 40, annotator="ann")])
    other = label_frame([label_row(BARS, 360, "consolidation", 41, annotator="bob")])
    add_labels(folder, written(tmp_path / "a.csv", first), BARS, drop_bad=False)
    add_labels(folder, written(tmp_path / "b.csv", other), BARS, drop_bad=False)
    assert registered_labels(folder)["annotator"].tolist() == ["ann", "bob"]
    assert [one.supersedes for one in registered_judgments(folder).judgments] == [None, None]


def test_a_judgment_on_bars_that_are_not_registered_is_an_integrity_error():
    judgments = judgments_of(weekly_labels(BARS), BARS, "NQ", "now")
    moved = [dataclasses.replace(judgments[0], looked_from="2001-01-01T00:00:00Z")]
    with pytest.raises(IntegrityError, match=r"no bar opens at 2001-01-01T00:00:00Z \(UTC\)"):
        rows_of(moved, BARS)


def test_the_private_labels_come_back_as_they_were(private_data: Path):
    bars = pd.read_parquet(private_data / "real" / "nq_1m_2020-09_2025-06.parquet")
    bars = bars.rename(columns={"ts_utc": "timestamp"})
    first = read_labels(private_data / "real" / "labels.csv")
    second = read_labels(private_data / "real" / "labels_second_pass.csv").assign(**{"pass": 2})
    rows = in_file_order(pd.concat([first, second], ignore_index=True))
    judgments = judgments_of(rows, bars, "NQ", "now")
    started = time.perf_counter()
    projected = rows_of(judgments, bars)
    assert time.perf_counter() - started < 5  # the target is in `moola bench`
    pd.testing.assert_frame_equal(projected, rows)
