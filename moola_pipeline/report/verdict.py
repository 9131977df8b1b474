"""Conclusions of a report: whether the target is met, and the three answers of the verdict."""

from dataclasses import dataclass
from typing import Literal

from moola_pipeline.report.data import Check, PreviousRun, ReportData, Score
from moola_pipeline.report.metric_catalog import PRIMARY, best, method_name, metric

TARGET_ESTIMATE, TARGET_LOW = 0.75, 0.65
"""The target needs at least this estimate and a lower bound above the second number."""
TARGET_BAND = (0.60, 0.75)
"""F1 band of the user's target."""


@dataclass(frozen=True)
class TargetOutcome:
    """Whether the target was met.

    Attributes:
        met: None if the score was not measured.
        mark, word: The outcome as a sign and as a word.
        why: One sentence.
    """

    met: bool | None
    mark: str
    word: str
    why: str
    score: Score | None


def is_met(score: Score | None) -> bool | None:
    """Whether a type F1 meets the target; None if undefined."""
    if score is None or score.estimate is None or score.low is None:
        return None
    return score.estimate >= TARGET_ESTIMATE and score.low > TARGET_LOW


def target_outcome(data: ReportData) -> TargetOutcome:
    """Whether the report's type F1 meets the target, with the requirement."""
    score = data.metrics.get(PRIMARY)
    met = is_met(score)
    if data.provisional and score is not None:
        return TargetOutcome(
            None, "–", "PROVISIONAL", "The target needs a test split, so more labels.", score
        )
    needed = f"at least {TARGET_ESTIMATE:.2f} with a lower bound above {TARGET_LOW:.2f}"
    if met is None or score is None or score.estimate is None or score.low is None:
        return TargetOutcome(None, "–", "NOT MEASURED", f"The target needs type F1 of {needed}.", score)
    if met:
        return TargetOutcome(True, "✓", "MET", f"Type F1 is {needed}.", score)
    inside = TARGET_BAND[0] <= score.estimate < TARGET_ESTIMATE
    start = "Type F1 is inside the band, but the target needs" if inside else "The target needs type F1 of"
    return TargetOutcome(False, "✗", "NOT MET", f"{start} {needed}.", score)


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


WINDOW_ONLY = "event_f1_macro"
"""Primary metric of predictions from the window alone."""

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
    trivial, baseline = best(data.trivial_baselines, PRIMARY), best(data.baselines, PRIMARY)
    ablation = best(data.ablations, PRIMARY)
    opening = (
        "Given the span of an expansion, the model names its type with F1 "
        f"{interval_text(score)} ({score.n} expansions)."
    )
    sentences = [
        opening,
        _compared(data, baseline, "baseline"),
        _compared(data, trivial, "trivial baseline"),
        *([_compared(data, ablation, "ablation")] if ablation else []),
        *_resolution(data, score.n),
        *_from_window_only(data),
    ]
    return Answer(question, _short_standing(data, score, trivial, baseline), " ".join(sentences))


def _short_standing(
    data: ReportData, score: Score, trivial: tuple[str, Score] | None, baseline: tuple[str, Score] | None
) -> str:
    against_trivial = _standing_to(data, score, trivial)
    against_baseline = _standing_to(data, score, baseline)
    first = {
        "above": "Better than every trivial baseline",
        "below": "Worse than the best trivial baseline",
        "level with": "Not clearly better than the best trivial baseline",
        None: "Not compared with trivial baselines",
    }[against_trivial]
    second = {
        "above": "and better than every baseline",
        "below": f"{'but' if against_trivial == 'above' else 'and'} worse than the best baseline",
        "level with": f"{'but' if against_trivial == 'above' else 'and'} not clearly better than the best "
        "baseline",
        None: "and not compared with baselines",
    }[against_baseline]
    return f"{first}, {second}."


def _standing_to(data: ReportData, score: Score, other: tuple[str, Score] | None) -> Standing | None:
    return standing(score, other[1], data.differences.get(other[0], {}).get(PRIMARY)) if other else None


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
    score, baseline = data.metrics.get(WINDOW_ONLY), best(data.baselines, WINDOW_ONLY)
    if score is None or score.estimate is None:
        return []
    second_pass = data.second_pass.get(WINDOW_ONLY)
    others = [
        *([f"best baseline: {number(baseline[1].estimate)}"] if baseline else []),
        *([f"annotator's second pass: {number(second_pass.estimate)}"] if second_pass else []),
    ]
    found = f"Given the window only, it finds and types expansions with F1 {interval_text(score)}"
    return [f"{'; '.join([found, *others])}."]


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


def _resolution(data: ReportData, n: int) -> list[str]:
    smallest = data.details.smallest_difference.get(PRIMARY)
    if smallest is None:
        return []
    return [f"With {n} expansions only a difference above {number(smallest)} would show."]


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
