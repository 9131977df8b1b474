"""Simulated market with known expansions: NQ-like one-minute bars in the real CME sessions."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from moola_pipeline.bars.instruments import INSTRUMENTS
from moola_pipeline.bars.schema import MAX_GAP
from moola_pipeline.bars.sessions import session_minutes, session_of
from moola_pipeline.bars.simulated.contracts import (
    VOLATILITY,
    on_price_levels,
    roll_steps,
    simulated_rolls,
)
from moola_pipeline.bars.simulated.plan import (
    CONSOLIDATION,
    RETRACEMENT,
    Patterns,
    draw_patterns,
    expansions,
    place_patterns,
    plan_bars,
)
from moola_pipeline.bars.simulated.settings import SimulationSettings

GENERATOR_VERSION = 5
"""Increase it when the same settings give different bars or labels."""

TRUTH_COLUMNS = ("onset", "offset", "started_at", "ended_at", "type", "direction")
_PLANTED_NAMES = {CONSOLIDATION: "consolidation", RETRACEMENT: "retracement"}
_MEDIAN_VOLUME = 150.0


@dataclass(frozen=True)
class SimulatedMarket:
    """Bars and the expansions planted in them.

    Attributes:
        bars: RAW_COLUMNS, on the 0.25 grid.
        truth: One row per expansion in time order: `onset` and `offset` (rows of `bars`, both
            included), `started_at` and `ended_at` (UTC opens of those bars), `type` (the phase
            before) and `direction` (1 or -1).
        rolls: `time`, `old` and `new` of each contract roll in the bars.
        segment_start: (n_bars,) bool, the first bar of each session, of each contract, and after
            each long gap.
    """

    bars: pd.DataFrame
    truth: pd.DataFrame
    rolls: pd.DataFrame
    segment_start: np.ndarray


def simulate(settings: SimulationSettings) -> SimulatedMarket:
    """Generate a market; equal settings give equal bars.

    Raises:
        ValueError: If no session lies between the first and the last.
    """
    from moola_pipeline.bars.simulated import path  # importing numba takes 0.4 s

    minutes = session_minutes(settings.first_session, settings.last_session)
    if minutes.empty:
        raise ValueError(f"no session from {settings.first_session} to {settings.last_session}")
    instrument = INSTRUMENTS[settings.instrument]
    seeds = np.random.default_rng(settings.seed)
    plan_rng, volatility_rng, path_rng, level_rng, roll_rng, type_rng, missing_rng = seeds.spawn(7)
    session = session_of(minutes)
    session_number = pd.factorize(session)[0]
    rolls = simulated_rolls(minutes, instrument)
    segment_start = _segment_starts(minutes, session_number)
    segment_start[rolls["row"]] = True
    after_break = _after_break(settings, session)
    patterns, starts = _placed_patterns(settings, segment_start, after_break, plan_rng)
    plan = plan_bars(patterns, starts, len(minutes), plan_rng)
    sigma = path.volatility(minutes, session_number, volatility_rng) * VOLATILITY[instrument.name]
    sigma[after_break] *= settings.volatility_after_break
    gaps = path.opening_gaps(minutes, sigma, segment_start, path_rng)
    gaps[rolls["row"]] += roll_steps(rolls, instrument, roll_rng)
    log_prices = path.walk(plan, sigma, gaps, segment_start, path_rng)
    prices = on_price_levels(log_prices, minutes, instrument, level_rng)
    bars = pd.DataFrame(prices, columns=["open", "high", "low", "close"])
    bars.insert(0, "timestamp", minutes)
    bars["volume"] = _volume(log_prices, level_rng)
    truth = _truth(patterns, starts, minutes)
    if not settings.type_shown:
        truth["type"] = type_rng.permutation(truth["type"])
    missing = _missing(settings.missing_share, sigma, plan.free & ~segment_start, missing_rng)
    return _without(missing, SimulatedMarket(bars, truth, rolls.drop(columns="row"), segment_start))


def _after_break(settings: SimulationSettings, session: pd.Series) -> np.ndarray:
    if settings.break_session is None:
        return np.zeros(len(session), bool)
    return (session >= pd.Timestamp(settings.break_session)).to_numpy()


def _segment_starts(minutes: pd.DatetimeIndex, session_number: np.ndarray) -> np.ndarray:
    new_session = np.diff(session_number, prepend=-1) != 0
    gap = np.diff(minutes.asi8, prepend=minutes.asi8[0])
    return new_session | (gap > pd.Timedelta(MAX_GAP).value)


def _placed_patterns(
    settings: SimulationSettings,
    segment_start: np.ndarray,
    after_break: np.ndarray,
    rng: np.random.Generator,
) -> tuple[Patterns, np.ndarray]:
    """Draw and place patterns; a share that changes in time is taken at the place from a first draw."""
    n_bars = len(segment_start)
    lengths = np.diff(np.append(np.flatnonzero(segment_start), n_bars))
    n_enough = n_bars // 20
    shares = settings.decoy_share, settings.retracement_share
    patterns = draw_patterns(n_enough, settings.pause_bars, *shares, rng)
    starts = place_patterns(patterns, lengths)
    if settings.last_retracement_share is None and not after_break.any():
        return patterns, starts
    bar = np.full(n_enough, n_bars - 1)
    bar[: len(starts)] = starts
    decoys = np.where(after_break[bar], settings.decoy_share_after_break, settings.decoy_share)
    last = settings.last_retracement_share
    mix = (settings.retracement_share, settings.retracement_share if last is None else last)
    patterns = draw_patterns(n_enough, settings.pause_bars, decoys, np.interp(bar, [0, n_bars], mix), rng)
    return patterns, place_patterns(patterns, lengths)


def _missing(share: float, sigma: np.ndarray, may_lack: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """True at minutes without a trade; quiet minutes are more likely."""
    quiet = sigma**-2 * may_lack
    return rng.random(len(sigma)) < share * quiet / quiet.mean()


def _without(missing: np.ndarray, market: SimulatedMarket) -> SimulatedMarket:
    n_missing = np.cumsum(missing)
    rows = {name: market.truth[name] - n_missing[market.truth[name]] for name in ("onset", "offset")}
    return SimulatedMarket(
        market.bars.loc[~missing].reset_index(drop=True),
        market.truth.assign(**rows),
        market.rolls,
        market.segment_start[~missing],
    )


def _volume(log_prices: np.ndarray, rng: np.random.Generator) -> pd.Series:
    relative_range = (log_prices[:, 1] - log_prices[:, 2]) / np.median(log_prices[:, 1] - log_prices[:, 2])
    mean = _MEDIAN_VOLUME * relative_range**1.3
    traded = np.maximum(np.rint(mean * rng.lognormal(0, 0.45, len(mean))), 1)
    return pd.Series(traded.astype(np.int64), dtype="Int64")


def _truth(patterns: Patterns, starts: np.ndarray, minutes: pd.DatetimeIndex) -> pd.DataFrame:
    planted = expansions(patterns, starts)
    return pd.DataFrame(
        {
            "onset": planted.onset,
            "offset": planted.offset,
            "started_at": minutes[planted.onset],
            "ended_at": minutes[planted.offset],
            "type": pd.Series(planted.kind).map(_PLANTED_NAMES).astype("str"),
            "direction": planted.direction.astype(np.int8),
        }
    )
