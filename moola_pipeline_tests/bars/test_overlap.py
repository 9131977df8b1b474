"""Overlapping files: the last bar of a file is provisional."""

from pathlib import Path

import pandas as pd
import pytest

from moola_pipeline.bars.manifest import add_bars, read_bars
from moola_pipeline.bars.overlap import confirmed, in_order
from moola_pipeline.bars.store import BarStore
from moola_pipeline.errors import BadInput
from moola_pipeline_tests.bars.examples import made_up_bars, write_csv

ALL = made_up_bars(60)


def cut_off(n_bars: int) -> pd.DataFrame:
    """The first bars, the last of them incomplete."""
    bars = ALL.iloc[:n_bars].copy()
    bars.loc[n_bars - 1, "volume"] = 0
    bars.loc[n_bars - 1, "high"] += 5
    return bars


@pytest.fixture
def store(tmp_path: Path) -> BarStore:
    return BarStore(tmp_path / "data", simulated=False)


@pytest.mark.parametrize("earlier_first", [True, False])
def test_an_incomplete_last_bar_is_replaced_in_any_order_of_files(
    store: BarStore, tmp_path: Path, earlier_first: bool
):
    files = [
        write_csv(tmp_path / "early.csv", cut_off(30)),
        write_csv(tmp_path / "late.csv", ALL.iloc[20:]),
    ]
    added = [add_bars(store, path) for path in (files if earlier_first else files[::-1])]
    assert [one.cut_short for one in added] == [(), ("early.csv",)]
    pd.testing.assert_frame_equal(read_bars(store).loc[:, ALL.columns], ALL)


def test_a_confirmed_last_bar_is_not_reported_as_cut_short(store: BarStore, tmp_path: Path):
    add_bars(store, write_csv(tmp_path / "early.csv", ALL.iloc[:30]))
    assert add_bars(store, write_csv(tmp_path / "late.csv", ALL.iloc[20:])).cut_short == ()


def test_a_difference_in_any_other_bar_is_refused(store: BarStore, tmp_path: Path):
    add_bars(store, write_csv(tmp_path / "early.csv", cut_off(30)))
    changed = ALL.iloc[20:].copy()
    changed.loc[28, "high"] += 5
    with pytest.raises(BadInput, match="its bars must agree with those of early.csv.* 1 minute differs"):
        add_bars(store, write_csv(tmp_path / "late.csv", changed))


def test_two_files_that_end_in_the_same_minute_must_agree(store: BarStore, tmp_path: Path):
    add_bars(store, write_csv(tmp_path / "one.csv", cut_off(30)))
    with pytest.raises(BadInput, match="must agree"):
        add_bars(store, write_csv(tmp_path / "two.csv", ALL.iloc[10:30]))


def test_a_file_of_one_bar_can_be_replaced_entirely():
    alone, kept = confirmed([cut_off(30).iloc[29:], ALL])
    assert len(alone) == 0
    assert kept is ALL


def test_rejected_rows_are_stored_until_the_file_is_corrected(store: BarStore, tmp_path: Path):
    broken = made_up_bars(200)
    broken.loc[7, "close"] = float("nan")
    entry = add_bars(store, write_csv(tmp_path / "nq.csv", broken)).entry
    assert (entry.rows, entry.rejected) == (199, 1)
    aside = pd.read_csv(store.quarantined(entry))
    assert aside[["row", "reason"]].to_numpy().tolist() == [[8, "a bar must have four finite prices"]]
    assert len(read_bars(store)) == 199
    write_csv(store.raw / "nq.csv", made_up_bars(200))
    assert add_bars(store, store.raw / "nq.csv").outcome == "replaced"
    assert not store.quarantined(entry).exists()


def test_rows_of_all_frames_come_by_time_with_a_plain_index_and_no_other_column():
    halves = [ALL.iloc[30:], ALL.iloc[:30]]
    for frames in (halves, halves[::-1], [ALL]):
        pd.testing.assert_frame_equal(in_order(*frames), ALL)
    other = ALL.iloc[:1].assign(volume=pd.array([None], "Int64"))
    both = in_order(other, ALL.iloc[:1])
    assert both["volume"].isna().tolist() == [False, True]  # the one with a volume comes first
    assert list(both.columns) == list(ALL.columns) and both.index.tolist() == [0, 1]
