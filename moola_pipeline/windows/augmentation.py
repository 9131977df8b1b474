"""Augmented prices of windows, and the features recomputed from them."""

import numpy as np

from moola_pipeline.features.relativity import compute_features
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import VIEW_BARS, WINDOW_BARS

WARP_KNOTS = 6


def augmented_features(market: MarketArrays, bar0: np.ndarray, views: np.ndarray) -> np.ndarray:
    """Features of windows as if their bars had the prices in `views`: (B, 125, F) float32.

    Arguments as in `augmented_table`.
    """
    return augmented_table(market, bar0, views)[0]


def augmented_table(
    market: MarketArrays, bar0: np.ndarray, views: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Features and ATR of windows as if their bars had the prices in `views`.

    Bars before a window's context keep their prices. Averages and swings start with the segment, so
    with unchanged prices the result equals the feature table.

    Args:
        market: The table of the windows.
        bar0: (B,) rows of bar 0.
        views: (B, 125, 4) float64 prices, index points.

    Returns:
        (B, 125, F) float32, and (B, 125) float32 ATR, index points.
    """
    starts = market.segment_starts(bar0)
    ends = np.asarray(bar0) + WINDOW_BARS
    lengths = ends - starts
    stops = np.cumsum(lengths)
    prices = np.concatenate([market.prices[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)])
    rows = stops[:, None] - VIEW_BARS + np.arange(VIEW_BARS)
    prices[rows] = views
    runs = np.repeat(np.arange(len(lengths)), lengths)
    table = compute_features(prices, runs, market.tick_points)
    return table.values[rows], table.atr[rows]


def visible_neighbors(hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest visible bar before and after each bar, itself where it is visible: two (B, T) int64.

    Before the first visible bar it is -1, after the last one T.
    """
    n_bars = hidden.shape[1]
    bars = np.arange(n_bars)
    before = np.maximum.accumulate(np.where(hidden, -1, bars), axis=1)
    after = np.minimum.accumulate(np.where(hidden, n_bars, bars)[:, ::-1], axis=1)[:, ::-1]
    return before, after


def bridge_hidden(views: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Replace every hidden block by a plain walk between its visible neighbors.

    The walk leads from the close before the block to the open after it. It alternates by the mean
    move of the window's visible bars, in candles of their mean height, so that averages, ranges and
    paths measured past the block keep their usual size. It does not use the hidden prices.

    Args:
        views: (B, 125, 4) prices.
        hidden: (B, 125) bool, False in the first and last column.

    Returns:
        (B, 125, 4), a copy.

    Raises:
        ValueError: If a window's first or last bar is hidden.
    """
    if hidden[:, 0].any() or hidden[:, -1].any():
        raise ValueError("the first and last bar of a window must be visible, so that blocks have neighbors")
    bars = np.arange(hidden.shape[1])
    before, after = visible_neighbors(hidden)
    left = np.take_along_axis(views[:, :, 3], before, axis=1)
    right = np.take_along_axis(views[:, :, 0], after, axis=1)
    n_visible = (~hidden).sum(axis=1)
    height = np.where(hidden, 0.0, views[:, :, 1] - views[:, :, 2]).sum(axis=1) / n_visible
    move = np.where(hidden, 0.0, np.abs(views[:, :, 3] - views[:, :, 0])).sum(axis=1) / n_visible
    sway = np.where(hidden, move[:, None] / 2 * (-1.0) ** bars, 0.0)
    close = left + (right - left) * (bars - before) / np.maximum(after - before, 1) + sway
    opens = np.concatenate([close[:, :1], close[:, :-1]], axis=1)
    opens = np.where(np.roll(hidden, 1, axis=1), opens, left)
    wick = np.maximum(height[:, None] - np.abs(close - opens), 0.0) / 2
    walk = np.stack([opens, np.maximum(opens, close) + wick, np.minimum(opens, close) - wick, close], axis=2)
    return np.where(hidden[:, :, None], walk, views)


def hidden_blocks(n_windows: int, ratio: float, block_bars: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the hidden bars of each window: blocks of equal length that touch no edge.

    Each of several equal strips of the view holds one block, so that a share `ratio` of the bars is
    hidden and every block has a visible bar on both sides.

    Returns:
        (B, 125) bool.
    """
    n_blocks = max(1, round(ratio * VIEW_BARS / block_bars))
    strip = VIEW_BARS // n_blocks
    if strip < block_bars + 2:
        raise ValueError(f"hidden_ratio must leave a visible bar on each side of a block, got {ratio:g}")
    offsets = rng.integers(1, strip - block_bars, size=(n_windows, n_blocks))
    first = offsets + np.arange(n_blocks) * strip
    bars = np.arange(VIEW_BARS)
    inside = (bars >= first[:, :, None]) & (bars < first[:, :, None] + block_bars)  # (B, blocks, 125)
    return np.any(inside, axis=1)


def augmented_prices(
    views: np.ndarray, atr: np.ndarray, jitter_atr: float, warp: float, rng: np.random.Generator
) -> np.ndarray:
    """Prices of windows after magnitude warp and jitter; every candle stays legal.

    A smooth curve around 1 stretches each bar's move from the close before it; then every price
    is shifted by noise, and high and low are widened to hold open and close.

    Args:
        views: (B, 125, 4) prices, index points.
        atr: (B,) ATR at bar 0, index points.
        jitter_atr: Standard deviation of the noise, ATR.
        warp: Standard deviation of the curve at its knots.
        rng: Source of randomness.

    Returns:
        (B, 125, 4), a copy.
    """
    knots = 1 + warp * rng.standard_normal((len(views), WARP_KNOTS))
    at = np.linspace(0, WARP_KNOTS - 1, VIEW_BARS)
    left = np.minimum(at.astype(int), WARP_KNOTS - 2)
    curve = knots[:, left] * (left + 1 - at) + knots[:, left + 1] * (at - left)
    before = np.concatenate([views[:, :1, 0], views[:, :-1, 3]], axis=1)
    moves = (views - before[:, :, None]) * np.maximum(curve, 0.1)[:, :, None]
    closes = views[:, :1, 0] + np.cumsum(moves[:, :, 3], axis=1)
    bases = np.concatenate([views[:, :1, 0], closes[:, :-1]], axis=1)
    changed = bases[:, :, None] + moves
    changed += jitter_atr * atr[:, None, None] * rng.standard_normal(views.shape)
    changed[:, :, 1] = changed.max(axis=2)
    changed[:, :, 2] = changed.min(axis=2)
    return changed
