"""`moola labels`: add and check label files, and account for every row."""

import dataclasses
import shlex
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import click
import pandas as pd

from moola_pipeline.bars.manifest import read_bars
from moola_pipeline.bars.store import read_manifest, registered_state, registered_store
from moola_pipeline.cli.judgments import COMMANDS
from moola_pipeline.cli.label_budget import budget, choice_study
from moola_pipeline.cli.label_choice import alike, next_windows, second_look, task
from moola_pipeline.cli.label_doubt import doubtful
from moola_pipeline.cli.label_reading import reading_options
from moola_pipeline.cli.label_review import LabelPreview, preview_labels
from moola_pipeline.cli.next_steps import next_steps
from moola_pipeline.cli.options import active_splits, split_options
from moola_pipeline.cli.output import emit, json_option, next_lines
from moola_pipeline.errors import BadInput, IntegrityError
from moola_pipeline.instrument_data import labels_follow_bars
from moola_pipeline.labels.annotators import LabelChoice, choose_labels, read_label_choice
from moola_pipeline.labels.chosen_splits import keep_proposed
from moola_pipeline.labels.definitions import definition_texts
from moola_pipeline.labels.label_options import LabelOptions
from moola_pipeline.labels.ledger import LabelLedger
from moola_pipeline.labels.placement import GRADED_OUT, place_labels
from moola_pipeline.labels.registration import AddSettings, register_labels, with_registered
from moola_pipeline.labels.registry import registered_files, registered_labels
from moola_pipeline.labels.review import one_expansion_each
from moola_pipeline.labels.splits import SplitSettings, proposed_dates
from moola_pipeline.storage.home import Home

SHOWN_ROWS = 20
pass_option = click.option(
    "--pass",
    "pass_number",
    type=click.IntRange(min=1),
    help="Number of the annotator's pass over the windows, if the file has no column `pass`.",
)


@click.group()
def labels() -> None:
    """Add and check labeled windows."""


for _command in (*COMMANDS, next_windows, task, doubtful, alike, second_look, budget, choice_study):
    labels.add_command(_command)


@labels.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--drop-bad", is_flag=True, help="Add the usable rows and list the others.")
@click.option("--revise", is_flag=True, help="Its windows replace the registered ones; history keeps both.")
@click.option("--why", default="", metavar="TEXT", help="The reason for --revise, kept in the history.")
@pass_option
@reading_options
@json_option
@click.pass_obj
def add(
    home: Home,
    file: Path,
    drop_bad: bool,
    revise: bool,
    why: str,
    pass_number: int | None,
    options: LabelOptions,
    as_json: bool,
) -> None:
    """Register a label file: csv, parquet, Label Studio, or an Audacity label track.

    Accounts for each row. Needs registered bars. A file with an unusable row is refused, unless
    --drop-bad is given.
    """
    from moola_pipeline.labels.importing import build_ledger

    store = registered_store(home)
    before = registered_state(store)
    bars = read_bars(store)
    settings = proposed_dates(bars, active_splits(home))
    ledger, rows = build_ledger(file, bars, pass_number, options)
    _require_definition(store.labels, rows)
    if why and not revise:
        raise BadInput("--why is the reason for --revise, got no --revise. Give both, or leave it out.")
    how = AddSettings(revise, why, read_manifest(store).files[0].instrument)
    ledger = register_labels(store.labels, file, ledger, rows, bars, drop_bad, how)
    if registered_state(store) != before:  # by another command, after the bars were read here
        labels_follow_bars(store)
    keep_proposed(store.root, settings)
    chosen, choice = choose_labels(registered_labels(store.labels), read_label_choice(store.root))
    preview = preview_labels(chosen, bars, settings, rows, file.name)
    preview = _with_unlearned(preview, rows, chosen, choice)
    _report(home, [ledger], _with_older(preview, ledger, rows), as_json)


@labels.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@pass_option
@reading_options
@split_options
@json_option
@click.pass_obj
def check(
    home: Home,
    file: Path | None,
    pass_number: int | None,
    options: LabelOptions,
    as_json: bool,
    rolling: int | None,
    **ends: datetime | None,
) -> None:
    """Check labels and write nothing.

    Accounts for the rows of FILE, or of the registered labels. Exits 2 if "moola labels add" would
    refuse the file. Split dates given here are not saved; "moola run" saves them.
    """
    from moola_pipeline.labels.importing import build_ledger

    store = registered_store(home)
    bars = read_bars(store)
    settings = proposed_dates(bars, active_splits(home, rolling, **ends))
    if file is not None:
        ledger, rows = build_ledger(file, bars, pass_number, options)
        _require_definition(store.labels, rows)
        _check_file(home, file, ledger, rows, settings, bars, as_json)
        return
    if pass_number is not None or options != LabelOptions():
        given = "--pass" if pass_number is not None else "An option for reading"
        raise BadInput(f"{given} needs a FILE, got none. Name a file, or leave the option out.")
    rows = registered_labels(store.labels)
    chosen, _ = choose_labels(rows, read_label_choice(store.root))
    _report(home, registered_files(store.labels), preview_labels(chosen, bars, settings), as_json)
    _require_on_bars(rows, bars)


def _require_definition(folder: Path, rows: pd.DataFrame) -> None:
    """Refuse labels under a definition that does not exist: of a typo a run would learn."""
    newest, highest = max(definition_texts(folder)), max(rows["definition"].tolist(), default=1)
    if highest > newest:
        raise BadInput(
            f"A definition must be one of 1 to {newest}, got {highest}. Add it first: "
            "moola labels define FILE"
        )


def _with_unlearned(
    preview: LabelPreview, rows: pd.DataFrame, chosen: pd.DataFrame, choice: LabelChoice
) -> LabelPreview:
    """The preview with a warning if a run does not learn windows of the file."""
    n_left = len(set(rows["window_id"]) - set(chosen["window_id"]))
    if not n_left:
        return preview
    warning = (
        f"{n_left} windows of this file will not be learned: a run learns the labels of {choice.annotator} "
        f"under definition {choice.definition}. Choose: moola run --annotator NAME --definition NUMBER"
    )
    return dataclasses.replace(preview, warnings=[*preview.warnings, warning])


def _check_file(
    home: Home,
    file: Path,
    ledger: LabelLedger,
    rows: pd.DataFrame,
    settings: SplitSettings,
    bars: pd.DataFrame,
    as_json: bool,
) -> None:
    refusal, merged, store = None, rows, registered_store(home)
    try:
        merged = with_registered(store.labels, file, rows, bars)
    except BadInput as error:
        refusal = error
    else:
        if len(merged):
            merged, _ = choose_labels(merged, read_label_choice(store.root))
    preview = preview_labels(merged, bars, settings, rows, file.name)
    _report(home, [ledger], _with_older(preview, ledger, rows), as_json)
    if faults := sum(row["reason"] != GRADED_OUT for row in ledger.refused):
        command = f"moola labels add {shlex.quote(str(file))} --drop-bad"
        remedy = f"Correct them, or add the usable rows with: {command}" if ledger.kept else "Correct them."
        raise BadInput(
            f"{file.name}: each row must be usable, but {faults:,} of {ledger.rows:,} are not. {remedy}"
        )
    if refusal is not None:
        raise refusal


def _require_on_bars(rows: pd.DataFrame, bars: pd.DataFrame) -> None:
    refused = pd.concat([place_labels(rows, bars, int(number)).refused for number in rows["pass"].unique()])
    strays = refused.loc[refused["reason"] != GRADED_OUT]
    if len(strays):
        raise IntegrityError(
            f"Registered labels must lie on the registered bars, but {len(strays):,} rows do not "
            f'(first: {strays["detail"].iloc[0]}). Restore their bars with "moola bars add FILE".'
        )


def _with_older(preview: LabelPreview, ledger: LabelLedger, rows: pd.DataFrame) -> LabelPreview:
    """Add a warning for an older file format, which holds one expansion per window."""
    if not (ledger.by_prices and ledger.kept and one_expansion_each(rows)):
        return preview
    warning = (
        f"{ledger.file}: no window has more than one expansion. If a window holds more in bars 30-74, "
        "add rows for them: a correct prediction of an unlabeled expansion counts as a false positive."
    )
    return dataclasses.replace(preview, warnings=[*preview.warnings, warning])


def _report(home: Home, ledgers: list[LabelLedger], preview: LabelPreview, as_json: bool) -> None:
    steps = next_steps(home)
    facts = {
        "files": [dataclasses.asdict(ledger) for ledger in ledgers],
        **preview.facts,
        "next": steps,
    }
    lines = [line for ledger in ledgers for line in _ledger_lines(ledger)]
    emit(facts, [*lines, *preview.lines, *next_lines(steps)], as_json)


def _ledger_lines(ledger: LabelLedger) -> Iterator[str]:
    dropped = ledger.rows - ledger.kept
    why = f" ({_listed(ledger.dropped)})" if dropped else ""
    yield f"{ledger.file}: {ledger.rows:,} rows, {ledger.kept:,} kept, {dropped:,} dropped{why}"
    if ledger.by_prices:
        yield f"  windows {_listed(ledger.by_prices)}, matched by price"
    yield from (f"  {note}" for note in ledger.notes)
    yield f"  kept    {_listed(ledger.counts)}, in {ledger.windows:,} windows"
    if ledger.outside_core:
        yield f"  of them {ledger.outside_core:,} start outside bars 30-74: not used for training or scores"
    if ledger.incomplete:
        yield f"  of them {ledger.incomplete:,} windows are incomplete: only their marks are learned"
    if set(ledger.passes) - {"1"}:
        passes = ", ".join(f"{n:,} rows of pass {number}" for number, n in ledger.passes.items())
        yield f"  passes  {passes}; pass 2 measures the annotator's consistency and is not used for training"
    for row in ledger.refused[:SHOWN_ROWS]:
        yield f"  row {row['row']:<6} {row['reason']}: {row['detail']}"
    if len(ledger.refused) > SHOWN_ROWS:
        yield f"  and {len(ledger.refused) - SHOWN_ROWS} more rows: --json lists them all"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{n:,} {name}" for name, n in counts.items())
