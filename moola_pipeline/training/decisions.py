"""Calibration and thresholds of a classifier, fitted on validation windows only."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.models.expansion_model import Decisions, sigmoid
from moola_pipeline.models.live import LiveDecisions
from moola_pipeline.models.span_inference import Reading, moved
from moola_pipeline.models.span_proposer import Proposals
from moola_pipeline.training.calibrating import toward_identity
from moola_pipeline.training.rule_fit import f_beta, matches
from moola_pipeline.windows.frame import CORE_FIRST, CORE_LAST


def fit_decisions(
    windows: LabeledWindows,
    proposals: Proposals,
    proposed: Reading,
    labeled: Reading,
    live: LiveDecisions | None = None,
) -> Decisions:
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
    known = (found >= 0) | ((proposals.start >= CORE_FIRST) & (proposals.start <= CORE_LAST))
    scale, shift = calibration(proposed.expansion[known], (found >= 0)[known])
    type_scale, type_shift = toward_identity(labeled.retracement, windows.spans.type == 1)
    probability = sigmoid(scale * proposed.expansion + shift)
    best = max(
        (
            (*_threshold(windows, moved(proposals, proposed, refine), probability), refine)
            for refine in (False, True)
        ),
        key=lambda tried: tried[0],
    )
    return Decisions(
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


def _threshold(windows: LabeledWindows, proposals: Proposals, probability: np.ndarray) -> tuple[float, float]:
    """Best event F1 over thresholds, and the threshold that reaches it."""
    tried = (
        np.unique(np.quantile(probability, np.linspace(0, 1, 101))) if len(probability) else np.array([0.5])
    )
    scored = []
    for threshold in tried:
        kept = probability >= threshold
        scored.append((f_beta(Proposals(*(part[kept] for part in proposals)), windows.spans, 1.0), threshold))
    score, threshold = max(scored, key=lambda pair: pair[0])
    return score, float(threshold)
