"""Titles and meanings of scores, baselines, ablations and parts of the report."""

import re
from dataclasses import dataclass
from typing import Literal

from moola_pipeline.report.data import Score, Scores

Question = Literal["detection", "identification", "onset", "other"]
Better = Literal["higher", "lower", "zero", "neither"]

PRIMARY = "type_f1_macro"
"""The one score on which the target and the comparison with the best peer are decided."""
SHORT = {
    "type_f1_macro": ("Type F1", "type, told where"),
    "event_f1_macro": ("Event F1", "found and typed"),
    "aucpr_retracement": ("AUCPR", "surest retracements"),
}
"""The scores of the front page: a name that fits a column, and what the model is asked."""
COUNTED = {"detection": "windows", "identification": "expansions", "onset": "expansions", "other": "rows"}
"""What a score's n counts."""
QUESTIONS: dict[Question, tuple[str, str]] = {
    "detection": ("Detection", "Is there an expansion, and where?"),
    "identification": ("Identification", "What stood before it: consolidation or retracement?"),
    "onset": ("Onset", "How exact are its first and its last bar?"),
    "other": ("Further scores", "Scores that answer none of these three."),
}


@dataclass(frozen=True)
class Metric:
    """A score in words.

    Attributes:
        title: What it is called.
        meaning: What it tells, one sentence.
        better: Which values are good.
        unit: `share` of 0..1, bars, or another.
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
        "told where an expansion is and which way it runs, how well it names its type; mean of both types",
    ),
    "type_f1_macro_live": Metric(
        "Type F1, live", "identification", "the same with the bars up to the start only, direction guessed"
    ),
    "aucpr_retracement": Metric(
        "Precision for retracements (AUCPR)",
        "identification",
        "how right the list of expansions is when sorted by the probability of a retracement; a coin "
        "scores the share of retracements",
    ),
    "prevalence": Metric(
        "Share of retracements",
        "identification",
        "of the labeled expansions; what a coin scores in AUCPR",
        "neither",
    ),
    "mcc": Metric(
        "Correlation of named and labeled type (MCC)",
        "identification",
        "1 is always right, 0 is chance, below 0 is worse than chance",
    ),
    "ece": Metric(
        "Calibration error (ECE)",
        "identification",
        "how far a stated probability is from the share that came true, on average",
        "lower",
    ),
    "brier": Metric(
        "Squared error of the probability (Brier)",
        "identification",
        "0 is perfect; a constant 50 % scores 0.25",
        "lower",
    ),
    "event_f1_macro": Metric(
        "Event F1",
        "detection",
        "shown the window only, how well it finds expansions and names their type; the start may be 3 "
        "bars off, the end half the length",
    ),
    "event_f1_untyped": Metric("Event F1, type ignored", "detection", "the same, whatever type it names"),
    "segment_f1_micro": Metric(
        "Bar by bar F1", "detection", "how well its marked bars cover the labeled ones, all bars together"
    ),
    "segment_f1_macro": Metric(
        "Bar by bar F1, mean of types", "detection", "the same for each type, then the mean"
    ),
}
_KNOWN |= {
    "type_f1": Metric("Type F1 of this type", "identification", "the other type counts as wrong"),
    "event_f1": Metric("Event F1 of this type", "detection", "the other type counts as wrong"),
}
_ENDS = {"onset": "start", "offset": "end"}
_PATTERNS: tuple[tuple[str, str, Question, str, Better, str], ...] = (
    (
        r"map_iou(\d+)",
        "Mean average precision at {0} % overlap",
        "detection",
        "how right the list of found expansions is, surest first; a hit shares at least {0} % of the bars "
        "that it and the label cover",
        "higher",
        "share",
    ),
    (
        r"event_f1_live_(\d+)",
        "Event F1, live, {0} bars after the start",
        "detection",
        "shown one bar after another, what it finds and types at most {0} bars after the first one",
        "higher",
        "share",
    ),
    (
        r"event_f1_untyped_live_(\d+)",
        "Event F1, live, type ignored, {0} bars after the start",
        "detection",
        "the same, whatever type it names",
        "higher",
        "share",
    ),
    (
        r"alarms_per_session\w*",
        "Alarms per session",
        "detection",
        "how often it calls in one whole trading day, going through it bar by bar",
        "neither",
        "alarms",
    ),
    (
        r"precision_top_?(\d+)\w*",
        "Precision of the {0} surest alarms",
        "detection",
        "how many of its {0} surest alarms of a session were right, where an annotator has looked",
        "higher",
        "share",
    ),
    (
        r"(onset|offset)_bias_bars",
        "{0}: mean shift",
        "onset",
        "above 0 is late, below 0 is early",
        "zero",
        "bars",
    ),
    (
        r"(onset|offset)_mae_bars",
        "{0}: mean distance",
        "onset",
        "bars off, early or late",
        "lower",
        "bars",
    ),
    (
        r"(onset|offset)_rmse_bars",
        "{0}: root mean squared distance",
        "onset",
        "as the mean distance, but large misses weigh more",
        "lower",
        "bars",
    ),
    (
        r"(onset|offset)_within_(\d+)",
        "{0}: at most {1} off",
        "onset",
        "share that is at most so many bars early or late",
        "higher",
        "share",
    ),
)
"""Name, title, question, meaning, which values are good, unit; braces take what the name matched."""


@dataclass(frozen=True)
class Side:
    """A table of its own in words.

    Attributes:
        columns: The scores it shows.
        rows: What is scored: its key in the JSON object, and what it is called.
    """

    question: str
    note: str
    columns: tuple[str, ...]
    rows: dict[str, str]


SIDES = {
    "truth": Side(
        "How much of what was planted is found?",
        "Every expansion planted in bars 30 to 74 of a test window counts, those that noise has swallowed "
        "included: nobody can find these in the bars. What the labels themselves reach bounds what can be "
        "learned from them. Types are scored on labeled expansions that were planted.",
        ("event_f1_macro", "event_f1_untyped", "type_f1_macro"),
        {"model": "Moola", "labels": "the labels"},
    ),
    "prior": Side(
        "What if the mix of types is another than in the labels?",
        "Span and direction given. Kept: probabilities as calibrated to the mix of the validation period, "
        "which is how Moola answers. Learned anew: the share of retracements is estimated from the "
        "probabilities alone, without labels. At 23 %: the test expansions are weighed so that 23 % are "
        "retracements.",
        ("type_f1_macro", "brier", "ece"),
        {
            "prior_frozen": "share kept",
            "prior_reestimated": "share learned anew",
            "prior_frozen_at_23_percent": "at 23 %, share kept",
            "prior_reestimated_at_23_percent": "at 23 %, share learned anew",
        },
    ),
}
"""Tables that answer a question beside the three of QUESTIONS."""
_METHOD_NAMES = {
    "majority": "always the more common type",
    "always_consolidation": "always consolidation",
    "always_retracement": "always retracement",
    "position_only": "position in the window only",
    "training_share": "always the share seen in training",
    "one_constant_span": "one fixed span in every window",
    "mean_pointer": "the mean span of those that the model met",
    "shuffled_answers": "the answers of the model, shuffled",
    "untrained": "untrained encoder",
    "scratch": "same network, not pretrained",
}
_METHODS = {
    "rule_": "rule + ",
    "logistic_": "logistic regression",
    "extra_trees_": "ExtraTrees",
    "minirocket_": "MiniRocket",
}
_INPUTS = {"45_closes": "45 closes", "21_summaries": "21 price summaries", "own_inputs": "the model's inputs"}
PARTS = {
    "delay_curve": "Delay curve",
    "learning_curve": "Learning curve",
    "second_pass": "The annotator's second pass",
    "previous": "The run before",
    "breakdowns": "By type, hour, session part and direction",
    "confusion": "Confusion of the two types",
    "calibration": "Reliability of the probabilities",
    "class_mix": "Labels by month",
    "event_study": "Average path around the start",
    "null": "Score with nothing to learn",
    "smallest_difference": "Smallest difference that can be told",
    "by_seed": "Scores of each training seed",
    "scratch": "The same network, not pretrained",
    "untrained": "The network with an untrained encoder",
    "pretraining_loss": "Losses of pretraining",
    "finetuning_loss": "Losses of fine-tuning",
    "gallery": "Windows as charts",
    "trivial_baselines": "Trivial baselines",
    "baselines": "Baselines",
    "ablations": "Ablations",
    "truth": "What was planted",
    "prior": "Retracements grown rarer",
}
"""Parts of a report that may be missing."""


def metric(name: str) -> Metric:
    """A score in words; one that is not known keeps its own name."""
    if name in _KNOWN:
        return _KNOWN[name]
    for pattern, title, question, meaning, better, unit in _PATTERNS:
        if found := re.fullmatch(pattern, name):
            parts = [_ENDS.get(part, part) for part in found.groups()]
            return Metric(_sentence(title.format(*parts)), question, meaning.format(*parts), better, unit)
    return Metric(_sentence(name.replace("_", " ")), "other", "", "neither", "")


def method_name(name: str) -> str:
    """A baseline or ablation in words; one that is not known keeps its own name."""
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
    """A part of the report in words."""
    return PARTS.get(name, _sentence(name.replace("_", " ")))


def goodness(name: str, value: float) -> float:
    """A value of a score so that more is better, whichever way the score runs."""
    better = metric(name).better
    return -value if better == "lower" else -abs(value) if better == "zero" else value


def best(among: dict[str, Scores], name: str) -> tuple[str, Score] | None:
    """The name and score of whoever is best at a score, low or high; None if there is no best."""
    if metric(name).better == "neither":
        return None
    found = [
        (goodness(name, score.estimate), who)
        for who, scores in among.items()
        if (score := scores.get(name)) is not None and score.estimate is not None
    ]
    return (max(found)[1], among[max(found)[1]][name]) if found else None


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
