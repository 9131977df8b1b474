"""`moola labels`: label files in, and the account of every row."""

import dataclasses
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pandas as pd

from moola_pipeline.bars.manifest import read_bars
from moola_pipeline.bars.store import BarStore
from moola_pipeline.cli.next_steps import next_steps
from moola_pipeline.cli.output import emit, json_option, next_lines
from moola_pipeline.errors import BadInput, IntegrityError
from moola_pipeline.home import Home
from moola_pipeline.labels.ledger import LabelLedger, account
from moola_pipeline.labels.placement import GRADED_OUT, place_labels
from moola_pipeline.labels.registry import add_labels, registered_files, registered_labels
from moola_pipeline.labels.schema import LABELS
from moola_pipeline.labels.splits import (
    SPLITS,
    UNUSED,
    SplitSettings,
    UnsoundSplit,
    assign_splits,
    check_splits,
    class_counts,
)

SHOWN_ROWS = 20
WIDTH = 100
INDENT = " " * 13
HARD_SPACE = "\N{NO-BREAK SPACE}"


@click.group()
def labels() -> None:
    """Add and check labeled windows."""


@labels.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--drop-bad", is_flag=True, help="Keep the rest when rows cannot be used, and list those.")
@json_option
@click.pass_obj
def add(home: Home, file: Path, drop_bad: bool, as_json: bool) -> None:
    """Register a label file (csv or parquet), and account for each of its rows.

    Needs registered bars. A file with a row that cannot be used is refused whole, unless
    --drop-bad keeps the rest.
    """
    bars = _bars(home)
    ledger = add_labels(home.labels, file, bars, drop_bad)
    splits, warnings = _splits(registered_labels(home.labels), bars)
    _report(home, [ledger], splits, warnings, as_json)


@labels.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@json_option
@click.pass_obj
def check(home: Home, file: Path | None, as_json: bool) -> None:
    """Account for the rows of FILE, or of the registered labels, and write nothing.

    Exits 2 if "moola labels add" would refuse the file.
    """
    bars = _bars(home)
    if file is None:
        rows, ledgers = registered_labels(home.labels), registered_files(home.labels)
    else:
        ledger, rows = account(file, bars)
        ledgers = [ledger]
    splits, warnings = _splits(rows, bars)
    _report(home, ledgers, splits, warnings, as_json)
    if file is None:
        _refuse_strays(rows, bars)
    elif faults := _faults(ledgers[0]):
        raise BadInput(
            f"{file.name}: each row must be usable, but {faults:,} of {ledgers[0].rows:,} are not. "
            f"Correct them, or keep the rest with: moola labels add {file.name} --drop-bad"
        )


def _bars(home: Home) -> pd.DataFrame:
    return read_bars(BarStore(home.data, simulated=False))


def _faults(ledger: LabelLedger) -> int:
    return sum(row["reason"] != GRADED_OUT for row in ledger.refused)


def _refuse_strays(rows: pd.DataFrame, bars: pd.DataFrame) -> None:
    refused = place_labels(rows, bars).refused
    strays = refused.loc[refused["reason"] != GRADED_OUT]
    if len(strays):
        raise IntegrityError(
            f"Registered labels must lie on the registered bars, but {len(strays):,} rows do not "
            f'(first: {strays["detail"].iloc[0]}). Restore their bars with "moola bars add FILE".'
        )


def _splits(rows: pd.DataFrame, bars: pd.DataFrame) -> tuple[dict[str, Any], list[str]]:
    """Class counts of each split and month under the default dates, and what is unsound about them."""
    placed = place_labels(rows, bars).frame
    if placed.empty:
        return {}, []
    settings = SplitSettings()
    frame = assign_splits(placed, bars, settings)
    warnings = []
    try:
        check_splits(frame, settings)
    except UnsoundSplit as fault:
        warnings.append(str(fault))
    counts = class_counts(frame)
    present = [split for split in (*SPLITS, UNUSED) if split in counts.index.get_level_values("split")]
    return {split: _split_facts(counts.xs(split, level="split")) for split in present}, warnings


def _split_facts(per_month: pd.DataFrame) -> dict[str, Any]:
    names = [*LABELS, "windows"]
    totals = {name: sum(per_month[name].tolist()) for name in names}
    rows = zip(per_month.index, per_month[names].to_numpy().tolist(), strict=True)
    return {**totals, "months": {str(month): dict(zip(names, row, strict=True)) for month, row in rows}}


def _report(
    home: Home, ledgers: list[LabelLedger], splits: dict[str, Any], warnings: list[str], as_json: bool
) -> None:
    steps = next_steps(home)
    facts = {
        "files": [dataclasses.asdict(ledger) for ledger in ledgers],
        "splits": splits,
        "warnings": warnings,
        "next": steps,
    }
    lines = [line for ledger in ledgers for line in _ledger_lines(ledger)]
    lines += _split_lines(splits)
    lines += [f"warning: {text}" for text in warnings]
    emit(facts, [*lines, *next_lines(steps)], as_json)


def _ledger_lines(ledger: LabelLedger) -> Iterator[str]:
    dropped = ledger.rows - ledger.kept
    why = f" ({_listed(ledger.dropped)})" if dropped else ""
    yield f"{ledger.file}: {ledger.rows:,} rows, {ledger.kept:,} kept, {dropped:,} dropped{why}"
    yield f"  kept    {_listed(ledger.counts)}, in {ledger.windows:,} windows"
    for row in ledger.refused[:SHOWN_ROWS]:
        yield f"  row {row['row']:<6} {row['reason']}: {row['detail']}"
    if len(ledger.refused) > SHOWN_ROWS:
        yield f"  and {len(ledger.refused) - SHOWN_ROWS} more rows: --json lists them all"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{n:,} {name}" for name, n in counts.items())


def _split_lines(splits: dict[str, Any]) -> Iterator[str]:
    if splits:
        yield f"Splits by the default dates; months as {'/'.join(LABELS)}:"
    for name, held in splits.items():
        totals = _listed({label: held[label] for label in LABELS})
        yield f"  {name:<10} {totals}, in {held['windows']:,} windows"
        months = [f"{month} {'/'.join(str(n[x]) for x in LABELS)}" for month, n in held["months"].items()]
        yield from _wrapped(months)


def _wrapped(items: list[str]) -> Iterator[str]:
    """Lines of items with commas between them, none of them broken."""
    glued = ", ".join(item.replace(" ", HARD_SPACE) for item in items)
    for line in textwrap.wrap(
        glued, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT, break_on_hyphens=False
    ):
        yield line.replace(HARD_SPACE, " ")
