"""Finding stretches of bars by their values: a rolling hash proposes, comparing every value proves."""

import numpy as np

UNIT_POINTS = 1e-6
"""Two prices are equal when they are the same number of these: room for decimal text, not for a tick."""
_BASE = np.uint64(0x9E3779B97F4A7C15)
_MIXERS = np.array(
    [0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F], np.uint64
)


def find_stretches(series: np.ndarray, patterns: np.ndarray) -> list[np.ndarray]:
    """The rows at which each pattern stands in the series, value for value.

    The hash of n rows is a polynomial in an odd base modulo 2**64, so that the hashes of all
    stretches come from one cumulative sum.

    Args:
        series: (n_bars, F) int64, F <= 4.
        patterns: (n_patterns, n_rows, F) int64.

    Returns:
        For each pattern its first rows in the series, increasing; usually none or one.
    """
    n_patterns, n_rows, _ = patterns.shape
    if not n_patterns or len(series) < n_rows:
        return [np.empty(0, np.int64) for _ in range(n_patterns)]
    powers = np.cumprod(np.full(len(series), _BASE))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(_mixed(series) * powers)])
    hashes = sums[n_rows:] - sums[:-n_rows]
    wanted = _mixed(patterns) @ powers[:n_rows]
    # a stretch at row r is hashed as base**r times the pattern; the inverse of the base takes it back
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
