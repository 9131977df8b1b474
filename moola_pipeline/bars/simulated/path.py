"""Simulated price path: clustered volatility, and bars from a random walk of eight steps each."""

import numpy as np
import pandas as pd
from numba import njit

from moola_pipeline.bars.sessions import NEW_YORK
from moola_pipeline.bars.simulated.plan import BarPlan

STEPS_PER_BAR = 8
MEDIAN_VOLATILITY = 1.80e-4
"""Standard deviation of a one-minute log return at an ordinary hour of an ordinary day."""
SESSION_MEMORY, SESSION_SPREAD = 0.93, 0.45
MINUTE_MEMORY, MINUTE_SPREAD = 0.991, 0.33
BAR_SPREAD = 0.16
"""Log volatility: AR(1) over sessions, AR(1) over minutes, and noise per bar."""
NEWS_RATE, MIN_NEWS, NEWS_TAIL = 0.0017, 4.25, 3.0
"""Share of bars with news, its least size, and its tail exponent, which is that of returns:
Gopikrishnan, Plerou, Amaral, Meyer and Stanley (1999), Physical Review E 60(5). Sizes are in
volatilities of an ordinary minute, at night too."""
ANNOUNCEMENTS = (
    ("08:30", 0.3, 4.5), ("08:30", 0.14, 20.0), ("10:00", 0.2, 7.0), ("14:00", 0.03, 13.0),
    ("14:30", 0.03, 10.0), ("16:01", 0.06, 8.5), ("16:05", 0.06, 8.5), ("16:20", 0.03, 9.0),
    ("16:30", 0.06, 9.0),
)  # fmt: skip
"""Scheduled news: New York time, share of sessions that have it, median size. 08:30: economic data,
the largest on prices and jobs; 14:00: central bank; after the close: earnings."""
ANNOUNCEMENT_SPREAD = 0.6
"""Standard deviation of the log size of scheduled news."""
MAX_NEWS = 120.0
NEWS_MEMORY = 0.68
"""Share of the size of news that remains one bar later."""
REVERSAL = 0.045
"""Share of a free bar's move that the next free bar reverses."""
RANGE_PER_VOLATILITY = 1.6
"""Mean range of a free bar over the standard deviation of its move."""
UNSEEN_REACH = 0.58 / STEPS_PER_BAR**0.5
"""Mean distance of the true extreme beyond that of the discrete steps, in standard deviations of a
bar: Broadie, Glasserman and Kou (1997), Mathematical Finance 7(4)."""
ATR_BARS = 10

_PROFILE = {
    "18:00": 2.2, "18:05": 0.9, "19:30": 0.72, "20:00": 1.05, "22:00": 0.74, "00:00": 0.58, "02:00": 0.85,
    "02:59": 1.0, "03:00": 1.55, "03:30": 1.25, "05:00": 0.95, "07:00": 1.05, "08:29": 1.15, "08:30": 1.9,
    "08:45": 1.45, "09:29": 1.55, "09:30": 4.2, "09:45": 3.5, "10:30": 2.75, "11:30": 2.05, "12:30": 1.7,
    "14:00": 2.0, "15:30": 2.0, "15:50": 2.7, "16:00": 2.5, "16:05": 1.0, "16:30": 0.65, "17:00": 0.75,
}  # fmt: skip
"""Volatility by New York time over the median: quiet Asia, London at 03:00, New York at 09:30."""


def volatility(minutes: pd.DatetimeIndex, session_number: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Standard deviation of each minute's log return, (n_bars,) float64.

    Args:
        minutes: Bar opens, UTC.
        session_number: (n_bars,) int64, 0, 1, 2.. by session.
        rng: Generator of the log volatilities.
    """
    n_bars, n_sessions = len(minutes), int(session_number[-1]) + 1
    by_session = autoregression(rng.standard_normal(n_sessions), SESSION_MEMORY) * SESSION_SPREAD
    by_minute = autoregression(rng.standard_normal(n_bars), MINUTE_MEMORY) * MINUTE_SPREAD
    by_bar = rng.standard_normal(n_bars) * BAR_SPREAD
    minute_of_day = _minute_of_day(minutes)
    of_the_session = np.exp(by_session)[session_number]
    usual = of_the_session * np.exp(_profile_by_minute()[minute_of_day] + by_minute + by_bar)
    news = np.minimum(of_the_session * _news(minute_of_day, rng), MAX_NEWS)
    return MEDIAN_VOLATILITY * np.hypot(usual, _fading(news, NEWS_MEMORY))


def _news(minute_of_day: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Size of the news that strikes each bar, (n_bars,); 0 on nearly all bars."""
    n_bars = len(minute_of_day)
    sizes = MIN_NEWS * (1 - rng.random(n_bars)) ** (-1 / NEWS_TAIL)
    news = np.where(rng.random(n_bars) < NEWS_RATE, sizes, 0.0)
    for time, sessions, median in ANNOUNCEMENTS:
        at = np.flatnonzero(minute_of_day == _minute(time))
        sizes = median * rng.lognormal(0.0, ANNOUNCEMENT_SPREAD, len(at))
        news[at] = np.maximum(news[at], np.where(rng.random(len(at)) < sessions, sizes, 0.0))
    return news


def opening_gaps(
    minutes: pd.DatetimeIndex, sigma: np.ndarray, segment_start: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Log move from each close to the next open: at most about a tick within a segment."""
    minutes_since = np.diff(minutes.asi8, prepend=minutes.asi8[0]) / 60e9
    closed_for = np.where(segment_start, np.minimum(minutes_since, 600), 0)
    gaps = rng.standard_normal(len(minutes)) * sigma * 0.08
    gaps += rng.standard_normal(len(minutes)) * MEDIAN_VOLATILITY * 0.6 * np.sqrt(closed_for)
    gaps[0] = 0
    return gaps


def walk(
    plan: BarPlan, sigma: np.ndarray, gaps: np.ndarray, segment_start: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Log open, high, low, close of every bar, from 0, (n_bars, 4) float64."""
    steps = rng.standard_normal((len(sigma), STEPS_PER_BAR), np.float32)
    steps /= np.float32(STEPS_PER_BAR**0.5)
    reach = UNSEEN_REACH * rng.standard_exponential((len(sigma), 2))
    terms = plan.drift, plan.noise, plan.pull, plan.anew, plan.new_unit, plan.free * REVERSAL
    return _walk(terms, sigma, gaps, segment_start, steps, reach)


@njit(cache=True, nogil=True)
def _fading(shocks: np.ndarray, memory: float) -> np.ndarray:
    """Each shock and its decay over later bars; a larger shock hides a smaller one."""
    felt = shocks.copy()
    for t in range(1, len(felt)):
        felt[t] = max(felt[t], memory * felt[t - 1])
    return felt


@njit(cache=True, nogil=True)
def autoregression(shocks: np.ndarray, memory: float) -> np.ndarray:
    """AR(1) of unit variance driven by standard normal shocks, started in its steady state."""
    state = np.empty_like(shocks)
    scale = np.sqrt(1 - memory * memory)
    state[0] = shocks[0]
    for t in range(1, len(shocks)):
        state[t] = memory * state[t - 1] + scale * shocks[t]
    return state


@njit(cache=True, nogil=True)
def _walk(plan, sigma, gaps, segment_start, steps, reach):
    drift, noise, pull, anew, new_unit, reversal = plan
    bars = np.empty((len(sigma), 4))
    n_steps = steps.shape[1]
    close, atr = 0.0, RANGE_PER_VOLATILITY * sigma[0]
    anchor, unit, body = 0.0, atr, 0.0
    for t in range(len(sigma)):
        before = close
        price = close + gaps[t]
        if segment_start[t]:
            before, body = price, 0.0
            atr = RANGE_PER_VOLATILITY * sigma[t]
        if anew[t]:
            anchor = price
        if new_unit[t]:
            unit = max(atr, 1.2 * sigma[t])
        move = (drift[t] * unit - reversal[t] * body) / n_steps
        bars[t, 0] = high = low = price
        for step in range(n_steps):
            anchor += move
            price += move - pull[t] / n_steps * (price - anchor) + noise[t] * sigma[t] * steps[t, step]
            high, low = max(high, price), min(low, price)
        high += reach[t, 0] * noise[t] * sigma[t]
        low -= reach[t, 1] * noise[t] * sigma[t]
        bars[t, 1], bars[t, 2], bars[t, 3] = high, low, price
        body = price - bars[t, 0]
        close = price
        atr += (max(high, before) - min(low, before) - atr) / ATR_BARS
    return bars


def _profile_by_minute() -> np.ndarray:
    at = [_minute(time) for time in _PROFILE]
    order = np.argsort(at)
    values = np.log(list(_PROFILE.values()))[order]
    return np.interp(np.arange(1440), np.array(at)[order], values, period=1440)


def _minute(time: str) -> int:
    return int(time[:2]) * 60 + int(time[3:])


def _minute_of_day(minutes: pd.DatetimeIndex) -> np.ndarray:
    local = minutes.tz_convert(NEW_YORK).tz_localize(None).to_numpy("datetime64[m]")
    return (local - local.astype("datetime64[D]")).astype(np.int64)
