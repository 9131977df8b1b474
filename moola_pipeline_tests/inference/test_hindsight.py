"""Hindsight: one window covers each bar, each expansion is reported once, nothing changes later."""

import numpy as np
import pandas as pd
import pytest
import torch

from moola_pipeline.inference import hindsight
from moola_pipeline.inference.hindsight import (
    EXPANSION_COLUMNS,
    Predictions,
    find_events,
    no_expansions,
    predict_expansions,
    predict_new,
)
from moola_pipeline.labels.schema import TYPES
from moola_pipeline.models.classifier import Classifier
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.models.expansion_model import ExpansionModel, Thresholds
from moola_pipeline.models.span_proposer import SpanProposer
from moola_pipeline.windows.dense import scan_windows, uncovered
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST, WINDOW_BARS
from moola_pipeline_tests.made_bars import TICK, made_bars, made_market

PROPOSER = SpanProposer(min_net_atr=1.5, min_efficiency=0.5, min_length=3, max_length=12, ordering="net")
BAR = pd.Timedelta(minutes=1)
OPENED = pd.Timestamp("2024-01-02T14:00Z")


def thresholds(**given: float) -> Thresholds:
    plain = {"expansion_scale": 1, "expansion_shift": 0, "expansion_threshold": 0}
    plain |= {"retracement_scale": 1, "retracement_shift": 0, "retracement_threshold": 0.5, "refine": False}
    return Thresholds.model_validate({**plain, **given})


@pytest.fixture(autouse=True)
def sessions_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """All sessions are over; `test_open_session` covers open ones."""
    monkeypatch.setattr(hindsight, "last_grows", lambda table: False)


@pytest.fixture(scope="module")
def market_table() -> pd.DataFrame:
    """Four segments of 400 bars with expansions planted in them."""
    return table(made_market(4).bars)


@pytest.fixture(scope="module")
def model(market_table: pd.DataFrame) -> ExpansionModel:
    """A span proposer and an untrained network that reports every proposal."""
    torch.manual_seed(5)
    market = MarketArrays.from_table(market_table, TICK)
    encoder = Encoder(8)
    encoder.set_scale(torch.from_numpy(market.features[market.warm]))
    return ExpansionModel(Classifier(encoder, 4, 0.1).eval(), PROPOSER, thresholds())


def table(bars: MarketArrays) -> pd.DataFrame:
    """Canonical bars; a segment opens each day at 14:00 UTC."""
    first = np.flatnonzero(np.diff(bars.segment, prepend=-1))
    minute = np.arange(len(bars.segment)) - first[bars.segment]
    opened = OPENED + pd.to_timedelta(bars.segment, unit="D") + pd.to_timedelta(minute, unit="min")
    frame = pd.DataFrame(bars.prices, columns=["open", "high", "low", "close"])
    frame.insert(0, "timestamp", pd.DatetimeIndex(opened).as_unit("ns"))
    session = pd.Timestamp("2024-01-02") + pd.to_timedelta(bars.segment, unit="D")
    return frame.assign(segment=bars.segment.astype(np.int32), session=session.as_unit("ns"))


def marked(model: ExpansionModel, bars: pd.DataFrame) -> Predictions:
    return predict_expansions(model, bars, TICK, "3")


def rows_of(bars: pd.DataFrame, times: pd.DataFrame, name: str) -> np.ndarray:
    """Row of the bar that opens at each time of a column."""
    return np.searchsorted(bars["timestamp"].to_numpy(), times[name].to_numpy())


def with_events(monkeypatch: pytest.MonkeyPatch, *events: tuple[int, int, int, float]) -> None:
    """Make the model report these events: window, onset, end, probability."""
    frame = pd.DataFrame(events, columns=["window", "start", "end", "probability"])
    frame = frame.assign(direction=1, type=0, p_retracement=0.25, p_balanced=0.25)
    monkeypatch.setattr(hindsight, "find_events", lambda *args: frame.astype({"window": np.int64}))


def spans(predictions: Predictions) -> list[tuple[int, int]]:
    """First and last bar of each expansion, in minutes from the first bar of the table."""
    found = predictions.expansions
    first, last = ((found[name] - OPENED) // BAR for name in ("started_at", "ended_at"))
    return list(zip(first.tolist(), last.tolist(), strict=True))


def test_one_window_of_a_segment_worked_by_hand(model: ExpansionModel, monkeypatch: pytest.MonkeyPatch):
    with_events(monkeypatch, (0, 30, 36, 0.9), (0, 29, 33, 0.9), (0, 75, 80, 0.9), (0, 74, 104, 0.5))
    found = marked(model, table(made_bars(1, n_bars=145)))
    assert found.n_windows == 1
    assert spans(found) == [(70, 76), (114, 144)]
    first = found.expansions.iloc[0]
    assert first["window_start"] == OPENED + 40 * BAR
    assert first["decided_at"] == OPENED + 144 * BAR
    assert first[["direction", "label", "mode", "model_version"]].tolist() == [
        "up",
        TYPES[0],
        "hindsight",
        "3",
    ]
    assert first[["probability", "p_retracement"]].tolist() == [0.9, 0.25]
    assert found.not_covered.to_dict("list") == {
        "from": [OPENED, OPENED + 115 * BAR],
        "to": [OPENED + 69 * BAR, OPENED + 144 * BAR],
        "bars": [70, 30],
    }


def test_a_segment_too_short_for_a_window_is_not_covered_at_all(model: ExpansionModel):
    found = marked(model, table(made_bars(2, n_bars=144)))
    assert found.n_windows == 0
    assert found.expansions.empty
    assert found.not_covered["bars"].tolist() == [144, 144]
    assert found.not_covered["from"].tolist() == [OPENED, OPENED + pd.Timedelta(days=1)]


def test_empty_predictions_have_the_same_columns_and_dtypes(
    model: ExpansionModel, market_table: pd.DataFrame
):
    some = marked(model, market_table)
    none = marked(model, table(made_bars(1, n_bars=144)))
    silent = ExpansionModel(
        model.classifier, PROPOSER, thresholds(expansion_shift=-99, expansion_threshold=1)
    )
    unsure = marked(silent, market_table)
    assert len(some.expansions) > 0
    for empty in (none, unsure, no_expansions()):
        assert empty.expansions.empty
        assert list(empty.expansions.columns) == list(EXPANSION_COLUMNS)
        pd.testing.assert_series_equal(empty.expansions.dtypes, some.expansions.dtypes)
        pd.testing.assert_series_equal(empty.not_covered.dtypes, some.not_covered.dtypes)


def test_expansions_come_in_order_of_time_and_never_overlap(
    model: ExpansionModel, market_table: pd.DataFrame
):
    found = marked(model, market_table).expansions
    started, ended = found["started_at"].to_numpy(), found["ended_at"].to_numpy()
    assert len(found) > 8
    assert (started <= ended).all()
    assert (started[1:] > ended[:-1]).all()


def test_every_onset_lies_where_a_window_can_report_it(model: ExpansionModel, market_table: pd.DataFrame):
    found = marked(model, market_table)
    rows = rows_of(market_table, found.expansions, "started_at")
    missed = uncovered(market_table["segment"].to_numpy())
    assert not missed[rows].any()
    assert found.not_covered["bars"].sum() == missed.sum()
    onset = rows - rows_of(market_table, found.expansions, "window_start")
    assert ((onset >= CORE_FIRST) & (onset <= CORE_LAST)).all()


def test_the_first_of_two_windows_reports_an_onset_in_both_cores(
    model: ExpansionModel, monkeypatch: pytest.MonkeyPatch
):
    bars = table(made_bars(1, n_bars=160))  # windows at bars 40 and 55: the second owns onsets from bar 115
    with_events(monkeypatch, (0, 50, 55, 0.5), (1, 35, 45, 0.9), (1, 59, 64, 0.9), (1, 60, 70, 0.9))
    assert spans(marked(model, bars)) == [(90, 95), (115, 125)]


def test_windows_read_together_give_the_events_of_each_alone(
    model: ExpansionModel, market_table: pd.DataFrame
):
    market = MarketArrays.from_table(market_table, TICK)
    bar0, _ = scan_windows(market.segment)
    together = find_events(model, market, bar0)
    for window in range(0, len(bar0), 5):
        alone = find_events(model, market, bar0[window : window + 1])
        part = together.loc[together["window"] == window].assign(window=0).reset_index(drop=True)
        pd.testing.assert_frame_equal(alone, part, rtol=1e-5)


def test_later_segments_never_change_earlier_expansions(model: ExpansionModel, market_table: pd.DataFrame):
    whole = marked(model, market_table)
    for n_bars in (400, 800, 1200):
        before = marked(model, market_table.iloc[:n_bars])
        last = market_table["timestamp"].iloc[n_bars - 1]
        then = whole.expansions.loc[whole.expansions["started_at"] <= last].reset_index(drop=True)
        pd.testing.assert_frame_equal(before.expansions, then, rtol=1e-5)
        missed = whole.not_covered.loc[whole.not_covered["to"] <= last].reset_index(drop=True)
        pd.testing.assert_frame_equal(before.not_covered, missed)


def test_the_more_probable_of_two_overlapping_expansions_stays(
    model: ExpansionModel, monkeypatch: pytest.MonkeyPatch
):
    bars = table(made_bars(1, n_bars=145))
    with_events(monkeypatch, (0, 40, 50, 0.6), (0, 45, 55, 0.8), (0, 56, 60, 0.1))
    assert spans(marked(model, bars)) == [(85, 95), (96, 100)]
    with_events(monkeypatch, (0, 40, 50, 0.9), (0, 45, 55, 0.8))
    assert spans(marked(model, bars)) == [(80, 90)]


def test_predict_new_gives_the_expansions_of_the_new_windows(
    model: ExpansionModel, market_table: pd.DataFrame
):
    market = MarketArrays.from_table(market_table, TICK)
    new = predict_new(model, market, 800, "3")
    whole = marked(model, market_table)
    late = whole.expansions.loc[whole.expansions["window_start"] >= market_table["timestamp"].iloc[800]]
    pd.testing.assert_frame_equal(new.expansions, late.reset_index(drop=True), rtol=1e-5)
    assert new.n_windows == whole.n_windows // 2


def test_the_chunk_size_changes_no_expansion(
    model: ExpansionModel, market_table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
):
    whole = marked(model, market_table).expansions
    monkeypatch.setattr(hindsight, "CHUNK_WINDOWS", 3)
    pd.testing.assert_frame_equal(marked(model, market_table).expansions, whole, rtol=1e-5)


def test_an_expansion_is_decided_at_the_last_bar_of_its_window(
    model: ExpansionModel, market_table: pd.DataFrame
):
    found = marked(model, market_table).expansions
    assert set(found["decided_at"] - found["window_start"]) == {(WINDOW_BARS - 1) * BAR}
    assert (found["ended_at"] <= found["decided_at"]).to_numpy().all()
