"""Spans of bars in windows, and the net move and efficiency of every span that may be proposed."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numba
import numpy as np

from moola_pipeline.windows.window_geometry import CONTEXT_BARS, CORE_FIRST, CORE_LAST, UNTYPED, WINDOW_BARS

MAX_LENGTH = 20
"""Bars of the longest span that is measured and may be proposed."""


@dataclass(frozen=True)
class Spans:
    """Spans in a set of windows, flat over windows; every array is (n_spans,).

    Attributes:
        window: Index of the window in its set.
        start, end: First and last bar, 0..104 inclusive.
        direction: +1 or -1; 0 if price ended where it began.
        type: Class number, index in `TYPES`; UNTYPED if it is not known.
    """

    window: np.ndarray
    start: np.ndarray
    end: np.ndarray
    direction: np.ndarray
    type: np.ndarray

    @classmethod
    def untyped(
        cls, window: np.ndarray, start: np.ndarray, end: np.ndarray, direction: np.ndarray
    ) -> "Spans":
        """Spans of unknown type."""
        return cls(window, start, end, direction, np.full(len(window), UNTYPED))

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The five arrays in their order."""
        return self.window, self.start, self.end, self.direction, self.type

    @property
    def in_core(self) -> np.ndarray:
        """Whether each span starts in bars 30-74, where labels are complete: (n_spans,) bool."""
        return (self.start >= CORE_FIRST) & (self.start <= CORE_LAST)

    @property
    def is_typed(self) -> np.ndarray:
        """Whether the type of each span is known: (n_spans,) bool."""
        return self.type != UNTYPED

    def select(self, chosen: np.ndarray | slice) -> "Spans":
        """The spans at the given indices, or those marked True."""
        return Spans(*(array[chosen] for array in self.arrays))

    def joined(self, others: "Spans") -> "Spans":
        """These spans, then others of the same windows."""
        return Spans(*(np.concatenate(pair) for pair in zip(self.arrays, others.arrays, strict=True)))

    def pointed(self) -> "Spans":
        """The same spans; one that ends where it began counts as pointing up."""
        return replace(self, direction=np.where(self.direction < 0, -1, 1).astype(np.int8))


class SpanMeasures(NamedTuple):
    """Net move and efficiency of every span of a set of windows, (B, T, MAX_LENGTH) float32.

    Entry [b, s, n] describes bars s..s+n of window b; NaN where the span leaves the window.
    """

    net_atr: np.ndarray
    efficiency: np.ndarray

    def net_of(self, spans: Spans) -> np.ndarray:
        """Signed net move of spans of up to 20 bars in these windows, in ATR: (n_spans,) float32."""
        return self.net_atr[spans.window, spans.start, spans.end - spans.start]


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


# numba's cache checks only the function's own file for changes: constants of other modules come as
# arguments.
@numba.njit(cache=True, nogil=True)
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
