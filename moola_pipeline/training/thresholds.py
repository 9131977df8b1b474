"""Calibration and thresholds of a classifier, fitted on validation windows only."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.models.expansion_model import Thresholds, sigmoid
from moola_pipeline.models.live import LiveThresholds
from moola_pipeline.models.span_inference import SpanLogits, refined_spans
from moola_pipeline.training.proposer_fit import f_beta, matches
from moola_pipeline.windows.spans import Spans

STRENGTH = 10.0
"""Weight of the squared distance to the identity beside the log-loss of all labels: a standard deviation
of 0.22 for scale and shift alike. A validation quarter is one draw of the mix of types, which moves from
quarter to quarter by more than its labels tell; on time folds, fitting it freely cost log-loss."""
MIN_SCALE = 0.05
_N_STEPS = 50
_TOLERANCE = 1e-10


def calibrate_near_identity(logits: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
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
    if scale < MIN_SCALE:
        share = positive.mean()
        return MIN_SCALE, float(np.log(share / (1 - share)) - MIN_SCALE * logits.mean())
    return scale, shift


def _newton_step(
    inputs: np.ndarray, positive: np.ndarray, fitted: np.ndarray, around: np.ndarray
) -> np.ndarray:
    """Gradient over curvature of the penalized log-loss: (2,)."""
    p = 1 / (1 + np.exp(-np.clip(inputs @ fitted, -60, 60)))
    gradient = inputs.T @ (p - positive) + 2 * STRENGTH * (fitted - around)
    curvature = (inputs * (p * (1 - p))[:, None]).T @ inputs + 2 * STRENGTH * np.eye(2)
    return np.linalg.solve(curvature, gradient)


def fit_thresholds(
    windows: LabeledWindows,
    proposals: Spans,
    proposed: SpanLogits,
    labeled: SpanLogits,
    live: LiveThresholds | None = None,
) -> Thresholds:
    """Fit what turns logits into answers.

    Args:
        windows: The validation windows.
        proposals: The rule's proposals in them.
        proposed: The classifier's reading of the proposals.
        labeled: Its reading of the labeled spans themselves.
        live: What turns its live answers into alarms; None where it was not taught to give any.

    Returns:
        Temperature and bias of both probabilities; the probability above which an expansion is
        reported (best untyped event F1); whether the pointer's spans do better than the rule's.
        The two types are told apart where the training loss weighed them alike.
    """
    found = matches(proposals, windows.spans)
    known = (found >= 0) | proposals.in_core
    scale, shift = calibration(proposed.expansion[known], (found >= 0)[known])
    type_scale, type_shift = calibrate_near_identity(labeled.retracement, windows.spans.type == 1)
    probability = sigmoid(scale * proposed.expansion + shift)
    best = max(
        (
            (*_threshold(windows, refined_spans(proposals, proposed, refine), probability), refine)
            for refine in (False, True)
        ),
        key=lambda tried: tried[0],
    )
    return Thresholds(
        expansion_scale=scale,
        expansion_shift=shift,
        expansion_threshold=best[1],
        retracement_scale=type_scale,
        retracement_shift=type_shift,
        retracement_threshold=float(sigmoid(np.array(type_shift))),
        refine=best[2],
        live=live,
    )


def calibration(logits: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """Scale and shift of logits with the best log-loss; the identity where one class is missing."""
    if positive.all() or not positive.any():
        return 1.0, 0.0
    model = LogisticRegression(C=1e3).fit(logits[:, None], positive)
    scale = float(model.coef_[0, 0])
    # A negative scale would turn the model's answer around; then only its share is trusted.
    if scale < 0.05:
        share = positive.mean()
        return 0.05, float(np.log(share / (1 - share)) - 0.05 * logits.mean())
    return scale, float(model.intercept_[0])


def _threshold(windows: LabeledWindows, proposals: Spans, probability: np.ndarray) -> tuple[float, float]:
    """Best event F1 over thresholds, and the threshold that reaches it."""
    tried = (
        np.unique(np.quantile(probability, np.linspace(0, 1, 101))) if len(probability) else np.array([0.5])
    )
    scored = []
    for threshold in tried:
        kept = probability >= threshold
        scored.append((f_beta(proposals.select(kept), windows.spans, 1.0), threshold))
    score, threshold = max(scored, key=lambda pair: pair[0])
    return score, float(threshold)
