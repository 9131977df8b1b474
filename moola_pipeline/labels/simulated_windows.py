"""Where the windows lie that a simulated annotator looks at; none overlaps another."""

import numpy as np

from moola_pipeline.windows.window_geometry import BARS_BEFORE, CORE_FIRST, CORE_LAST, WINDOW_BARS


def whole_windows(segment_start: np.ndarray) -> np.ndarray:
    """True where a window may begin: enough bars before it, and its end in the same segment."""
    rows = np.arange(len(segment_start))
    starts = np.flatnonzero(segment_start)
    number = np.cumsum(segment_start) - 1
    first = starts[number]
    after = np.append(starts[1:], len(rows))[number]
    return (rows >= first + BARS_BEFORE) & (rows + WINDOW_BARS <= after)


def windows_around(
    onsets: np.ndarray, free: np.ndarray, n_windows: int, rng: np.random.Generator
) -> list[int]:
    """Windows that each have the onset of a randomly drawn expansion in bars 30-74.

    Only expansions that any of these bars could hold are drawn, else those near a segment's
    end would prefer some positions.
    """
    possible = np.pad(np.cumsum(free), (1, 0))
    earliest, latest = onsets - CORE_LAST, onsets - CORE_FIRST
    inside = (earliest >= 0) & (latest < len(free))
    earliest, latest, onsets = earliest[inside], latest[inside], onsets[inside]
    placeable = possible[latest + 1] - possible[earliest] == CORE_LAST - CORE_FIRST + 1
    chosen = []
    for onset in rng.permutation(onsets[placeable]):
        if len(chosen) == n_windows:
            break
        _take(int(onset - rng.integers(CORE_FIRST, CORE_LAST + 1)), free, chosen)
    return chosen


def windows_without(
    onsets: np.ndarray, free: np.ndarray, n_windows: int, rng: np.random.Generator
) -> list[int]:
    """Windows in whose bars 30-74 none of these starts."""
    chosen = []
    for bar0 in rng.permutation(np.flatnonzero(free)):
        if len(chosen) == n_windows:
            break
        if not len(in_core(onsets, int(bar0))):
            _take(int(bar0), free, chosen)
    return chosen


def _take(bar0: int, free: np.ndarray, chosen: list[int]) -> None:
    if free[bar0]:
        chosen.append(bar0)
        free[max(bar0 - WINDOW_BARS + 1, 0) : bar0 + WINDOW_BARS] = False


def in_core(onsets: np.ndarray, bar0: int) -> np.ndarray:
    """Numbers of the expansions that start in bars 30-74 of a window."""
    first, after = np.searchsorted(onsets, [bar0 + CORE_FIRST, bar0 + CORE_LAST + 1])
    return np.arange(first, after)
