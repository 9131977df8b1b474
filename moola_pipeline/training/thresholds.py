"""Calibration and thresholds of a classifier, fitted on validation windows."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.models.expansion_model import Thresholds, sigmoid
from moola_pipeline.models.live import LiveThresholds
from moola_pipeline.models.span_inference import SpanLogits, refined_spans
from moola_pipeline.training.proposer_fit import f_beta, matches
from moola_pipeline.windows.spans import Spans

STRENGTH = 10.0
"""Penalty on the squared distance to the identity, added to the summed log-loss: a normal prior with
standard deviation 0.22 on scale and shift. The share of retracements varies between quarters by more than
sampling error; without the penalty, log-loss on time folds was worse."""
MIN_SCALE = 0.05
_N_STEPS = 50
_TOLERANCE = 1e-10


def calibrate_near_identity(logits: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """Scale and shift that minimize log-loss plus their distance to 1 and 0.

    Args:
        logits: (n,) of a network.
        positive: (n,) bool, the labels.

    Returns:
        The scale, > 0, and the shift; the identity if one class is missing. If the labels contradict
        the logits, the scale is MIN_SCALE and the probabilities stay near the share of positives.

    Source:
        Platt (1999), with a normal prior around the identity; Newton's method.
    """
    if positive.all() or not positive.any():
        return 1.0, 0.0
    inputs = np.column_stack([logits, np.ones(len(logits))])
    identity = np.array([1.0, 0.0])
    coefficients = identity.copy()
    for _ in range(_N_STEPS):
        step = _newton_step(inputs, positive, coefficients, identity)
        coefficients -= step
        if np.abs(step).max() < _TOLERANCE:
            break
    scale, shift = coefficients.tolist()
    if scale < MIN_SCALE:
        share = positive.mean()
        return MIN_SCALE, float(np.log(share / (1 - share)) - MIN_SCALE * logits.mean())
    return scale, shift


def _newton_step(
    inputs: np.ndarray, positive: np.ndarray, coefficients: np.ndarray, identity: np.ndarray
) -> np.ndarray:
    """Newton step of the penalized log-loss: inverse Hessian times gradient, (2,)."""
    p = 1 / (1 + np.exp(-np.clip(inputs @ coefficients, -60, 60)))
    gradient = inputs.T @ (p - positive) + 2 * STRENGTH * (coefficients - identity)
    curvature = (inputs * (p * (1 - p))[:, None]).T @ inputs + 2 * STRENGTH * np.eye(2)
    return np.linalg.solve(curvature, gradient)


def fit_thresholds(
    windows: LabeledWindows,
    proposals: Spans,
    proposed: SpanLogits,
    labeled: SpanLogits,
    live: LiveThresholds | None = None,
) -> Thresholds:
    """Fit the calibration and the thresholds of a classifier.

    Args:
        windows: The validation windows.
        proposals: The rule's proposals in them.
        proposed: Logits of the proposals.
        labeled: Logits of the labeled spans.
        live: Thresholds of live mode; None if it was not trained.

    Returns:
        Scale and shift of both probabilities (that of the type fitted on labels of known type); the
        threshold on P(expansion) with the best untyped event F1; whether the pointer's spans score
        better than the rule's. The threshold on P(retracement) is the point where both types have the
        same weight.
    """
    matched = matches(proposals, windows.spans) >= 0
    known = matched | proposals.in_core
    scale, shift = calibration(proposed.expansion[known], matched[known])
    typed = windows.spans.is_typed
    type_scale, type_shift = calibrate_near_identity(
        labeled.retracement[typed], windows.spans.type[typed] == 1
    )
    probability = sigmoid(scale * proposed.expansion + shift)
    best = max(
        (
            (*_threshold(windows, refined_spans(proposals, proposed, refine), probability), refine)
            for refine in (False, True)
        ),
        key=lambda candidate: candidate[0],
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
    """Scale and shift of logits with the best log-loss; the identity if one class is missing."""
    if positive.all() or not positive.any():
        return 1.0, 0.0
    model = LogisticRegression(C=1e3).fit(logits[:, None], positive)
    scale = float(model.coef_[0, 0])
    # A scale near or below 0 would undo or reverse the order of the logits: keep the order, fit the share.
    if scale < 0.05:
        share = positive.mean()
        return 0.05, float(np.log(share / (1 - share)) - 0.05 * logits.mean())
    return scale, float(model.intercept_[0])


def _threshold(windows: LabeledWindows, proposals: Spans, probability: np.ndarray) -> tuple[float, float]:
    """Best event F1 over all thresholds, and its threshold."""
    candidates = (
        np.unique(np.quantile(probability, np.linspace(0, 1, 101))) if len(probability) else np.array([0.5])
    )
    scores = []
    for threshold in candidates:
        accepted = proposals.select(probability >= threshold)
        scores.append((f_beta(accepted, windows.spans, 1.0), threshold))
    score, threshold = max(scores, key=lambda pair: pair[0])
    return score, float(threshold)
