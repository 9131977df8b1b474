"""The simulated annotator marks visible expansions, and a market is written whole."""

import collections
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import moola_pipeline.labels.simulated as published
from moola_pipeline.bars.manifest import read_bars
from moola_pipeline.bars.schema import content_digest
from moola_pipeline.bars.simulated import (
    SMOKE_SETTINGS,
    LabelPeriod,
    SimulatedMarket,
    SimulationSettings,
    in_scenario,
    simulate,
)
from moola_pipeline.bars.store import BarStore, Manifest, read_manifest, write_manifest
from moola_pipeline.errors import ChecksumMismatch, IntegrityError, Truncated
from moola_pipeline.labels import simulated_annotator
from moola_pipeline.labels.label_rows import read_labels
from moola_pipeline.labels.placement import place_labels
from moola_pipeline.labels.schema import FIRST_PASS, LABEL_COLUMNS, NONE, TYPES, expansions
from moola_pipeline.labels.simulated import (
    ensure_simulated,
    labels_file,
    read_truth,
)
from moola_pipeline.labels.simulated_annotator import MIN_LEG_ATR, NARROW_ATR, draw_labels, visible_market
from moola_pipeline.storage.atomic_write import file_sha256
from moola_pipeline.windows.window_geometry import BARS_BEFORE, CORE_FIRST, CORE_LAST, WINDOW_BARS


def period(first: str, last: str, windows: int) -> LabelPeriod:
    return LabelPeriod(
        first_session=date.fromisoformat(first), last_session=date.fromisoformat(last), windows=windows
    )


YEAR = SimulationSettings(
    first_session=date(2021, 1, 1),
    last_session=date(2021, 12, 31),
    label_periods=(period("2021-01-01", "2021-06-30", 300), period("2021-07-01", "2021-12-31", 300)),
)
EXACT = YEAR.model_copy(update={"softness": 0.0, "miss_rate": 0.0, "slip_rate": 0.0, "type_slip_rate": 0.0})
TINY = SimulationSettings(
    first_session=date(2025, 6, 2),
    last_session=date(2025, 6, 6),
    label_periods=(period("2025-06-02", "2025-06-06", 10),),
    missing_share=0.0,
)
ROLLING = TINY.model_copy(
    update={
        "first_session": date(2025, 6, 12),
        "last_session": date(2025, 6, 18),
        "label_periods": (period("2025-06-12", "2025-06-18", 10),),
    }
)


@pytest.fixture(scope="module")
def market() -> SimulatedMarket:
    return simulate(YEAR)


@pytest.fixture(scope="module")
def labels(market: SimulatedMarket) -> pd.DataFrame:
    return draw_labels(market, YEAR)


def rows_of_windows(labels: pd.DataFrame, market: SimulatedMarket) -> np.ndarray:
    return pd.DatetimeIndex(market.bars["timestamp"]).get_indexer(pd.DatetimeIndex(labels["window_start"]))


def unmissed(marked: pd.DataFrame, true: pd.DataFrame) -> list[str]:
    """Windows in which as many expansions are marked as there are."""
    n_marked = collections.Counter(marked["window_id"])
    n_true = collections.Counter(true["window_id"])
    return [name for name, n in n_marked.items() if n == n_true[name]]


def ints(frame: pd.DataFrame, name: str) -> np.ndarray:
    return frame[name].to_numpy(np.int64)


def first_bar_of(market: SimulatedMarket, moment: str) -> int:
    return int(pd.DatetimeIndex(market.bars["timestamp"]).get_indexer([pd.Timestamp(moment, tz="UTC")])[0])


@pytest.fixture(scope="module")
def exact(market: SimulatedMarket) -> pd.DataFrame:
    return draw_labels(market, EXACT)


def rows_of_marks(marked: pd.DataFrame, market: SimulatedMarket) -> tuple[np.ndarray, np.ndarray]:
    """First and last bar of marked expansions as rows of the market's bars."""
    bar0 = rows_of_windows(marked, market)
    return bar0 + ints(marked, "expansion_start"), bar0 + ints(marked, "expansion_end")


def test_an_annotator_without_errors_marks_only_surges_of_the_required_clarity(
    market: SimulatedMarket, exact: pd.DataFrame
):
    view = visible_market(market, EXACT)
    onset, offset = rows_of_marks(expansions(exact), market)
    place = np.searchsorted(view.surges.onset, onset)
    assert (view.surges.onset[place] == onset).all() and (view.surges.offset[place] == offset).all()
    assert view.surges.clarity[place].min() >= EXACT.clear_from
    alike = place[view.planted[place] < 0]
    visible = (view.setups.range_atr <= NARROW_ATR) | (view.setups.leg_atr >= MIN_LEG_ATR)
    assert len(alike) > 30 and visible[alike].all()


def test_every_visible_planted_expansion_is_marked_with_its_type_and_no_hidden_one_is(
    market: SimulatedMarket, exact: pd.DataFrame
):
    view = visible_market(market, EXACT)
    evident = (view.planted >= 0) & (view.surges.clarity >= EXACT.clear_from)
    core = np.concatenate([np.arange(b + 30, b + 75) for b in np.unique(rows_of_windows(exact, market))])
    marked = expansions(exact)
    label = dict(zip(rows_of_marks(marked, market)[0].tolist(), marked["label"], strict=True))
    wanted = [number for number in np.flatnonzero(evident) if view.surges.onset[number] in set(core.tolist())]
    assert len(wanted) > 300
    assert [label[view.surges.onset[n]] for n in wanted] == [TYPES[view.planted[n]] for n in wanted]
    swallowed = np.flatnonzero((view.planted >= 0) & ~evident)
    assert len(swallowed) > 100
    assert not set(view.surges.onset[swallowed].tolist()) & set(label)


def test_misses_slips_and_type_errors_have_the_rates_of_the_settings(
    market: SimulatedMarket, exact: pd.DataFrame
):
    labels = draw_labels(market, YEAR.model_copy(update={"softness": 0.0}))
    true, marked = expansions(exact), expansions(labels)
    assert 1 - len(marked) / len(true) == pytest.approx(YEAR.miss_rate, abs=0.03)
    whole = unmissed(marked, true)
    labeled, true = marked.set_index("window_id").loc[whole], true.set_index("window_id").loc[whole]
    slip = np.abs(ints(labeled, "expansion_start") - ints(true, "expansion_start"))
    assert slip.max() == 1
    assert slip.mean() == pytest.approx(YEAR.slip_rate, abs=0.05)
    erred = [marked_as != kind for marked_as, kind in zip(labeled["label"], true["label"], strict=True)]
    assert np.mean(erred) == pytest.approx(YEAR.type_slip_rate, abs=0.025)


def test_labels_have_the_columns_of_every_label_file_and_lie_in_their_windows(labels: pd.DataFrame):
    assert tuple(labels.columns) == LABEL_COLUMNS
    assert labels["window_start"].is_monotonic_increasing
    marked = expansions(labels)
    start, end = ints(marked, "expansion_start"), ints(marked, "expansion_end")
    assert start.min() >= CORE_FIRST and start.max() <= CORE_LAST
    assert (end > start).all() and end.max() < WINDOW_BARS
    assert labels["window_id"].iloc[0] == f"sim-{labels['window_start'].iloc[0]:%Y%m%dT%H%M}"


def test_an_empty_window_has_no_other_row(labels: pd.DataFrame):
    n_rows = collections.Counter(labels["window_id"])
    empty = labels[labels["label"] == NONE]
    spans = pd.DataFrame(empty, columns=["expansion_start", "expansion_end"])
    assert spans.isna().to_numpy().all()
    assert {n_rows[name] for name in empty["window_id"]} == {1}
    assert 0.3 < len(empty) / len(n_rows) < 0.45


def test_where_expansions_thin_out_more_windows_are_empty():
    """Decoys are 60 % of the patterns after the break, 35 % before: 37 % empty windows become 61 %."""
    broken = in_scenario(SMOKE_SETTINGS, "regime_break")
    labels = draw_labels(simulate(broken), broken.model_copy(update={"miss_rate": 0.0, "softness": 0.0}))
    first = labels.loc[labels["pass"] == FIRST_PASS].drop_duplicates("window_id")
    after = first["window_start"] > pd.Timestamp(str(broken.break_session), tz="UTC")
    empty = first["label"] == NONE
    assert (after.sum(), (~after).sum()) == (40 + 50, 70)
    assert empty[~after].sum() == round(70 * 0.37)
    assert empty[after].sum() == round(40 * 0.612) + round(50 * 0.612)


def test_windows_lie_whole_in_a_segment_and_never_overlap(market: SimulatedMarket, labels: pd.DataFrame):
    bar0 = np.unique(rows_of_windows(labels, market))
    assert len(bar0) == 600
    assert np.diff(bar0).min() >= WINDOW_BARS
    segment = np.cumsum(market.segment_start)
    assert (segment[bar0 - BARS_BEFORE] == segment[bar0 + WINDOW_BARS - 1]).all()


def test_windows_of_two_periods_are_well_apart_and_as_many_as_set(
    market: SimulatedMarket, labels: pd.DataFrame
):
    bar0 = np.unique(rows_of_windows(labels, market))
    border = first_bar_of(market, "2021-06-30 22:00")
    assert (bar0 < border).sum() == (bar0 > border).sum() == 300
    assert bar0[bar0 > border].min() - (bar0[bar0 < border].max() + WINDOW_BARS) > 2 * WINDOW_BARS
    july = pd.DatetimeIndex(market.bars["timestamp"])[bar0[bar0 > border]]
    assert july.strftime("%Y-%m-%d").min() == "2021-07-01"


def test_the_position_in_the_window_tells_neither_an_expansion_nor_its_type(labels: pd.DataFrame):
    marked = expansions(labels)
    start = ints(marked, "expansion_start")
    retraced = marked["label"].to_numpy() == "retracement"
    thirds = np.histogram(start, [30, 45, 60, 75])[0] / len(start)
    assert np.abs(thirds - 1 / 3).max() < 0.07
    assert abs(start[retraced].mean() - start[~retraced].mean()) < 4
    assert retraced.mean() == pytest.approx(0.36, abs=0.07)


def test_labels_are_the_same_each_time_and_do_not_move_the_bars(
    market: SimulatedMarket, labels: pd.DataFrame
):
    assert content_digest(draw_labels(market, YEAR)) == content_digest(labels)
    assert content_digest(draw_labels(market, EXACT)) != content_digest(labels)


def test_a_second_pass_looks_at_the_same_windows_and_slips_elsewhere(
    market: SimulatedMarket, labels: pd.DataFrame
):
    first_half, second_half = YEAR.label_periods
    twice = second_half.model_copy(update={"passes": 2})
    both = draw_labels(market, YEAR.model_copy(update={"label_periods": (first_half, twice)}))
    first, second = both.loc[both["pass"] == 1], both.loc[both["pass"] == 2]

    assert content_digest(first.reset_index(drop=True)) == content_digest(labels)
    july = labels["window_start"] >= pd.Timestamp("2021-06-30 22:00Z")
    assert set(second["window_id"]) == set(labels.loc[july, "window_id"])
    in_common = pd.merge(
        expansions(first), expansions(second), on=["window_id", "expansion_start", "expansion_end", "label"]
    )
    share = len(in_common) / len(expansions(second))
    assert 0.2 < share < 0.5  # both marked, 4 ends of 5 unmoved, twice each, and both types right


def test_the_rolls_of_a_market_are_written_with_it_and_removed_when_it_has_none(tmp_path: Path):
    store = BarStore(tmp_path / "rolling", simulated=True)
    ensure_simulated(store, ROLLING)
    assert read_bars(store)["contract"].unique().tolist() == ["NQM5", "NQU5"]
    assert np.unique(read_bars(store)["segment"]).tolist() == [0, 1, 2, 3, 4, 5]
    ensure_simulated(store, TINY)
    assert not store.rolls.exists()


def test_another_instrument_is_recorded_as_such(tmp_path: Path):
    store = BarStore(tmp_path / "other", simulated=True)
    ensure_simulated(store, TINY.model_copy(update={"instrument": "ES"}))
    assert read_manifest(store).files[0].instrument == "ES"


def test_more_windows_than_fit_are_refused(market: SimulatedMarket):
    crowded = YEAR.model_copy(update={"label_periods": (period("2021-03-01", "2021-03-02", 40),)})
    with pytest.raises(
        ValueError, match=r"40 windows must fit into 2021-03-01\.\.2021-03-02, got room for \d+"
    ):
        draw_labels(market, crowded)


def test_a_written_market_is_read_like_any_other(tmp_path: Path):
    store = BarStore(tmp_path / "tiny", simulated=True)
    ensure_simulated(store, TINY)
    bars = read_bars(store)
    made = simulate(TINY)
    assert content_digest(bars, tuple(made.bars.columns)) == content_digest(made.bars)
    assert content_digest(pd.read_parquet(store.root / "truth.parquet")) == content_digest(made.truth)
    labels = read_labels(labels_file(store))
    assert content_digest(labels) == content_digest(draw_labels(made, TINY))
    placed = place_labels(labels, bars)
    assert len(placed.refused) == 0 and len(placed.frame) == len(labels)


def test_a_market_is_made_once_and_anew_for_other_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = BarStore(tmp_path / "tiny", simulated=True)
    ensure_simulated(store, TINY)
    before = store.manifest.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(published, "simulate", lambda settings: pytest.fail("made again"))
        ensure_simulated(store, TINY)
    assert store.manifest.read_bytes() == before
    ensure_simulated(store, TINY.model_copy(update={"seed": 99}))
    assert json.loads(store.manifest.read_text())["files"][0] != json.loads(before)["files"][0]
    assert len(read_bars(store)) == 5 * 1380
    monkeypatch.setattr(published, "GENERATOR_VERSION", 0)
    ensure_simulated(store, TINY)
    assert json.loads((store.root / "settings.json").read_text())["generator_version"] == 0


def test_a_partly_written_market_does_not_count_as_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = BarStore(tmp_path / "tiny", simulated=True)
    ensure_simulated(store, TINY)
    other = TINY.model_copy(update={"seed": 99})
    with monkeypatch.context() as patched:
        patched.setattr(simulated_annotator, "draw_labels", lambda market, settings: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ensure_simulated(store, other)
    assert not store.manifest.exists()
    ensure_simulated(store, TINY)
    assert len(read_bars(store)) == 5 * 1380


@pytest.mark.parametrize("content", [None, b"window_id\n"])
def test_changed_or_missing_labels_are_refused(tmp_path: Path, content: bytes | None):
    store = BarStore(tmp_path / "tiny", simulated=True)
    ensure_simulated(store, TINY)
    recorded, size = file_sha256(labels_file(store)), labels_file(store).stat().st_size
    labels_file(store).unlink()
    if content is not None:
        labels_file(store).write_bytes(content)
    expected = f"tiny/settings.json records SHA256 {recorded}, but the file is missing. "
    if content is not None:
        actual, cut = file_sha256(labels_file(store)), f"it ends after {len(content)} of {size:,} bytes"
        expected = f"SHA256 is {actual}, tiny/settings.json records {recorded}: {cut}. "
    with pytest.raises(ChecksumMismatch) as fault:
        ensure_simulated(store, TINY)
    assert str(fault.value) == (
        f"labels.csv: {expected}Delete the folder {store.root}: the next run generates it again."
    )


@pytest.mark.parametrize("emptied", [False, True])
def test_a_market_without_its_last_file_is_made_again(tmp_path: Path, emptied: bool):
    store = BarStore(tmp_path / "tiny", simulated=True)
    ensure_simulated(store, TINY)
    before = read_manifest(store).files[0].sha256
    store.manifest.unlink()
    if emptied:
        write_manifest(store, Manifest())
    ensure_simulated(store, TINY)
    assert [entry.sha256 for entry in read_manifest(store).files] == [before]


def test_a_changed_record_is_refused_and_the_market_kept(tmp_path: Path):
    store = BarStore(tmp_path / "tiny", simulated=True)
    ensure_simulated(store, TINY)
    record, bars = store.root / "settings.json", file_sha256(store.raw / "bars.parquet")
    whole = record.read_bytes()
    remedy = f"Delete the folder {store.root}: the next run generates it again."
    for damaged, kind in ((b"[]", IntegrityError), (whole[:-9], Truncated), (b" " + whole, ChecksumMismatch)):
        record.write_bytes(damaged)
        with pytest.raises(kind, match=r"settings.json must record the market, but .*") as fault:
            ensure_simulated(store, TINY)
        assert str(fault.value).endswith(remedy)
        assert file_sha256(store.raw / "bars.parquet") == bars


def test_the_checksum_of_the_ground_truth_is_checked_before_use(tmp_path: Path):
    store = BarStore(tmp_path / "tiny", simulated=True)
    ensure_simulated(store, TINY)
    assert content_digest(read_truth(store)) == content_digest(simulate(TINY).truth)
    path = store.root / "truth.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"2")
    for read in (read_truth, lambda store: ensure_simulated(store, TINY)):
        with pytest.raises(
            ChecksumMismatch, match=r"^truth.parquet: SHA256 is .*: the next run generates it again"
        ):
            read(store)


def test_two_processes_at_once_write_one_market(tmp_path: Path):
    store = BarStore(tmp_path / "tiny", simulated=True)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(ensure_simulated, [store] * 2, [TINY] * 2))
    assert [path.name for path in store.raw.iterdir()] == ["bars.parquet"]
    assert len(read_bars(store)) == 5 * 1380


def test_registered_bars_are_never_mixed_with_simulated_ones(tmp_path: Path):
    with pytest.raises(ValueError, match="must be stored apart from registered bars, got data"):
        ensure_simulated(BarStore(tmp_path / "data", simulated=False), TINY)
    assert list(tmp_path.iterdir()) == []
