"""Paired differences between methods, and the two primary comparisons of a report."""

from collections.abc import Mapping

from moola_pipeline.metrics.bootstrap import Interval, holm, two_sided_p
from moola_pipeline.metrics.scores import Scored
from moola_pipeline.report.data import PrimaryComparison, Score, Scores
from moola_pipeline.report.metric_catalog import best


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
                "smallest_difference": _half_width(gap.interval),
            }
        )
        for metric, gap in gaps.items()
    ]


def _half_width(gap: Interval) -> float:
    return (gap.high - gap.low) / 2
