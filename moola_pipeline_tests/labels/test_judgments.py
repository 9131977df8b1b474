"""Judgments in time: their rows, the journal, and any sequence of additions against a naive twin."""

import dataclasses
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moola_pipeline.errors import BadInput, ChecksumMismatch, IntegrityError, Truncated
from moola_pipeline.evaluation.agreement import measure_agreement
from moola_pipeline.labels.annotators import LabelChoice, annotators_of, choose_labels
from moola_pipeline.labels.export import WRITERS
from moola_pipeline.labels.importing import add_labels
from moola_pipeline.labels.judgment_rows import in_file_order, judgments_of, rows_of
from moola_pipeline.labels.judgments import Journal, journal_lines, read_journal
from moola_pipeline.labels.label_rows import read_labels
from moola_pipeline.labels.registration import AddSettings
from moola_pipeline.labels.registry import registered_files, registered_judgments, registered_labels
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
        st.sampled_from(["yes", "no"]),
    ),
    min_size=1,
    max_size=12,
)


def frame_of(rows: list[tuple]) -> pd.DataFrame:
    """Rows that agree: a window is empty for an annotator, or holds each span once and is complete or not."""
    made = {}
    for bar0, start, label, grade, annotator, number, batch, complete in rows:
        key = (bar0, annotator, number)
        if start is None:
            empty = label_row(BARS, bar0, "none", annotator=annotator, **{"pass": number})
            if not made.get(key):
                made[key] = {None: empty}
        else:
            marks = made.setdefault(key, {})
            marks.pop(None, None)
            complete = next((row["complete"] for row in marks.values()), complete)
            others = {"pass": number, "complete": complete}
            marks[start] = label_row(
                BARS, bar0, label, start, grade=grade, annotator=annotator, batch=batch, **others
            )
    return in_file_order(label_frame([row for marks in made.values() for row in marks.values()]))


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_rows_made_into_judgments_come_back_as_they_were(rows: list[tuple]):
    frame = frame_of(rows)
    pd.testing.assert_frame_equal(rows_of(judgments_of(frame, BARS, "NQ", "now"), BARS), frame)


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "revise", "export", "compare"]), ROWS), min_size=1, max_size=5
)


def added(twin: dict[str, dict], rows: pd.DataFrame, revise: bool) -> None:
    """Add rows to a naive twin of the store: by judgment, by row."""
    for key, group in rows.groupby(["window_id", "pass", "annotator", "definition"], dropna=False):
        known = {} if revise else twin.get(str(key), {})
        twin[str(key)] = known | {tuple(map(str, row)): row for row in group.itertuples(index=False)}


def rows_in(twin: dict[str, dict]) -> pd.DataFrame:
    columns = label_frame([]).columns
    kept = [dict(zip(columns, row, strict=True)) for group in twin.values() for row in group.values()]
    return in_file_order(label_frame(kept))


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_any_sequence_of_steps_ends_as_its_naive_twin(tmp_path_factory, steps):
    folder, twin = tmp_path_factory.mktemp("home"), {}
    for number, (step, rows) in enumerate(steps):
        if step == "compare" and twin:  # reads only
            names = {*annotators_of(rows_in(twin))}
            if len(names) == 2:
                left, right = (
                    choose_labels(rows_in(twin), LabelChoice(annotator=name, definition=1))[0]
                    for name in sorted(names)
                )
                measure_agreement(left, right, BARS, np.random.default_rng(0))
            continue
        if step == "export":  # into another home, which goes on in place of this one
            if twin:
                path, folder = folder / f"{number}.parquet", tmp_path_factory.mktemp("home")
                path.write_bytes(WRITERS[".parquet"](registered_labels(path.parent / "labels"), BARS))
                add_labels(folder / "labels", path, BARS, False)
            continue
        path = written(folder / f"{number}.csv", frame_of(rows))
        try:
            add_labels(folder / "labels", path, BARS, True, how=AddSettings(step == "revise", "better"))
        except BadInput:
            continue
        added(twin, read_labels(path), step == "revise")
    if not twin:
        return
    pd.testing.assert_frame_equal(registered_labels(folder / "labels"), rows_in(twin))
    journal = registered_judgments(folder / "labels")
    pd.testing.assert_frame_equal(rows_of(journal.current().values(), BARS), rows_in(twin))


def add_in_a_process(folder: Path, path: Path) -> None:
    add_labels(folder, path, BARS, drop_bad=False)


def test_two_writers_at_once_lose_nothing(tmp_path: Path):
    folder, paths = tmp_path / "labels", []
    for name in ("ann", "bob", "eve", "joe"):
        labels = weekly_labels(BARS).assign(annotator=name)
        paths.append(written(tmp_path / f"{name}.csv", labels))
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(add_in_a_process, [folder] * 4, paths))
    rows = registered_labels(folder)
    assert rows["annotator"].value_counts().to_dict() == dict.fromkeys(("ann", "bob", "eve", "joe"), 6)
    assert len(registered_judgments(folder).judgments) == 24
    assert sorted(one.file for one in registered_files(folder)) == sorted(path.name for path in paths)


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


def test_a_line_states_only_that_a_window_is_incomplete_and_older_lines_stay_as_they_were(tmp_path: Path):
    path = tmp_path / "judgments.jsonl"
    journal = made_journal(path)
    older = path.read_bytes()
    assert b'"complete"' not in older
    partial = weekly_labels(BARS).iloc[:1].assign(complete="no", window_id="new")
    line, journal = journal_lines(journal, judgments_of(partial, BARS, "NQ", "later"))
    assert b'"complete":false' in line
    path.write_bytes(older + line)
    assert [one.complete for one in read_journal(path, 7, journal.digest, REMEDY).judgments] == [True] * 6 + [
        False
    ]


def test_a_window_that_becomes_complete_is_a_revision(tmp_path: Path):
    folder = tmp_path / "labels"
    partial = label_frame([label_row(BARS, 360, "retracement", 40, complete="no")])
    whole = label_frame([label_row(BARS, 360, "retracement", 40)])
    add_labels(folder, written(tmp_path / "a.csv", partial), BARS, drop_bad=False)
    with pytest.raises(BadInput, match="registered windows must keep their labels, but the file changes 1"):
        add_labels(folder, written(tmp_path / "b.csv", whole), BARS, drop_bad=False)
    pd.testing.assert_frame_equal(registered_labels(folder), partial)
    add_labels(folder, written(tmp_path / "b.csv", whole), BARS, False, how=AddSettings(revise=True))
    pd.testing.assert_frame_equal(registered_labels(folder), whole)
    assert [one.complete for one in registered_judgments(folder).judgments] == [False, True]


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


@pytest.mark.parametrize("ending", [b"\r\n", b"\r"])
def test_a_journal_with_other_line_ends_is_refused(tmp_path: Path, ending: bytes):
    path = tmp_path / "judgments.jsonl"
    journal = made_journal(path)
    path.write_bytes(path.read_bytes().replace(b"\n", ending))
    with pytest.raises((ChecksumMismatch, Truncated)):
        read_journal(path, 6, journal.digest, REMEDY)


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


@pytest.mark.parametrize("start", [None, 40])
def test_a_window_that_a_model_chose_stays_so_when_it_is_added_to_or_revised(
    tmp_path: Path, start: int | None
):
    folder, label = tmp_path / "labels", "none" if start is None else "retracement"
    doubted = label_frame([label_row(BARS, 360, label, start, chosen="doubt")])
    add_labels(folder, written(tmp_path / "a.csv", doubted), BARS, drop_bad=False)
    plain = doubted.drop(columns="chosen")
    again = add_labels(folder, written(tmp_path / "b.csv", plain), BARS, drop_bad=False)
    assert again.dropped == {"already registered": 1}
    more = label_frame([label_row(BARS, 360, "consolidation", 55)]).drop(columns="chosen")
    if start is not None:
        add_labels(folder, written(tmp_path / "c.csv", more), BARS, drop_bad=False)
        assert registered_labels(folder)["chosen"].tolist() == ["doubt", "doubt"]
    add_labels(folder, written(tmp_path / "d.csv", more), BARS, drop_bad=False, how=AddSettings(revise=True))
    assert registered_labels(folder)["chosen"].tolist() == ["doubt"]
    under_another = label_frame([label_row(BARS, 360, "consolidation", 50, definition=2)])
    add_labels(folder, written(tmp_path / "e.csv", under_another), BARS, drop_bad=False)
    assert registered_labels(folder)["chosen"].tolist() == ["doubt", "doubt"]


def test_rows_of_one_window_that_were_chosen_differently_count_as_chosen(tmp_path: Path):
    folder = tmp_path / "labels"
    rows = [label_row(BARS, 360, "retracement", 40), label_row(BARS, 360, "retracement", 55, chosen="replay")]
    add_labels(folder, written(tmp_path / "a.csv", label_frame(rows[:1])), BARS, drop_bad=False)
    add_labels(folder, written(tmp_path / "b.csv", label_frame(rows[1:])), BARS, drop_bad=False)
    assert registered_labels(folder)["chosen"].tolist() == ["replay", "replay"]


@pytest.mark.parametrize("changed", [{"batch": "may"}, {"grade": "B"}, {"chosen": "doubt"}])
def test_a_window_judged_empty_again_is_registered_once(tmp_path: Path, changed: dict):
    folder = tmp_path / "labels"
    empty = label_frame([label_row(BARS, 360, "none")])
    add_labels(folder, written(tmp_path / "a.csv", empty), BARS, drop_bad=False)
    again = add_labels(folder, written(tmp_path / "b.csv", empty.assign(**changed)), BARS, drop_bad=False)
    assert (again.kept, again.dropped) == (0, {"already registered": 1})
    assert len(registered_judgments(folder).judgments) == 1
    pd.testing.assert_frame_equal(registered_labels(folder), empty)


def test_a_revision_may_grade_a_window_out(tmp_path: Path):
    folder = tmp_path / "labels"
    row = label_frame([label_row(BARS, 360, "retracement", 40)])
    add_labels(folder, written(tmp_path / "a.csv", row), BARS, drop_bad=False)
    path = written(tmp_path / "b.csv", row.assign(grade="D"))
    add_labels(folder, path, BARS, drop_bad=False, how=AddSettings(revise=True))
    assert registered_labels(folder)["grade"].tolist() == ["D"]


@pytest.mark.parametrize("name", ["NA", "nan", "null"])
def test_a_name_that_means_nothing_in_a_csv_means_nothing_in_a_parquet_file(tmp_path: Path, name: str):
    folder = tmp_path / "labels"
    row = label_frame([label_row(BARS, 360, "retracement", 40, annotator=name, batch=name)])
    row.to_parquet(tmp_path / "a.parquet")
    for _ in range(2):
        add_labels(folder, tmp_path / "a.parquet", BARS, drop_bad=False)
    (judgment,) = registered_judgments(folder).judgments
    assert (judgment.annotator, judgment.spans[0].batch) == (None, None)


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
