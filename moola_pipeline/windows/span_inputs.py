"""Span inputs of the heads: 78 numbers measured on a span and on the 45 bars before it.

Lengths are in ATR(10) of the bar before the span. Prices are mirrored so that the span points up.
Bars after the span are not read.
"""

import numpy as np

from moola_pipeline.windows.context import BARS_BEFORE_START, summaries
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import CONTEXT_BARS

STRETCHES = (10, 20, 45)
"""Bars before the start over which the structure is measured."""
SUMMARY_NAMES = (
    *(f"close_{bars}_back" for bars in range(BARS_BEFORE_START - 1, -1, -3)),
    "highest_close",
    "lowest_close",
    "close_range_20",
    "path_20",
    "close_20_before_last",
    "place_of_highest_close",
)
LEG_NAMES = (
    "place_of_high",
    "place_of_low",
    "rise_to_high",
    "fall_since_high",
    "retraced_share",
    "recovered_share",
    "fall_to_low",
    "rise_since_low",
)
STRETCH_NAMES = ("range", "efficiency", "position", "high", "low", "slope", "scatter")
CALM_NAMES = ("range_ratio", "crossings_10", "crossings_30")
BEFORE_NAMES = (
    *SUMMARY_NAMES,
    *LEG_NAMES,
    *(f"{name}_{bars}" for bars in STRETCHES for name in STRETCH_NAMES),
    *CALM_NAMES,
)
MOVE_NAMES = (
    "net",
    "net_over_root_length",
    "length_bars",
    "efficiency_closes",
    "efficiency_ranges",
    "mean_range",
    "largest_body_share",
    "worst_pullback",
    "worst_pullback_share",
    "first_body",
    "second_body",
    "last_body",
    "wick_at_end",
    "depth_below_start",
)
BREAK_NAMES = (
    "gap",
    "body_before",
    "move_1_before",
    "move_2_before",
    "move_3_before",
    *(f"{name}_{bars}" for bars in STRETCHES for name in ("net_over_range", "high_beyond")),
)
INPUT_NAMES = (*BEFORE_NAMES, *MOVE_NAMES, *BREAK_NAMES)
N_BEFORE, N_INPUTS = len(BEFORE_NAMES), len(INPUT_NAMES)
"""The first 53 numbers are known before the span starts; the type head reads no others."""
CHUNK_SPANS = 4096
_MIN_LEG, _MIN_MOVE = 0.5, 0.1
"""ATR below which a move is too small to divide by."""


def span_inputs(
    views: np.ndarray, atr: np.ndarray, spans: Spans, start: np.ndarray | None = None
) -> np.ndarray:
    """Measure spans in windows.

    Args:
        views: (B, V, 4) open, high, low, close with context, index points; V is 125, or less if a
            window is cut off.
        atr: (B, V) ATR of the same bars, index points, > 0.
        spans: n spans in these windows.
        start: (n,) int, row of each span's first bar in a table from which all windows were cut: what
            comes before a bar is then measured once, however many windows show it. None: no such table.

    Returns:
        (n, 78) float32, columns as INPUT_NAMES. A span that starts before bar 25 has fewer than
        45 bars in view before it: the first bar in view replaces the missing ones.
    """
    out = np.empty((len(spans.window), N_INPUTS), np.float32)
    for first in range(0, len(out), CHUNK_SPANS):
        part = slice(first, first + CHUNK_SPANS)
        own = spans.select(part)
        unlike, like = _unlike_starts(own, None if start is None else start[part])
        before, ranges = _measured_before(views, atr, own.select(unlike))
        out[part, :N_BEFORE] = before[like]
        out[part, N_BEFORE:] = _measured_since(views, atr, own, ranges[like])
    return out


def _unlike_starts(spans: Spans, start: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Spans with unlike bars before them: their (m,) indices, and for each span (n,) which is like it."""
    if start is None:
        return np.arange(len(spans.window)), np.arange(len(spans.window))
    n_before = np.minimum(spans.start + CONTEXT_BARS, BARS_BEFORE_START)  # in view
    key = (start * 2 + (spans.direction < 0)) * (BARS_BEFORE_START + 1) + n_before
    return np.unique(key, return_index=True, return_inverse=True)[1:]


def _measured_before(views: np.ndarray, atr: np.ndarray, spans: Spans) -> tuple[np.ndarray, np.ndarray]:
    """The numbers known before the start: (m, 53), and what `_break` reads of the same bars: (m, 10)."""
    window, onset = spans.window, spans.start + CONTEXT_BARS
    rows = np.maximum(onset[:, None] + np.arange(-BARS_BEFORE_START, 0), 0)
    before = _turned(views[window[:, None], rows], views[window, onset - 1, 3], *_units(atr, spans))
    stretches = [_stretch(before[:, -bars:]) for bars in STRETCHES]
    parts = summaries(before[:, :, 3]), _legs(before[:, :, 1], before[:, :, 2]), *stretches, _calm(before)
    extremes = [stretch[:, STRETCH_NAMES.index(name)] for stretch in stretches for name in ("range", "high")]
    ranges = np.column_stack([before[:, -1, 3], before[:, -3:, 0], *extremes])
    return np.column_stack(parts), ranges


def _measured_since(views: np.ndarray, atr: np.ndarray, spans: Spans, before: np.ndarray) -> np.ndarray:
    """The numbers of the span itself: (n, 25)."""
    window, onset, last = spans.window, spans.start + CONTEXT_BARS, spans.end + CONTEXT_BARS
    size, sign = _units(atr, spans)
    length = last - onset + 1
    rows = np.minimum(onset[:, None] + np.arange(max(length.max(initial=1), 2)), views.shape[1] - 1)
    span = _turned(views[window[:, None], rows], views[window, onset, 0], size, sign)  # (n, L, 4)
    gap = sign * (views[window, onset, 0] - views[window, onset - 1, 3]) / size
    inside = np.arange(span.shape[1]) < length[:, None]
    return np.column_stack([_move(span, inside, length), _break(before, span, inside, length, gap)])


def _units(atr: np.ndarray, spans: Spans) -> tuple[np.ndarray, np.ndarray]:
    """ATR of the bar before each span, index points, and the sign of its direction: (n,) float64 both."""
    size = atr[spans.window, spans.start + CONTEXT_BARS - 1].astype(np.float64)
    return size, np.where(spans.direction < 0, -1.0, 1.0)


def _turned(prices: np.ndarray, origin: np.ndarray, size: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """Prices from `origin` in ATR; mirroring swaps high and low."""
    turned = sign[:, None, None] * (prices - origin[:, None, None]) / size[:, None, None]
    down = sign < 0
    turned[down] = turned[down][:, :, [0, 2, 1, 3]]
    return turned


def _legs(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """The legs into and out of the highest and the lowest of the 45 bars: (n, 8)."""
    bars = np.arange(high.shape[1])
    top, bottom = high.argmax(axis=1), low.argmin(axis=1)
    highest, lowest = high.max(axis=1), low.min(axis=1)
    until_top, until_bottom = bars <= top[:, None], bars <= bottom[:, None]
    low_before = np.where(until_top, low, np.inf).min(axis=1)
    low_since = np.where(until_top & (bars != top[:, None]), np.inf, low).min(axis=1)
    high_before = np.where(until_bottom, high, -np.inf).max(axis=1)
    high_since = np.where(until_bottom & (bars != bottom[:, None]), -np.inf, high).max(axis=1)
    rise, fall = highest - low_before, highest - low_since
    return np.column_stack(
        [
            top / bars[-1],
            bottom / bars[-1],
            rise,
            fall,
            fall / np.maximum(rise, _MIN_LEG),
            -low_since / np.maximum(fall, _MIN_LEG),
            high_before - lowest,
            high_since - lowest,
        ]
    )


def _stretch(bars: np.ndarray) -> np.ndarray:
    """Range, efficiency, position in the range, extremes, slope and scatter of (n, m, 4) bars: (n, 7)."""
    high, low, close = bars[:, :, 1].max(axis=1), bars[:, :, 2].min(axis=1), bars[:, :, 3]
    size = high - low
    path = np.abs(np.diff(close, axis=1)).sum(axis=1)
    time = np.linspace(-1, 1, close.shape[1])
    slope = close @ time / (time @ time)
    scatter = (close - close.mean(axis=1, keepdims=True) - slope[:, None] * time).std(axis=1)
    efficiency = (close[:, -1] - close[:, 0]) / np.maximum(path, _MIN_MOVE)
    position = (close[:, -1] - low) / np.maximum(size, _MIN_MOVE)
    return np.column_stack([size, efficiency, position, high, low, slope, scatter])


def _calm(bars: np.ndarray) -> np.ndarray:
    """Mean range of the last 10 bars over that of all, and counts of closes crossing their mean: (n, 3)."""
    ranges = bars[:, :, 1] - bars[:, :, 2]
    ratio = ranges[:, -10:].mean(axis=1) / np.maximum(ranges.mean(axis=1), _MIN_MOVE / 2)
    crossings = []
    for n_bars in (10, 30):
        close = bars[:, -n_bars:, 3]
        above = close > close.mean(axis=1, keepdims=True)
        crossings.append((above[:, 1:] != above[:, :-1]).sum(axis=1))
    return np.column_stack([ratio, *crossings])


def _move(span: np.ndarray, inside: np.ndarray, length: np.ndarray) -> np.ndarray:
    """The move itself: (n, 14). `span` is (n, L, 4) from its own open, `inside` (n, L)."""
    opens, high, low, close = np.moveaxis(span, 2, 0)
    row, last = np.arange(len(span)), length - 1
    net = close[row, last]
    body, ranges = close - opens, high - low
    before = np.concatenate([opens[:, :1], close[:, :-1]], axis=1)
    path = (np.abs(close - before) * inside).sum(axis=1)
    walked = (ranges * inside).sum(axis=1)
    reached = np.maximum.accumulate(high, axis=1)
    # the first bar's low may come before its high
    pullback = np.where(inside, reached - low, 0.0)[:, 1:].max(axis=1, initial=0.0)
    size = np.maximum(net, _MIN_MOVE)
    return np.column_stack(
        [
            net,
            net / np.sqrt(length),
            length,
            net / np.maximum(path, _MIN_MOVE),
            net / np.maximum(walked, _MIN_MOVE),
            walked / length,
            np.where(inside, body, -np.inf).max(axis=1) / size,
            pullback,
            pullback / size,
            body[:, 0],
            body[row, np.minimum(1, last)],
            body[row, last],
            np.where(inside, high, -np.inf).max(axis=1) - net,
            -np.where(inside, low, np.inf).min(axis=1),
        ]
    )


def _break(
    before: np.ndarray, span: np.ndarray, inside: np.ndarray, length: np.ndarray, gap: np.ndarray
) -> np.ndarray:
    """The move relative to the bars before it: (n, 11).

    Args:
        before: (n, 10) last close and last three opens, then range and high of each of STRETCHES.
        span: (n, L, 4) from its own open.
        inside: (n, L) bool, bars of the span.
        length: (n,) of the span, bars.
        gap: (n,) from the close before the span to its open.
    """
    net = span[np.arange(len(span)), length - 1, 3]
    reached = np.where(inside, span[:, :, 1], -np.inf).max(axis=1) + gap
    last_close, opens = before[:, 0], before[:, 1:4]
    columns = [gap, last_close - opens[:, -1], *(gap - opens[:, -bars] for bars in (1, 2, 3))]
    for stretch in range(len(STRETCHES)):
        size, high = before[:, 4 + 2 * stretch], before[:, 5 + 2 * stretch]
        columns += [net / np.maximum(size, 3 * _MIN_MOVE), reached - high]
    return np.column_stack(columns)
