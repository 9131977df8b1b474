"""The other made annotators mark what they go by, and type the bars before as they say."""

import numpy as np
import pytest

from moola_pipeline.bars.simulated import (
    SMOKE_SETTINGS,
    ScenarioName,
    SimulatedMarket,
    in_scenario,
    simulate,
)
from moola_pipeline.labels.other_eyes import CONSOLIDATION, RETRACEMENT, surges_seen
from moola_pipeline.labels.schema import expansions
from moola_pipeline.labels.simulated_annotator import draw_labels

START = 80


def bars(closes: list[float], busy: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Bars through these closes with half a point of wick; four from START have `busy` times the volume."""
    close = np.array(closes)
    opened = np.append(close[0], close[:-1])
    prices = np.column_stack(
        [opened, np.maximum(opened, close) + 0.5, np.minimum(opened, close) - 0.5, close]
    )
    volume = np.full(len(close), 100.0)
    volume[START : START + 4] *= busy
    return prices, volume


def flat_then(move: list[float], before: list[float] | None = None) -> list[float]:
    """A narrow market of START bars, ending with `before` if given; then the move; then flat."""
    flat = [100.0 + 0.25 * (i % 2) for i in range(START)]
    if before:
        flat[-len(before) :] = before
    last = flat[-1]
    return [*flat, *(last + step for step in move), *([last + move[-1]] * 40)]


def seen(eye: str, closes: list[float], busy: float = 1.0) -> list[tuple[int, int, int, bool]]:
    """First bar, last bar, type and whether it is marked, of everything the eye nearly marks."""
    prices, volume = bars(closes, busy)
    surges, types = surges_seen(eye, prices, volume, np.zeros(len(prices), np.int64))
    rows = zip(surges.onset, surges.offset, types, surges.clarity >= 1, strict=True)
    return [(int(a), int(b), int(kind), bool(marked)) for a, b, kind, marked in rows]


def test_the_eye_for_speed_marks_a_busy_move_and_passes_over_the_same_move_without_volume():
    move = [1.2, 2.4, 3.6, 4.8]
    (busy,) = seen("speed", flat_then(move), busy=4.0)
    assert busy == (START, START + 3, CONSOLIDATION, True)
    assert not any(marked for *_, marked in seen("speed", flat_then(move), busy=0.3))


def test_the_eye_for_speed_calls_a_drift_against_the_move_a_retracement():
    before = [100.0 - 0.3 * i for i in range(13)]
    (found,) = [it for it in seen("speed", flat_then([1.5, 3.0, 4.5, 6.0], before), busy=4.0) if it[3]]
    assert found == (START, START + 3, RETRACEMENT, True)


def test_the_eye_for_breaks_marks_a_close_beyond_the_range_and_none_inside_it():
    (found,) = seen("breaks", flat_then([1.5, 3.0, 4.5]))
    assert found == (START, START + 2, CONSOLIDATION, True)
    wide = [100.0 + 4 * np.sin(i / 3) for i in range(START)]
    inside = [*wide, *np.linspace(wide[-1], 100.0, 4).tolist(), *([100.0] * 40)]
    assert not [it for it in seen("breaks", inside) if it[0] >= START]


def test_the_eye_for_breaks_calls_a_wide_range_with_part_given_back_a_retracement():
    leg = [100.0 + 0.5 * i for i in range(10)]
    pullback = [104.0, 103.5, 103.0, 102.5, 102.0]
    found = seen("breaks", flat_then([3.5, 6.0], [*leg, *pullback]))
    assert (START, START + 1, RETRACEMENT, True) in found


def test_no_surge_overlaps_another_or_has_too_few_bars_before_it(market: SimulatedMarket):
    prices = market.bars[["open", "high", "low", "close"]].to_numpy()
    segment = np.cumsum(market.segment_start)
    age = np.arange(len(segment)) - np.flatnonzero(market.segment_start)[segment - 1]
    for eye in ("speed", "breaks"):
        surges, types = surges_seen(eye, prices, market.bars["volume"].to_numpy(float), segment)
        assert (surges.onset[1:] > surges.offset[:-1]).all()
        assert (age[surges.onset] >= 45).all() and (segment[surges.onset] == segment[surges.offset]).all()
        assert set(types.tolist()) == {CONSOLIDATION, RETRACEMENT}
        net = prices[surges.offset, 3] - prices[surges.onset, 0]
        assert np.array_equal(np.sign(net), surges.direction)


@pytest.fixture(scope="module")
def market() -> SimulatedMarket:
    return simulate(SMOKE_SETTINGS)


@pytest.mark.parametrize("name", ["speed_eye", "breaks_eye"])
def test_other_eyes_label_the_same_market_otherwise_with_both_types_in_every_period(
    market: SimulatedMarket, name: ScenarioName
):
    settings = in_scenario(SMOKE_SETTINGS, name)
    labels = draw_labels(market, settings)
    usual = draw_labels(market, SMOKE_SETTINGS)
    for period in settings.label_periods:
        month = labels.loc[
            (labels["window_start"].dt.date >= period.first_session)
            & (labels["window_start"].dt.date <= period.last_session)
        ]
        share = float(np.mean(expansions(month)["label"].to_numpy() == "retracement"))
        assert 0.2 < share < 0.7
    assert set(expansions(labels)["window_id"]) != set(expansions(usual)["window_id"])


def test_slips_make_no_expansions_of_a_window_overlap(market: SimulatedMarket):
    settings = in_scenario(SMOKE_SETTINGS, "speed_eye").model_copy(update={"slip_rate": 1.0})
    marked = expansions(draw_labels(market, settings))
    ends = marked.groupby(["window_id", "pass"])["expansion_end"].shift()
    apart = (marked["expansion_start"] - ends).dropna().to_numpy(np.int64)
    assert len(apart) > 20
    assert apart.min() == 1  # without the rule some are 0: they overlap
