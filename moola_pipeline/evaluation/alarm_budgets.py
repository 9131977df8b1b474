"""Alarm budgets: the live threshold for so many alarms a session, and what these alarms are worth."""

import numpy as np
import pandas as pd

from moola_pipeline.evaluation.live import AlarmCandidates, alarm_candidates
from moola_pipeline.evaluation.test_set import LabeledTestSet
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.metrics.alarms import score_budget
from moola_pipeline.metrics.scores import Scored
from moola_pipeline.models.expansion_model import ExpansionModel
from moola_pipeline.windows.window_geometry import MAX_WAIT

BUDGETS = tuple(range(1, 21))
"""Alarms a session."""
ALARM_THRESHOLDS = "alarm_thresholds"
"""Key of the thresholds by budget among the facts of a registered version."""
N_THRESHOLDS = 400
"""Thresholds tried, by the rank of their candidates."""


def score_alarm_budgets(
    test_set: LabeledTestSet,
    tested: AlarmCandidates | None,
    validation: LabeledWindows,
    model: ExpansionModel,
    n_sessions: int | None,
    device: str,
) -> dict[int, tuple[float, Scored]]:
    """For each of BUDGETS, the threshold fitted on validation sessions, and its scores on test sessions.

    Args:
        test_set: The test windows.
        tested: Candidates of the test sessions; None if the model was not trained for live mode.
        validation: The validation windows.
        model: The served model, on `device`.
        n_sessions: Maximum number of validation sessions, evenly spread; None for all.
        device: Device of the network.

    Returns:
        Threshold and scores (see `metrics.alarms.score_budget`) by budget; empty if the model was not
        trained for live mode.
    """
    if tested is None:
        return {}
    fitted = alarm_candidates(model, test_set.market, validation, n_sessions, device)
    if fitted is None:
        return {}
    scores = {}
    thresholds = fit_budgets(fitted)
    alarms_of_budgets = tested.alarms(np.array(list(thresholds.values())))
    for (budget, threshold), raised in zip(thresholds.items(), alarms_of_budgets, strict=True):
        alarms = pd.DataFrame(
            {
                "session": tested.session[raised],
                "row": tested.candidates.start[raised],
                "closed": tested.candidates.closed[raised],
                "direction": tested.candidates.direction[raised],
                "type": 0,
                "probability": tested.probability[raised],
            }
        )
        scores[budget] = threshold, score_budget(test_set.resampled, tested.sessions, alarms, MAX_WAIT)
    return scores


def fit_budgets(fitted: AlarmCandidates) -> dict[int, float]:
    """For each of BUDGETS, the lowest threshold that keeps the mean alarms per session within it.

    Args:
        fitted: Candidates of the sessions to fit on.
    """
    ranked = np.unique(fitted.probability)[::-1]
    ranks = np.unique(np.geomspace(1, max(len(ranked), 1), N_THRESHOLDS).astype(np.int64)) - 1
    thresholds = ranked[ranks] if len(ranked) else np.array([1.0])
    per_session = np.array([len(alarms) / len(fitted.sessions) for alarms in fitted.alarms(thresholds)])
    above = np.maximum.accumulate(per_session)  # a lower threshold may raise fewer alarms: they merge
    chosen = np.searchsorted(above, BUDGETS, side="right") - 1
    places = np.maximum(chosen, 0).tolist()
    return {budget: float(thresholds[place]) for budget, place in zip(BUDGETS, places, strict=True)}
