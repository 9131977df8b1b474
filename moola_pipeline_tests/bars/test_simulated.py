"""The simulated market: valid bars in real sessions, and expansions where they were planted."""

import time
from datetime import date

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy.stats import kurtosis, mannwhitneyu

from moola_pipeline.bars.instruments import NQ
from moola_pipeline.bars.roll_proposals import propose_rolls
from moola_pipeline.bars.schema import PRICE_COLUMNS, RAW_COLUMNS, content_digest
from moola_pipeline.bars.sessions import NEW_YORK, session_minutes, session_of
from moola_pipeline.bars.simulated import (
    FULL_SETTINGS,
    SCENARIOS,
    SMOKE_SETTINGS,
    TRUTH_COLUMNS,
    LabelPeriod,
    ScenarioName,
    SimulatedMarket,
    SimulationSettings,
    in_scenario,
    simulate,
)
from moola_pipeline.bars.simulated.plan import (
    APPROACH,
    CONSOLIDATION,
    EXPANSION,
    PULLBACK,
    RETRACEMENT,
    SECOND_EXPANSION,
    SETUP,
    Patterns,
    Phase,
    Phases,
    draw_patterns,
    expansions,
    place_patterns,
    plan_bars,
)
from moola_pipeline.bars.table import build_table

HALF_YEAR = SimulationSettings(
    first_session=date(2021, 4, 1), last_session=date(2021, 9, 30), label_periods=()
)


@pytest.fixture(scope="module")
def market() -> SimulatedMarket:
    return simulate(HALF_YEAR)


def two_patterns() -> Patterns:
    """A bare surge of 2 bars, and a consolidation of 20 bars before a surge of 3."""
    phases = Phases.none(2)
    both, second = np.array([True, True]), np.array([False, True])
    ones = np.ones(2)
    phases.fill(SETUP, second, Phase(np.array([0, 20]), 0 * ones, 0.5 * ones, pull=0.2))
    phases.fill(EXPANSION, both, Phase(np.array([2, 3]), np.array([-2.0, 6.0]), ones))
    kind = np.array([2, CONSOLIDATION])
    return Patterns(kind, np.array([-1, 1]), np.array([False, True]), np.array([5, 8]), phases)


def test_patterns_do_not_overlap_or_cross_a_segment():
    patterns = two_patterns()
    assert place_patterns(patterns, np.array([100])).tolist() == [12 + 5, 12 + 5 + 2 + 8]
    assert place_patterns(patterns, np.array([50, 100])).tolist() == [17, 50 + 12 + 8]
    assert place_patterns(patterns, np.array([50, 40])).tolist() == [17]


def test_a_plan_spreads_each_phase_over_its_own_bars():
    plan = plan_bars(two_patterns(), np.array([17, 27]), 100, np.random.default_rng(0))
    assert plan.drift[17:19].sum() == pytest.approx(-2)
    assert plan.drift[47:50].sum() == pytest.approx(6)
    assert np.flatnonzero(plan.drift).tolist() == [17, 18, 47, 48, 49]
    assert np.flatnonzero(plan.pull).tolist() == list(range(27, 47))
    assert np.flatnonzero(plan.noise == 0.5).tolist() == list(range(27, 47))
    assert np.flatnonzero(plan.anew).tolist() == [17, 27, 47]


def test_only_surges_of_complete_patterns_are_expansions():
    found = expansions(two_patterns(), np.array([17, 27]))
    assert (found.onset.tolist(), found.offset.tolist()) == ([47], [49])
    assert (found.kind.tolist(), found.direction.tolist()) == ([CONSOLIDATION], [1])


def test_a_retracement_gives_back_part_of_its_leg_and_a_surge_follows_the_leg():
    patterns = draw_patterns(4000, 60, 0.35, 0.4, np.random.default_rng(1))
    drift, length = patterns.phases.drift, patterns.phases.length
    legs = patterns.kind == RETRACEMENT
    retraced_share = -drift[legs, SETUP] / drift[legs, APPROACH]
    assert retraced_share.min() >= 0.25 and retraced_share.max() <= 0.65
    again = length[:, SECOND_EXPANSION] > 0
    assert again.any() and (length[again, PULLBACK] >= 5).all()
    for rows, phase in ((legs, APPROACH), (patterns.complete, EXPANSION), (again, SECOND_EXPANSION)):
        assert (np.sign(drift[rows, phase]) == patterns.direction[rows]).all()
    assert patterns.phases.same_unit[legs, SETUP].all()


@pytest.mark.parametrize("share", [0.0, 0.23, 0.4, 1.0])
def test_the_share_of_retracements_equals_the_setting(share: float):
    patterns = draw_patterns(20_000, 60, 0.35, share, np.random.default_rng(2))
    found = expansions(patterns, np.cumsum(patterns.phases.length.sum(axis=1)))
    assert (found.kind == RETRACEMENT).mean() == pytest.approx(share, abs=0.015)


def test_equal_settings_give_equal_bars_and_another_seed_other_bars(market: SimulatedMarket):
    short = HALF_YEAR.model_copy(update={"last_session": date(2021, 4, 9)})
    digests = [content_digest(simulate(s).bars) for s in (short, short, short.model_copy(update={"seed": 1}))]
    assert digests[0] == digests[1] != digests[2]
    assert content_digest(market.bars) == content_digest(simulate(HALF_YEAR).bars)


def test_bars_open_in_session_minutes_and_a_few_quiet_minutes_are_missing(market: SimulatedMarket):
    minutes = session_minutes(HALF_YEAR.first_session, HALF_YEAR.last_session)
    missing = minutes[~minutes.isin(pd.DatetimeIndex(market.bars["timestamp"]))]
    assert tuple(market.bars.columns) == RAW_COLUMNS
    assert market.bars["timestamp"].dtype == "datetime64[ns, UTC]"
    assert len(market.bars) + len(missing) == len(minutes)
    assert 0 < len(missing) < 0.0005 * len(minutes)
    assert (missing.tz_convert(NEW_YORK).hour != 10).all()
    whole = simulate(HALF_YEAR.model_copy(update={"missing_share": 0.0}))
    assert pd.DatetimeIndex(whole.bars["timestamp"]).equals(minutes)
    assert whole.truth["started_at"].tolist() == market.truth["started_at"].tolist()


def test_a_roll_has_a_price_step_and_begins_a_segment():
    settings = SimulationSettings(
        first_session=date(2023, 2, 1), last_session=date(2023, 6, 30), label_periods=()
    )
    market = simulate(settings)
    assert market.rolls.to_numpy().tolist() == [
        [pd.Timestamp("2023-03-13 05:01Z"), "NQH3", "NQM3"],
        [pd.Timestamp("2023-06-12 05:01Z"), "NQM3", "NQU3"],
    ]
    row = pd.DatetimeIndex(market.bars["timestamp"]).get_indexer(pd.DatetimeIndex(market.rolls["time"]))
    step = market.bars["open"].to_numpy()[row] / market.bars["close"].to_numpy()[row - 1] - 1
    assert step == pytest.approx([0.0108, 0.0108], abs=0.0015)
    assert market.segment_start[row].all()
    table = build_table(market.bars, market.rolls)
    assert np.array_equal(
        np.flatnonzero(market.segment_start)[1:], np.flatnonzero(table["segment"].diff() > 0)
    )


def test_the_proposed_rolls_of_a_simulated_market_are_its_rolls():
    settings = SimulationSettings(
        first_session=date(2022, 5, 2), last_session=date(2023, 6, 30), label_periods=()
    )
    market = simulate(settings)
    found = propose_rolls(market.bars, NQ)
    assert found.rolls["time"].tolist() == market.rolls["time"].tolist()
    assert found.unfound == ()


def test_segments_begin_at_sessions_and_after_the_afternoon_halt(market: SimulatedMarket):
    session = session_of(pd.DatetimeIndex(market.bars["timestamp"])).to_numpy()
    assert market.segment_start[np.flatnonzero(np.diff(session)) + 1].all()
    starts = session[market.segment_start]
    assert (starts == np.datetime64("2021-06-25")).sum() == 2
    assert (starts == np.datetime64("2021-06-28")).sum() == 1


def test_bars_are_valid_and_on_the_tick_grid(market: SimulatedMarket):
    prices = market.bars[list(PRICE_COLUMNS)].to_numpy()
    assert np.array_equal(np.round(prices / NQ.tick_points) * NQ.tick_points, prices)
    assert (prices[:, 1] == prices.max(axis=1)).all()
    assert (prices[:, 2] == prices.min(axis=1)).all()
    assert market.bars["volume"].dtype == "Int64"
    assert market.bars["volume"].to_numpy().min() > 0


def test_expansions_lie_in_one_segment_and_move_as_planted(market: SimulatedMarket):
    truth, bars = market.truth, market.bars
    assert tuple(truth.columns) == TRUTH_COLUMNS
    segment = np.cumsum(market.segment_start)
    onset, offset = truth["onset"].to_numpy(), truth["offset"].to_numpy()
    assert (segment[onset] == segment[offset]).all()
    assert (onset[1:] > offset[:-1]).all()
    assert (bars["timestamp"].to_numpy()[onset] == truth["started_at"].to_numpy()).all()
    assert (bars["timestamp"].to_numpy()[offset] == truth["ended_at"].to_numpy()).all()
    length = offset - onset + 1
    assert length.min() >= 2 and length.max() <= 14 and 3 <= np.median(length) <= 4
    moved = np.sign(bars["close"].to_numpy()[offset] - bars["open"].to_numpy()[onset])
    assert (moved == truth["direction"]).mean() > 0.95  # noise hides some, as in real bars


def test_the_type_is_predictable_from_the_bars_before_but_not_from_a_single_bar(market: SimulatedMarket):
    truth, bars = market.truth, market.bars
    onset = truth["onset"].to_numpy()
    close, high, low = (bars[name].to_numpy() for name in ("close", "high", "low"))
    before = onset[:, None] - np.arange(30, 0, -1)
    reach = high[before].max(axis=1) - low[before].min(axis=1)
    mean_range = (high[before] - low[before]).mean(axis=1)
    retraced = (truth["type"] == "retracement").to_numpy()
    pulled_back = (close[onset - 1] - close[onset - 10]) / mean_range * truth["direction"].to_numpy()
    for statistic in (reach / mean_range, pulled_back):
        assert mannwhitneyu(statistic[retraced], statistic[~retraced]).pvalue < 1e-9
    last_bar = np.sign(close[onset - 1] - close[onset - 2]) == truth["direction"]
    assert abs(last_bar[retraced].mean() - last_bar[~retraced].mean()) < 0.3


def test_returns_are_fat_tailed_and_nearly_uncorrelated_while_their_size_clusters(market: SimulatedMarket):
    log_close = np.log(market.bars["close"].to_numpy())
    moves = pd.Series(np.diff(log_close, prepend=log_close[0])[~market.segment_start])
    assert kurtosis(moves) > 20
    assert abs(moves.autocorr(1)) < 0.04
    assert moves.abs().autocorr(1) > 0.2
    assert moves.abs().autocorr(30) > 0.15


def test_variance_of_summed_moves_equals_that_of_a_random_walk(market: SimulatedMarket):
    """Variance ratio 1: neither surges nor aftermaths make a tradable trend."""
    log_close = np.log(market.bars["close"].to_numpy())
    segment = np.cumsum(market.segment_start)

    def variance(n_bars: int) -> float:
        return (log_close[n_bars:] - log_close[:-n_bars])[segment[n_bars:] == segment[:-n_bars]].var()

    for n_bars in (2, 5, 15, 60):
        assert variance(n_bars) / n_bars / variance(1) == pytest.approx(1, abs=0.1)


def test_new_york_is_more_volatile_than_asia_and_prices_stay_near_their_levels(market: SimulatedMarket):
    _, high, low, close = market.bars[list(PRICE_COLUMNS)].to_numpy().T
    hour = pd.DatetimeIndex(market.bars["timestamp"]).tz_convert(NEW_YORK).hour
    median_range = [np.median((high - low)[hour == h]) for h in (10, 0, 3, 1)]
    assert median_range[0] > 3 * median_range[1]
    assert median_range[2] > 1.5 * median_range[3]
    assert close.min() > 8_000 and close.max() < 24_000


def test_two_months_are_generated_in_less_than_a_second():
    simulate(SMOKE_SETTINGS)
    started = time.process_time()
    simulate(SMOKE_SETTINGS)
    assert time.process_time() - started < 1


@pytest.mark.slow
def test_five_years_are_generated_in_eight_seconds_and_rise_from_12_000_to_22_000():
    started = time.process_time()
    bars = simulate(FULL_SETTINGS).bars
    assert time.process_time() - started < 8
    assert len(bars) > 1_650_000
    assert bars["close"].iloc[0] == pytest.approx(12_100, rel=0.1)
    assert bars["close"].iloc[-1] == pytest.approx(22_500, rel=0.1)


def test_settings_with_an_unknown_name_or_overlapping_periods_are_refused():
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        SimulationSettings.model_validate({"sed": 3})
    june = LabelPeriod(first_session=date(2021, 6, 1), last_session=date(2021, 6, 30), windows=5)
    with pytest.raises(ValidationError, match="label periods must not overlap, 2021-06-30 is in two"):
        SimulationSettings.model_validate({"label_periods": (june, june)})
    with pytest.raises(ValidationError, match="must lie between 2025-07-01 and 2025-06-30"):
        SimulationSettings.model_validate({"first_session": "2025-07-01", "label_periods": ()})


def test_dates_without_a_session_are_refused():
    weekend = {"first_session": date(2025, 6, 7), "last_session": date(2025, 6, 8)}
    with pytest.raises(ValueError, match="no session from 2025-06-07 to 2025-06-08"):
        simulate(HALF_YEAR.model_copy(update=weekend))


HALVES = (
    LabelPeriod(first_session=HALF_YEAR.first_session, last_session=date(2021, 6, 30), windows=1),
    LabelPeriod(first_session=date(2021, 7, 1), last_session=HALF_YEAR.last_session, windows=1),
)


def of_half_a_year(name: ScenarioName) -> SimulationSettings:
    """A scenario of half a year; its second label period begins in the middle."""
    return in_scenario(HALF_YEAR.model_copy(update={"label_periods": HALVES}), name)


@pytest.mark.parametrize("settings", [FULL_SETTINGS, SMOKE_SETTINGS])
def test_a_scenario_changes_only_its_own_settings(settings: SimulationSettings):
    other = {
        name: {key for key, value in in_scenario(settings, name) if value != getattr(settings, key)}
        for name in SCENARIOS
    }
    assert other == {
        "no_signal": {"type_shown"},
        "drifting_mix": {"retracement_share", "last_retracement_share"},
        "regime_break": {"break_session", "volatility_after_break", "decoy_share_after_break"},
        "second_instrument": {"instrument", "seed"},
        "speed_eye": {"eye"},
        "breaks_eye": {"eye"},
    }
    training, validation, _ = settings.label_periods
    broken_on = in_scenario(settings, "regime_break").break_session
    assert broken_on is not None
    assert training.last_session < broken_on <= validation.first_session


def test_a_regime_break_needs_two_label_periods():
    with pytest.raises(ValueError, match="regime_break needs at least 2 label periods, got 0"):
        in_scenario(HALF_YEAR, "regime_break")


def retraced(market: SimulatedMarket) -> np.ndarray:
    return (market.truth["type"] == "retracement").to_numpy()


def test_without_signal_bars_are_equal_and_types_are_independent_of_the_bars_before(market: SimulatedMarket):
    aimless = simulate(of_half_a_year("no_signal"))
    assert aimless.truth["onset"].tolist() == market.truth["onset"].tolist()
    assert content_digest(aimless.bars) == content_digest(market.bars)
    assert retraced(aimless).sum() == retraced(market).sum()
    agree = (retraced(aimless) == retraced(market)).mean()
    share = retraced(market).mean()
    assert agree == pytest.approx(share**2 + (1 - share) ** 2, abs=0.05)


def test_the_mix_of_types_drifts_to_23_percent():
    drifting = retraced(simulate(in_scenario(FULL_SETTINGS, "drifting_mix")))
    tenth = len(drifting) // 10
    assert drifting[:tenth].mean() == pytest.approx(0.42, abs=0.04)
    assert drifting[-tenth:].mean() == pytest.approx(0.24, abs=0.04)


def test_a_regime_break_doubles_volatility_and_reduces_expansions(market: SimulatedMarket):
    broken = simulate(of_half_a_year("regime_break"))
    after = (broken.bars["timestamp"] >= pd.Timestamp("2021-06-30 22:00Z")).to_numpy()
    reach = ((broken.bars["high"] - broken.bars["low"]) / broken.bars["close"]).to_numpy()
    usual = ((market.bars["high"] - market.bars["low"]) / market.bars["close"]).to_numpy()
    assert np.median(reach[after]) / np.median(usual[-after.sum() :]) == pytest.approx(2, abs=0.2)
    assert np.median(reach[~after]) / np.median(usual[: (~after).sum()]) == pytest.approx(1, abs=0.1)
    onset = broken.truth["onset"].to_numpy()
    assert after[onset].sum() / after.sum() < 0.75 * (~after[onset]).sum() / (~after).sum()


def test_the_second_instrument_has_its_own_level_contracts_and_quieter_bars(market: SimulatedMarket):
    other = simulate(of_half_a_year("second_instrument"))
    assert np.median(other.bars["close"].to_numpy()) == pytest.approx(4_200, rel=0.1)
    assert other.rolls["new"].tolist() == ["ESU1", "ESZ1"]

    def size(bars: pd.DataFrame) -> float:
        return float(np.median(np.abs(np.diff(np.log(bars["close"].to_numpy())))))

    assert size(other.bars) < 0.9 * size(market.bars)
