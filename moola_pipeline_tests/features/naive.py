"""Slow, plain reference versions of the features, and random bars for the comparison."""

import math

import numpy as np

TICK = 0.25


def random_bars(rng: np.random.Generator, n_bars: int, step_ticks: float = 8.0) -> np.ndarray:
    """A random walk of legal bars on the tick grid: (n_bars, 4) open, high, low, close.

    Every eighth bar or so is flat, so that the rules for high = low are met; `step_ticks` is the
    standard deviation of a bar's move.
    """
    jumps = np.rint(rng.normal(0, step_ticks / 4, n_bars))
    moves = np.rint(rng.normal(0, step_ticks, n_bars))
    wicks = np.rint(rng.exponential(step_ticks / 2, (n_bars, 2)))
    flat = rng.random(n_bars) < 1 / 8
    moves[flat], wicks[flat] = 0, 0
    close = 60_000 + np.cumsum(jumps + moves)
    opens = close - moves
    high, low = np.maximum(opens, close) + wicks[:, 0], np.minimum(opens, close) - wicks[:, 1]
    return np.column_stack([opens, high, low, close]) * TICK


def upside_down(prices: np.ndarray) -> np.ndarray:
    """The same bars mirrored at a constant, which is on the grid and keeps every price above 0."""
    top = 2 * prices.max()
    return np.column_stack([top - prices[:, 0], top - prices[:, 2], top - prices[:, 1], top - prices[:, 3]])


def naive_atr(high: list[float], low: list[float], close: list[float], n_bars: int = 10) -> list[float]:
    """Wilder's average true range: a plain mean first, then one part in n from each new bar."""
    atr = [math.nan] * len(close)
    true_ranges = [0.0]
    for t in range(1, len(close)):
        true_ranges.append(max(high[t], close[t - 1]) - min(low[t], close[t - 1]))
        if t == n_bars:
            atr[t] = sum(true_ranges[1:]) / n_bars
        elif t > n_bars:
            atr[t] = (atr[t - 1] * (n_bars - 1) + true_ranges[t]) / n_bars
    return atr


def naive_ema(values: list[float], n_bars: int = 20) -> list[float]:
    """Exponential average that starts from the plain mean of the first n values."""
    ema = [math.nan] * len(values)
    for t, value in enumerate(values):
        if t == n_bars - 1:
            ema[t] = sum(values[:n_bars]) / n_bars
        elif t >= n_bars:
            ema[t] = ema[t - 1] + (value - ema[t - 1]) * 2 / (n_bars + 1)
    return ema


def naive_swings(
    high: list[float], low: list[float], close: list[float], atr: list[float], k: float
) -> list[dict[str, float]]:
    """The state after each bar; every extreme is searched again in all of its possible bars."""
    swings = []
    direction, leg_first = 0, 0
    high_bar, low_bar = None, None  # of the last confirmed swings
    for t in range(len(close)):
        confirmed = False
        if direction == 0:
            if abs(close[t] - close[0]) >= k * atr[t]:
                direction = 1 if close[t] > close[0] else -1
        elif direction == 1:
            extreme_bar = first_highest(high, leg_first, t - 1)
            if high[t] <= high[extreme_bar] and high[extreme_bar] - close[t] >= k * atr[t]:
                confirmed, direction, high_bar, leg_first = True, -1, extreme_bar, extreme_bar + 1
        else:
            extreme_bar = first_lowest(low, leg_first, t - 1)
            if low[t] >= low[extreme_bar] and close[t] - low[extreme_bar] >= k * atr[t]:
                confirmed, direction, low_bar, leg_first = True, 1, extreme_bar, extreme_bar + 1
        known_high = first_highest(high, 0, t) if high_bar is None else high_bar
        known_low = first_lowest(low, 0, t) if low_bar is None else low_bar
        swings.append(
            {
                "direction": direction,
                "high": high[known_high],
                "low": low[known_low],
                "high_bar": known_high,
                "low_bar": known_low,
                "confirmed": confirmed,
            }
        )
    return swings


def first_highest(high: list[float], first: int, last: int) -> int:
    """The earliest bar of first..last (inclusive) with the highest high."""
    return max(range(first, last + 1), key=lambda bar: (high[bar], -bar))


def first_lowest(low: list[float], first: int, last: int) -> int:
    """The earliest bar of first..last (inclusive) with the lowest low."""
    return min(range(first, last + 1), key=lambda bar: (low[bar], bar))


def naive_features(prices: np.ndarray, tick_points: float = TICK) -> list[dict[str, float]]:
    """Features of one segment, one dictionary a bar; empty before bar 20, no structure before 40."""
    opens, high, low, close = (prices[:, i].tolist() for i in range(4))
    atr = [max(value, tick_points) for value in naive_atr(high, low, close)]
    range_ema = naive_ema([h - lo for h, lo in zip(high, low, strict=True)])
    swings = naive_swings(high, low, close, atr, k=1.2)
    rows = []
    for t in range(len(close)):
        row = {}
        if t >= 20:
            row |= candle(opens[t], high[t], low[t], close[t], range_ema[t], tick_points)
            row |= relative_to_swings(row, swings[t], t, close[t], atr[t])
        if t >= 40:
            for n_bars, widest in ((10, 8), (20, 12), (40, 16)):
                row |= structure(high, low, close, atr[t], t, n_bars, widest)
        rows.append(row)
    return rows


def candle(
    opened: float, high: float, low: float, close: float, range_ema: float, tick_points: float
) -> dict[str, float]:
    """Features 1-6, of one bar and the average range."""
    size = max(high - low, tick_points)
    return {
        "open_norm": 0.5 if high == low else (opened - low) / size,
        "close_norm": 0.5 if high == low else (close - low) / size,
        "body_pct": (close - opened) / size,
        "upper_wick_pct": (high - max(opened, close)) / size,
        "lower_wick_pct": (min(opened, close) - low) / size,
        "range_z": clip((high - low) / range_ema, 0, 3) if range_ema > 0 else 0.0,
    }


def relative_to_swings(
    bar: dict[str, float], swing: dict[str, float], t: int, close: float, atr: float
) -> dict[str, float]:
    """Features 7-12, of a bar's first six and the swings known at it."""
    since_high = clip((t - swing["high_bar"]) / 30, 0, 3)
    since_low = clip((t - swing["low_bar"]) / 30, 0, 3)
    calm = (1 - bar["range_z"] / 3) * (1 - abs(bar["body_pct"]))
    return {
        "dist_to_prev_swing_high": clip((swing["high"] - close) / atr, -8, 8),
        "dist_to_prev_swing_low": clip((close - swing["low"]) / atr, -8, 8),
        "bars_since_swing_high": since_high,
        "bars_since_swing_low": since_low,
        "expansion_proxy": clip(bar["range_z"] * swing["direction"] * bar["body_pct"], -2, 2),
        "consolidation_proxy": calm * min((since_high + since_low) / 2, 1),
    }


def structure(
    high: list[float], low: list[float], close: list[float], atr: float, t: int, n_bars: int, widest: float
) -> dict[str, float]:
    """Range, net move, path efficiency and position of the last n bars."""
    top, bottom = max(high[t - n_bars + 1 : t + 1]), min(low[t - n_bars + 1 : t + 1])
    move = close[t] - close[t - n_bars]
    path = sum(abs(close[j] - close[j - 1]) for j in range(t - n_bars + 1, t + 1))
    return {
        f"range_{n_bars}": clip((top - bottom) / atr, 0, widest),
        f"net_move_{n_bars}": clip(move / atr, -widest, widest),
        f"efficiency_{n_bars}": abs(move) / path if path > 0 else 0.0,
        f"position_{n_bars}": (close[t] - bottom) / (top - bottom) if top > bottom else 0.5,
    }


def clip(value: float, low: float, high: float) -> float:
    """`value`, held within low..high."""
    return min(max(value, low), high)
