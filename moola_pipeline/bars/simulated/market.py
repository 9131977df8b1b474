"""A simulated market whose truth is known: NQ-like one-minute bars over the real CME sessions."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import MAX_GAP, NQ
from moola_pipeline.bars.sessions import session_minutes, session_of
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

GENERATOR_VERSION = 1
"""Raised whenever equal settings would no longer make equal bars or labels."""

TRUTH_COLUMNS = ("onset", "offset", "started_at", "ended_at", "type", "direction")
_PLANTED_NAMES = {CONSOLIDATION: "consolidation", RETRACEMENT: "retracement"}

_PRICE_LEVELS = (
    (date(2020, 9, 1), 12_100),
    (date(2021, 11, 19), 16_500),
    (date(2022, 10, 12), 11_000),
    (date(2023, 7, 18), 15_900),
    (date(2024, 7, 10), 20_600),
    (date(2025, 4, 7), 17_500),
    (date(2025, 6, 30), 22_500),
)
"""Round levels, in index points, that the market passes; within a few percent."""
_LEVEL_SPREAD = 0.03
_MEDIAN_VOLUME = 150.0


@dataclass(frozen=True)
class SimulatedMarket:
    """Bars and the expansions planted in them.

    Attributes:
        bars: RAW_COLUMNS, on the 0.25 grid.
        truth: One row per expansion in time order: `onset` and `offset` (rows of `bars`, both
            included), `started_at` and `ended_at` (UTC opens of those bars), `type` (what came
            before) and `direction` (1 or -1).
        segment_start: (n_bars,) bool, the first bar of each session and after each long gap.
    """

    bars: pd.DataFrame
    truth: pd.DataFrame
    segment_start: np.ndarray


def simulate(settings: SimulationSettings) -> SimulatedMarket:
    """Make the market of these settings; equal settings make equal bars.

    Raises:
        ValueError: If no session lies between the first and the last.
    """
    from moola_pipeline.bars.simulated import path  # numba takes 0.4 s that only this should pay

    minutes = session_minutes(settings.first_session, settings.last_session)
    if minutes.empty:
        raise ValueError(f"no session from {settings.first_session} to {settings.last_session}")
    plan_rng, volatility_rng, path_rng, level_rng = np.random.default_rng(settings.seed).spawn(4)
    session_number = pd.factorize(session_of(minutes))[0]
    segment_start = _segment_starts(minutes, session_number)
    patterns, starts = _placed_patterns(settings, segment_start, plan_rng)
    plan = plan_bars(patterns, starts, len(minutes), plan_rng)
    sigma = path.volatility(minutes, session_number, volatility_rng)
    gaps = path.opening_gaps(minutes, sigma, segment_start, path_rng)
    log_prices = path.walk(plan, sigma, gaps, segment_start, path_rng)
    prices = _on_grid(log_prices, minutes, level_rng)
    bars = pd.DataFrame(prices, columns=["open", "high", "low", "close"])
    bars.insert(0, "timestamp", minutes)
    bars["volume"] = _volume(log_prices, level_rng)
    return SimulatedMarket(bars, _truth(patterns, starts, minutes), segment_start)


def _segment_starts(minutes: pd.DatetimeIndex, session_number: np.ndarray) -> np.ndarray:
    new_session = np.diff(session_number, prepend=-1) != 0
    gap = np.diff(minutes.asi8, prepend=minutes.asi8[0])
    return new_session | (gap > pd.Timedelta(MAX_GAP).value)


def _placed_patterns(
    settings: SimulationSettings, segment_start: np.ndarray, rng: np.random.Generator
) -> tuple[Patterns, np.ndarray]:
    lengths = np.diff(np.append(np.flatnonzero(segment_start), len(segment_start)))
    n_enough = len(segment_start) // 20
    patterns = draw_patterns(
        n_enough, settings.pause_bars, settings.decoy_share, settings.retracement_share, rng
    )
    return patterns, place_patterns(patterns, lengths)


def _on_grid(log_prices: np.ndarray, minutes: pd.DatetimeIndex, rng: np.random.Generator) -> np.ndarray:
    """Bend the path so that it passes the price levels; on one bar that is far below a tick."""
    bar_days = minutes.asi8 / pd.Timedelta(days=1).value
    level_days = np.array([np.datetime64(day, "D").astype(int) for day, _ in _PRICE_LEVELS])
    levels = np.log([level for _, level in _PRICE_LEVELS]) + _LEVEL_SPREAD * rng.standard_normal(
        len(level_days)
    )
    passed = level_days[(level_days > bar_days[0]) & (level_days < bar_days[-1])]
    days = np.array([bar_days[0], *passed, bar_days[-1]])
    rows = np.searchsorted(bar_days, days)
    bend = np.interp(days, level_days, levels) - log_prices[rows, 3]
    prices = np.exp(log_prices + np.interp(np.arange(len(minutes)), rows, bend)[:, None])
    return np.round(prices / NQ.tick_points) * NQ.tick_points


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
