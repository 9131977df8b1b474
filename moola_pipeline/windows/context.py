"""The bars before an expansion: the 45 closes before its start, and 21 summaries of them."""

import numpy as np

BARS_BEFORE_START = 45
SUMMARY_BARS = 20


def paths_before(close: np.ndarray, atr: np.ndarray, rows: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """The 45 closes before each start, relative to the last one, in ATR, mirrored to point up.

    Args:
        close: (n_bars,) index points.
        atr: (n_bars,) index points, ATR(10) of the segment.
        rows: (n,) bar-table row of each expansion's first bar; this and later bars are not read.
        directions: (n,) +1 or -1; 0 (the expansion closed where it opened) is not mirrored.

    Returns:
        (n, 45) float64; the last column is 0.

    Raises:
        ValueError: If a start has fewer than 45 bars before it, or no positive ATR.
    """
    rows = np.asarray(rows, np.int64)
    if len(rows) and rows.min() < BARS_BEFORE_START:
        raise ValueError(f"a start must have {BARS_BEFORE_START} bars before it, got one at row {rows.min()}")
    scale = np.asarray(atr)[rows - 1]
    if not (scale > 0).all():
        raise ValueError(f"ATR before a start must be > 0 points, got {scale[~(scale > 0)][0]}")
    closes = np.asarray(close)[rows[:, None] + np.arange(-BARS_BEFORE_START, 0)]  # (n, 45)
    sign = np.where(np.asarray(directions) < 0, -1.0, 1.0)
    return sign[:, None] * (closes - closes[:, -1:]) / scale[:, None]


def summaries(paths: np.ndarray) -> np.ndarray:
    """21 summaries of (n, 45) paths: (n, 21) float64.

    Every third close (15), the highest and lowest, the range and the path length of the last 20
    closes, the close 20 bars before the last, and the position of the highest (0 oldest, 1 newest).
    """
    recent = paths[:, -SUMMARY_BARS:]
    return np.column_stack(
        [
            paths[:, ::3],
            paths.max(axis=1),
            paths.min(axis=1),
            np.ptp(recent, axis=1),
            np.abs(np.diff(recent, axis=1)).sum(axis=1),
            paths[:, -SUMMARY_BARS - 1],
            paths.argmax(axis=1) / (BARS_BEFORE_START - 1),
        ]
    )
