"""Conclusions of a report: whether the target is met, and the four answers of the verdict."""

from dataclasses import dataclass

from moola_pipeline.report.data import Check, PreviousRun, ReportData, Score
from moola_pipeline.report.metric_catalog import (
    COUNTED,
    PRIMARIES,
    PRIMARY,
    WINDOW_ONLY,
    best,
    method_name,
    metric,
    short_name,
)
from moola_pipeline.report.standings import (
    ComparedMethod,
    beside_baseline,
    beside_trivial_baseline,
    headline,
    standing,
)


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
        rest = f" and of {len(rivals) - 1} more" if len(rivals) > 1 else ""
        why = f"Type F1 is {needed}, and so is that of {named}{rest}: reaching it proves little."
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
        "model learned from all of them. Encoder and pseudo-labels use bars of scored blocks, never labels."
    )


NO_EARLIER = "there is no earlier report on this market and profile"


@dataclass(frozen=True)
class Answer:
    """Answer to one of the four questions of the verdict.

    Attributes:
        short: The answer in a few words.
        sentence: The evidence, with numbers, intervals and n.
    """

    question: str
    short: str
    sentence: str


def verdict(data: ReportData) -> list[Answer]:
    """Four answers: against baselines, how sure, trust in the numbers, change since the last run."""
    return [_better(data), _sure(data), _trusted(data), _changed(data)]


def number(value: float | None) -> str:
    """Two decimals, or a dash if undefined."""
    if value is None:
        return "–"
    text = f"{value:.2f}"
    return "0.00" if text == "-0.00" else text.replace("-", "−")


def p_text(value: float | None) -> str:
    """`p 0.04`, `p < 0.01`."""
    return "p < 0.01" if value is not None and value < 0.005 else f"p {number(value)}"


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


def chosen_by(data: ReportData) -> str:
    """How the best baseline of a primary comparison was chosen."""
    if data.provisional or not data.primaries:
        return "by its score on the same windows, which favors the baseline"
    return "on time folds before the test, not by its test score"


def p_value_note(data: ReportData) -> str:
    """Why a difference may not be shown although its interval excludes 0; empty without p-values."""
    if all(one.p_value is None for one in data.primaries):
        return ""
    return "p is adjusted for both comparisons, intervals are not: one may exclude 0 and show no difference."


def calibration_note(data: ReportData) -> str:
    """The calibration error beside the range of a perfectly calibrated model; empty if it was not checked."""
    check = data.checks.get("calibrated")
    if check is None or not isinstance(check.value, float) or not isinstance(check.limit, float):
        return ""
    where = "lies within" if check.passed else "exceeds"
    return (
        f"Calibration error {number(check.value)} {where} the range that a perfectly calibrated model would "
        f"show at this sample size (up to {number(check.limit)})."
    )


def check_texts(data: ReportData, name: str) -> tuple[str, str]:
    """Value and limit of a check as text; those of the target with the lower bound that it needs too."""
    check, score = data.checks[name], data.metrics.get(PRIMARY)
    if name == "target_f1" and score is not None:
        needed = f"{number(data.target.estimate)} and lower bound above {number(data.target.low)}"
        return f"{number(score.estimate)}, lower bound {number(score.low)}", needed
    return plain(check.value), plain(check.limit)


def counts(checks: dict[str, Check], kind: str) -> str:
    """`12 of 13 integrity checks passed`."""
    passed = [check.passed for check in checks.values() if check.kind == kind]
    return f"{sum(passed)} of {len(passed)} {kind} checks passed"


def _better(data: ReportData) -> Answer:
    question = "Is Moola better than the baselines?"
    return Answer(question, headline(data), " ".join(_evidence(data)))


def _evidence(data: ReportData) -> list[str]:
    """Sentences with the numbers behind the headline."""
    score = data.metrics.get(PRIMARY)
    if score is None or score.estimate is None:
        return [f"{metric(PRIMARY).title} was not measured."]
    ablation = best(data.ablations, PRIMARY)
    sentences = [
        "Given the span of an expansion, Moola names its type with F1 "
        f"{interval_text(score)} ({score.n} expansions).",
        _compared(beside_baseline(data, PRIMARY), "baseline"),
        _compared(beside_trivial_baseline(data, PRIMARY), "trivial baseline"),
    ]
    if ablation:
        name, other = ablation
        difference = data.differences.get(name, {}).get(PRIMARY)
        sentences.append(
            _compared(ComparedMethod(method_name(name), name, other, difference, None), "ablation")
        )
    found = data.metrics.get(WINDOW_ONLY)
    if found is None or found.estimate is None:
        return sentences
    sentences += [
        f"Given the window only, it finds and types expansions with F1 {interval_text(found)} "
        f"({found.n} windows).",
        _compared(beside_baseline(data, WINDOW_ONLY), "baseline"),
        _compared(beside_trivial_baseline(data, WINDOW_ONLY), "trivial baseline"),
    ]
    second_pass = data.second_pass.get(WINDOW_ONLY)
    if second_pass:
        agreement = f"The annotator's second pass agrees with the first by {interval_text(second_pass)}"
        sentences.append(f"{agreement}: a reference, not an upper bound.")
    return sentences


OUTCOMES = {"better": "better", "worse": "worse", "level": "no difference shown", None: "undefined"}
"""A difference in words, by the standing of the model."""


def _compared(other: ComparedMethod | None, kind: str) -> str:
    if other is None:
        return f"No {kind} was scored."
    text = f"Best {kind} ({other.name}): {number(other.score.estimate)}"
    if other.difference is None or other.difference.estimate is None:
        return f"{text}."
    return f"{text}, Moola minus {kind} {interval_text(other.difference)}{_outcome(other)}."


def _outcome(other: ComparedMethod) -> str:
    """The standing in words, with the p-value of a primary comparison."""
    if not other.primary or other.p_value is None:
        return ""
    return f": {OUTCOMES[other.standing]} ({p_text(other.p_value)})"


def _sure(data: ReportData) -> Answer:
    question = "How sure?"
    compared = {key: one for key in PRIMARIES if key in data.metrics and (one := beside_baseline(data, key))}
    resolved = {key: one for key, one in compared.items() if one.smallest_difference}
    if not resolved:
        return Answer(question, "Unknown.", "No difference from a baseline was measured.")
    limits = [
        f"{number(one.smallest_difference)} in {short_name(key)} "
        f"({data.metrics[key].n} {COUNTED[metric(key).question]})"
        for key, one in resolved.items()
    ]
    p_values = [
        f"{short_name(key)} {p_text(one.p_value)[2:]}" for key, one in compared.items() if one.p_value
    ]
    if not p_values:
        why = "No baseline was chosen before the scores were known: the comparisons are exploratory."
    else:
        why = (
            f"Two primary comparisons, each baseline chosen {chosen_by(data)}. "
            f"P-values after Holm: {', '.join(p_values)}."
        )
    short = f"A difference above {' or '.join(limits)} counts as shown; a smaller one may not."
    return Answer(question, short, why)


def _trusted(data: ReportData) -> Answer:
    question = "Trust the numbers?"
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
    facts = [f"{counts(data.checks, 'integrity')}.", f"{versions} {where}."]
    if failed:
        facts = [f"Failed: {', '.join(failed)}. The numbers are not valid.", *facts]
        return Answer(question, "No.", " ".join(facts))
    if data.data.simulated:
        return Answer(question, "Yes, but the market is simulated.", " ".join(facts))
    if data.provisional:
        return Answer(question, "Provisionally: there is no test split yet.", " ".join(facts))
    return Answer(question, "Yes, no integrity check failed.", " ".join(facts))


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def _changed(data: ReportData) -> Answer:
    question = "Since the last run"
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
    apart = standing(now, then) in ("better", "worse")
    overlap = "the intervals do not overlap" if apart else "the intervals overlap, so this may be chance"
    return f"type F1 went from {interval_text(then)} to {interval_text(now)}; {caution or overlap}"


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
