"""Net move and efficiency of every span of a set of windows that may be proposed."""

from typing import NamedTuple

import numba
import numpy as np

from moola_pipeline.windows.window_geometry import CONTEXT_BARS, WINDOW_BARS

MAX_LENGTH = 20
"""Bars of the longest span that is measured and may be proposed."""


class SpanMeasures(NamedTuple):
    """Net move and efficiency of every span of a set of windows, (B, T, MAX_LENGTH) float32.

    Entry [b, s, n] describes bars s..s+n of window b; NaN where the span leaves the window.
    """

    net_atr: np.ndarray
    efficiency: np.ndarray


def measure_spans(views: np.ndarray, atr: np.ndarray) -> SpanMeasures:
    """Measure every span of up to 20 bars.

    Args:
        views: (B, 125, 4) prices with context, index points.
        atr: (B, 125) ATR of the same bars, index points, > 0.

    Returns:
        Signed net move in ATR and efficiency in [0, 1].
    """
    shape = (len(views), WINDOW_BARS, MAX_LENGTH)
    net, efficiency = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    _measure(np.ascontiguousarray(views), np.asarray(atr, np.float64), CONTEXT_BARS, net, efficiency)
    return SpanMeasures(net, efficiency)


# numba's cache of a function knows when its own file has changed, and no other: constants of other
# modules come as arguments.
@numba.njit(cache=True)
def _measure(views, atr, context_bars, net, efficiency):
    _, window_bars, max_length = net.shape
    for b in range(len(views)):
        for s in range(window_bars):
            first = context_bars + s
            opened = views[b, first, 0]
            path = abs(views[b, first, 3] - opened)
            for n in range(min(max_length, window_bars - s)):
                if n > 0:
                    path += abs(views[b, first + n, 3] - views[b, first + n - 1, 3])
                move = views[b, first + n, 3] - opened
                net[b, s, n] = move / atr[b, first - 1]
                efficiency[b, s, n] = abs(move) / path if path > 0 else 0.0
