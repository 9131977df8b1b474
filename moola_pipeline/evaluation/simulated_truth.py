"""What was planted in a simulated market, as ground to judge a model and the labels themselves on."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from moola_pipeline.evaluation.scoring import EvaluatedModel
from moola_pipeline.evaluation.sections import as_scores
from moola_pipeline.labels.schema import TYPES
from moola_pipeline.labels.spans import LabeledWindows, labeled_windows
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
from moola_pipeline.report.data import Scores
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST

MODEL, LABELS = "model", "labels"
"""Whose answers are scored: the labels say how much of the truth an annotator sees at all."""


def against_truth(
    resampled: ResampledWindows,
    truth: pd.DataFrame,
    timestamps: pd.DatetimeIndex,
    answers: Sequence[ScoredPredictions],
) -> dict[str, Scored]:
    """Score the model and the labels on what was planted in the windows.

    Events are all planted expansions that start in bars 30-74, those that noise has swallowed
    included. Types are those of the labeled expansions that were planted: how often the hidden
    state before them is named, span and direction given.

    Args:
        ground: The labeled windows and their resamples.
        truth: `started_at`, `ended_at`, `type` and `direction` of every planted expansion, in
            time order.
        timestamps: (n_bars,) UTC opens of the bar table.
        answers: Of each training seed.

    Returns:
        MODEL and LABELS; no types where no labeled expansion was planted.
    """
    planted = planted_windows(resampled.windows, truth, timestamps)
    known = ResampledWindows(
        planted, resampled.window_weights[:, planted.spans.window], resampled.window_weights
    )
    labeled = events_of(resampled.windows)
    scored = {
        MODEL: mean_scores([score_events(known, one.events) for one in answers]),
        LABELS: score_events(known, labeled),
    }
    which = pair_events(labeled, events_of(planted), typed=False)
    met = which >= 0
    if met.any():
        hidden = replace(resampled.windows.spans.select(met), type=planted.spans.type[which[met]])
        told = replace(
            resampled,
            windows=resampled.windows._replace(spans=hidden),
            event_weights=resampled.event_weights[:, met],
        )
        scored[MODEL] |= mean_scores([score_types(told, one.p_retracement[met]) for one in answers])
        scored[LABELS] |= score_types(told, resampled.windows.spans.type[met].astype(float))
    return scored


def planted_windows(
    windows: LabeledWindows, truth: pd.DataFrame, timestamps: pd.DatetimeIndex
) -> LabeledWindows:
    """The same windows with the planted expansions that start in their bars 30-74 as spans."""
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
    judged: EvaluatedModel,
    truth: pd.DataFrame | None,
    timestamps: pd.DatetimeIndex,
) -> dict[str, Scores]:
    """Scores of the model and of the labels on what was planted; empty where nothing was."""
    if truth is None:
        return {}
    scored = against_truth(resampled, truth, timestamps, list(judged.answers.values()))
    return {name: as_scores(one) for name, one in scored.items()}


def prior_scores(
    resampled: ResampledWindows, judged: EvaluatedModel, labels: pd.DataFrame
) -> dict[str, Scores]:
    """Scores of P(retracement) with the prior of validation and with a re-estimated one.

    Both on the test expansions as they are, and weighed so that 23 % are retracements. Empty where
    one type is missing.

    Args:
        ground, judged: The test windows and the model's answers.
        labels: The labeled frame with splits; P(retracement) was calibrated on validation.
    """
    prior = float(np.mean(labeled_windows(labels, "validation").spans.type))
    if not 0 < prior < 1 or len(set(resampled.windows.spans.type.tolist())) < 2:
        return {}
    probabilities = list(judged.probabilities.values())
    rows = {}
    for ending, share in (("", None), ("_at_23_percent", STRESS_SHARE)):
        scored = score_shifted(resampled, probabilities, prior, share)
        rows |= {f"{name}{ending}": as_scores(one) for name, one in scored.items()}
    return rows
