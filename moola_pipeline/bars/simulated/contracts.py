"""Price levels and contract rolls of the simulated instruments."""

from datetime import date, timedelta

import numpy as np
import pandas as pd

from moola_pipeline.bars.instruments import Instrument, contract_code, next_expiry, third_friday
from moola_pipeline.bars.rolls import CHICAGO

LEVEL_DAYS = (
    date(2020, 9, 1),
    date(2021, 11, 19),
    date(2022, 10, 12),
    date(2023, 7, 18),
    date(2024, 7, 10),
    date(2025, 4, 7),
    date(2025, 6, 30),
)
LEVELS = {
    "NQ": (12_100, 16_500, 11_000, 15_900, 20_600, 17_500, 22_500),
    "ES": (3_500, 4_700, 3_600, 4_550, 5_650, 5_050, 6_200),
}
"""Price levels in index points on LEVEL_DAYS, within a few percent."""
LEVEL_SPREAD = 0.03
VOLATILITY = {"NQ": 1.0, "ES": 0.75}
"""Volatility of each instrument relative to NQ."""

_YEARLY_RATE = {2020: 0.001, 2021: 0.001, 2022: 0.02, 2023: 0.05, 2024: 0.052, 2025: 0.043}
_YEARLY_DIVIDENDS = {"NQ": 0.007, "ES": 0.015}
_ROLL_BEFORE_EXPIRY = timedelta(days=4)
_ROLL_SPREAD = 0.0004
"""Noise of the relative price step at a roll around a quarter's interest less dividends."""


def simulated_rolls(minutes: pd.DatetimeIndex, instrument: Instrument) -> pd.DataFrame:
    """The rolls within a market, each on the Monday before an expiry at 00:01 Chicago.

    Returns:
        time (datetime64[ns, UTC]), old, new, as `read_rolls` returns them, and `row` of the first
        bar of the new contract.
    """
    rolls = []
    expiry = third_friday(LEVEL_DAYS[0].year, 3)
    while pd.Timestamp(expiry - _ROLL_BEFORE_EXPIRY).value <= minutes.asi8[-1]:
        following = next_expiry(expiry, instrument)
        rolled_at = pd.Timestamp(f"{expiry - _ROLL_BEFORE_EXPIRY} 00:01", tz=CHICAGO).tz_convert("UTC")
        row = int(minutes.get_indexer([rolled_at])[0])
        if row > 0:
            names = (contract_code(instrument, expiry), contract_code(instrument, following))
            rolls.append((rolled_at, *names, row))
        expiry = following
    frame = pd.DataFrame(rolls, columns=["time", "old", "new", "row"])
    return frame.astype({"time": "datetime64[ns, UTC]", "old": "str", "new": "str", "row": "int64"})


def roll_steps(rolls: pd.DataFrame, instrument: Instrument, rng: np.random.Generator) -> np.ndarray:
    """Log step of price at each roll, (n_rolls,): a quarter's interest less dividends, plus noise."""
    years = rolls["time"].dt.year.clip(min(_YEARLY_RATE), max(_YEARLY_RATE))
    carry = (years.map(_YEARLY_RATE).to_numpy(float) - _YEARLY_DIVIDENDS[instrument.name]) / 4
    return carry + _ROLL_SPREAD * rng.standard_normal(len(rolls))


def on_price_levels(
    log_prices: np.ndarray, minutes: pd.DatetimeIndex, instrument: Instrument, rng: np.random.Generator
) -> np.ndarray:
    """Prices on the tick grid; the path is bent towards the levels, by far less than a tick a bar.

    Args:
        log_prices: (n_bars, 4) log open, high, low, close.
        minutes: Their bar opens, UTC.
        instrument: Instrument of the levels.
        rng: Generator of the noise around the levels.

    Returns:
        (n_bars, 4) float64, index points.
    """
    bar_days = minutes.asi8 / pd.Timedelta(days=1).value
    level_days = np.array([np.datetime64(day, "D").astype(int) for day in LEVEL_DAYS])
    levels = np.log(LEVELS[instrument.name]) + LEVEL_SPREAD * rng.standard_normal(len(level_days))
    passed = level_days[(level_days > bar_days[0]) & (level_days < bar_days[-1])]
    days = np.array([bar_days[0], *passed, bar_days[-1]])
    rows = np.searchsorted(bar_days, days)
    bend = np.interp(days, level_days, levels) - log_prices[rows, 3]
    prices = np.exp(log_prices + np.interp(np.arange(len(minutes)), rows, bend)[:, None])
    return np.round(prices / instrument.tick_points) * instrument.tick_points
