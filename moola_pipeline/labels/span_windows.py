"""Windows placed around spans of time that was not looked at whole: of them only the spans are known."""

import numpy as np

from moola_pipeline.windows.window_geometry import BARS_BEFORE, CORE_FIRST, CORE_LAST, WINDOW_BARS

_HASH = 2_654_435_761
"""2^32 over the golden ratio: multiples of it, modulo 2^32, lie evenly (Knuth, volume 3, 6.4)."""


def windows_around(
    first: np.ndarray, last: np.ndarray, opened: np.ndarray, segment: np.ndarray
) -> np.ndarray:
    """Row of bar 0 of a window for each span: (n,) int64, -1 where no window fits.

    Each span starts in bars 30-74 of its window, which lies in one segment with 40 bars of it before. Spans
    that fit into one window share it. Where a window lies in its room follows from the time of its first
    span alone, and evenly: the position of a span tells nothing.

    Args:
        first, last: (n,) rows of the first and the last bar of each span; len(opened) for no bar.
        opened: (n_bars,) int64 opens, nanoseconds.
        segment: (n_bars,) int, non-decreasing.
    """
    bar0 = np.full(len(first), -1, np.int64)
    earliest, latest = (rows.tolist() for rows in _room(first, last, segment))
    group: list[int] = []
    low, high = 0, -1
    for i in np.lexsort((last, first)).tolist():
        if earliest[i] > latest[i]:
            continue
        if max(low, earliest[i]) > min(high, latest[i]):
            group, low, high = [], earliest[i], latest[i]
        low, high = max(low, earliest[i]), min(high, latest[i])
        group.append(i)
        bar0[group] = low + _evenly(int(opened[first[group[0]]]), int(high - low) + 1)
    return bar0


def _room(first: np.ndarray, last: np.ndarray, segment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last row of bar 0 of the windows that fit each span; the first is greater if none does."""
    whole = (first <= last) & (last < len(segment))
    of_first, of_last = (segment[np.where(whole, row, 0)] for row in (first, last))
    whole &= of_first == of_last
    starts, ends = (np.searchsorted(segment, of_first, side) for side in ("left", "right"))
    earliest = np.max([first - CORE_LAST, last - WINDOW_BARS + 1, starts + BARS_BEFORE], axis=0)
    latest = np.minimum(first - CORE_FIRST, ends - WINDOW_BARS)
    return earliest, np.where(whole, latest, -1)


def _evenly(moment: int, n: int) -> int:
    """A number in 0..n-1 that follows from a time in nanoseconds."""
    minute = moment // (60 * 10**9)
    return (minute * _HASH % 2**32) * n >> 32
