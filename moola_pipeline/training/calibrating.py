"""Calibration of one probability by scale and shift, no further from the logits than the labels demand."""

import numpy as np

STRENGTH = 10.0
"""Weight of the squared distance to the identity beside the log-loss of all labels: a standard deviation
of 0.22 for scale and shift alike. A validation quarter is one draw of the mix of types, which moves from
quarter to quarter by more than its labels tell; on time folds, fitting it freely cost log-loss."""
LEAST_SCALE = 0.05
_N_STEPS = 50
_TOLERANCE = 1e-10


def toward_identity(logits: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """Scale and shift that minimize log-loss plus their distance to 1 and 0.

    Args:
        logits: (n,) what a network says.
        positive: (n,) bool, what is true.

    Returns:
        The scale, > 0, and the shift; the identity where one class is missing. Where the labels
        contradict the logits nearly all is left to the share of positives.

    Source:
        Platt (1999), with a normal prior around the identity; Newton's method.
    """
    if positive.all() or not positive.any():
        return 1.0, 0.0
    inputs = np.column_stack([logits, np.ones(len(logits))])
    around = np.array([1.0, 0.0])
    fitted = around.copy()
    for _ in range(_N_STEPS):
        step = _newton_step(inputs, positive, fitted, around)
        fitted -= step
        if np.abs(step).max() < _TOLERANCE:
            break
    scale, shift = fitted.tolist()
    if scale < LEAST_SCALE:
        share = positive.mean()
        return LEAST_SCALE, float(np.log(share / (1 - share)) - LEAST_SCALE * logits.mean())
    return scale, shift


def _newton_step(
    inputs: np.ndarray, positive: np.ndarray, fitted: np.ndarray, around: np.ndarray
) -> np.ndarray:
    """Gradient over curvature of the penalized log-loss: (2,)."""
    p = 1 / (1 + np.exp(-np.clip(inputs @ fitted, -60, 60)))
    gradient = inputs.T @ (p - positive) + 2 * STRENGTH * (fitted - around)
    curvature = (inputs * (p * (1 - p))[:, None]).T @ inputs + 2 * STRENGTH * np.eye(2)
    return np.linalg.solve(curvature, gradient)
