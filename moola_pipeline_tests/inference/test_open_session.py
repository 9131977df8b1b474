"""Open sessions: later bars change no reported expansion, and the closed session gives all of them."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
import torch

from moola_pipeline.bars.schema import RAW_COLUMNS
from moola_pipeline.bars.simulated import SimulationSettings, simulate
from moola_pipeline.bars.table import build_table
from moola_pipeline.inference.hindsight import predict_expansions
from moola_pipeline.inference.open_session import is_settled, last_grows, waiting_bars
from moola_pipeline.models.classifier import Classifier
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.models.expansion_model import ExpansionModel, Thresholds
from moola_pipeline.models.span_proposer import SpanProposer
from moola_pipeline.windows.dense import scan_windows, uncovered
from moola_pipeline.windows.market_arrays import MarketArrays

TICK = 0.25
FIRST_DAY, LAST_DAY = date(2025, 6, 2), date(2025, 6, 4)
SURE = ["started_at", "ended_at", "direction", "label"]


@pytest.fixture(scope="module")
def raw() -> pd.DataFrame:
    """Three whole sessions."""
    made = simulate(SimulationSettings(first_session=FIRST_DAY, last_session=LAST_DAY, label_periods=()))
    return made.bars.loc[:, list(RAW_COLUMNS)]


@pytest.fixture(scope="module")
def model(raw: pd.DataFrame) -> ExpansionModel:
    """A span proposer and an untrained network that reports every proposal."""
    torch.manual_seed(5)
    market = MarketArrays.from_table(build_table(raw, None), TICK)
    encoder = Encoder(8)
    encoder.set_scale(torch.from_numpy(market.features[market.warm]))
    proposer = SpanProposer(min_net_atr=1.5, min_efficiency=0.5, min_length=3, max_length=20, ordering="net")
    reports_all = Thresholds(
        expansion_scale=1,
        expansion_shift=0,
        expansion_threshold=0,
        retracement_scale=1,
        retracement_shift=0,
        retracement_threshold=0.5,
        refine=False,
    )
    return ExpansionModel(Classifier(encoder, 4, 0.1).eval(), proposer, reports_all)


def found(model: ExpansionModel, raw: pd.DataFrame) -> pd.DataFrame:
    return predict_expansions(model, build_table(raw, None), TICK, "1").expansions


def test_a_session_is_over_when_its_last_minute_is_present(raw: pd.DataFrame):
    times = pd.DatetimeIndex(build_table(raw, None)["timestamp"])
    assert not last_grows(times)
    assert last_grows(times[:-1])
    assert last_grows(times[:900])
    assert not last_grows(times[:0])


def test_a_session_that_closes_early_is_over_early():
    before_christmas = pd.date_range("2024-12-24 14:30", "2024-12-24 18:14", freq="min", tz="UTC")
    assert not last_grows(before_christmas)
    assert last_grows(before_christmas[:-1])


def test_windows_of_an_open_segment_worked_by_hand():
    segment = np.repeat([0, 1], [200, 200])
    bar0, owned_from = scan_windows(segment, last_grows=True)
    assert bar0.tolist() == [40, 85, 95, 240, 285]
    assert owned_from.tolist() == [30, 30, 65, 30, 30]
    missed = uncovered(segment, last_grows=True)
    assert np.flatnonzero(~missed[200:]).tolist() == list(range(70, 160))
    assert waiting_bars(segment, missed) == 40
    assert uncovered(segment[:300], last_grows=True)[200:].all()
    # rows 270 to 359 are covered: a later expansion may replace a span that ends after them
    first, last = np.array([[350, 359], [350, 360], [150, 199]]).T
    assert is_settled(first, last, segment, missed).tolist() == [True, False, True]
    assert is_settled(first, last, segment[:300], uncovered(segment[:300], last_grows=True)).all()


def test_reported_expansions_stay_as_bars_are_added(model: ExpansionModel, raw: pd.DataFrame):
    whole = found(model, raw)
    rng = np.random.default_rng(2)
    cuts = sorted(
        {145, 150, 1379, 1380, 1381, 2759, 2760, len(raw), *rng.integers(145, len(raw), 16).tolist()}
    )
    counts = []
    for n_bars in cuts:
        now = found(model, raw.iloc[:n_bars])
        pd.testing.assert_frame_equal(now, whole.head(len(now)), rtol=1e-4)
        counts.append(len(now))
    assert counts == sorted(counts)
    assert counts[-1] == len(whole) > 30
    assert len(set(counts)) > 10


def test_a_later_expansion_replaces_none_that_was_reported(model: ExpansionModel, raw: pd.DataFrame):
    """The hardest case is an expansion across the end of a core, hence a cut every 7 bars."""
    whole = found(model, raw.iloc[:600])
    for n_bars in range(300, 480, 7):
        now = found(model, raw.iloc[:n_bars])
        pd.testing.assert_frame_equal(now.loc[:, SURE], whole.loc[:, SURE].head(len(now)))


def test_a_file_per_session_gives_the_expansions_of_one_file(model: ExpansionModel, raw: pd.DataFrame):
    session = build_table(raw, None)["session"]
    days = [found(model, day) for _, day in raw.groupby(session.to_numpy())]
    assert len(days) == 3
    pd.testing.assert_frame_equal(pd.concat(days, ignore_index=True), found(model, raw), rtol=1e-4)


def test_waiting_bars_are_counted_and_none_wait_in_a_closed_session(model: ExpansionModel, raw: pd.DataFrame):
    cut = predict_expansions(model, build_table(raw.iloc[:1000], None), TICK, "1")
    assert cut.n_waiting == 1000 - 70 - 45 * ((1000 - 145) // 45 + 1)
    assert cut.not_covered["bars"].tolist() == [70, cut.n_waiting]
    assert predict_expansions(model, build_table(raw, None), TICK, "1").n_waiting == 0
