"""Paired differences between methods, and the two primary comparisons of a report."""

from collections.abc import Mapping

import numpy as np

from moola_pipeline.metrics.bootstrap import Interval, Resampled, holm, two_sided_p
from moola_pipeline.metrics.scores import Scored
from moola_pipeline.report.data import SIGNIFICANCE, PrimaryComparison, Score, Scores
from moola_pipeline.report.metric_catalog import PRIMARIES, best


def differences(model: Scored, others: Mapping[str, Scored]) -> dict[str, Scores]:
    """Model minus each other method on each metric that both have, paired."""
    return {
        other: {
            name: Score.model_validate(model[name].minus(score).interval)
            for name, score in scores.items()
            if name in model
        }
        for other, scores in others.items()
    }


def smallest_difference(model: Scored, others: Mapping[str, Scored]) -> dict[str, float]:
    """Smallest detectable paired difference by metric.

    Half the width of the 95 % interval of the difference to the best other method: the interval of a
    smaller difference would contain 0.
    """
    half_widths = {}
    for name, own in model.items():
        winner = best(others, name)
        if winner is not None:
            half_widths[name] = _half_width(own.minus(winner[1]).interval)
    return {name: width for name, width in half_widths.items() if width == width}


def primary_comparisons(
    model: Scored, baselines: Mapping[str, Scored], chosen: Mapping[str, str]
) -> list[PrimaryComparison]:
    """Model minus the chosen baseline by each primary metric, with p-values adjusted by Holm.

    Args:
        model: The model's scores.
        baselines: Scores of the baselines, by name.
        chosen: Name of the best baseline by metric, chosen without the scored windows.
    """
    gaps = {metric: model[metric].minus(baselines[name][metric]) for metric, name in chosen.items()}
    p_values = {metric: two_sided_p(gap.values) for metric, gap in gaps.items()}
    defined = {metric: p for metric, p in p_values.items() if p == p}
    adjusted = holm(defined)
    return [
        PrimaryComparison.model_validate(
            {
                "metric": metric,
                "baseline": chosen[metric],
                "difference": gap.interval,
                "p_value": adjusted.get(metric),
                "smallest_difference": _resolved_difference(gap),
            }
        )
        for metric, gap in gaps.items()
    ]


def _half_width(gap: Interval) -> float:
    return (gap.high - gap.low) / 2


def _resolved_difference(gap: Resampled) -> float | None:
    """A difference that the resamples tell from 0, whatever its sign and the other comparison's p-value.

    The longer arm of the interval at the strictest level that Holm asks of the primary comparisons: a
    difference above it is never called level. None if no resample is defined.
    """
    defined = gap.values[~np.isnan(gap.values)]
    if not len(defined):
        return None
    tail = SIGNIFICANCE / len(PRIMARIES) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(max(gap.estimate - low, high - gap.estimate))
