"""How far off, in bars, the ends of expansions that were found: predicted minus labeled."""

from collections.abc import Callable

import numpy as np

WITHIN_BARS = (1, 3, 5)

Residual = Callable[[np.ndarray, np.ndarray | None], np.ndarray]


def bias(residual: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean of the residuals, bars: above 0 is late.

    Args:
        residual: (n,) bars.
        weights: (..., n) counts of a bootstrap, or None; NaN where nothing was drawn.
    """
    return _mean(residual, weights)


def rmse(residual: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Root of the mean squared residual, bars; arguments as in `bias`."""
    return np.sqrt(_mean(np.square(residual), weights))


def mae(residual: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean absolute residual, bars; arguments as in `bias`."""
    return _mean(np.abs(residual), weights)


def within(residual: np.ndarray, bars: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Share of residuals of at most so many bars; other arguments as in `bias`."""
    return _mean(np.abs(residual) <= bars, weights)


def residual_metrics(end: str) -> dict[str, Residual]:
    """Every metric of one end of an expansion by its name: `onset_bias_bars`, `onset_within_3`, ...

    Args:
        end: onset or offset.
    """
    shares: dict[str, Residual] = {
        f"{end}_within_{bars}": lambda residual, weights, bars=bars: within(residual, bars, weights)
        for bars in WITHIN_BARS
    }
    return {f"{end}_bias_bars": bias, f"{end}_rmse_bars": rmse, f"{end}_mae_bars": mae, **shares}


def _mean(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    values = np.asarray(values, float)
    drawn = np.ones(len(values)) if weights is None else np.asarray(weights, float)
    total = drawn.sum(axis=-1)
    return (drawn @ values) / np.where(total > 0, total, np.nan)
