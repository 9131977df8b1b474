"""Conclusions of a report: whether the target is met, and the three answers of the verdict."""

from dataclasses import dataclass
from typing import Literal

from moola_pipeline.report.data import Check, PreviousRun, ReportData, Score
from moola_pipeline.report.metric_catalog import PRIMARY, WINDOW_ONLY, best, method_name, metric


@dataclass(frozen=True)
class TargetOutcome:
    """Whether the target was met.

    Attributes:
        met: Whether the model meets it and no baseline does; None if the score was not measured.
        mark, word: The outcome as a sign and as a word.
        why: One or two sentences.
        title: Which target.
    """

    met: bool | None
    mark: str
    word: str
    why: str
    score: Score | None
    title: str


def target_outcome(data: ReportData) -> TargetOutcome:
    """Whether the report's type F1 meets the target, with the requirement."""
    score, target = data.metrics.get(PRIMARY), data.target
    title = f"{'Default target' if target.is_default else 'Target'}: type F1 {target.estimate:.2f}"
    met = target.is_met(score)
    if data.provisional and score is not None:
        return TargetOutcome(
            None, "–", "PROVISIONAL", "The target needs a test split, so more labels.", score, title
        )
    needed = f"at least {target.estimate:.2f} with a lower bound above {target.low:.2f}"
    if met is None:
        return TargetOutcome(None, "–", "NOT MEASURED", f"It needs type F1 of {needed}.", score, title)
    if not met:
        return TargetOutcome(False, "✗", "NOT MET", f"It needs {needed}.", score, title)
    others = {**data.trivial_baselines, **data.baselines}
    rivals = [name for name, scores in others.items() if target.is_met(scores.get(PRIMARY))]
    if rivals:
        first = best({name: others[name] for name in rivals}, PRIMARY)
        named = method_name(first[0]) if first else ""
        rest = f" and {len(rivals) - 1} more" if len(rivals) > 1 else ""
        why = f"Type F1 is {needed}; but that of {named}{rest} is too, so reaching it proves little."
        return TargetOutcome(False, "=", "MET, AND BY A BASELINE TOO", why, score, title)
    return TargetOutcome(True, "✓", "MET", f"Type F1 is {needed}; no baseline reaches that.", score, title)


SIMULATED_NOTE = "SIMULATED bars and labels: no number in this report describes a real market."


def provisional_note(data: ReportData) -> str:
    """What the scores of a provisional report are; empty for a report on a test split."""
    if not data.provisional:
        return ""
    return (
        f"PROVISIONAL: too few labels for a test split. Scores are by cross-validation over {data.n_folds} "
        "blocks of sessions: each window is read by a model that learned from other blocks. The registered "
        "model learned from all of them. The encoder has seen the bars of earlier blocks, never their labels."
    )


NO_EARLIER = "there is no earlier report on this market and profile"

Standing = Literal["above", "below", "level with"]


@dataclass(frozen=True)
class Answer:
    """Answer to one of the three questions of the verdict.

    Attributes:
        short: The answer in a few words.
        sentence: The evidence, with numbers, intervals and n.
    """

    question: str
    short: str
    sentence: str


def standing(model: Score, other: Score, difference: Score | None = None) -> Standing | None:
    """Compare by the interval of the paired difference, or else by the two intervals.

    "level with" if the interval of the difference contains 0, or if the two intervals overlap; None
    if a bound is undefined.
    """
    bounds = (
        (difference.low, difference.high)
        if difference
        else (_minus(model.low, other.high), _minus(model.high, other.low))
    )
    low, high = bounds
    if low is None or high is None:
        return None
    return "above" if low > 0 else "below" if high < 0 else "level with"


def verdict(data: ReportData) -> list[Answer]:
    """The three answers: comparison with baselines, trust in the numbers, change since the last run."""
    return [_better(data), _trusted(data), _changed(data)]


def number(value: float | None) -> str:
    """Two decimals, or a dash if undefined."""
    if value is None:
        return "–"
    text = f"{value:.2f}"
    return "0.00" if text == "-0.00" else text.replace("-", "−")


def interval_text(score: Score) -> str:
    """`0.74 [0.67, 0.81]`."""
    return f"{number(score.estimate)} [{number(score.low)}, {number(score.high)}]"


def plain(value: bool | int | float | str | None) -> str:
    """A check's value as text: yes or no, or three decimals at most."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".").replace("-", "−")
    return "–" if value is None else str(value)


def counts(checks: dict[str, Check], kind: str) -> str:
    """`12 of 13 integrity checks passed`."""
    passed = [check.passed for check in checks.values() if check.kind == kind]
    return f"{sum(passed)} of {len(passed)} {kind} checks passed"


def _better(data: ReportData) -> Answer:
    question = "Is the model better than the baselines?"
    score = data.metrics.get(PRIMARY)
    if score is None or score.estimate is None:
        return Answer(question, "Not measured.", f"{metric(PRIMARY).title} was not measured.")
    trivial, ablation = best(data.trivial_baselines, PRIMARY), best(data.ablations, PRIMARY)
    opening = (
        "Given the span of an expansion, the model names its type with F1 "
        f"{interval_text(score)} ({score.n} expansions)."
    )
    sentences = [
        opening,
        _beside_baseline(data, PRIMARY),
        _compared(data, trivial, "trivial baseline"),
        *([_compared(data, ablation, "ablation")] if ablation else []),
        *_from_window_only(data),
    ]
    return Answer(question, _short_standing(data, score, trivial), " ".join(sentences))


AGAINST = {
    PRIMARY: {"better": "types better", "worse": "types worse", "level": "types no better"},
    WINDOW_ONLY: {
        "better": "finds and types better",
        "worse": "finds and types worse",
        "level": "finds and types no better",
    },
}
"""What a primary comparison says about the model."""


def _short_standing(data: ReportData, score: Score, trivial: tuple[str, Score] | None) -> str:
    against_trivial = _standing_to(data, score, trivial)
    first = {
        "above": "Better than every trivial baseline",
        "below": "Worse than the best trivial baseline",
        "level with": "Not clearly better than the best trivial baseline",
        None: "Not compared with trivial baselines",
    }[against_trivial]
    shown = [
        f"{AGAINST[one.metric][one.standing]} (n {one.difference.n})"
        for one in data.primaries
        if one.standing is not None and one.metric in AGAINST
    ]
    if not shown:
        return f"{first}; not compared with baselines."
    return f"{first}. Beside the best baseline, it {' and '.join(shown)}."


def _standing_to(data: ReportData, score: Score, other: tuple[str, Score] | None) -> Standing | None:
    return standing(score, other[1], data.differences.get(other[0], {}).get(PRIMARY)) if other else None


def _beside_baseline(data: ReportData, key: str) -> str:
    """The baseline beside a score; for a primary metric with the p-value and what n resolves."""
    beside = data.baseline_beside(key)
    if beside is None:
        return "No baseline was scored."
    primary = next((one for one in data.primaries if one.metric == key), None)
    if primary is None:
        return _compared(data, beside, "baseline")
    text = (
        f"Best baseline on time folds ({method_name(beside[0])}): {number(beside[1].estimate)}, model minus "
        f"baseline {interval_text(primary.difference)}"
    )
    if primary.p_value is None:
        return f"{text}."
    outcome = {"better": "better", "worse": "worse", "level": "no difference shown", None: ""}
    smallest = number(primary.smallest_difference)
    return (
        f"{text}: {outcome[primary.standing]} (p {primary.p_value:.2f} after Holm; n {primary.difference.n} "
        f"shows differences above {smallest})."
    )


def _compared(data: ReportData, best: tuple[str, Score] | None, kind: str) -> str:
    if best is None:
        return f"No {kind} was scored."
    name, other = best
    scored = f"Best {kind} ({method_name(name)}): {number(other.estimate)}"
    difference = data.differences.get(name, {}).get(PRIMARY)
    if difference is None or difference.estimate is None:
        return f"{scored}."
    return f"{scored}, model minus {kind} {interval_text(difference)}."


def _from_window_only(data: ReportData) -> list[str]:
    score = data.metrics.get(WINDOW_ONLY)
    if score is None or score.estimate is None:
        return []
    second_pass = data.second_pass.get(WINDOW_ONLY)
    sentences = [
        f"Given the window only, it finds and types expansions with F1 {interval_text(score)}.",
        _beside_baseline(data, WINDOW_ONLY),
    ]
    if second_pass:
        sentences.append(
            f"The annotator's second pass agrees with the first by {number(second_pass.estimate)}."
        )
    return sentences


def _trusted(data: ReportData) -> Answer:
    question = "Can the numbers be trusted?"
    if not data.checks:
        return Answer(question, "Unknown.", "No check was recorded.")
    failed = [name for name, check in data.checks.items() if not check.passed and check.kind == "integrity"]
    looks = data.data.looks_at_test
    where = "on these labels" if data.provisional else "on the test rows"
    versions = (
        "This is the only model version scored"
        if looks == 1
        else f"{looks} model versions, including this one, were scored"
    )
    facts = [f"{counts(data.checks, 'integrity')}.", *_calibration(data), f"{versions} {where}."]
    if failed:
        facts = [f"Failed: {', '.join(failed)}. The numbers are not valid.", *facts]
        return Answer(question, "No.", " ".join(facts))
    if data.data.simulated:
        return Answer(question, "Yes, but the market is simulated.", " ".join(facts))
    if data.provisional:
        return Answer(question, "Provisionally: there is no test split yet.", " ".join(facts))
    return Answer(question, "Yes, no integrity check failed.", " ".join(facts))


def _calibration(data: ReportData) -> list[str]:
    check = data.checks.get("calibrated")
    if check is None or not isinstance(check.value, float) or not isinstance(check.limit, float):
        return []
    where = "lies within" if check.passed else "exceeds"
    return [
        f"Calibration error {number(check.value)} {where} the range that a perfectly calibrated model would "
        f"show at this sample size (up to {number(check.limit)})."
    ]


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def _changed(data: ReportData) -> Answer:
    question = "What changed since the last run?"
    before = data.details.previous
    if before is None:
        reason = data.details.not_measured.get("previous", NO_EARLIER)
        return Answer(question, "Nothing to compare with.", f"{_capitalized(reason)}.")
    since = f"since the report of {before.created_at:%Y-%m-%d %H:%M} UTC"
    changed = [name for name in ("bars", "labels", "settings") if getattr(before, f"{name}_changed")]
    summary = f"{_listed(changed)} changed" if changed else "bars, labels and settings are the same"
    other = " and ".join(name for name in changed if name != "settings")
    caution = f"the {other} changed too, so the model alone does not explain this" if other else None
    return Answer(
        question, f"{_capitalized(summary)}.", f"{_capitalized(since)}, {_moved(data, before, caution)}."
    )


def _moved(data: ReportData, before: PreviousRun, caution: str | None) -> str:
    now, then = data.metrics.get(PRIMARY), before.metrics.get(PRIMARY)
    if now is None or then is None or now.estimate is None or then.estimate is None:
        return "type F1 cannot be compared: one of the two reports does not have it"
    if now == then:
        return f"type F1 has not changed: {interval_text(now)}"
    apart = standing(now, then) in ("above", "below")
    overlap = "the intervals do not overlap" if apart else "the intervals overlap, so this may be chance"
    return f"type F1 went from {interval_text(then)} to {interval_text(now)}; {caution or overlap}"


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _minus(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left - right
