"""Live alarms: no later bar changes one, and new bars give the same alarms as the whole table."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from moola_pipeline.errors import BadInput
from moola_pipeline.inference.hindsight import EXPANSION_COLUMNS
from moola_pipeline.inference.live import find_alarms, predict_live, predict_live_new
from moola_pipeline.labels.schema import TYPES
from moola_pipeline.models.classifier import Classifier
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.models.expansion_model import ExpansionModel, Thresholds
from moola_pipeline.models.live import LiveThresholds
from moola_pipeline.models.span_proposer import SpanProposer
from moola_pipeline.windows.dense import live_windows
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import LIVE_BARS, WAITS
from moola_pipeline_tests.inference.test_hindsight import BAR, OPENED, table
from moola_pipeline_tests.made_bars import SEGMENT_BARS, TICK, made_market, with_prices

torch.set_num_threads(1)
MARKET = made_market(3)
BARS = table(MARKET.bars)
LIVE = LiveThresholds(min_net_atr=0.5, scale=1.0, shift=0.0, thresholds=dict.fromkeys(WAITS, 0.55))


@pytest.fixture(scope="module")
def model() -> ExpansionModel:
    """A network with random weights, and thresholds that some of its probabilities exceed."""
    torch.manual_seed(3)
    market = MarketArrays.from_table(BARS, TICK)
    encoder = Encoder(8)
    encoder.set_scale(torch.from_numpy(market.features[market.warm]))
    network = Classifier(encoder, 8, 0.1)
    with torch.no_grad():
        network.judge_head.outer.weight.mul_(4)
    proposer = SpanProposer(min_net_atr=1.5, min_efficiency=0.5, min_length=3, max_length=12, ordering="net")
    thresholds = Thresholds(
        expansion_scale=1,
        expansion_shift=0,
        expansion_threshold=0.5,
        retracement_scale=1,
        retracement_shift=0,
        retracement_threshold=0.5,
        refine=False,
        live=LIVE,
    )
    return ExpansionModel(network.eval(), proposer, thresholds)


def raised(model: ExpansionModel, bars: pd.DataFrame, max_wait: int = 10) -> pd.DataFrame:
    return predict_live(model, bars, TICK, "3", max_wait=max_wait).expansions


def test_an_alarm_has_the_columns_of_an_expansion_and_a_null_end(model: ExpansionModel):
    found = raised(model, BARS)
    assert list(found) == list(EXPANSION_COLUMNS)
    assert len(found) > 10
    assert found["ended_at"].isna().to_numpy().all()
    assert (found["started_at"] <= found["decided_at"]).to_numpy().all()
    assert (found["decided_at"] - found["started_at"] <= 10 * BAR).to_numpy().all()
    assert set(found["decided_at"] - found["window_start"]) == {(LIVE_BARS - 1) * BAR}
    assert set(found["mode"]) == {"live"} and set(found["model_version"]) == {"3"}
    assert set(found["direction"]) == {"up", "down"} and set(found["label"]) <= set(TYPES)
    assert (found["probability"] >= 0.55).to_numpy().all()
    assert found["decided_at"].is_monotonic_increasing
    assert {str(found[name].dtype) for name in ("started_at", "ended_at", "decided_at")} == {
        "datetime64[ns, UTC]"
    }


@pytest.mark.parametrize("last", [90, 237, SEGMENT_BARS + 100, SEGMENT_BARS + 311])
@pytest.mark.parametrize("max_wait", [0, 10])
def test_scrambling_every_later_bar_changes_no_alarm_decided_before(
    model: ExpansionModel, last: int, max_wait: int
):
    later = np.arange(last + 1, len(BARS))
    other = table(with_prices(MARKET.bars, later, np.random.default_rng(last)))
    before, after = (raised(model, bars, max_wait) for bars in (BARS, other))
    now = BARS["timestamp"].iloc[last]
    first, second = (alarms.loc[alarms["decided_at"] <= now] for alarms in (before, after))
    pd.testing.assert_frame_equal(first.reset_index(drop=True), second.reset_index(drop=True), rtol=1e-5)
    assert len(before) and not before.equals(after)


def test_the_first_bars_give_the_same_alarms_alone_as_in_the_whole_table(model: ExpansionModel):
    whole, part = raised(model, BARS), raised(model, BARS.iloc[:700])
    known = whole.loc[whole["decided_at"] <= BARS["timestamp"].iloc[699]]
    pd.testing.assert_frame_equal(part, known.reset_index(drop=True), rtol=1e-5)


@pytest.mark.parametrize("step", [61, SEGMENT_BARS])
def test_new_bars_in_steps_give_the_alarms_of_the_whole_table(model: ExpansionModel, step: int):
    parts = []
    for first in range(0, len(BARS), step):
        known = BARS.iloc[: first + step]
        market = MarketArrays.from_table(known, TICK)
        parts.append(predict_live_new(model, market, first, "3").expansions)
    joined = pd.concat(parts, ignore_index=True)
    pd.testing.assert_frame_equal(joined, raised(model, BARS), rtol=1e-5)


def test_no_move_raises_a_second_alarm(model: ExpansionModel):
    found = raised(model, BARS)
    for _, alarms in found.groupby([found["decided_at"].dt.date, "direction"]):
        assert (alarms.loc[:, "started_at"].sort_values().diff().dropna() > 10 * BAR).to_numpy().all()


def test_the_first_75_bars_of_a_segment_are_not_covered(model: ExpansionModel):
    found = predict_live(model, BARS, TICK, "3")
    assert found.not_covered["bars"].tolist() == [75, 75, 75]
    assert found.not_covered["from"].iloc[0] == OPENED
    assert found.not_covered["to"].iloc[0] == OPENED + 74 * BAR
    assert found.n_windows == 3 * (SEGMENT_BARS - 75)


def test_no_alarm_comes_later_than_the_wait_of_its_system(model: ExpansionModel):
    market = MarketArrays.from_table(BARS, TICK)
    bar0 = live_windows(market.segment)
    alarms = find_alarms(model, market, bar0, market.segment[bar0])
    assert set(alarms["wait"]) == set(WAITS)
    assert (alarms["closed"] - alarms["start"] <= alarms["wait"]).to_numpy().all()
    alone = find_alarms(model, market, bar0, market.segment[bar0], (3,))
    together = alarms.loc[alarms["wait"] == 3].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, together)


def test_too_few_bars_give_no_alarms(model: ExpansionModel):
    found = predict_live(model, BARS.iloc[:60], TICK, "3")
    assert found.expansions.empty and list(found.expansions) == list(EXPANSION_COLUMNS)
    assert found.n_windows == 0


def test_a_wait_that_was_not_fitted_is_refused(model: ExpansionModel):
    with pytest.raises(BadInput, match=r"max_wait must be one of 0, 1, 3, 5, 10 bars, got 2\."):
        raised(model, BARS, 2)


def test_a_model_that_was_not_trained_for_live_mode_is_refused(model: ExpansionModel):
    hindsight_only = replace(model, thresholds=model.thresholds.model_copy(update={"live": None}))
    with pytest.raises(BadInput, match=r"version 3 must be trained for live mode, but it was not\."):
        raised(hindsight_only, BARS)
