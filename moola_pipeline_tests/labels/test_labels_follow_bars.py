"""Labels are in time: bars that come later into a labeled window do not move what was marked."""

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from moola_pipeline.bars.inbox import add_inbox_files
from moola_pipeline.bars.manifest import add_bars, read_bars
from moola_pipeline.bars.schema import RAW_COLUMNS, nanoseconds
from moola_pipeline.bars.store import registered_store
from moola_pipeline.bars.vendor_options import VendorOptions
from moola_pipeline.cli import bar_files
from moola_pipeline.cli import labels as label_commands
from moola_pipeline.instrument_data import labels_follow_bars
from moola_pipeline.labels.importing import add_labels
from moola_pipeline.labels.judgment_rows import csv_of, judgments_of, label_rows
from moola_pipeline.labels.label_rows import read_labels
from moola_pipeline.labels.registry import registered_labels
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.cli.calls import call
from moola_pipeline_tests.labels.weekly_market import (
    SESSION_BARS,
    label_frame,
    label_row,
    weekly_bars,
    weekly_labels,
)

BARS = weekly_bars(6)
MISSING = SESSION_BARS + 95
"""A minute of the second session, between bar 0 of its window and the surge."""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Bars without a minute, labels on them, and a file of the hour that holds it."""
    for name, rows in (
        ("first", BARS.drop(index=MISSING)),
        ("later", BARS.iloc[MISSING - 30 : MISSING + 30]),
    ):
        rows.loc[:, list(RAW_COLUMNS)].to_parquet(tmp_path / f"{name}.parquet", index=False)
    home = Home(tmp_path / "home")
    store = registered_store(home)
    add_bars(store, tmp_path / "first.parquet", VendorOptions(instrument="NQ"))
    bars = read_bars(store)
    labels = weekly_labels(BARS)
    labels.to_csv(tmp_path / "labels.csv", index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    add_labels(store.labels, tmp_path / "labels.csv", bars, drop_bad=True)
    return home


def marked_at(home: Home) -> dict[str, tuple[str, str]]:
    """Times of the first and last bar of each labeled expansion."""
    store = registered_store(home)
    opened = pd.DatetimeIndex(read_bars(store)["timestamp"])
    rows = registered_labels(store.labels).dropna(subset=["expansion_start"])
    bar0 = opened.get_indexer(pd.DatetimeIndex(rows["window_start"]))
    ends = (
        [str(opened[first + int(bar)]) for first, bar in zip(bar0, rows[name], strict=True)]
        for name in ("expansion_start", "expansion_end")
    )
    return dict(zip(rows["window_id"], zip(*ends, strict=True), strict=True))


def test_marks_keep_their_times_when_a_missing_minute_comes(home: Home, tmp_path: Path):
    before = marked_at(home)
    added = call("bars", "add", str(tmp_path / "later.parquet"), home=home.root)
    assert added.exit_code == 0, added.output
    assert added.stderr.endswith("the labels kept their times.\n")
    assert marked_at(home) == before
    assert not labels_follow_bars(registered_store(home))


def test_a_file_before_a_refused_one_is_followed_too(home: Home, tmp_path: Path):
    before = marked_at(home)
    (tmp_path / "broken.csv").write_text("nothing")
    refused = call(
        "bars", "add", str(tmp_path / "later.parquet"), str(tmp_path / "broken.csv"), home=home.root
    )
    assert refused.exit_code == 2
    assert marked_at(home) == before


def test_bars_from_the_inbox_are_followed_too(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bar_files, "add_inbox_files", partial(add_inbox_files, settle_seconds=0))
    before = marked_at(home)
    home.inbox.mkdir(parents=True)
    (home.inbox / "later.parquet").write_bytes((tmp_path / "later.parquet").read_bytes())
    added = call("bars", "inbox", home=home.root)
    assert added.exit_code == 0, added.output
    assert added.stderr.endswith("the labels kept their times.\n"), added.output
    assert marked_at(home) == before


def test_without_following_the_marks_would_move(home: Home, tmp_path: Path):
    """Planted fault: bars are added and labels are not counted again."""
    before = marked_at(home)
    add_bars(registered_store(home), tmp_path / "later.parquet", VendorOptions(instrument="NQ"))
    assert marked_at(home) != before


def test_labels_whose_bars_are_gone_wait_for_them(home: Home, tmp_path: Path):
    store = registered_store(home)
    before = registered_labels(store.labels)
    store.manifest.unlink()
    for path in store.raw.iterdir():
        path.unlink()
    added = call("bars", "add", str(tmp_path / "later.parquet"), home=home.root)
    assert added.exit_code == 0, added.output
    assert registered_labels(store.labels).equals(before)


@pytest.mark.parametrize(
    ("span", "missing", "expected"),
    [
        ((70, 104), 50, (71, 104)),
        ((100, 104), 99, (101, 104)),
        ((104, 104), 50, (None, None)),
        ((0, 5), 10, (0, 4)),
        ((0, 0), 10, (None, None)),
        ((33, 38), 35, (33, 39)),
    ],
)
def test_a_span_that_reaches_over_its_window_since_keeps_the_part_inside(
    span: tuple[int, int], missing: int, expected: tuple[int | None, int | None], tmp_path: Path
):
    bars = BARS.drop(index=SESSION_BARS + missing).reset_index(drop=True)
    row = label_row(bars, SESSION_BARS, "consolidation", span[0]) | {"expansion_end": span[1]}
    [judgment] = judgments_of(label_frame([row]), bars, "NQ", "2025-01-01T00:00:00Z")
    rows = label_rows(judgment, nanoseconds(BARS))
    assert [one.values[3:5] for one in rows] == [expected]
    (tmp_path / "labels.csv").write_bytes(csv_of(rows))
    assert len(read_labels(tmp_path / "labels.csv")) == 1


def test_labels_added_while_bars_come_are_counted_by_the_bars_that_came(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """`labels add` has read the bars when `bars add` registers the missing minute."""
    before, more = marked_at(home), tmp_path / "more.csv"
    row = label_row(BARS, 2 * SESSION_BARS + 150, "consolidation", 40)
    label_frame([row]).to_csv(more, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    register = label_commands.register_labels

    def late(*arguments: Any) -> Any:
        assert call("bars", "add", str(tmp_path / "later.parquet"), home=home.root).exit_code == 0
        return register(*arguments)

    monkeypatch.setattr(label_commands, "register_labels", late)
    added = call("labels", "add", str(more), "--as-is", home=home.root)
    assert added.exit_code == 0, added.output
    after = marked_at(home)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 1
