"""The report in a terminal, at most 100 columns wide."""

import textwrap

from moola_pipeline.report.data import HEADLINE_METRICS, Check, ReportData
from moola_pipeline.report.metric_catalog import PRIMARY
from moola_pipeline.report.verdict import (
    SIMULATED_NOTE,
    TARGET_BAND,
    counts,
    interval_text,
    number,
    plain,
    target_outcome,
    verdict,
)

LINE_WIDTH = 100
WIDTHS = (18, 25, 13, 9, 21, 7)


def summary_lines(data: ReportData) -> list[str]:
    """Target, scores beside the best others with their names below, and the checks."""
    table = [_row("", "model, 95 % interval", "best baseline", "best peer", "model minus peer", "ceiling")]
    for metric, title in HEADLINE_METRICS.items():
        table += _metric_lines(data, metric, title)
    failed = {name: check for name, check in data.checks.items() if not check.passed}
    reasons = [f"{name} ({_value_and_limit(check)})" for name, check in failed.items()]
    looks = data.data.looks_at_test
    low, high = TARGET_BAND
    outcome = target_outcome(data)
    better, trusted, _ = verdict(data)
    return [
        *([SIMULATED_NOTE] if data.data.simulated else []),
        *_wrapped(f"Target, F1 of {low:.2f} to {high:.2f}: {outcome.word}. {outcome.why}"),
        *_wrapped(f"Verdict: {better.short} Trust: {trusted.short}"),
        *table,
        *(["* the primary comparison; all others explore"] if data.peers else []),
        "Checks: " + "; ".join(counts(data.checks, kind) for kind in ("integrity", "score")) + ".",
        *(_wrapped("Failed: " + ", ".join(reasons) + ".") if reasons else []),
        f"The test rows have been scored by {looks} model version{'' if looks == 1 else 's'}.",
    ]


def _metric_lines(data: ReportData, metric: str, title: str) -> list[str]:
    score, ceiling = data.metrics.get(metric), data.ceiling.get(metric)
    found = {
        "baseline": data.best(data.baselines, metric),
        "peer": data.best(data.peers, metric),
    }
    baseline, peer = found.values()
    difference = data.differences.get(peer[0], {}).get(metric) if peer else None
    lead = f"{interval_text(difference)}{'*' if metric == PRIMARY else ''}" if difference else "–"
    numbers = _row(
        title,
        f"{interval_text(score)} n={score.n}" if score else "not measured",
        number(baseline[1].estimate) if baseline else "–",
        number(peer[1].estimate) if peer else "–",
        lead,
        number(ceiling.estimate) if ceiling else "–",
    )
    names = ", ".join(f"{what} {best[0]}" for what, best in found.items() if best)
    return [numbers, *(textwrap.wrap(names, LINE_WIDTH, initial_indent="  ", subsequent_indent="  "))]


def _row(*cells: str) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)]
    return " ".join(padded).rstrip()


def _value_and_limit(check: Check) -> str:
    return f"{plain(check.value)}, limit {plain(check.limit)}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, LINE_WIDTH, subsequent_indent="  ")
