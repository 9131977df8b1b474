"""Older label files: their windows have prices but no time, and are found in the bars by exact match."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import PRICE_COLUMNS, nanoseconds
from moola_pipeline.labels.tables import cut_short
from moola_pipeline.windows.window_geometry import WINDOW_BARS

UNIT_POINTS = 1e-6
"""Prices are compared as whole numbers of these: coarser than decimal rounding, finer than a tick."""
_BASE = np.uint64(0x9E3779B97F4A7C15)
_MIXERS = np.array(
    [0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F], np.uint64
)


def find_stretches(series: np.ndarray, patterns: np.ndarray) -> list[np.ndarray]:
    """The rows at which each pattern occurs in the series, value for value.

    The hash of n rows is a polynomial in an odd base modulo 2**64, so that the hashes of all
    stretches come from one cumulative sum.

    Args:
        series: (n_bars, F) int64, F <= 4.
        patterns: (n_patterns, n_rows, F) int64.

    Returns:
        For each pattern the rows where it begins, increasing; usually none or one.
    """
    n_patterns, n_rows, _ = patterns.shape
    if not n_patterns or len(series) < n_rows:
        return [np.empty(0, np.int64) for _ in range(n_patterns)]
    powers = np.cumprod(np.full(len(series), _BASE))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(_mixed(series) * powers)])
    hashes = sums[n_rows:] - sums[:-n_rows]
    wanted = _mixed(patterns) @ powers[:n_rows]
    # the hash of a stretch at row r has a factor base**r, which powers of the inverse base remove
    inverse = np.uint64(pow(int(_BASE), -1, 2**64))
    hashes[1:] *= np.cumprod(np.full(len(hashes) - 1, inverse))
    order = np.argsort(wanted)
    place = np.minimum(np.searchsorted(wanted[order], hashes), n_patterns - 1)
    rows = np.flatnonzero(wanted[order][place] == hashes)
    candidates = hashes[rows]
    return [
        np.array([row for row in rows[candidates == hashed] if _equal(series, row, pattern)], np.int64)
        for hashed, pattern in zip(wanted, patterns, strict=True)
    ]


def _mixed(values: np.ndarray) -> np.ndarray:
    return values.astype(np.uint64) @ _MIXERS[: values.shape[-1]]


def _equal(series: np.ndarray, row: int, pattern: np.ndarray) -> bool:
    return np.array_equal(series[row : row + len(pattern)], pattern)


SHIFTED, SCALED = "prices shifted by a constant", "prices scaled"
ELSEWHERE, UNLIKE = "prices outside those of the bars", "prices unlike any of the bars"
_CLOSE = 3
_NO_POINTS = 1e-3


def nearest_causes(
    patterns: list[np.ndarray], series: np.ndarray, opened: np.ndarray
) -> list[tuple[str, str]]:
    """For each window that is not in the bars: a category, and the likeliest cause.

    Args:
        patterns: (105, 4) int64 open, high, low, close in UNIT_POINTS, each.
        series: (n_bars, 4) int64, the bars, likewise.
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
    """A bar's open time in the format of label files."""
    return pd.Timestamp(opened, tz="UTC").strftime("%Y-%m-%dT%H:%M:%SZ")


def _cause(
    window: np.ndarray, shifted: np.ndarray, scaled: np.ndarray, series: np.ndarray, opened: np.ndarray
) -> tuple[str, str]:
    whole = [row for row in shifted if not np.ptp(window - series[row : row + len(window)])]
    if whole:
        row = whole[0]
        points = (window[0, 0] - series[row, 0]) * UNIT_POINTS
        return SHIFTED, (
            f"matches {shown_moment(int(opened[row]))} with every price {abs(points):g} points "
            f"{'higher' if points > 0 else 'lower'}, as in back-adjusted prices: give its window_start"
        )
    if len(scaled) == 1:
        row = scaled[0]
        bars = series[row : row + len(window), _CLOSE] * UNIT_POINTS
        slope, offset = np.polyfit(bars - bars.mean(), window[:, _CLOSE] * UNIT_POINTS, 1)
        plus = offset - slope * bars.mean()
        shift = f" plus {plus:.6g}" if abs(plus) > _NO_POINTS else ""
        return SCALED, (
            f"has the same ups and downs as {shown_moment(int(opened[row]))}, prices times {slope:.6g}"
            f"{shift}: if that is the window, give its window_start"
        )
    lowest, highest = window.min() * UNIT_POINTS, window.max() * UNIT_POINTS
    floor, ceiling = series.min() * UNIT_POINTS, series.max() * UNIT_POINTS
    if lowest < floor or highest > ceiling:
        return ELSEWHERE, (
            f"has prices from {lowest:g} to {highest:g} points, the bars from {floor:g} to {ceiling:g}: "
            "register the bars it was cut from"
        )
    return UNLIKE, "is unlike any stretch of these bars: register the bars it was cut from"


def _steps(prices: np.ndarray) -> np.ndarray:
    """Price differences, which a constant shift does not change: (..., n - 1, 4)."""
    opens = prices[..., :1]
    return np.concatenate([np.diff(opens, axis=-2), (prices - opens)[..., :-1, 1:]], axis=-1)


def _ups_and_downs(prices: np.ndarray) -> np.ndarray:
    """Signs of candles and of close changes, which scaling does not change: (..., n - 1, 2)."""
    close = prices[..., _CLOSE]
    candle = np.sign(close - prices[..., 0])
    return np.stack([np.sign(np.diff(close, axis=-1)), candle[..., 1:]], axis=-1)


FEATURES, START = "features", "window_start"
FOUND, AMBIGUOUS, NOT_FOUND = "found", "ambiguous", "not found"
OUTCOMES = (FOUND, AMBIGUOUS, NOT_FOUND)
_MAX_POINTS = 1e9
_SHAPE = (WINDOW_BARS, len(PRICE_COLUMNS))


@dataclass(frozen=True)
class TimedCells:
    """The cells of an older file, with the time of each window that was found.

    Attributes:
        cells: The file's cells, `window_start` (UTC) in place of `features`, `label` in lower case.
        faults: `reason` and `detail` of each row whose window was not found or is ambiguous; else null.
        windows: Number of windows found, ambiguous and not found.
    """

    cells: pd.DataFrame
    faults: pd.DataFrame
    windows: dict[str, int]


def is_older(cells: pd.DataFrame) -> bool:
    """Whether the windows have prices instead of a time."""
    return FEATURES in cells.columns and START not in cells.columns


def find_windows(cells: pd.DataFrame, bars: pd.DataFrame) -> TimedCells:
    """Give each window the time of the only place in the bars that has its 420 prices.

    Args:
        cells: window_id, label, expansion_start, expansion_end, and features: 105 rows of open, high,
            low and close (nested lists or arrays, or JSON text).
        bars: BAR_COLUMNS. A match may leave its segment; `place_labels` refuses it later.
    """
    series = _units(bars[list(PRICE_COLUMNS)].to_numpy())
    opened = nanoseconds(bars)
    windows = [_window(value) for value in cells[FEATURES]]
    whole = [window for window in windows if window is not None]
    patterns = np.array(whole, np.int64).reshape(-1, *_SHAPE)
    places = find_stretches(series, patterns)
    causes = iter(
        nearest_causes([p for p, rows in zip(patterns, places, strict=True) if not len(rows)], series, opened)
    )
    matches = iter(places)
    outcomes, starts, reasons, details = [], [], [], []
    for window, value in zip(windows, cells[FEATURES], strict=True):
        rows = next(matches) if window is not None else np.empty(0, np.int64)
        outcomes.append(OUTCOMES[min(len(rows), 2) - 1])
        starts.append(opened[rows[0]] if len(rows) == 1 else None)
        reason, detail = None, None
        if window is None:
            reason, detail = "features are no window", _no_window(value)
        elif len(rows) > 1:
            reason, detail = "window in several places", _several(opened[rows])
        elif not len(rows):
            reason, detail = next(causes)
        reasons.append(reason)
        details.append(detail)
    return _timed(cells, starts, pd.DataFrame({"reason": reasons, "detail": details}, cells.index), outcomes)


def _timed(
    cells: pd.DataFrame, starts: list[int | None], faults: pd.DataFrame, outcomes: list[str]
) -> TimedCells:
    names = cells["window_id"].astype("str").fillna("without id")
    wrong = faults["reason"].notna()
    faults.loc[wrong, "detail"] = "window " + names[wrong] + " " + faults.loc[wrong, "detail"]
    counted = pd.Series(outcomes, cells.index)[~names.duplicated()].tolist()
    timed = cells.drop(columns=FEATURES)
    if "label" in timed:
        timed["label"] = timed["label"].astype("str").str.lower()
    moments = pd.to_datetime(pd.Series(starts, cells.index, dtype="Int64"), utc=True).dt.as_unit("ns")
    return TimedCells(
        timed.assign(**{START: moments}),
        faults.astype("str"),
        {outcome: counted.count(outcome) for outcome in OUTCOMES},
    )


def _window(value: Any) -> np.ndarray | None:
    """(105, 4) int64 prices in UNIT_POINTS; None if the cell holds no window."""
    try:
        rows = json.loads(value) if isinstance(value, str) else value
        prices = np.array([list(row) for row in rows], np.float64)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
    if prices.shape != _SHAPE or not (np.abs(prices) < _MAX_POINTS).all():
        return None
    return _units(prices)


def _units(points: np.ndarray) -> np.ndarray:
    return np.rint(points / UNIT_POINTS).astype(np.int64)


def _no_window(value: Any) -> str:
    excerpt = cut_short(" ".join(str(value).split()))[:40]
    return f"must give features as {WINDOW_BARS} rows of {', '.join(PRICE_COLUMNS)}, got {excerpt}"


def _several(moments: np.ndarray) -> str:
    first = " and ".join(shown_moment(int(moment)) for moment in moments[:2])
    more = f" and {len(moments) - 2} more" if len(moments) > 2 else ""
    return f"occurs {len(moments)} times in these bars, at {first}{more}: give its window_start"
