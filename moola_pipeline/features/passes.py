"""Compiled loops over segments: swings and features of one segment at a time, for the CPU cache.

numba's cache checks only the function's own file for changes: nothing here calls compiled code of
other modules, and their constants come in as arguments. Each feature has its own loop, without
branches and over contiguous arrays, so that the compiler can process eight bars at once. For the
same reason divisions by zero are allowed, and their results replaced afterwards.
"""

import numba
import numpy as np

compiled = numba.njit(cache=True, error_model="numpy", nogil=True)


def compiled_input(values: np.ndarray) -> np.ndarray:
    """A (n,) series as contiguous, read-only float64, copied only if needed.

    numba compiles once for each dtype, layout and writability of its arguments, seconds each;
    pandas gives read-only arrays, numpy writable ones.
    """
    values = np.ascontiguousarray(values, np.float64).view()
    values.flags.writeable = False
    return values


@compiled
def first_illegal(opens, high, low, close):
    """The first bar with a price that is not finite or a high below its low; -1 if there is none."""
    for t in range(len(close)):
        if not (high[t] >= low[t] and np.isfinite(opens[t] + high[t] + low[t] + close[t])):
            return t
    return -1


@compiled
def track_segments(bars, k, starts, ends, swings):
    """Fill in the arrays of `zigzag.Swings`, bars numbered through the whole table.

    `bars` are high, low, close and ATR.
    """
    high, low, close, atr = bars
    direction, swing_high, swing_low, high_bar, low_bar, confirmed = swings
    for i in range(len(starts)):
        first, end = starts[i], ends[i]
        own = high[first:end], low[first:end], close[first:end], atr[first:end]
        extremes = swing_high[first:end], swing_low[first:end], high_bar[first:end], low_bar[first:end]
        _track(own, k, direction[first:end], extremes, confirmed[first:end])
        for t in range(first, end):
            high_bar[t] += first
            low_bar[t] += first


@compiled
def fill_features(bars, starts, ends, constants, limits, table):
    """Fill in the arrays of `relativity.FeatureTable`.

    `bars` are open, high, low, close, ATR and the mean range, the last two NaN while they warm up;
    `constants` the tick, the zigzag's k and the bars of both warm-ups; `limits` the lowest, highest
    and neutral value of each feature.
    """
    opens, high, low, close, atr, range_ema = bars
    tick, k, warm, structure_warm = constants
    lowest, highest, neutral = limits
    values, valid, structure_valid, size = table
    longest = 0
    for i in range(len(starts)):
        longest = max(longest, ends[i] - starts[i])
    columns = np.empty((len(neutral), longest), np.float32)
    series = np.empty((12, longest))
    direction, confirmed = np.empty(longest, np.int8), np.empty(longest, np.bool_)
    swing_bars = np.empty((2, longest), np.int64)
    reach, extremes = series[0], (series[1], series[2], swing_bars[0], swing_bars[1])
    for i in range(len(starts)):
        first, end = starts[i], ends[i]
        h, lo, c = high[first:end], low[first:end], close[first:end]
        _at_least_one_tick(atr[first:end], tick, reach, size[first:end])
        _track((h, lo, c, reach), k, direction, extremes, confirmed)
        _candle(opens[first:end], h, lo, c, range_ema[first:end], tick, columns)
        _since_swings(c, reach, extremes, columns)
        _structure(h, lo, c, reach, tick, series[3:], columns)
        for f in range(len(neutral)):
            _clip(columns[f], len(c), lowest[f], highest[f])
        _proxies(direction, len(c), columns)
        _clip(columns[10], len(c), lowest[10], highest[10])
        _write_rows(
            columns,
            warm,
            structure_warm,
            neutral,
            values[first:end],
            valid[first:end],
            structure_valid[first:end],
        )


@compiled
def _track(bars, k, direction, extremes, confirmed):
    """One segment; bars are numbered from its first."""
    high, low, close, atr = bars
    swing_high, swing_low, high_bar, low_bar = extremes
    leg = 0
    extreme, extreme_bar = 0.0, 0
    top, top_bar, bottom, bottom_bar = high[0], 0, low[0], 0
    top_confirmed, bottom_confirmed = False, False
    for t in range(len(close)):
        if not top_confirmed and high[t] > top:
            top, top_bar = high[t], t
        if not bottom_confirmed and low[t] < bottom:
            bottom, bottom_bar = low[t], t
        reversal = k * atr[t]
        confirmed[t] = False
        if leg == 0:
            # NaN while ATR warms up compares False both ways, so the direction stays open.
            if close[t] - close[0] >= reversal:
                leg, extreme, extreme_bar = 1, top, top_bar
            elif close[0] - close[t] >= reversal:
                leg, extreme, extreme_bar = -1, bottom, bottom_bar
        elif leg == 1:
            if high[t] > extreme:
                extreme, extreme_bar = high[t], t
            elif extreme - close[t] >= reversal:
                top, top_bar, top_confirmed = extreme, extreme_bar, True
                leg, confirmed[t] = -1, True
                extreme_bar = top_bar + 1
                extreme = low[extreme_bar]
                for j in range(extreme_bar + 1, t + 1):
                    if low[j] < extreme:
                        extreme, extreme_bar = low[j], j
        elif low[t] < extreme:
            extreme, extreme_bar = low[t], t
        elif close[t] - extreme >= reversal:
            bottom, bottom_bar, bottom_confirmed = extreme, extreme_bar, True
            leg, confirmed[t] = 1, True
            extreme_bar = bottom_bar + 1
            extreme = high[extreme_bar]
            for j in range(extreme_bar + 1, t + 1):
                if high[j] > extreme:
                    extreme, extreme_bar = high[j], j
        direction[t] = leg
        swing_high[t], high_bar[t] = top, top_bar
        swing_low[t], low_bar[t] = bottom, bottom_bar


@compiled
def _at_least_one_tick(atr, tick, reach, size):
    for t in range(len(atr)):
        reach[t] = tick if atr[t] < tick else atr[t]
    for t in range(len(atr)):
        size[t] = reach[t] if reach[t] > 0 else 0.0


@compiled
def _candle(o, h, lo, c, range_ema, tick, columns):
    """Features 1-6."""
    n = len(c)
    row = columns[0]
    for t in range(n):
        share = (o[t] - lo[t]) / max(h[t] - lo[t], tick)
        row[t] = 0.5 if h[t] == lo[t] else share
    row = columns[1]
    for t in range(n):
        share = (c[t] - lo[t]) / max(h[t] - lo[t], tick)
        row[t] = 0.5 if h[t] == lo[t] else share
    row = columns[2]
    for t in range(n):
        row[t] = (c[t] - o[t]) / max(h[t] - lo[t], tick)
    row = columns[3]
    for t in range(n):
        row[t] = (h[t] - max(o[t], c[t])) / max(h[t] - lo[t], tick)
    row = columns[4]
    for t in range(n):
        row[t] = (min(o[t], c[t]) - lo[t]) / max(h[t] - lo[t], tick)
    row = columns[5]
    for t in range(n):
        ratio = (h[t] - lo[t]) / range_ema[t]
        row[t] = ratio if range_ema[t] > 0 else 0.0


@compiled
def _since_swings(c, reach, extremes, columns):
    """Features 7-10."""
    swing_high, swing_low, high_bar, low_bar = extremes
    n = len(c)
    row = columns[6]
    for t in range(n):
        row[t] = (swing_high[t] - c[t]) / reach[t]
    row = columns[7]
    for t in range(n):
        row[t] = (c[t] - swing_low[t]) / reach[t]
    row = columns[8]
    for t in range(n):
        row[t] = (t - high_bar[t]) / 30
    row = columns[9]
    for t in range(n):
        row[t] = (t - low_bar[t]) / 30


@compiled
def _proxies(direction, n, columns):
    """Features 11 and 12, computed from other features after clipping."""
    body, range_z, row = columns[2], columns[5], columns[10]
    for t in range(n):
        row[t] = range_z[t] * direction[t] * body[t]
    since_high, since_low, row = columns[8], columns[9], columns[11]
    for t in range(n):
        age = min((since_high[t] + since_low[t]) / 2, 1.0)
        row[t] = (1 - range_z[t] / 3) * (1 - abs(body[t])) * age


@compiled
def _structure(h, lo, c, reach, tick, series, columns):
    """The structural set of the last 10, 20 and 40 bars."""
    n = len(c)
    walked, tops, depths = series[0], series[1:5], series[5:9]
    walked[0] = 0.0
    for t in range(1, n):
        walked[t] = walked[t - 1] + abs(c[t] - c[t - 1])
    for t in range(n):
        tops[0, t] = h[t]
    for t in range(n):
        depths[0, t] = -lo[t]
    _highest(tops, n)
    _highest(depths, n)
    for i in range(3):
        rows = columns[12 + 4 * i : 16 + 4 * i]
        _structure_of(c, (tops[i], depths[i], reach, walked), tick, 10 << i, rows)


@compiled
def _highest(rows, n):
    """Turn row 0 into the highest of its last 10 values, rows 1 and 2 into those of 20 and 40."""
    # The maximum of n bars and that of n earlier bars give the maximum of both: 2, 4, 8, 10, 20, 40.
    for source, target, back in ((0, 3, 1), (3, 0, 2), (0, 3, 4), (3, 0, 2), (0, 1, 10), (1, 2, 20)):
        first = min(back, n)
        for t in range(first):
            rows[target, t] = rows[source, t]
        before, now, out = rows[source], rows[source, first:], rows[target, first:]
        for t in range(n - first):
            out[t] = now[t] if now[t] > before[t] else before[t]


@compiled
def _structure_of(close, series, tick, n_bars, columns):
    """Range, net move, efficiency and position over `n_bars`.

    `series` are the highest high, the lowest low, negated, ATR, and the path length since bar 0.
    """
    highest, depth, atr, walked = series
    first = min(n_bars, len(close))
    n = len(close) - first
    c, reach, top, below, path = close[first:], atr[first:], highest[first:], depth[first:], walked[first:]
    row = columns[0, first:]
    for t in range(n):
        row[t] = (top[t] + below[t]) / reach[t]
    row = columns[1, first:]
    for t in range(n):
        row[t] = (c[t] - close[t]) / reach[t]
    row = columns[2, first:]
    for t in range(n):
        way = path[t] - walked[t]
        share = abs(c[t] - close[t]) / way
        row[t] = share if way > tick / 2 else 0.0
    row = columns[3, first:]
    for t in range(n):
        share = (c[t] + below[t]) / (top[t] + below[t])
        row[t] = share if top[t] + below[t] > 0 else 0.5


@compiled
def _clip(row, n, low, high):
    for t in range(n):
        row[t] = min(max(row[t], low), high)


@compiled
def _write_rows(columns, warm, structure_warm, neutral, values, valid, structure_valid):
    """Turn columns into rows, neutral where a feature is not warm; the last 12 are the structural set."""
    n, n_features = values.shape
    for t in range(min(structure_warm, n)):
        n_warm = n_features - 12 if t >= warm else 0
        for f in range(n_features):
            values[t, f] = columns[f, t] if f < n_warm else neutral[f]
    for t in range(structure_warm, n):
        for f in range(n_features):
            values[t, f] = columns[f, t]
    for t in range(n):
        valid[t] = t >= warm
        structure_valid[t] = t >= structure_warm
