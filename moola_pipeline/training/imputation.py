"""Imputation baselines for hidden bars: mean, last value, interpolation and ridge regression."""

from typing import NamedTuple

import numpy as np

from moola_pipeline.windows.augmentation import visible_neighbors


class HiddenBars(NamedTuple):
    """Hidden bars of a batch and the nearest visible bars; all (n_hidden,).

    Attributes:
        window, bar: Position of the hidden bar.
        before, after: Nearest visible bar on either side.
    """

    window: np.ndarray
    bar: np.ndarray
    before: np.ndarray
    after: np.ndarray


def locate_hidden(hidden: np.ndarray) -> HiddenBars:
    """List the hidden bars of (B, 125) masks, row by row."""
    before, after = visible_neighbors(hidden)
    window, bar = np.nonzero(hidden)
    return HiddenBars(window, bar, before[window, bar], after[window, bar])


def edge_inputs(visible: np.ndarray, hidden: np.ndarray, where: HiddenBars) -> np.ndarray:
    """Inputs of the ridge regression for each hidden bar.

    The rows at both edges of the block, the same times the bar's relative position between them, the
    mean of the window's visible rows, that position, and 1.

    Args:
        visible: (B, 125, F) standardized features, computed without the hidden bars.
        hidden: (B, 125) bool.
        where: The hidden bars.

    Returns:
        (n_hidden, 5 F + 2) float32.
    """
    left = visible[where.window, where.before]
    right = visible[where.window, where.after]
    share = ((where.bar - where.before) / (where.after - where.before))[:, None].astype(np.float32)
    is_visible = ~hidden[:, :, None]
    mean = ((visible * is_visible).sum(axis=1) / is_visible.sum(axis=1))[where.window]
    return np.concatenate(
        [left, right, left * share, right * share, mean, share, np.ones_like(share)], axis=1, dtype=np.float32
    )


def fit_ridge(inputs: np.ndarray, targets: np.ndarray, penalty: float = 10.0) -> np.ndarray:
    """Coefficients (n_inputs, F) of ridge regression on (n, n_inputs) and (n, F)."""
    inputs, targets = inputs.astype(np.float64), targets.astype(np.float64)
    gram = inputs.T @ inputs + penalty * np.eye(inputs.shape[1])
    return np.linalg.solve(gram, inputs.T @ targets).astype(np.float32)


def imputation_errors(
    visible: np.ndarray, where: HiddenBars, inputs: np.ndarray, ridge: np.ndarray, targets: np.ndarray
) -> dict[str, float]:
    """Mean squared error of each baseline at hidden bars, in training variances.

    Args:
        visible: (B, 125, F) standardized features computed without the hidden bars.
        where: The hidden bars.
        inputs: (n_hidden, n_inputs) from `edge_inputs`.
        ridge: (n_inputs, F) coefficients.
        targets: (n_hidden, F) standardized true features.
    """
    left = visible[where.window, where.before]
    right = visible[where.window, where.after]
    share = ((where.bar - where.before) / (where.after - where.before))[:, None]
    predictions = {
        "mean": np.zeros_like(targets),
        "last_value": left,
        "interpolation": left + share * (right - left),
        "ridge": inputs @ ridge,
    }
    return {name: float(np.mean((prediction - targets) ** 2)) for name, prediction in predictions.items()}
