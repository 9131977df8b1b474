"""The table of a study from its cells: means over seeds, and differences paired by session."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.metrics.bootstrap import mean_over_seeds, resample
from moola_pipeline.metrics.definitions import type_f1_macro
from moola_pipeline.metrics.scores import (
    EVENT_COLUMNS,
    ResampledWindows,
    Scored,
    resample_windows,
    score_events,
)
from moola_pipeline.report.data import Score, Scores
from moola_pipeline.report.study_results import COLUMNS, StudyRow
from moola_pipeline.studies.pretraining_study import SCRATCH, STUDENT
from moola_pipeline.studies.store import Cell

SEED = 0
"""Seed of the resamples."""
MIN_PROBABILITY = 1e-4
_Key = tuple[str, bool, int]


def study_rows(cells: Sequence[Cell], validation: LabeledWindows, resamples: int) -> list[StudyRow]:
    """Score every cell on the same resamples, and compare each way of training with scratch.

    Args:
        cells: In any order; each way of training has the seeds of its cells.
        validation: The windows of the cells' predictions.
        resamples: Number of bootstrap resamples of sessions.
    """
    data = resample_windows(validation, resamples, np.random.default_rng(SEED))
    scored: dict[_Key, dict[int, Scored]] = {}
    for cell in cells:
        scored.setdefault((cell.arm, cell.distilled, cell.count), {})[cell.seed] = _scored(data, cell)
    most = max((count for arm, distilled, count in scored if arm == SCRATCH and not distilled), default=0)
    return [_row(key, scored, most) for key in sorted(scored, key=lambda key: (key[1], key[2], key[0]))]


def balanced_log_loss(y: np.ndarray, p: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Log-loss of P(retracement) with equal weight on both types: (...) for weights (..., n).

    Expansions of unknown type are left out before: `y` is 0 or 1.
    """
    p = np.clip(p, MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    loss = -np.where(y == 1, np.log(p), np.log1p(-p))
    weights = np.asarray(weights, float)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = [
            (weights * loss * (y == kind)).sum(axis=-1) / (weights * (y == kind)).sum(axis=-1)
            for kind in (0, 1)
        ]
    return (means[0] + means[1]) / 2


def _scored(data: ResampledWindows, cell: Cell) -> Scored:
    typed, known = data.typed, data.windows.spans.is_typed
    y, weights = typed.windows.spans.type, typed.event_weights
    scored: Scored = {}
    if cell.probe:
        probe = np.array(cell.probe)[known]
        scored["probe_type_f1"] = resample(lambda drawn: type_f1_macro(y, probe, drawn), weights)
        scored["probe_log_loss"] = resample(lambda drawn: balanced_log_loss(y, probe, drawn), weights)
    if cell.p_retracement:
        p = np.array(cell.p_retracement)[known]
        scored["type_f1_macro"] = resample(lambda drawn: type_f1_macro(y, p, drawn), weights)
        spans = np.array(cell.events, np.int64).reshape(-1, 4)
        ids = data.windows.window_id[spans[:, 0]]
        events = pd.DataFrame(dict(zip(EVENT_COLUMNS, (ids, *spans[:, 1:].T), strict=True)))
        scored["event_f1_macro"] = score_events(data, events)["event_f1_macro"]
    return scored


def _row(key: _Key, scored: Mapping[_Key, dict[int, Scored]], most: int) -> StudyRow:
    arm, distilled, count = key
    own = scored[key]
    # the distilled network from scratch is the noisy student, which is compared with scratch itself
    is_compared_with_student = distilled and arm != STUDENT
    baseline = (STUDENT, True, count) if is_compared_with_student else (SCRATCH, False, count)
    same = scored.get(baseline, {}) if arm != SCRATCH else {}
    largest = scored.get((SCRATCH, False, most), {}) if arm != SCRATCH and count < most else {}
    means = _means(own, sorted(own))
    return StudyRow(
        arm=arm,
        distilled=distilled,
        count=count,
        seeds=sorted(own),
        scores={name: Score.model_validate(mean.interval) for name, mean in means.items()},
        minus_scratch=_differences(own, same, COLUMNS),
        minus_scratch_at_most=_differences(own, largest, ("type_f1_macro", "event_f1_macro")),
    )


def _means(by_seed: Mapping[int, Scored], seeds: Sequence[int]) -> Scored:
    names = [name for name in COLUMNS if all(name in by_seed[seed] for seed in seeds)]
    return {name: mean_over_seeds([by_seed[seed][name] for seed in seeds]) for name in names}


def _differences(
    own: Mapping[int, Scored], other: Mapping[int, Scored], names: Sequence[str] | Mapping[str, str]
) -> Scores:
    """Means of own minus other over the seeds that both have."""
    seeds = sorted(set(own) & set(other))
    if not seeds:
        return {}
    own_means, other_means = _means(own, seeds), _means(other, seeds)
    both = [name for name in names if name in own_means and name in other_means]
    return {name: Score.model_validate(own_means[name].minus(other_means[name]).interval) for name in both}
