"""Alarm budgets: the live threshold for so many alarms a session, and what these alarms are worth."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from moola_pipeline.evaluation.live import spread_sessions
from moola_pipeline.evaluation.test_set import LabeledTestSet
from moola_pipeline.inference.live import live_candidates
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.metrics.alarms import score_budget
from moola_pipeline.metrics.scores import Scored
from moola_pipeline.models.expansion_model import ExpansionModel
from moola_pipeline.models.live import OnsetCandidates, raised_alarms
from moola_pipeline.windows.dense import live_windows
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import MAX_WAIT

BUDGETS = tuple(range(1, 21))
"""Alarms a session."""
ALARM_THRESHOLDS = "alarm_thresholds"
"""Key of the thresholds by budget among the facts of a registered version."""
N_THRESHOLDS = 400
"""Thresholds tried, by the rank of their candidates."""


@dataclass(frozen=True)
class AlarmCandidates:
    """What may raise an alarm in some whole sessions.

    Attributes:
        sessions: The sessions.
        candidates: Onset candidates at every closed bar.
        series: (n,) segment of each candidate.
        session: (n,) session of each candidate.
        probability: (n,) that an expansion began there.
    """

    sessions: np.ndarray
    candidates: OnsetCandidates
    series: np.ndarray
    session: np.ndarray
    probability: np.ndarray

    def alarms(self, threshold: float) -> np.ndarray:
        """Indices of the candidates that raise an alarm at a threshold."""
        return raised_alarms(self.candidates, self.series, self.probability, threshold, MAX_WAIT)


def score_alarm_budgets(
    test_set: LabeledTestSet,
    validation: LabeledWindows,
    model: ExpansionModel,
    n_sessions: int | None,
    device: str,
) -> dict[int, tuple[float, Scored]]:
    """For each of BUDGETS, the threshold fitted on validation sessions, and its scores on test sessions.

    Args:
        test_set: The test windows.
        validation: The validation windows.
        model: The served model, on `device`.
        n_sessions: Maximum number of sessions of each split, evenly spread; None for all.
        device: Device of the network.

    Returns:
        Threshold and scores (see `metrics.alarms.score_budget`) by budget; empty if the model was not
        trained for live mode.
    """
    if model.thresholds.live is None:
        return {}
    fitted = alarm_candidates(model, test_set.market, spread_sessions(validation, n_sessions), device)
    tested_sessions = spread_sessions(test_set.resampled.windows, n_sessions)
    tested = alarm_candidates(model, test_set.market, tested_sessions, device)
    scores = {}
    for budget, threshold in fit_budgets(fitted).items():
        raised = tested.alarms(threshold)
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


def alarm_candidates(
    model: ExpansionModel, market: MarketArrays, sessions: np.ndarray, device: str
) -> AlarmCandidates:
    """Onset candidates at every closed bar of whole sessions.

    Args:
        model: Trained for live mode, on `device`.
        market: The bars and their features.
        sessions: (n_sessions,) with at least one live window.
        device: Device of the network.
    """
    bar0 = live_windows(market.segment)
    bar0 = bar0[np.isin(market.session[bar0], sessions)]
    candidates, probability = live_candidates(model, market, bar0, device)
    series = market.segment[bar0][candidates.window]
    return AlarmCandidates(sessions, candidates, series, market.session[candidates.closed], probability)


def fit_budgets(fitted: AlarmCandidates) -> dict[int, float]:
    """For each of BUDGETS, the lowest threshold that keeps the mean alarms per session within it.

    Args:
        fitted: Candidates of the sessions to fit on.
    """
    ranked = np.unique(fitted.probability)[::-1]
    ranks = np.unique(np.geomspace(1, max(len(ranked), 1), N_THRESHOLDS).astype(np.int64)) - 1
    thresholds = ranked[ranks] if len(ranked) else np.array([1.0])
    per_session = np.array([len(fitted.alarms(float(one))) / len(fitted.sessions) for one in thresholds])
    above = np.maximum.accumulate(per_session)  # a lower threshold may raise fewer alarms: they merge
    chosen = np.searchsorted(above, BUDGETS, side="right") - 1
    places = np.maximum(chosen, 0).tolist()
    return {budget: float(thresholds[place]) for budget, place in zip(BUDGETS, places, strict=True)}
