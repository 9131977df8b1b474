"""Small synthetic markets: bars with clustered volatility and planted expansions."""

from dataclasses import dataclass

import numpy as np

from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.windows.dense import pretraining_windows
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import WINDOW_BARS

TICK = 0.25
SEGMENT_BARS = 400
WINDOWS_PER_SEGMENT = 3


@dataclass(frozen=True)
class InstrumentData:
    """Bars with features, and windows with all their expansions labeled."""

    bars: MarketArrays
    windows: LabeledWindows


def made_bars(n_segments: int, seed: int = 0, n_bars: int = SEGMENT_BARS) -> MarketArrays:
    """Segments of equal length without expansions."""
    rng = np.random.default_rng(seed)
    return _bars(_moves(rng, n_segments * n_bars), n_bars)


def made_market(n_segments: int, seed: int = 0) -> InstrumentData:
    """Three windows per segment: most have one planted surge, every sixth two, every fourth none.

    A surge moves 10 to 14 ticks per bar, other bars 4. Type retracement: the 12 bars before the surge
    move against it. Type consolidation: the 20 bars before it have a third of the usual size.
    """
    rng = np.random.default_rng(seed)
    moves = _moves(rng, n_segments * SEGMENT_BARS)
    segment = np.repeat(np.arange(n_segments), SEGMENT_BARS)
    bar0 = pretraining_windows(segment, len(segment), stride=WINDOW_BARS)
    spans = [
        (window, start, start + int(rng.integers(5, 10)), int(rng.choice([-1, 1])), int(rng.integers(0, 2)))
        for window in range(len(bar0))
        for start in _starts(window, rng)
    ]
    for window, start, end, direction, kind in spans:
        _plant(moves, bar0[window] + start, bar0[window] + end, direction, kind, rng)
    bars = _bars(moves, SEGMENT_BARS)
    labeled = Spans(*(np.array(column, np.int64) for column in zip(*spans, strict=True)))
    names = np.array([f"w{i}" for i in range(len(bar0))], object)
    session = np.datetime64("2024-01-01", "ns") + segment[bar0].astype("timedelta64[D]")
    windows = LabeledWindows(names, bar0, session, np.ones(len(bar0), bool), labeled)
    return InstrumentData(bars, windows)


def upside_down(bars: MarketArrays) -> MarketArrays:
    """The same bars mirrored at a constant, on the tick grid and above 0."""
    opens, high, low, close = (2 * bars.prices.max() - bars.prices[:, i] for i in range(4))
    return MarketArrays.from_prices(
        np.column_stack([opens, low, high, close]), bars.segment, bars.tick_points
    )


def with_prices(bars: MarketArrays, rows: np.ndarray, rng: np.random.Generator) -> MarketArrays:
    """The bars with other, valid prices in some rows."""
    prices = bars.prices.copy()
    size = (len(rows), 4)
    changed = prices[rows, :1] + TICK * rng.integers(-200, 200, size)
    changed[:, 1], changed[:, 2] = changed.max(axis=1), changed.min(axis=1)
    prices[rows] = changed
    return MarketArrays.from_prices(prices, bars.segment, bars.tick_points)


@dataclass(frozen=True)
class _Moves:
    """Ticks of each bar: gap to its open, body, wicks above and below."""

    gap: np.ndarray
    body: np.ndarray
    wicks: np.ndarray


def _moves(rng: np.random.Generator, n_bars: int) -> _Moves:
    body, variance = np.zeros(n_bars), 16.0
    for t in range(n_bars):
        body[t] = np.rint(rng.normal(0, np.sqrt(variance)))
        variance = 1.6 + 0.1 * body[t] ** 2 + 0.8 * variance  # GARCH(1, 1) around 4 ticks
    return _Moves(np.rint(rng.normal(0, 1, n_bars)), body, np.rint(rng.exponential(2, (n_bars, 2))))


def _starts(window: int, rng: np.random.Generator) -> list[int]:
    if window % 4 == 3:
        return []
    if window % 6 == 0:
        return [int(rng.integers(30, 34)), int(rng.integers(65, 74))]
    return [int(rng.integers(32, 72))]


def _plant(moves: _Moves, first: int, last: int, direction: int, kind: int, rng: np.random.Generator) -> None:
    surge = slice(first, last + 1)
    moves.body[surge] = direction * rng.integers(10, 15, last + 1 - first)
    moves.gap[surge] = 0
    if kind == 1:
        moves.body[first - 12 : first] = -direction * rng.integers(1, 5, 12)
    else:
        moves.body[first - 20 : first] = np.rint(moves.body[first - 20 : first] / 3)


def _bars(moves: _Moves, n_bars: int) -> MarketArrays:
    close = 60_000 + np.cumsum(moves.gap + moves.body)
    opens = close - moves.body
    high = np.maximum(opens, close) + moves.wicks[:, 0]
    low = np.minimum(opens, close) - moves.wicks[:, 1]
    prices = np.column_stack([opens, high, low, close]) * TICK
    return MarketArrays.from_prices(
        prices, np.repeat(np.arange(len(close) // n_bars, dtype=np.int32), n_bars), TICK
    )
