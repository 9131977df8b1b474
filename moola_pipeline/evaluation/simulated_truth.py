"""Scores of the model and of the labels on the ground truth of a simulated market."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from moola_pipeline.evaluation.scoring import EvaluatedModel
from moola_pipeline.evaluation.sections import as_scores
from moola_pipeline.labels.schema import TYPES
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.metrics.breakdowns import ScoredPredictions
from moola_pipeline.metrics.matching import pair_events
from moola_pipeline.metrics.prior_shift import STRESS_SHARE, score_shifted
from moola_pipeline.metrics.scores import (
    ResampledWindows,
    Scored,
    events_of,
    mean_scores,
    score_events,
    score_types,
)
from moola_pipeline.models.expansion_model import ExpansionModel
from moola_pipeline.report.data import Scores
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST

MODEL, LABELS = "model", "labels"
"""Scored systems; the scores of the labels limit what a model can learn."""


def against_truth(
    resampled: ResampledWindows,
    truth: pd.DataFrame,
    timestamps: pd.DatetimeIndex,
    answers: Sequence[ScoredPredictions],
) -> dict[str, Scored]:
    """Score the model and the labels on the simulated expansions of the windows.

    Events are all simulated expansions that start in bars 30-74, including those hidden by noise.
    Types are scored on the labeled expansions of known type that were simulated: the hidden state
    before them, given span and direction.

    Args:
        resampled: The labeled windows and their resamples.
        truth: `started_at`, `ended_at`, `type` and `direction` of every simulated expansion, in
            time order.
        timestamps: (n_bars,) UTC opens of the bar table.
        answers: Predictions of each training seed.

    Returns:
        MODEL and LABELS; without type scores if no labeled expansion of known type was simulated.
    """
    planted = planted_windows(resampled.windows, truth, timestamps)
    true = ResampledWindows(
        planted, resampled.window_weights[:, planted.spans.window], resampled.window_weights
    )
    labeled = events_of(resampled.windows)
    scored = {
        MODEL: mean_scores([score_events(true, it.events) for it in answers]),
        LABELS: score_events(true, labeled),
    }
    paired = pair_events(labeled, events_of(planted), typed=False)
    simulated = (paired >= 0) & resampled.windows.spans.is_typed
    if simulated.any():
        hidden = replace(
            resampled.windows.spans.select(simulated), type=planted.spans.type[paired[simulated]]
        )
        with_true_types = replace(
            resampled,
            windows=resampled.windows._replace(spans=hidden),
            event_weights=resampled.event_weights[:, simulated],
        )
        scored[MODEL] |= mean_scores(
            [score_types(with_true_types, it.p_retracement[simulated]) for it in answers]
        )
        labeled_types = resampled.windows.spans.type[simulated].astype(float)
        scored[LABELS] |= score_types(with_true_types, labeled_types)
    return scored


def planted_windows(
    windows: LabeledWindows, truth: pd.DataFrame, timestamps: pd.DatetimeIndex
) -> LabeledWindows:
    """The same windows with the simulated expansions that start in their bars 30-74 as spans."""
    start, end = (
        timestamps.get_indexer(pd.DatetimeIndex(truth[name])) for name in ("started_at", "ended_at")
    )
    first = np.searchsorted(start, windows.bar0 + CORE_FIRST)
    after = np.searchsorted(start, windows.bar0 + CORE_LAST, side="right")
    window = np.repeat(np.arange(len(first)), after - first)
    chosen = np.concatenate([np.empty(0, np.int64), *map(np.arange, first, after)]).astype(np.int64)
    kind = np.array([TYPES.index(name) for name in truth["type"].iloc[chosen]], np.int64)
    spans = Spans(
        window,
        start[chosen] - windows.bar0[window],
        end[chosen] - windows.bar0[window],
        truth["direction"].to_numpy(np.int8)[chosen],
        kind,
    )
    return windows._replace(spans=spans)


def truth_scores(
    resampled: ResampledWindows,
    evaluated: EvaluatedModel,
    truth: pd.DataFrame | None,
    timestamps: pd.DatetimeIndex,
) -> dict[str, Scores]:
    """Scores of the model and of the labels on the simulated expansions; empty if there is no truth."""
    if truth is None:
        return {}
    scored = against_truth(resampled, truth, timestamps, list(evaluated.answers.values()))
    return {name: as_scores(scores) for name, scores in scored.items()}


def prior_scores(
    resampled: ResampledWindows, evaluated: EvaluatedModel, models: Mapping[int, ExpansionModel]
) -> dict[str, Scores]:
    """Scores of P(retracement) as calibrated, and with a re-estimated prior.

    Both on the test expansions as they are, and weighted so that 23 % are retracements. Empty if one
    type is missing.

    Args:
        resampled, evaluated: The test windows and the model's predictions.
        models: Of the same seeds.
    """
    if len(set(resampled.typed.windows.spans.type.tolist())) < 2:
        return {}
    probabilities = list(evaluated.probabilities.values())
    priors = [models[seed].thresholds.type_prior for seed in evaluated.probabilities]
    rows = {}
    for ending, share in (("", None), ("_at_23_percent", STRESS_SHARE)):
        scored = score_shifted(resampled, probabilities, priors, share)
        rows |= {f"{name}{ending}": as_scores(scores) for name, scores in scored.items()}
    return rows
