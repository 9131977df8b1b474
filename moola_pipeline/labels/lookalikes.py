"""Why a window's prices stand nowhere in the bars: shifted, scaled, or of something else."""

import numpy as np
import pandas as pd

from moola_pipeline.labels.price_search import UNIT_POINTS, find_stretches

SHIFTED, SCALED = "prices shifted by a constant", "prices scaled"
ELSEWHERE, UNLIKE = "prices outside those of the bars", "prices unlike any of the bars"
_CLOSE = 3
_NO_POINTS = 1e-3


def nearest_causes(
    patterns: list[np.ndarray], series: np.ndarray, opened: np.ndarray
) -> list[tuple[str, str]]:
    """For each window that stands nowhere in the bars: a category, and what comes nearest to it.

    Args:
        patterns: (105, 4) int64 open, high, low, close in UNIT_POINTS, each.
        series: (n_bars, 4) int64, the bars alike.
        opened: (n_bars,) int64 UTC ns.
    """
    if not patterns:
        return []
    windows = np.array(patterns)
    moved = find_stretches(_steps(series), _steps(windows))
    alike = find_stretches(_ups_and_downs(series), _ups_and_downs(windows))
    return [
        _cause(window, shifted, scaled, series, opened)
        for window, shifted, scaled in zip(windows, moved, alike, strict=True)
    ]


def shown_moment(opened: int) -> str:
    """A bar's open as label files write it."""
    return pd.Timestamp(opened, tz="UTC").strftime("%Y-%m-%dT%H:%M:%SZ")


def _cause(
    window: np.ndarray, shifted: np.ndarray, scaled: np.ndarray, series: np.ndarray, opened: np.ndarray
) -> tuple[str, str]:
    whole = [row for row in shifted if not np.ptp(window - series[row : row + len(window)])]
    if whole:
        row = whole[0]
        points = (window[0, 0] - series[row, 0]) * UNIT_POINTS
        return SHIFTED, (
            f"is {shown_moment(int(opened[row]))} with every price {abs(points):g} points "
            f"{'higher' if points > 0 else 'lower'}, as back-adjusted prices are: give its window_start"
        )
    if len(scaled) == 1:
        row = scaled[0]
        bars = series[row : row + len(window), _CLOSE] * UNIT_POINTS
        slope, offset = np.polyfit(bars - bars.mean(), window[:, _CLOSE] * UNIT_POINTS, 1)
        plus = offset - slope * bars.mean()
        shift = f" plus {plus:.6g}" if abs(plus) > _NO_POINTS else ""
        return SCALED, (
            f"moves up and down as {shown_moment(int(opened[row]))} does, prices times {slope:.6g}{shift}: "
            "if that is the window, give its window_start"
        )
    lowest, highest = window.min() * UNIT_POINTS, window.max() * UNIT_POINTS
    floor, ceiling = series.min() * UNIT_POINTS, series.max() * UNIT_POINTS
    if lowest < floor or highest > ceiling:
        return ELSEWHERE, (
            f"has prices of {lowest:g} to {highest:g} points, the bars {floor:g} to {ceiling:g}: "
            "register the bars it was cut from"
        )
    return UNLIKE, "moves as no stretch of these bars does: register the bars it was cut from"


def _steps(prices: np.ndarray) -> np.ndarray:
    """What stays when every price moves by the same amount: (..., n - 1, 4)."""
    opens = prices[..., :1]
    return np.concatenate([np.diff(opens, axis=-2), (prices - opens)[..., :-1, 1:]], axis=-1)


def _ups_and_downs(prices: np.ndarray) -> np.ndarray:
    """What stays when prices are scaled: signs of candles and of changes of close, (..., n - 1, 2)."""
    close = prices[..., _CLOSE]
    candle = np.sign(close - prices[..., 0])
    return np.stack([np.sign(np.diff(close, axis=-1)), candle[..., 1:]], axis=-1)
