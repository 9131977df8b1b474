"""Parts of a report that need more than labels: the truth of a simulated market, and a type grown rarer."""

import numpy as np
import pandas as pd

from moola_pipeline.assets.report_parts import as_scores
from moola_pipeline.assets.scoring import Judged
from moola_pipeline.bars.store import BarStore
from moola_pipeline.evaluation.truth import against_truth
from moola_pipeline.labels.simulated import read_truth
from moola_pipeline.labels.spans import labeled_windows
from moola_pipeline.metrics.prior_shift import STRESS_SHARE, score_shifted
from moola_pipeline.metrics.scores import Ground
from moola_pipeline.report.data import Scores


def truth_scores(
    ground: Ground, judged: Judged, store: BarStore, timestamps: pd.DatetimeIndex
) -> dict[str, Scores]:
    """Scores of the model and of the labels on what was planted; empty for registered bars."""
    if not store.simulated:
        return {}
    scored = against_truth(ground, read_truth(store), timestamps, list(judged.answers.values()))
    return {name: as_scores(one) for name, one in scored.items()}


def prior_scores(ground: Ground, judged: Judged, labels: pd.DataFrame) -> dict[str, Scores]:
    """Scores of P(retracement) with the prior of validation and with a re-estimated one.

    Both on the test expansions as they are, and weighed so that 23 % are retracements. Empty where
    one type is missing.

    Args:
        ground, judged: The test windows and the model's answers.
        labels: The labeled frame with splits; P(retracement) was calibrated on validation.
    """
    prior = float(np.mean(labeled_windows(labels, "validation").spans.type))
    if not 0 < prior < 1 or len(set(ground.windows.spans.type.tolist())) < 2:
        return {}
    probabilities = list(judged.probabilities.values())
    rows = {}
    for ending, share in (("", None), ("_at_23_percent", STRESS_SHARE)):
        scored = score_shifted(ground, probabilities, prior, share)
        rows |= {f"{name}{ending}": as_scores(one) for name, one in scored.items()}
    return rows
