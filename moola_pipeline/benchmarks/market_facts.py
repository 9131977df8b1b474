"""Stylized facts of a market of one-minute bars: aggregates only, no bar can be recovered from them."""

import numpy as np
import pandas as pd
from scipy.stats import kurtosis

from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.bars.sessions import NEW_YORK
from moola_pipeline.features.averages import segment_bounds
from moola_pipeline.features.relativity import FeatureTable, compute_features
from moola_pipeline.features.zigzag import causal_zigzag
from moola_pipeline.models.span_proposer import SpanProposer, propose
from moola_pipeline.windows.dense import scan_windows
from moola_pipeline.windows.spans import measure_spans
from moola_pipeline.windows.window_geometry import CORE_LAST, view_rows

PATH_BARS = 60
N_PATHS = 4000
FOLDS = 5


def price_paths(bars: pd.DataFrame, tick_points: float, n_paths: int, rng: np.random.Generator) -> np.ndarray:
    """Random paths of 60 closes inside one segment, minus the close before and in units of its ATR.

    Paths do not overlap: otherwise trees would see the same bar in two folds.

    Returns:
        (n_paths, 60) float64.
    """
    prices = bars[list(PRICE_COLUMNS)].to_numpy()
    segment = bars["segment"].to_numpy()
    table = compute_features(prices, segment, tick_points)
    before = np.arange(0, len(segment) - PATH_BARS, PATH_BARS + 1)
    before = before[table.valid[before] & (segment[before] == segment[before + PATH_BARS])]
    chosen = np.sort(rng.choice(before, min(n_paths, len(before)), replace=False))
    closes = prices[chosen[:, None] + np.arange(PATH_BARS + 1), 3]
    return (closes[:, 1:] - closes[:, :1]) / table.atr[chosen, None]


def separation_auc(first: np.ndarray, second: np.ndarray, seed: int = 0) -> float:
    """Out-of-fold AUC of boosted trees that separate two sets of price paths.

    Inputs of the trees: the closes, the steps between them, and the sorted sizes of the steps.

    Args:
        first, second: (n, 60) paths as `price_paths` returns them.
        seed: Of the folds and the trees.

    Returns:
        0.5 if the sets cannot be separated, 1 if they always can.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    paths = np.concatenate([first, second])
    steps = np.diff(paths, axis=1, prepend=0.0)
    inputs = np.hstack([paths, steps, np.sort(np.abs(steps), axis=1)])
    labels = np.repeat([0, 1], [len(first), len(second)])
    trees = HistGradientBoostingClassifier(max_iter=80, max_leaf_nodes=15, random_state=seed)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    probabilities = np.asarray(cross_val_predict(trees, inputs, labels, cv=folds, method="predict_proba"))
    return float(roc_auc_score(labels, probabilities[:, 1]))


KURTOSIS_BARS = (1, 5, 60)
MAX_CUT = 5
"""Largest moves that are clipped for the second kurtosis figure."""
RATIO_BARS = (5, 60)
LAGS = (1, 5, 30, 120, 390, 690, 1380)
RANGE_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
ATR_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
LENGTH_SHARES = (0.25, 0.5, 0.75)
SESSIONS_SCANNED = 100
"""Evenly spread sessions in which the span proposer searches for expansions."""

BANDS = {
    "excess kurtosis of returns, 1 minute": (95, 230),
    "excess kurtosis of returns, 5 minutes": (42, 100),
    "excess kurtosis of returns, 60 minutes": (12, 33),
    "excess kurtosis, five largest moves cut, 1 minute": (65, 110),
    "excess kurtosis, five largest moves cut, 5 minutes": (35, 60),
    "excess kurtosis, five largest moves cut, 60 minutes": (9, 18),
    "variance ratio, 5 minutes": (0.95, 1.07),
    "variance ratio, 60 minutes": (0.93, 1.09),
    "autocorrelation of absolute returns, lag 1": (0.33, 0.46),
    "autocorrelation of absolute returns, lag 30": (0.24, 0.36),
    "autocorrelation of absolute returns, lag 390": (0.05, 0.15),
    "autocorrelation of absolute returns, lag 1380": (0.2, 0.34),
    "volatility at 03:00 New York, bp": (2.9, 3.8),
    "volatility at 08:00 New York, bp": (4.4, 5.8),
    "volatility at 10:00 New York, bp": (6.0, 7.8),
    "volatility at 16:00 New York, bp": (2.9, 3.8),
    "volatility at 20:00 New York, bp": (2.1, 2.8),
    "range of a bar in ticks, 5 % quantile": (4, 6),
    "range of a bar in ticks, 50 % quantile": (15, 22),
    "range of a bar in ticks, 99 % quantile": (110, 155),
    "ATR(10) over price in bp, 5 % quantile": (0.9, 1.25),
    "ATR(10) over price in bp, 50 % quantile": (2.9, 3.8),
    "ATR(10) over price in bp, 95 % quantile": (10, 13),
    "zigzag legs a session": (195, 240),
    "bars a zigzag leg, 50 % quantile": (4, 6),
    "rule-found expansions a session": (15, 34),
}
"""Bands for the simulated market, around the real one; wide if a figure depends on few bars."""


def market_facts(bars: pd.DataFrame, tick_points: float, proposer: SpanProposer) -> dict[str, float]:
    """Measure a market.

    Args:
        bars: BAR_COLUMNS.
        tick_points: Smallest price step, index points.
        proposer: The span proposer; the same for all markets that are compared.

    Returns:
        Value by name; no return crosses the end of a segment.
    """
    prices = bars[list(PRICE_COLUMNS)].to_numpy()
    segment = bars["segment"].to_numpy()
    log_close = np.log(prices[:, 3])
    table = compute_features(prices, segment, tick_points)
    n_sessions = len(np.unique(bars["session"].to_numpy()))
    return {
        **_return_facts(log_close, segment),
        **_hour_facts(log_close, segment, pd.DatetimeIndex(bars["timestamp"])),
        **_size_facts(prices, table, tick_points),
        **_leg_facts(prices, segment, table, n_sessions),
        **_expansion_facts(bars, prices, table, proposer),
    }


def returns_over(log_close: np.ndarray, segment: np.ndarray, n_bars: int) -> np.ndarray:
    """Overlapping log returns over n bars, each inside one segment."""
    return (log_close[n_bars:] - log_close[:-n_bars])[segment[n_bars:] == segment[:-n_bars]]


def without_largest(moves: np.ndarray, n_largest: int) -> np.ndarray:
    """The moves, with the `n_largest` by size clipped to the size of the next one: (n_moves,)."""
    if len(moves) <= n_largest:
        return moves
    limit = np.partition(np.abs(moves), -n_largest - 1)[-n_largest - 1]
    return np.clip(moves, -limit, limit)


def _return_facts(log_close: np.ndarray, segment: np.ndarray) -> dict[str, float]:
    facts, facts_cut = {}, {}
    for n_bars in KURTOSIS_BARS:
        over = f"{n_bars} minute{'s' if n_bars > 1 else ''}"
        moves = returns_over(log_close, segment, n_bars)
        facts[f"excess kurtosis of returns, {over}"] = float(kurtosis(moves))
        cut = without_largest(moves, MAX_CUT * n_bars)
        facts_cut[f"excess kurtosis, five largest moves cut, {over}"] = float(kurtosis(cut))
    facts |= facts_cut
    variance = returns_over(log_close, segment, 1).var()
    for n_bars in RATIO_BARS:
        ratio = returns_over(log_close, segment, n_bars).var() / (n_bars * variance)
        facts[f"variance ratio, {n_bars} minutes"] = float(ratio)
    size = np.abs(_bar_returns(log_close, segment))
    size -= size.mean()
    for lag in LAGS:
        autocorrelation = float((size[lag:] * size[:-lag]).mean() / size.var()) if lag < len(size) else np.nan
        facts[f"autocorrelation of absolute returns, lag {lag}"] = autocorrelation
    return facts


def _bar_returns(log_close: np.ndarray, segment: np.ndarray) -> np.ndarray:
    """One-minute log returns aligned with the bars, 0 at the first bar of a segment."""
    moves = np.diff(log_close, prepend=log_close[:1])
    return np.where(np.diff(segment, prepend=segment[:1] - 1) == 0, moves, 0.0)


def _hour_facts(log_close: np.ndarray, segment: np.ndarray, opened_at: pd.DatetimeIndex) -> dict[str, float]:
    hour = opened_at.tz_convert(NEW_YORK).hour.to_numpy()
    moves = _bar_returns(log_close, segment)
    present = np.unique(hour).tolist()
    return {f"volatility at {h:02}:00 New York, bp": float(moves[hour == h].std() * 1e4) for h in present}


def _size_facts(prices: np.ndarray, table: FeatureTable, tick_points: float) -> dict[str, float]:
    ticks = np.rint((prices[:, 1] - prices[:, 2]) / tick_points)
    atr = table.atr[table.valid] / prices[table.valid, 3] * 1e4
    return _quantiles("range of a bar in ticks", ticks, RANGE_SHARES) | _quantiles(
        "ATR(10) over price in bp", atr, ATR_SHARES
    )


def _quantiles(name: str, values: np.ndarray, shares: tuple[float, ...]) -> dict[str, float]:
    if not len(values):
        return {}
    return {f"{name}, {share * 100:.0f} % quantile": float(np.quantile(values, share)) for share in shares}


def _leg_facts(
    prices: np.ndarray, segment: np.ndarray, table: FeatureTable, n_sessions: int
) -> dict[str, float]:
    atr = np.where(table.atr > 0, table.atr, np.nan).astype(np.float64)
    _, high, low, close = prices.T
    swings = causal_zigzag(high, low, close, atr, starts=segment_bounds(segment)[0])
    confirmed = np.flatnonzero(swings.confirmed)
    length = np.diff(confirmed)[segment[confirmed[1:]] == segment[confirmed[:-1]]]
    facts = {"zigzag legs a session": len(confirmed) / n_sessions}
    return facts | _quantiles("bars a zigzag leg", length, LENGTH_SHARES)


def _expansion_facts(
    bars: pd.DataFrame, prices: np.ndarray, table: FeatureTable, proposer: SpanProposer
) -> dict[str, float]:
    """Proposed expansions that start in the core of a window; the cores cover each bar once."""
    bar0, owned_from = scan_windows(bars["segment"].to_numpy())
    session = bars["session"].to_numpy()[bar0]
    listed = np.unique(session)
    chosen = listed[np.linspace(0, len(listed) - 1, min(SESSIONS_SCANNED, len(listed))).astype(int)]
    scanned = np.isin(session, chosen)
    rows = view_rows(bar0[scanned])
    found = propose(measure_spans(prices[rows], table.atr[rows]), proposer)
    own = (found.start >= owned_from[scanned][found.window]) & (found.start <= CORE_LAST)
    length = (found.end - found.start + 1)[own]
    facts = {"rule-found expansions a session": float(own.sum() / max(len(chosen), 1))}
    return facts | _quantiles("bars a rule-found expansion", length, LENGTH_SHARES)
