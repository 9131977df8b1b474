"""Checks of a report's scores."""

from collections.abc import Iterable, Mapping

import numpy as np

from moola_pipeline.metrics.bootstrap import exact_share
from moola_pipeline.metrics.scores import Scored
from moola_pipeline.report.data import Check, Target
from moola_pipeline.report.metric_catalog import PRIMARY, best

POINTER = "onset_rmse_bars"
TRIVIAL_TYPE_BASELINES = ("majority", "always_consolidation", "always_retracement", "position_only")
ONE_SPAN, MEAN_POINTER, UNTRAINED = "one_constant_span", "mean_pointer", "untrained"
SCORE_CHECKS = {
    "beats_baselines": "type F1 is shown to be above that of the trivial baselines and of the untrained "
    "encoder, and the start to be closer than that of the mean span",
    "target_f1": "type F1 reaches the target",
    "calibrated": "the calibration error is within the range of a perfectly calibrated model",
}
"""What each score check asks."""
REQUIRED_BASELINES = (*TRIVIAL_TYPE_BASELINES, ONE_SPAN, MEAN_POINTER, UNTRAINED)


def score_checks(
    model: Scored,
    baselines: Mapping[str, Scored],
    perfect_bands: Iterable[tuple[float, float]],
    target: Target,
) -> dict[str, Check]:
    """Compute the report's checks.

    Args:
        model: The model's scores.
        baselines: Scores of the trivial baselines and of the untrained encoder, by name.
        perfect_bands: One per seed: range of `ece` of a perfectly calibrated model.
        target: What type F1 must reach.

    Returns:
        `baselines_present` (integrity); `beats_baselines`: two paired differences have intervals above
        0, type F1 minus the best baseline's and the mean pointer's onset error minus the model's (the
        value is the lower of the two lower bounds); `target_f1`; `calibrated`: ece lies within the
        range of a perfectly calibrated model at this n.
    """
    missing = [name for name in REQUIRED_BASELINES if name not in baselines]
    margin = min(margins(model, baselines).values(), default=-np.inf)
    own, error = exact_share(model[PRIMARY].interval), model["ece"].estimate
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
            passed=own.estimate >= target.estimate and own.low > target.low,
            kind="score",
            value=own.estimate,
            limit=target.estimate,
        ),
        "calibrated": Check(passed=error <= limit, kind="score", value=error, limit=limit),
    }


def margins(model: Scored, baselines: Mapping[str, Scored]) -> dict[str, float]:
    """Lower bounds of the paired differences between the model and the best baseline.

    For type F1 and the onset error; NaN counts as minus infinity.
    """
    leads = {}
    if winner := best(baselines, PRIMARY):
        leads[PRIMARY] = model[PRIMARY].minus(winner[1]).interval.low
    if MEAN_POINTER in baselines:
        leads[POINTER] = baselines[MEAN_POINTER][POINTER].minus(model[POINTER]).interval.low
    return {name: lead if lead == lead else -np.inf for name, lead in leads.items()}


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
