"""How the model stands to other methods in both primary metrics, and the sentence that says so."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from moola_pipeline.report.data import ReportData, Score
from moola_pipeline.report.metric_catalog import PRIMARIES, PRIMARY, WINDOW_ONLY, best, method_name

Standing = Literal["better", "worse", "level"]
TASKS = {PRIMARY: "naming the type", WINDOW_ONLY: "finding expansions"}
"""What each primary metric measures, in plain words."""
WORDS: dict[Standing, str] = {"better": "better", "worse": "worse", "level": "not shown to be better"}


@dataclass(frozen=True)
class ComparedMethod:
    """A baseline or trivial baseline beside the model, in one metric.

    Attributes:
        name: Plain name.
        key: Name in the JSON object.
        difference: Model minus method, paired by session; None if it was not computed.
        standing: Of the model: by the adjusted p-value in a primary comparison, else by the interval of
            the difference; None if undefined.
        p_value: Of a primary comparison, adjusted by Holm.
        smallest_difference: A smaller one would not show with so many windows; None if unknown.
        primary: Whether it is the baseline of a primary comparison.
    """

    name: str
    key: str
    score: Score
    difference: Score | None
    standing: Standing | None
    p_value: float | None = None
    smallest_difference: float | None = None
    primary: bool = False


def beside_baseline(data: ReportData, metric: str) -> ComparedMethod | None:
    """The baseline that stands beside a score of the model; None if no baseline has that score."""
    beside = data.baseline_beside(metric)
    if beside is None:
        return None
    key, score = beside
    primary = next((one for one in data.primaries if (one.metric, one.baseline) == (metric, key)), None)
    if primary is None:
        return _exploratory(data, metric, key, score)
    return ComparedMethod(
        name=method_name(key),
        key=key,
        score=score,
        difference=primary.difference,
        standing=primary.standing,
        p_value=primary.p_value,
        smallest_difference=primary.smallest_difference or None,
        primary=True,
    )


def beside_trivial_baseline(data: ReportData, metric: str) -> ComparedMethod | None:
    """The best trivial baseline by a score of the model; None if none has that score."""
    winner = best(data.trivial_baselines, metric)
    return _exploratory(data, metric, *winner) if winner else None


def _exploratory(data: ReportData, metric: str, key: str, score: Score) -> ComparedMethod:
    model, difference = data.metrics.get(metric), data.differences.get(key, {}).get(metric)
    return ComparedMethod(
        name=method_name(key),
        key=key,
        score=score,
        difference=difference,
        standing=standing(model, score, difference) if model else None,
        smallest_difference=_half_width(difference) or None,
    )


def _half_width(difference: Score | None) -> float | None:
    """Half the width of an interval: a smaller difference would not show."""
    if difference is None or difference.low is None or difference.high is None:
        return None
    return (difference.high - difference.low) / 2


def standing(model: Score, other: Score, difference: Score | None = None) -> Standing | None:
    """Compare by the interval of the paired difference, or else by the two intervals.

    "level" if the interval of the difference contains 0, or if the two intervals overlap; None if a
    bound is undefined.
    """
    bounds = (
        (difference.low, difference.high)
        if difference
        else (_minus(model.low, other.high), _minus(model.high, other.low))
    )
    low, high = bounds
    if low is None or high is None:
        return None
    return "better" if low > 0 else "worse" if high < 0 else "level"


def headline(data: ReportData) -> str:
    """One or two sentences: is the model better than the best baseline, and than trivial baselines?

    They follow the standings in the table of the first screen, so that the two never disagree.
    """
    measured = [key for key in PRIMARIES if key in data.metrics and data.metrics[key].estimate is not None]
    if not measured:
        return "Not measured: the report has neither type F1 nor event F1 of Moola."
    baselines = {key: one for key in measured if (one := beside_baseline(data, key))}
    trivial = {key: one for key in measured if (one := beside_trivial_baseline(data, key))}
    beside = {"Moola": (baselines, "the best baseline"), "It": (trivial, "the best trivial baseline")}
    return " ".join(f"{subject} is {_clause(*compared)}." for subject, compared in beside.items())


def _clause(compared: Mapping[str, ComparedMethod], other: str) -> str:
    """`better than the best baseline at naming the type and not shown to be better at finding ...`."""
    standings: dict[str, Standing] = {key: one.standing for key, one in compared.items() if one.standing}
    if not standings:
        return f"not compared with {other.replace('the best ', 'a ')}"
    if len(standings) == len(TASKS) and len(set(standings.values())) == 1:
        return f"{WORDS[next(iter(standings.values()))]} than {other}"
    clauses = [f"{WORDS[one]} than {other} at {TASKS[key]}" for key, one in standings.items()]
    clauses[1:] = [clause.replace(f" than {other}", "") for clause in clauses[1:]]
    return ", but is ".join(clauses)


def _minus(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left - right
