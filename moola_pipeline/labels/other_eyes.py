"""Two made annotators with other habits: one goes by speed and volume, one by breaks of ranges.

They show whether a choice that suits one eye costs another. Neither knows which expansions were planted.
"""

from collections.abc import Callable

import numpy as np

from moola_pipeline.labels.surges import LENGTH_POWER, ClarityOf, SurgeBars, Surges, clearest_surges
from moola_pipeline.windows.context import BARS_BEFORE_START, paths_before

CONSOLIDATION, RETRACEMENT, NEITHER = 0, 1, -1
LONGEST = 10
"""Most bars of a span."""
NEARLY = 0.5
"""Least clarity of a span that an eye may mark when it is lenient."""
FAST, FAST_POWER = 2.8, 0.4
"""The eye for speed marks a net move of so many ATR over the bars to this power, times the root of the
volume over that of the bars before."""
VOLUME_BARS, MAX_VOLUME = 30, 4.0
DRIFT_BARS, DRIFT_ATR = 12, 1.4
"""A drift of so many ATR against the move, over so many closes, is a retracement to the eye for speed."""
QUIET_BARS, QUIET = 10, 1.0
"""Volume of so many bars over that of the 45, at most this, is a consolidation to it."""
BEYOND, RANGE_BARS = 1.1, 20
"""The eye for breaks marks a close so many ATR beyond the extreme of so many bars."""
NARROW_ATR = 2.3
"""A range of at most so many ATR is a consolidation to it."""
GIVEN_BACK, BARS_SINCE_PEAK = 0.25, 3
"""Else a share of the range at least this, given back over at least so many bars, is a retracement."""


TypesOf = Callable[[Surges], np.ndarray]
"""From surges to the class number of each, NEITHER if the eye sees no type."""


def surges_seen(
    eye: str, prices: np.ndarray, volume: np.ndarray, segment: np.ndarray
) -> tuple[Surges, np.ndarray]:
    """The spans that an eye marks or nearly marks, and the type it gives each: (n_surges,) class numbers.

    Args:
        eye: "speed" or "breaks".
        prices: (n_bars, 4) open, high, low, close, index points.
        volume: (n_bars,) contracts.
        segment: (n_bars,) int, non-decreasing.

    Returns:
        Surges with a clarity of at least one half; the eye marks those of at least 1. Spans before which
        it sees neither a consolidation nor a retracement are left out.
    """
    bars = SurgeBars.of(prices, segment)
    clarity_of, types_of = _speed(bars, volume) if eye == "speed" else _breaks(bars)
    surges = clearest_surges(bars, clarity_of, LONGEST, NEARLY)
    types = types_of(surges)
    seen = types != NEITHER
    return Surges(*(array[seen] for array in surges)), types[seen]


def _speed(bars: SurgeBars, volume: np.ndarray) -> tuple[ClarityOf, TypesOf]:
    """Net move over the bars it took, times the root of its volume over that before."""
    total = np.concatenate([[0.0], np.cumsum(volume)])
    before = np.maximum(_before(volume, VOLUME_BARS, np.mean), 1.0)

    def clarity(first: slice, last: slice, length: int) -> np.ndarray:
        inside = (total[length:] - total[:-length]) / length
        busier = np.clip(inside / before[first], 0, MAX_VOLUME)
        move = np.abs(bars.close[last] - bars.opened[first]) / bars.unit[first]
        return move / length**FAST_POWER * np.sqrt(busier) / FAST

    def types(surges: Surges) -> np.ndarray:
        paths = paths_before(bars.close, bars.atr, surges.onset, surges.direction)
        against = paths[:, -1 - DRIFT_BARS] - paths[:, -1] >= DRIFT_ATR
        traded = volume[surges.onset[:, None] + np.arange(-BARS_BEFORE_START, 0)]
        quiet = traded[:, -QUIET_BARS:].mean(axis=1) <= QUIET * traded.mean(axis=1)
        return np.where(against, RETRACEMENT, np.where(quiet, CONSOLIDATION, NEITHER))

    return clarity, types


def _breaks(bars: SurgeBars) -> tuple[ClarityOf, TypesOf]:
    """How far the last close lies beyond the extreme of the bars before, over the root of the bars."""
    top, bottom = _before(bars.high, RANGE_BARS, np.max), _before(bars.low, RANGE_BARS, np.min)

    def clarity(first: slice, last: slice, length: int) -> np.ndarray:
        opened, close = bars.opened[first], bars.close[last]
        up = np.where(opened <= top[first], close - top[first], 0.0)
        down = np.where(opened >= bottom[first], bottom[first] - close, 0.0)
        return np.maximum(up, down) / bars.unit[first] / length**LENGTH_POWER / BEYOND

    def types(surges: Surges) -> np.ndarray:
        paths = paths_before(bars.close, bars.atr, surges.onset, surges.direction)[:, -RANGE_BARS:]
        size, peak = np.ptp(paths, axis=1), paths.argmax(axis=1)
        given_back = (paths.max(axis=1) - paths[:, -1]) / np.maximum(size, 1e-9)
        retraced = (given_back >= GIVEN_BACK) & (RANGE_BARS - 1 - peak >= BARS_SINCE_PEAK)
        return np.where(size <= NARROW_ATR, CONSOLIDATION, np.where(retraced, RETRACEMENT, NEITHER))

    return clarity, types


def _before(values: np.ndarray, n_bars: int, reduce: Callable[..., np.ndarray]) -> np.ndarray:
    """`reduce` over the `n_bars` before each bar: (n_bars,), NaN where there are fewer."""
    result = np.full(len(values), np.nan)
    result[n_bars:] = reduce(np.lib.stride_tricks.sliding_window_view(values, n_bars)[:-1], axis=1)
    return result
