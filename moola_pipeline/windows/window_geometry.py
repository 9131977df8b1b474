"""Geometry of a window: length, context, rows, and the core bars, where labels are complete."""

import numpy as np

WINDOW_BARS = 105
CONTEXT_BARS = 20
VIEW_BARS = CONTEXT_BARS + WINDOW_BARS
"""Bars that the network reads of one window: 20 of context, then the window."""
BARS_BEFORE = 40
"""Bars of its own segment that must lie before bar 0 of a window."""
CORE_FIRST, CORE_LAST = 30, 74
"""Every expansion that starts in these bars (inclusive) of a labeled window is labeled."""
CORE_BARS = CORE_LAST - CORE_FIRST + 1
PRETRAIN_STRIDE = 52
LIVE_BARS = 36
"""Bars of a live window; its last bar has just closed. With its context it holds the 45 bars before
every span that may be reported."""
WAITS = (0, 1, 3, 5, 10)
"""Bars after the reported onset within which a live alarm must come to count."""
MAX_WAIT = WAITS[-1]
SAME_MOVE_BARS = 10
"""Alarms of one direction whose reported onsets lie no farther apart are about the same move."""
ONSET_COLLAR_BARS, OFFSET_COLLAR_BARS, OFFSET_COLLAR_SHARE = 3, 3, 0.5
"""Two spans match if their onsets differ by at most the first, and their ends by at most the second
or that share of the labeled length, whichever is more."""
UNTYPED = -1
"""Class number of a span whose type is not known. No class: never an index and never a target."""


def view_rows(bar0: np.ndarray, bars: int = WINDOW_BARS) -> np.ndarray:
    """Table rows of the first `bars` bars of each window, with their context: (B, 20 + bars) int64."""
    return np.asarray(bar0)[:, None] + np.arange(-CONTEXT_BARS, bars)


def gather_rows(values: np.ndarray, bar0: np.ndarray, bars: int = WINDOW_BARS) -> np.ndarray:
    """Copy the rows of windows out of a table: (n_bars, ...) to (B, 20 + bars, ...).

    Args:
        values: (n_bars, ...).
        bar0: (B,) rows of bar 0.
        bars: Bars to copy of each window; later rows are not read.

    Raises:
        ValueError: If a window with its context leaves the table; names the first one.
    """
    bar0 = np.asarray(bar0)
    outside = (bar0 < CONTEXT_BARS) | (bar0 + bars > len(values))
    if outside.any():
        raise ValueError(
            f"bar 0 of a window must lie in rows {CONTEXT_BARS} to {len(values) - bars} of a table of "
            f"{len(values)} bars, got {int(bar0[np.argmax(outside)])}"
        )
    return values[view_rows(bar0, bars)]


def encode_span(start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Center and length of spans start..end (inclusive), as shares of a window's bars."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    return (start + end + 1) / (2 * WINDOW_BARS), (end - start + 1) / WINDOW_BARS


def decode_span(center: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last bar (inclusive) of spans given as shares; inverse of `encode_span`.

    Any finite shares give a legal span: it is cut to the window's length, then moved inside.
    """
    bars = np.clip(np.rint(np.asarray(length, float) * WINDOW_BARS), 1, WINDOW_BARS)
    start = np.rint(np.asarray(center, float) * WINDOW_BARS - bars / 2)
    start = np.clip(start, 0, WINDOW_BARS - bars)
    return start.astype(int), (start + bars - 1).astype(int)
