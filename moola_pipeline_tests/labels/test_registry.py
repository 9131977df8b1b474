import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from moola_pipeline.errors import BadInput, ChecksumMismatch, IntegrityError
from moola_pipeline.labels import registration, registry
from moola_pipeline.labels.importing import add_labels, check_labels
from moola_pipeline.labels.registry import (
    has_labels,
    labels_digest,
    read_state,
    registered_files,
    registered_labels,
)
from moola_pipeline.storage.checksums import OWN_SHA256, write_checksummed
from moola_pipeline_tests.labels.weekly_market import label_frame, label_row, weekly_bars, weekly_labels


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return weekly_bars(6)


def write(path: Path, labels: pd.DataFrame) -> Path:
    labels.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    return path


def state_of(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock"}


def test_an_added_file_keeps_its_bytes_its_rows_and_its_account(tmp_path, bars):
    path = write(tmp_path / "mine.csv", weekly_labels(bars))
    ledger = add_labels(tmp_path / "labels", path, bars, drop_bad=False)
    assert (ledger.rows, ledger.kept, ledger.dropped, ledger.windows) == (6, 6, {}, 6)
    assert ledger.counts == {"consolidation": 3, "retracement": 3, "unknown": 0, "none": 0}
    assert (tmp_path / "labels/raw/mine.csv").read_bytes() == path.read_bytes()
    pd.testing.assert_frame_equal(registered_labels(tmp_path / "labels"), weekly_labels(bars))
    assert registered_files(tmp_path / "labels") == [ledger]


def test_two_halves_of_a_file_register_as_the_whole(tmp_path, bars):
    labels = label_frame(
        [
            label_row(bars, 360, "retracement", 40),
            label_row(bars, 360, "consolidation", 60),
            label_row(bars, 660, "none"),
        ]
    )
    whole = write(tmp_path / "whole.csv", labels)
    halves = [write(tmp_path / "a.csv", labels.iloc[:1]), write(tmp_path / "b.csv", labels.iloc[1:])]
    add_labels(tmp_path / "one", whole, bars, drop_bad=False)
    for half in reversed(halves):
        add_labels(tmp_path / "two", half, bars, drop_bad=False)
    assert labels_digest(tmp_path / "one") == labels_digest(tmp_path / "two")
    assert [ledger.kept for ledger in registered_files(tmp_path / "two")] == [2, 1]


def test_adding_a_file_again_changes_nothing_and_is_reported(tmp_path, bars):
    path = write(tmp_path / "mine.csv", weekly_labels(bars))
    add_labels(tmp_path / "labels", path, bars, drop_bad=False)
    before = state_of(tmp_path / "labels")
    ledger = add_labels(tmp_path / "labels", path, bars, drop_bad=False)
    assert ledger.kept == 0
    assert ledger.dropped == {"already registered": 6}
    assert state_of(tmp_path / "labels") == before


def test_another_file_of_the_same_name_keeps_both_files_bytes(tmp_path, bars):
    labels = weekly_labels(bars)
    path = write(tmp_path / "mine.csv", labels.iloc[:2])
    add_labels(tmp_path / "labels", path, bars, drop_bad=False)
    write(path, labels.iloc[2:])
    ledger = add_labels(tmp_path / "labels", path, bars, drop_bad=False)
    assert ledger.file == f"mine-{ledger.sha256[:8]}.csv"
    assert len(list((tmp_path / "labels/raw").glob("mine*.csv"))) == 2
    assert len(registered_labels(tmp_path / "labels")) == 6


@pytest.mark.parametrize(
    "row",
    [
        {"label": "consolidation", "start": 40},
        {"label": "retracement", "start": 41},
        {"label": "none"},
        {"label": "retracement", "start": 40, "grade": "B"},
    ],
)
def test_other_labels_of_a_registered_window_are_refused_and_change_nothing(tmp_path, bars, row):
    first = label_frame([label_row(bars, 360, "retracement", 40)])
    add_labels(tmp_path / "labels", write(tmp_path / "a.csv", first), bars, drop_bad=False)
    before = state_of(tmp_path / "labels")
    second = write(tmp_path / "b.csv", label_frame([label_row(bars, 360, **row)]))
    with pytest.raises(
        BadInput, match=r"b.csv: .* the file changes 1 \(first w360\).* moola labels add .*b.csv --pass 2$"
    ):
        add_labels(tmp_path / "labels", second, bars, drop_bad=True)
    assert state_of(tmp_path / "labels") == before


def test_a_second_pass_is_registered_beside_the_first(tmp_path, bars):
    add_labels(tmp_path / "labels", write(tmp_path / "a.csv", weekly_labels(bars)), bars, drop_bad=False)
    again = weekly_labels(bars).assign(**{"pass": 2}, label="none", expansion_start=None, expansion_end=None)
    add_labels(tmp_path / "labels", write(tmp_path / "b.csv", again), bars, drop_bad=False)
    assert registered_labels(tmp_path / "labels")["pass"].value_counts().to_dict() == {1: 6, 2: 6}


def bad_rows(bars: pd.DataFrame) -> pd.DataFrame:
    return label_frame(
        [
            label_row(bars, 360, "retracement", 40),
            label_row(bars, 360, "retracement", 40),
            label_row(bars, 660, "none", window_start=pd.Timestamp("2031-01-01T00:00:00Z")),
            label_row(bars, 920, "none"),
            label_row(bars, 960, "none", grade="D"),
            label_row(bars, 1260, "sideways", 40),
        ]
    )


def test_bad_rows_refuse_the_file_and_write_nothing(tmp_path, bars):
    path = write(tmp_path / "mine.csv", bad_rows(bars))
    with pytest.raises(BadInput) as caught:
        add_labels(tmp_path / "labels", path, bars, drop_bad=False)
    message = str(caught.value)
    opening = "mine.csv: 3 of 6 rows cannot be used (row 4: window w660 at 2031-01-01T00:00:00Z"
    assert message.startswith(opening)
    assert message.endswith("or keep the rest with --drop-bad.")
    assert not (tmp_path / "labels").exists()


def test_dropped_rows_are_accounted_for_one_by_one(tmp_path, bars):
    path = write(tmp_path / "mine.csv", bad_rows(bars))
    ledger = add_labels(tmp_path / "labels", path, bars, drop_bad=True)
    assert ledger.dropped == {
        "window_start is no bar": 1,
        "too early in its segment": 1,
        "grade D": 1,
        "unknown label class": 1,
        "exact duplicate": 1,
    }
    assert ledger.rows == ledger.kept + sum(ledger.dropped.values())
    assert [row["row"] for row in ledger.refused] == [4, 5, 6, 7]
    assert registered_labels(tmp_path / "labels")["grade"].fillna("").tolist() == ["", "D"]
    assert registered_files(tmp_path / "labels") == [ledger]


def test_checking_counts_the_same_and_writes_nothing(tmp_path, bars):
    path = write(tmp_path / "mine.csv", bad_rows(bars))
    checked = check_labels(path, bars)
    assert list(tmp_path.iterdir()) == [path]
    assert add_labels(tmp_path / "labels", path, bars, drop_bad=True) == checked


def test_a_file_with_no_usable_row_is_refused(tmp_path, bars):
    path = write(tmp_path / "mine.csv", bad_rows(bars).iloc[2:4])
    with pytest.raises(BadInput) as caught:
        add_labels(tmp_path / "labels", path, bars, drop_bad=True)
    assert str(caught.value) == (
        "mine.csv: a label file must hold a usable row, but none of its 2 rows is usable. "
        f"For the reasons, run: moola labels check {path}"
    )


def test_dropping_is_not_offered_where_nothing_would_be_left(tmp_path, bars):
    path = write(tmp_path / "mine.csv", bad_rows(bars).iloc[2:4])
    with pytest.raises(BadInput, match=r"Correct them\.$"):
        add_labels(tmp_path / "labels", path, bars, drop_bad=False)


def test_a_changed_byte_is_refused_with_both_digests(tmp_path, bars):
    folder = tmp_path / "labels"
    add_labels(folder, write(tmp_path / "mine.csv", weekly_labels(bars)), bars, drop_bad=False)
    recorded = json.loads((folder / "ledger.json").read_text())["sha256"]
    file = folder / "labels.csv"
    content = file.read_bytes()
    file.write_bytes(content.replace(b"retracement", b"retracemenT", 1))
    with pytest.raises(
        ChecksumMismatch, match=rf"SHA256 is [0-9a-f]{{64}}, ledger.json records {recorded}\."
    ):
        registered_labels(folder)
    file.write_bytes(content)
    assert len(registered_labels(folder)) == 6


@pytest.mark.parametrize(("writes_before_the_kill", "rows"), [(0, 3), (1, 3), (2, 3), (3, 3), (4, 6), (5, 6)])
def test_a_kill_at_any_write_leaves_the_previous_or_the_new_labels(
    tmp_path, bars, monkeypatch, writes_before_the_kill, rows
):
    folder, labels = tmp_path / "labels", weekly_labels(bars)
    add_labels(folder, write(tmp_path / "a.csv", labels.iloc[:3]), bars, drop_bad=False)
    second, done = write(tmp_path / "b.csv", labels.iloc[3:]), []

    def killed(publish: Callable[..., None]) -> Callable[..., None]:
        def publish_or_die(path: Path, content: Any, *size: int) -> None:
            if len(done) == writes_before_the_kill:
                raise KeyboardInterrupt
            publish(path, content, *size)
            done.append(path.name)

        return publish_or_die

    with monkeypatch.context() as patched, contextlib.suppress(KeyboardInterrupt):
        patched.setattr(registration, "atomic_write_bytes", killed(registration.atomic_write_bytes))
        for name in ("append_bytes", "atomic_write_bytes", "write_checksummed"):
            patched.setattr(registry, name, killed(getattr(registry, name)))
        add_labels(folder, second, bars, drop_bad=False)
    assert len(done) == writes_before_the_kill
    assert len(registered_labels(folder)) == rows
    assert sum(ledger.kept for ledger in registered_files(folder)) == rows
    add_labels(folder, second, bars, drop_bad=False)
    pd.testing.assert_frame_equal(registered_labels(folder), labels)


def test_no_labels_names_the_command_that_adds_them(tmp_path):
    assert not has_labels(tmp_path / "labels")
    with pytest.raises(BadInput, match="moola labels add FILE"):
        registered_labels(tmp_path / "labels")
    with pytest.raises(BadInput, match="moola labels add FILE"):
        labels_digest(tmp_path / "labels")


def test_the_digest_follows_the_content_and_not_the_order_of_rows(tmp_path, bars):
    labels = weekly_labels(bars)
    moved = labels.copy()
    moved.loc[0, "expansion_end"] += 1
    digests = []
    for name, frame in {"a": labels, "b": labels.iloc[::-1], "c": moved}.items():
        add_labels(tmp_path / name, write(tmp_path / f"{name}.csv", frame), bars, drop_bad=False)
        digests.append(labels_digest(tmp_path / name))
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("name", ["two\nlines.csv", ".hidden.csv", "turned\u202e.csv"])
def test_a_file_name_with_invisible_characters_is_refused(tmp_path, bars, name):
    path = write(tmp_path / name, weekly_labels(bars))
    with pytest.raises(BadInput, match=r"a file name must be plain.* Rename the file\.$"):
        add_labels(tmp_path / "labels", path, bars, drop_bad=False)
    assert not (tmp_path / "labels").exists()


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"sha256": null}', '{"sha256": null, "files": [{}]}'])
def test_a_broken_ledger_is_refused_with_its_remedy(tmp_path, bars, content):
    folder = tmp_path / "labels"
    add_labels(folder, write(tmp_path / "mine.csv", weekly_labels(bars)), bars, drop_bad=False)
    (folder / "ledger.json").write_text(content)
    with pytest.raises(IntegrityError) as caught:
        registered_labels(folder)
    assert str(caught.value).startswith("ledger.json must record the registered labels, but it ")
    assert str(caught.value).endswith(
        f". Restore the file, or move the folder {folder} away and register the files in its raw again with "
        '"moola labels add".'
    )


def test_labels_of_a_home_of_moola_0_2_are_named_as_such(tmp_path, bars):
    folder = tmp_path / "labels"
    add_labels(folder, write(tmp_path / "mine.csv", weekly_labels(bars)), bars, drop_bad=False)
    state = read_state(folder)
    write_checksummed(folder / "ledger.json", {name: state[name] for name in ("sha256", "files")})
    with pytest.raises(
        IntegrityError, match=r"Moola 0.2, .* They are intact. Move the folder .* away, and register"
    ):
        registered_labels(folder)


@pytest.mark.parametrize("n_files", [1, 2])
def test_missing_labels_are_an_integrity_error_and_not_an_empty_registry(tmp_path, bars, n_files):
    folder, labels = tmp_path / "labels", weekly_labels(bars)
    for name, rows in list({"a.csv": labels.iloc[:3], "b.csv": labels.iloc[3:]}.items())[:n_files]:
        add_labels(folder, write(tmp_path / name, rows), bars, drop_bad=False)
    (folder / "labels.csv").unlink()
    for read in (has_labels, registered_labels, registered_files):
        with pytest.raises(IntegrityError) as caught:
            read(folder)
        assert str(caught.value) == (
            "labels.csv must hold the labels that ledger.json records, but the file is missing. "
            "Restore the file, or "
            f"move the folder {folder} away and register the files in its raw again with "
            '"moola labels add".'
        )


def test_the_remedy_for_missing_labels_restores_them(tmp_path, bars):
    folder = tmp_path / "labels"
    add_labels(folder, write(tmp_path / "a.csv", weekly_labels(bars)), bars, drop_bad=False)
    before = registered_labels(folder)
    (folder / "labels.csv").unlink()
    folder.rename(tmp_path / "away")
    add_labels(folder, tmp_path / "away" / "raw" / "a.csv", bars, drop_bad=False)
    pd.testing.assert_frame_equal(registered_labels(folder), before)


def test_older_labels_are_refused_once_newer_ones_are_registered(tmp_path, bars):
    folder, labels = tmp_path / "labels", weekly_labels(bars)
    add_labels(folder, write(tmp_path / "a.csv", labels.iloc[:3]), bars, drop_bad=False)
    older = (folder / "labels.csv").read_bytes()
    add_labels(folder, write(tmp_path / "b.csv", labels.iloc[3:]), bars, drop_bad=False)
    (folder / "labels.csv").write_bytes(older)
    with pytest.raises(ChecksumMismatch):
        registered_labels(folder)


def test_the_next_add_completes_a_ledger_that_a_kill_interrupted(tmp_path, bars):
    folder = tmp_path / "labels"
    path = write(tmp_path / "a.csv", weekly_labels(bars))
    add_labels(folder, path, bars, drop_bad=False)
    ledger = json.loads((folder / "ledger.json").read_text())
    cut_off = {**ledger, "before": registry.EMPTY_LEDGER}
    cut_off.pop(OWN_SHA256)
    write_checksummed(folder / "ledger.json", cut_off)
    add_labels(folder, path, bars, drop_bad=False)
    assert json.loads((folder / "ledger.json").read_text()) == ledger


def test_a_file_without_a_pass_is_registered_under_the_given_pass(tmp_path, bars):
    folder = tmp_path / "labels"
    labels = weekly_labels(bars)
    add_labels(folder, write(tmp_path / "a.csv", labels), bars, drop_bad=False)
    again = labels.drop(columns="pass").assign(label="none", expansion_start=None, expansion_end=None)
    ledger = add_labels(folder, write(tmp_path / "b.csv", again), bars, drop_bad=False, pass_number=2)
    assert (ledger.kept, ledger.passes) == (6, {"2": 6})
    assert registered_labels(folder)["pass"].tolist() == [1, 2] * 6


def test_bars_registered_as_one_type_are_refused_as_the_other_under_another_id(tmp_path, bars):
    folder = tmp_path / "labels"
    first = label_frame([label_row(bars, 360, "retracement", 60)])
    add_labels(folder, write(tmp_path / "a.csv", first), bars, drop_bad=False)
    before = state_of(folder)
    other = label_frame([label_row(bars, 380, "consolidation", 41)])
    with pytest.raises(BadInput, match=r"1 windows give the other type \(first w380, against w360\)"):
        add_labels(folder, write(tmp_path / "b.csv", other), bars, drop_bad=True)
    assert state_of(folder) == before
    agreeing = label_frame([label_row(bars, 380, "retracement", 41)])
    assert add_labels(folder, write(tmp_path / "c.csv", agreeing), bars, drop_bad=False).kept == 1
