"""Titles and meanings of metrics, baselines, ablations and parts of the report."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

Question = Literal["detection", "identification", "onset", "other"]
Better = Literal["higher", "lower", "zero", "neither"]


class HasEstimate(Protocol):
    """A score as the report or the bootstrap holds it."""

    @property
    def estimate(self) -> Any:
        """float; None or NaN if undefined."""
        ...


ScoreT = TypeVar("ScoreT", bound=HasEstimate)

PRIMARY = "type_f1_macro"
"""The metric of the target."""
WINDOW_ONLY = "event_f1_macro"
"""The metric of predictions from the window alone."""
PRIMARIES = (PRIMARY, WINDOW_ONLY)
"""The metrics of the two primary comparisons; all others are exploratory."""
SHORT = {
    "type_f1_macro": ("Type F1", "names a given expansion"),
    "event_f1_macro": ("Event F1", "finds and names expansions"),
    "aucpr_retracement": ("AUCPR", "sorts given expansions"),
}
"""Metrics of the front page: a short name, and what the model does."""
COUNTED = {"detection": "windows", "identification": "expansions", "onset": "expansions", "other": "rows"}
"""What a score's n counts."""
QUESTIONS: dict[Question, tuple[str, str]] = {
    "detection": ("Detection", "Where are the expansions?"),
    "identification": ("Identification", "What came before the expansion: consolidation or retracement?"),
    "onset": ("Start and end", "How exact are the first and the last bar?"),
    "other": ("Other scores", "Scores outside these three groups."),
}


@dataclass(frozen=True)
class Metric:
    """Title and meaning of a metric.

    Attributes:
        meaning: One sentence.
        better: Which values are good.
        unit: `share` in 0..1, bars, or another.
    """

    title: str
    question: Question
    meaning: str
    better: Better = "higher"
    unit: str = "share"


_KNOWN = {
    "type_f1_macro": Metric(
        "Type F1",
        "identification",
        "F1 of the type, given the span and direction of each expansion; mean of both types",
    ),
    "type_f1_macro_live": Metric(
        "Type F1, live",
        "identification",
        "the same with only the bars up to the start; direction from the first bar",
    ),
    "aucpr_retracement": Metric(
        "Average precision of retracements (AUCPR)",
        "identification",
        "average precision of the expansions sorted by P(retracement); a random order scores the share of "
        "retracements",
    ),
    "prevalence": Metric(
        "Share of retracements",
        "identification",
        "among the labeled expansions; AUCPR of a random order",
        "neither",
    ),
    "mcc": Metric(
        "Matthews correlation of the type (MCC)",
        "identification",
        "predicted against labeled type; 1 is perfect, 0 is chance, below 0 is worse than chance",
    ),
    "ece": Metric(
        "Calibration error (ECE)",
        "identification",
        "mean distance between P(retracement) and the share of retracements",
        "lower",
    ),
    "brier": Metric(
        "Brier score",
        "identification",
        "mean squared error of P(retracement); 0 is perfect, a constant 50 % scores 0.25",
        "lower",
    ),
    "event_f1_macro": Metric(
        "Event F1",
        "detection",
        "F1 of expansions with their type, given the window only; the start may be 3 bars off, the end 3 "
        "bars or half the length",
    ),
    "event_f1_untyped": Metric(
        "Event F1, type ignored", "detection", "the same, but a wrong type counts as right"
    ),
    "segment_f1_micro": Metric(
        "Bar F1", "detection", "F1 of the bars inside expansions, both types counted together"
    ),
    "segment_f1_macro": Metric("Bar F1, mean of types", "detection", "the same for each type, then the mean"),
}
_KNOWN |= {
    "type_f1": Metric("Type F1 of this type", "identification", "the other type is the negative class"),
    "event_f1": Metric("Event F1 of this type", "detection", "the other type is the negative class"),
    "precision": Metric("Precision of the alarms", "detection", "share of the alarms that match a label"),
}
_ENDS = {"onset": "start", "offset": "end"}
_PATTERNS: tuple[tuple[str, str, Question, str, Better, str], ...] = (
    (
        r"map_iou(\d+)",
        "Mean average precision at {0} % overlap",
        "detection",
        "average precision of the predicted expansions sorted by probability; a hit shares with its label at "
        "least {0} % of the bars that the two cover",
        "higher",
        "share",
    ),
    (
        r"event_f1_live_(\d+)",
        "Event F1, live, delay {0}",
        "detection",
        "F1 of live alarms and their type; an alarm may come at most {0} bars after the start",
        "higher",
        "share",
    ),
    (
        r"event_f1_untyped_live_(\d+)",
        "Event F1, live, type ignored, delay {0}",
        "detection",
        "the same, but a wrong type counts as right",
        "higher",
        "share",
    ),
    (
        r"alarms_per_session\w*",
        "Alarms per session",
        "detection",
        "live alarms in one whole trading session",
        "neither",
        "alarms",
    ),
    (
        r"precision_top_?(\d+)\w*",
        "Precision of the {0} most probable alarms",
        "detection",
        "share of the {0} most probable alarms of a session that were right, where labels exist",
        "higher",
        "share",
    ),
    (
        r"(onset|offset)_bias_bars",
        "{0}: mean error",
        "onset",
        "above 0 is late, below 0 is early",
        "zero",
        "bars",
    ),
    (
        r"(onset|offset)_mae_bars",
        "{0}: mean absolute error",
        "onset",
        "bars early or late",
        "lower",
        "bars",
    ),
    (
        r"(onset|offset)_rmse_bars",
        "{0}: root mean squared error",
        "onset",
        "as the mean absolute error, but large errors count more",
        "lower",
        "bars",
    ),
    (
        r"(onset|offset)_within_(\d+)",
        "{0}: error of at most {1}",
        "onset",
        "share of expansions within this many bars",
        "higher",
        "share",
    ),
)
"""Name pattern, title, question, meaning, good values, unit; braces take the groups of the pattern."""


_METHOD_NAMES = {
    "majority": "always the more common type",
    "always_consolidation": "always consolidation",
    "always_retracement": "always retracement",
    "position_only": "position in the window only",
    "training_share": "always the training share",
    "one_constant_span": "one fixed span in every window",
    "mean_pointer": "mean span of the expansions that the model finds",
    "shuffled_answers": "the model's predictions, shuffled",
    "untrained": "untrained encoder",
    "scratch": "same network, not pretrained",
    "teachers": "the teachers alone, without a network",
}
_METHODS = {
    "rule_": "rule + ",
    "logistic_": "logistic regression",
    "extra_trees_": "ExtraTrees",
    "minirocket_": "MiniRocket",
}
_INPUTS = {
    "45_closes": "45 closes",
    "21_summaries": "21 price summaries",
    "bar_features": "the features of 45 bars",
    "numbers": "the numbers that Moola measures",
}
PARTS = {
    "delay_curve": "Delay curve",
    "alarm_budgets": "Live alarms by budget",
    "learning_curve": "Learning curve",
    "second_pass": "The annotator's second pass",
    "previous": "Previous report",
    "breakdowns": "Scores by type, hour, session part and direction",
    "confusion": "Confusion matrix",
    "calibration": "Calibration",
    "class_mix": "Labels by month",
    "event_study": "Average price path around the start",
    "null": "Control with shuffled labels",
    "smallest_difference": "Smallest detectable difference",
    "by_seed": "Scores by seed",
    "scratch": "The same network, not pretrained",
    "untrained": "The network with an untrained encoder",
    "pretraining_loss": "Losses of pretraining",
    "finetuning_loss": "Losses of fine-tuning",
    "gallery": "Charts of test windows",
    "trivial_baselines": "Trivial baselines",
    "baselines": "Baselines",
    "ablations": "Ablations",
    "truth": "Simulated ground truth",
    "prior": "Stress test: only 23 % retracements",
}
"""Parts of a report that may be missing."""


def metric(name: str) -> Metric:
    """Title and meaning of a metric; an unknown metric keeps its name."""
    if name in _KNOWN:
        return _KNOWN[name]
    for pattern, title, question, meaning, better, unit in _PATTERNS:
        if match := re.fullmatch(pattern, name):
            parts = [_ENDS.get(part, part) for part in match.groups()]
            return Metric(_sentence(title.format(*parts)), question, meaning.format(*parts), better, unit)
    return Metric(_sentence(name.replace("_", " ")), "other", "", "neither", "")


def short_name(name: str) -> str:
    """Short name of a metric of the front page within a sentence: `type F1`."""
    return SHORT[name][0].replace("Type", "type").replace("Event", "event")


def method_name(name: str) -> str:
    """Plain name of a baseline or ablation; an unknown one keeps its name."""
    if name in _METHOD_NAMES:
        return _METHOD_NAMES[name]
    for prefix, method in _METHODS.items():
        if name.startswith(prefix):
            rest = name.removeprefix(prefix)
            return (
                method + method_name(rest) if prefix == "rule_" else f"{method} on {_INPUTS.get(rest, rest)}"
            )
    return name


def part(name: str) -> str:
    """Title of a part of the report."""
    return PARTS.get(name, _sentence(name.replace("_", " ")))


def goodness(name: str, value: float) -> float:
    """The value with its sign set so that higher is better, for every metric."""
    better = metric(name).better
    return -value if better == "lower" else -abs(value) if better == "zero" else value


def best(among: Mapping[str, Mapping[str, ScoreT]], name: str) -> tuple[str, ScoreT] | None:
    """Name and score of the best method by a metric; of equal ones the last by name.

    None if no method has a defined score (None and NaN are undefined) or no value is better.
    """
    if metric(name).better == "neither":
        return None
    ranked = [
        (goodness(name, scores[name].estimate), method)
        for method, scores in among.items()
        if name in scores and _is_defined(scores[name].estimate)
    ]
    if not ranked:
        return None
    method = max(ranked)[1]
    return method, among[method][name]


def _is_defined(estimate: float | None) -> bool:
    return estimate is not None and estimate == estimate


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
