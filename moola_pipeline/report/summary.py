"""The report in a terminal: the headline and the table of the first screen, at most 80 columns wide."""

import textwrap

from moola_pipeline.report.checks import SCORE_CHECKS
from moola_pipeline.report.data import ReportData
from moola_pipeline.report.tables import FrontCell, front_table
from moola_pipeline.report.verdict import (
    SIMULATED_NOTE,
    check_texts,
    chosen_by,
    counts,
    p_value_note,
    provisional_note,
    target_outcome,
    verdict,
)

LINE_WIDTH = 80
NAME_WIDTH, CELL_WIDTH = 23, 29
"""Columns of the table, with two empty characters at the end of each but the last."""


def summary_lines(data: ReportData) -> list[str]:
    """Headline, target, certainty, trust, the table of the first screen, and checks."""
    failed = [name for name, check in data.checks.items() if not check.passed]
    looks = data.data.looks_at_test
    rows = "These labels" if data.provisional else "The test rows"
    outcome = target_outcome(data)
    better, sure, trusted, _ = verdict(data)
    return [
        *([SIMULATED_NOTE] if data.data.simulated else []),
        *_wrapped(provisional_note(data)),
        *_wrapped(f"Verdict: {better.short}"),
        *_wrapped(f"{outcome.title}: {outcome.word}. {outcome.why}"),
        *_wrapped(f"{sure.question} {sure.short}"),
        *_wrapped(f"{trusted.question} {trusted.short}"),
        "",
        *_table_lines(data),
        "",
        *_wrapped("[low, high]: 95 % interval over trading sessions. F1: 0 to 1, 1 is perfect."),
        *_wrapped(p_value_note(data)),
        *(_wrapped(f"Best baseline: chosen {chosen_by(data)}.") if data.baselines else []),
        "Checks: " + "; ".join(counts(data.checks, kind) for kind in ("integrity", "score")) + ".",
        *(line for name in failed for line in _wrapped(_failure(data, name))),
        f"{rows} have been scored by {looks} model version{'' if looks == 1 else 's'}.",
    ]


def _failure(data: ReportData, name: str) -> str:
    """`Failed: name (value, limit ...)`, and what a score check asks."""
    value, limit = check_texts(data, name)
    asked = f". It asks that {SCORE_CHECKS[name]}" if name in SCORE_CHECKS else ""
    return f"Failed: {name} ({value}; limit {limit}){asked}."


def _table_lines(data: ReportData) -> list[str]:
    table = front_table(data)
    lines = _row_lines("", list(table.columns))
    for name, cells in table.rows:
        lines += _row_lines(name, [(_number(cell), cell.note) for cell in cells])
    return lines


def _number(cell: FrontCell) -> str:
    return f"{cell.text} {cell.bounds}".rstrip()


def _row_lines(name: str, cells: list[tuple[str, str]]) -> list[str]:
    """A row of the table: the name wrapped, and in each cell the number above its wrapped note."""
    columns = [textwrap.wrap(name, NAME_WIDTH - 2)]
    columns += [[text, *textwrap.wrap(note, CELL_WIDTH - 2)] for text, note in cells]
    widths = (NAME_WIDTH, *[CELL_WIDTH] * len(cells))
    height = max(map(len, columns))
    filled = [[*column, *[""] * (height - len(column))] for column in columns]
    lines = [
        [text.ljust(width) for text, width in zip(line, widths, strict=True)]
        for line in zip(*filled, strict=True)
    ]
    return ["".join(line).rstrip() for line in lines]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, LINE_WIDTH, subsequent_indent="  ")
