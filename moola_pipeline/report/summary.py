"""The report in a terminal, at most 100 columns wide."""

import textwrap

from moola_pipeline.report.data import HEADLINE_METRICS, Check, ReportData
from moola_pipeline.report.metric_catalog import PRIMARIES, best
from moola_pipeline.report.verdict import (
    SIMULATED_NOTE,
    counts,
    interval_text,
    number,
    plain,
    provisional_note,
    target_outcome,
    verdict,
)

LINE_WIDTH = 100
PRIMARY_NOTE = "* primary comparisons, the baseline chosen on time folds; all others are exploratory"
WIDTHS = (18, 24, 7, 8, 21, 8, 8)


def summary_lines(data: ReportData) -> list[str]:
    """Target, verdict, scores beside the best baselines and ablations, and checks."""
    table = [
        _row(
            "", "model, 95 % interval", "trivial", "baseline", "model minus baseline", "ablation", "2nd pass"
        )
    ]
    for metric, title in HEADLINE_METRICS.items():
        table += _metric_lines(data, metric, title)
    failed = {name: check for name, check in data.checks.items() if not check.passed}
    reasons = [f"{name} ({_value_and_limit(check)})" for name, check in failed.items()]
    looks = data.data.looks_at_test
    rows = "These labels" if data.provisional else "The test rows"
    outcome = target_outcome(data)
    better, trusted, _ = verdict(data)
    return [
        *([SIMULATED_NOTE] if data.data.simulated else []),
        *_wrapped(provisional_note(data)),
        *_wrapped(f"{outcome.title}: {outcome.word}. {outcome.why}"),
        *_wrapped(f"Verdict: {better.short} Trust: {trusted.short}"),
        *table,
        *(
            ["* primary comparisons, the baseline chosen on time folds; all others are exploratory"]
            if data.baselines
            else []
        ),
        "Checks: " + "; ".join(counts(data.checks, kind) for kind in ("integrity", "score")) + ".",
        *(_wrapped("Failed: " + ", ".join(reasons) + ".") if reasons else []),
        f"{rows} have been scored by {looks} model version{'' if looks == 1 else 's'}.",
    ]


def _metric_lines(data: ReportData, metric: str, title: str) -> list[str]:
    score, second_pass = data.metrics.get(metric), data.second_pass.get(metric)
    beside = {
        "trivial_baseline": best(data.trivial_baselines, metric),
        "baseline": data.baseline_beside(metric),
        "ablation": best(data.ablations, metric),
    }
    trivial_baseline, baseline, ablation = beside.values()
    difference = data.differences.get(baseline[0], {}).get(metric) if baseline else None
    lead = f"{interval_text(difference)}{'*' if metric in PRIMARIES else ''}" if difference else "–"
    numbers = _row(
        title,
        f"{interval_text(score)} n={score.n}" if score else "not measured",
        number(trivial_baseline[1].estimate) if trivial_baseline else "–",
        number(baseline[1].estimate) if baseline else "–",
        lead,
        number(ablation[1].estimate) if ablation else "–",
        number(second_pass.estimate) if second_pass else "–",
    )
    names = ", ".join(f"{kind.replace('_', ' ')}: {other[0]}" for kind, other in beside.items() if other)
    return [numbers, *(textwrap.wrap(names, LINE_WIDTH, initial_indent="  ", subsequent_indent="  "))]


def _row(*cells: str) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)]
    return " ".join(padded).rstrip()


def _value_and_limit(check: Check) -> str:
    return f"{plain(check.value)}, limit {plain(check.limit)}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, LINE_WIDTH, subsequent_indent="  ")
