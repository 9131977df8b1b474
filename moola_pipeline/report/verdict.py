"""What the numbers of a report amount to: the target, and three answers of one sentence each."""

from dataclasses import dataclass
from typing import Literal

from moola_pipeline.report.data import Check, PreviousRun, ReportData, Score
from moola_pipeline.report.metric_catalog import PRIMARY, method_name, metric

TARGET_ESTIMATE, TARGET_LOW = 0.75, 0.65
"""Met at that estimate or more, with an interval that stays above the second."""
TARGET_BAND = (0.60, 0.75)
"""The band as the user named it."""


@dataclass(frozen=True)
class TargetOutcome:
    """Whether the target was met.

    Attributes:
        met: None where the score was not measured.
        mark: A sign that needs no color.
        word: The same as a word.
        why: One sentence.
    """

    met: bool | None
    mark: str
    word: str
    why: str
    score: Score | None


def is_met(score: Score | None) -> bool | None:
    """Whether a type F1 meets the target; None if it is undefined."""
    if score is None or score.estimate is None or score.low is None:
        return None
    return score.estimate >= TARGET_ESTIMATE and score.low > TARGET_LOW


def target_outcome(data: ReportData) -> TargetOutcome:
    """Whether the report's type F1 meets the target, and what is lacking."""
    score = data.metrics.get(PRIMARY)
    met = is_met(score)
    rule = f"at least {TARGET_ESTIMATE:.2f}, with an interval that stays above {TARGET_LOW:.2f}"
    if met is None or score is None or score.estimate is None or score.low is None:
        return TargetOutcome(None, "–", "NOT MEASURED", f"Met means type F1 of {rule}.", score)
    if met:
        return TargetOutcome(True, "✓", "MET", f"Type F1 is {rule}.", score)
    inside = TARGET_BAND[0] <= score.estimate < TARGET_ESTIMATE
    near = " It lies in the band, but" if inside else ""
    why = f"{near} met means {rule}." if inside else f"Met means {rule}."
    return TargetOutcome(False, "✗", "NOT MET", why.strip(), score)


SIMULATED_NOTE = "SIMULATED bars and labels, made by a generator: no number here is about a real market."
UNAIDED = "event_f1_macro"

NO_EARLIER = "there is no earlier report on this market and profile"

Standing = Literal["above", "below", "level with"]


@dataclass(frozen=True)
class Answer:
    """One of the three sentences.

    Attributes:
        question: What is asked.
        short: The answer in a few words.
        sentence: The reason, with numbers, intervals and n.
    """

    question: str
    short: str
    sentence: str


def standing(model: Score, other: Score, difference: Score | None = None) -> Standing | None:
    """Where the model stands by intervals: the paired difference against zero, else the two intervals.

    Two intervals that do not touch tell the models apart; where they touch, nothing is claimed.
    None if a bound is undefined.
    """
    lead = (
        (difference.low, difference.high)
        if difference
        else (_minus(model.low, other.high), _minus(model.high, other.low))
    )
    low, high = lead
    if low is None or high is None:
        return None
    return "above" if low > 0 else "below" if high < 0 else "level with"


def verdict(data: ReportData) -> list[Answer]:
    """Does it beat guesses and simpler methods; can it be trusted; what changed since the last run."""
    return [_better(data), _trusted(data), _changed(data)]


def number(value: float | None) -> str:
    """Two decimals, or a dash where the number is undefined."""
    if value is None:
        return "–"
    written = f"{value:.2f}"
    return "0.00" if written == "-0.00" else written.replace("-", "−")


def interval_text(score: Score) -> str:
    """`0.74 [0.67, 0.81]`."""
    return f"{number(score.estimate)} [{number(score.low)}, {number(score.high)}]"


def range_text(score: Score) -> str:
    """`0.67 to 0.81`."""
    return f"{number(score.low)} to {number(score.high)}"


def plain(value: bool | int | float | str | None) -> str:
    """A check's value as a person writes it: three decimals at most."""
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
    question = "Is it better than the baselines?"
    score = data.metrics.get(PRIMARY)
    if score is None or score.estimate is None:
        return Answer(question, "Not measured.", f"{metric(PRIMARY).title} was not measured.")
    trivial, baseline = data.best(data.trivial_baselines, PRIMARY), data.best(data.baselines, PRIMARY)
    ablation = data.best(data.ablations, PRIMARY)
    opening = (
        "Given the span of an expansion, the model names its type (consolidation or retracement before "
        f"it) with F1 {interval_text(score)} ({score.n} expansions)"
    )
    compared = [
        _compared(data, trivial, "trivial baseline", named=False),
        _compared(data, baseline, "baseline", named=True),
        *([_compared(data, ablation, "ablation", named=True)] if ablation else []),
    ]
    sentence = f"{opening}: {', '.join(compared)}{_unaided(data)}."
    return Answer(question, _short_standing(data, score, trivial, baseline), sentence)


def _short_standing(
    data: ReportData, score: Score, trivial: tuple[str, Score] | None, baseline: tuple[str, Score] | None
) -> str:
    against_trivial = _standing_to(data, score, trivial)
    against_baseline = _standing_to(data, score, baseline)
    first = {
        "above": "Better than every trivial baseline",
        "below": "Worse than the best trivial baseline",
        "level with": "Not shown to be better than the best trivial baseline",
        None: "Not compared with trivial baselines",
    }[against_trivial]
    second = {
        "above": "and better than every baseline",
        "below": f"{'but' if against_trivial == 'above' else 'and'} worse than the best baseline",
        "level with": f"{'but' if against_trivial == 'above' else 'and'} not shown to be better than "
        "the best baseline",
        None: "and not compared with baselines",
    }[against_baseline]
    return f"{first}, {second}."


def _standing_to(data: ReportData, score: Score, best: tuple[str, Score] | None) -> Standing | None:
    return standing(score, best[1], data.differences.get(best[0], {}).get(PRIMARY)) if best else None


def _compared(data: ReportData, best: tuple[str, Score] | None, what: str, named: bool) -> str:
    if best is None:
        return f"no {what} was scored"
    name, other = best
    who = f"the best {what}{f', {method_name(name)}' if named else ''}"
    difference = data.differences.get(name, {}).get(PRIMARY)
    if difference is None or difference.estimate is None:
        return f"{who} scores {number(other.estimate)}"
    gap = number(abs(difference.estimate))
    where = "above" if difference.estimate >= 0 else "below"
    lead = "level with" if gap == "0.00" else f"{gap} {where}"
    return f"{lead} {who} (difference {range_text(difference)})"


def _unaided(data: ReportData) -> str:
    found, baseline = data.metrics.get(UNAIDED), data.best(data.baselines, UNAIDED)
    if found is None or found.estimate is None:
        return ""
    second_pass = data.second_pass.get(UNAIDED)
    beside = [
        range_text(found),
        *([f"best baseline {number(baseline[1].estimate)}"] if baseline else []),
        *([f"annotator's second pass {number(second_pass.estimate)}"] if second_pass else []),
    ]
    reached = f"{number(found.estimate)} ({'; '.join(beside)})"
    return f"; given the window only, it finds and types expansions with F1 {reached}"


def _trusted(data: ReportData) -> Answer:
    question = "Can the numbers be trusted?"
    if not data.checks:
        said = "No check was recorded, so nothing vouches for these numbers."
        return Answer(question, "Nothing vouches for them.", said)
    broken = [name for name, check in data.checks.items() if not check.passed and check.kind == "integrity"]
    looks = data.data.looks_at_test
    seen = f"{looks} model version{'' if looks == 1 else 's'} looked at the test rows, this one included"
    facts = "; ".join([counts(data.checks, "integrity"), *_calibration(data), seen, *_resolution(data)])
    if broken:
        return Answer(question, "No.", f"{', '.join(broken)} failed, so the numbers prove nothing: {facts}.")
    if data.data.simulated:
        return Answer(question, "As measurements, yes; but of a made-up market.", f"{_opened(facts)}.")
    return Answer(question, "Yes, as far as checks can tell.", f"{_opened(facts)}.")


def _calibration(data: ReportData) -> list[str]:
    check = data.checks.get("calibrated")
    if check is None or not isinstance(check.value, float) or not isinstance(check.limit, float):
        return []
    means = "mean" if check.passed else "do not mean"
    beside = f"error {number(check.value)}, chance alone up to {number(check.limit)}"
    return [f"probabilities {means} what they say ({beside})"]


def _resolution(data: ReportData) -> list[str]:
    least = data.details.smallest_difference.get(PRIMARY)
    if least is None:
        return []
    return [f"differences in type F1 below {number(least)} cannot be told from chance"]


def _opened(text: str) -> str:
    return text[:1].upper() + text[1:]


def _changed(data: ReportData) -> Answer:
    question = "What changed since the last run?"
    before = data.details.previous
    if before is None:
        said = data.details.not_measured.get("previous", NO_EARLIER)
        return Answer(question, "Nothing to compare with.", f"{_opened(said)}.")
    since = f"since the report of {before.created_at:%Y-%m-%d %H:%M} UTC"
    changed = [name for name in ("bars", "labels", "settings") if getattr(before, f"{name}_changed")]
    what = f"{_listed(changed)} changed" if changed else "bars, labels and settings are the same"
    other = " and ".join(name for name in changed if name != "settings")
    moved = _moved(data, before, f"other {other}, so the model alone did not do it" if other else None)
    return Answer(question, f"{_opened(what)}.", f"{_opened(since)}, {moved}.")


def _moved(data: ReportData, before: PreviousRun, caution: str | None) -> str:
    now, then = data.metrics.get(PRIMARY), before.metrics.get(PRIMARY)
    if now is None or then is None or now.estimate is None or then.estimate is None:
        return "type F1 cannot be compared, as it was not measured both times"
    if now == then:
        return f"type F1 is the same {interval_text(now)}"
    apart = standing(now, then) in ("above", "below")
    told = "the intervals lie apart" if apart else "the intervals overlap, so this may be chance"
    return f"type F1 went from {interval_text(then)} to {interval_text(now)}; {caution or told}"


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _minus(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left - right
