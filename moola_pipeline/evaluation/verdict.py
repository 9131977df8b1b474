"""What the numbers of a report amount to, in plain words: for the page, and for the terminal."""

import textwrap
from typing import Literal

from moola_pipeline.evaluation.report_data import HEADLINE_METRICS, Check, ReportData, Score

LINE_WIDTH = 100
SIMULATED_NOTE = "SIMULATED bars and labels, made by a generator: no number here is about a real market."

Standing = Literal["above", "below", "level with"]


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


def verdict(data: ReportData) -> list[str]:
    """Three sentences: the type given the span, finding and typing, and the checks."""
    return [
        _judged(data, "type_f1_macro", "Told where an expansion is, the model names its type with macro F1"),
        _judged(data, "event_f1_macro", "Shown only the window, it finds and types expansions with event F1"),
        _checks_sentence(data.checks),
    ]


def summary_lines(data: ReportData) -> list[str]:
    """The report for a terminal, at most 100 columns: scores beside the best others, and the checks."""
    table = [_row("", "model, 95 % interval", "best baseline", "best peer", "ceiling")]
    table += [_summary_row(data, metric, title) for metric, title in HEADLINE_METRICS.items()]
    failed = {name: check for name, check in data.checks.items() if not check.passed}
    reasons = [f"{name} ({_value_and_limit(check)})" for name, check in failed.items()]
    looks = data.data.looks_at_test
    closing = [
        "Checks: " + "; ".join(_counts(data.checks, kind) for kind in ("integrity", "score")) + ".",
        *_wrapped("Failed: " + ", ".join(reasons) + ".", bool(reasons)),
        f"The test rows have been scored by {looks} model version{'' if looks == 1 else 's'}.",
    ]
    return [*([SIMULATED_NOTE] if data.data.simulated else []), *table, *closing]


def number(value: float | None) -> str:
    """Two decimals, or a dash where the number is undefined."""
    return "–" if value is None else f"{value:.2f}".replace("-", "−")


def interval_text(score: Score) -> str:
    """`0.74 [0.67, 0.81]`."""
    return f"{number(score.estimate)} [{number(score.low)}, {number(score.high)}]"


def _judged(data: ReportData, metric: str, opening: str) -> str:
    score = data.metrics.get(metric)
    if score is None or score.estimate is None:
        return f"{HEADLINE_METRICS[metric]} was not measured."
    against = [
        _against(data, metric, score, "baseline", data.best(data.baselines, metric)),
        _against(data, metric, score, "peer", data.best(data.peers, metric)),
    ]
    ceiling = data.ceiling.get(metric)
    if ceiling is not None and ceiling.estimate is not None:
        against.append(f"the annotator's own second pass reaches {number(ceiling.estimate)}")
    interval = f"95 % interval {number(score.low)} to {number(score.high)}, n = {score.n}"
    return f"{opening} {number(score.estimate)} ({interval}): {'; '.join(against)}."


def _against(data: ReportData, metric: str, score: Score, what: str, best: tuple[str, Score] | None) -> str:
    if best is None:
        return f"no {what} was scored"
    name, other = best
    difference = data.differences.get(name, {}).get(metric)
    stands = standing(score, other, difference)
    claim = {
        "above": f"above the best {what}",
        "below": f"below the best {what}",
        "level with": f"not told apart from the best {what}",
        None: f"not comparable with the best {what}",
    }[stands]
    paired = f", paired difference {interval_text(difference)}" if difference else ""
    return f"{claim} ({name}, {number(other.estimate)}{paired})"


def _checks_sentence(checks: dict[str, Check]) -> str:
    failed = [name for name, check in checks.items() if not check.passed]
    parts = " and ".join(_counts(checks, kind) for kind in ("integrity", "score"))
    if not checks:
        return "No check was recorded, so nothing vouches for these numbers."
    if not failed:
        return f"Of the checks, {parts}."
    broken = [name for name in failed if checks[name].kind == "integrity"]
    if broken:
        return f"Of the checks, {parts}: {', '.join(broken)} failed, so these numbers cannot be trusted."
    return f"Of the checks, {parts}: {', '.join(failed)} failed, so this version replaces no champion."


def _counts(checks: dict[str, Check], kind: str) -> str:
    passed = [check.passed for check in checks.values() if check.kind == kind]
    return f"{sum(passed)} of {len(passed)} {kind} checks passed"


def _summary_row(data: ReportData, metric: str, title: str) -> str:
    score = data.metrics.get(metric)
    others = [data.best(among, metric) for among in (data.baselines, data.peers)]
    baseline, peer = (f"{number(best[1].estimate)} {best[0]}" if best else "–" for best in others)
    ceiling = data.ceiling.get(metric)
    model = f"{interval_text(score)} n={score.n}" if score else "not measured"
    return _row(title, model, baseline, peer, number(ceiling.estimate) if ceiling else "–")


def _row(title: str, model: str, baseline: str, peer: str, ceiling: str) -> str:
    cells = ((title, 18), (model, 25), (baseline, 21), (peer, 25), (ceiling, 7))
    return " ".join(_fitted(text, width) for text, width in cells).rstrip()


def _fitted(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else text[: width - 1] + "…"


def _value_and_limit(check: Check) -> str:
    return f"{plain(check.value)}, limit {plain(check.limit)}"


def plain(value: bool | int | float | str | None) -> str:
    """A check's value as a person writes it: three decimals at most."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".").replace("-", "−")
    return "–" if value is None else str(value)


def _wrapped(text: str, wanted: bool) -> list[str]:
    return textwrap.wrap(text, LINE_WIDTH, subsequent_indent="  ") if wanted else []


def _minus(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left - right
