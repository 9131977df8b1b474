"""What a report concludes from its scores: checks that warn, and the differences they rest on."""

from collections.abc import Iterable, Mapping

import numpy as np

from moola_pipeline.metrics.bootstrap import Resampled
from moola_pipeline.metrics.scores import Scored
from moola_pipeline.report.data import Check, Score, Scores
from moola_pipeline.report.metric_catalog import PRIMARY, goodness
from moola_pipeline.report.verdict import TARGET_ESTIMATE, TARGET_LOW

POINTER = "onset_rmse_bars"
TRIVIAL_TYPE_BASELINES = ("majority", "always_consolidation", "always_retracement", "position_only")
ONE_SPAN, MEAN_POINTER, UNTRAINED = "one_constant_span", "mean_pointer", "untrained"
REQUIRED_BASELINES = (*TRIVIAL_TYPE_BASELINES, ONE_SPAN, MEAN_POINTER, UNTRAINED)


def score_checks(
    model: Scored, baselines: Mapping[str, Scored], perfect_bands: Iterable[tuple[float, float]]
) -> dict[str, Check]:
    """The report's checks.

    Args:
        model: The model's scores.
        baselines: Scores of the trivial baselines and of the untrained encoder, by name.
        perfect_bands: One a seed: the band of `ece` that a calibrated model would show.

    Returns:
        `baselines_present` (integrity); `beats_baselines`: type F1 minus that of the best baseline
        and the onset error of the constant mean minus the model's both have intervals above 0, the
        value is the lower of their lower bounds; `target_f1`; `calibrated`: ece is not above what a
        perfectly calibrated model shows at this n.
    """
    missing = [name for name in REQUIRED_BASELINES if name not in baselines]
    margin = min(margins(model, baselines).values(), default=-np.inf)
    own, error = model[PRIMARY].interval, model["ece"].estimate
    limit = float(np.mean([high for _, high in perfect_bands]))
    return {
        "baselines_present": Check(
            passed=not missing,
            kind="integrity",
            value=len(REQUIRED_BASELINES) - len(missing),
            limit=len(REQUIRED_BASELINES),
        ),
        "beats_baselines": Check(passed=margin > 0, kind="score", value=_finite(margin), limit=0.0),
        "target_f1": Check(
            passed=own.estimate >= TARGET_ESTIMATE and own.low > TARGET_LOW,
            kind="score",
            value=own.estimate,
            limit=TARGET_ESTIMATE,
        ),
        "calibrated": Check(passed=error <= limit, kind="score", value=error, limit=limit),
    }


def margins(model: Scored, baselines: Mapping[str, Scored]) -> dict[str, float]:
    """How far the model is surely ahead of the best baseline: lower bound of the paired difference.

    Of type F1 and of the onset error; NaN counts as not ahead.
    """
    leads = {}
    if best := best_of(baselines, PRIMARY):
        leads[PRIMARY] = model[PRIMARY].minus(best[1]).interval.low
    if MEAN_POINTER in baselines:
        leads[POINTER] = baselines[MEAN_POINTER][POINTER].minus(model[POINTER]).interval.low
    return {name: lead if lead == lead else -np.inf for name, lead in leads.items()}


def best_of(others: Mapping[str, Scored], metric: str) -> tuple[str, Resampled] | None:
    """The one that is best at a metric, whether high or low is good; None if none has it."""
    scored = {name: scores[metric] for name, scores in others.items() if metric in scores}
    defined = [name for name, one in scored.items() if one.estimate == one.estimate]
    if not defined:
        return None
    name = max(defined, key=lambda other: goodness(metric, scored[other].estimate))
    return name, scored[name]


def differences(model: Scored, others: Mapping[str, Scored]) -> dict[str, Scores]:
    """Model minus each of the others on each metric that both have, paired."""
    return {
        other: {
            name: Score.model_validate(model[name].minus(one).interval)
            for name, one in scores.items()
            if name in model
        }
        for other, scores in others.items()
    }


def smallest_difference(model: Scored, others: Mapping[str, Scored]) -> dict[str, float]:
    """By metric, the paired difference that these sessions resolve.

    It is half the width of the 95 % interval of the difference to the best of the others: a difference
    smaller than that would have an interval that holds 0.
    """
    found = {}
    for name, own in model.items():
        best = best_of(others, name)
        if best is not None:
            gap = own.minus(best[1]).interval
            found[name] = (gap.high - gap.low) / 2
    return {name: width for name, width in found.items() if width == width}


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
