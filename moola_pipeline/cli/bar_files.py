"""`moola bars add`, `list` and `inbox`: register vendor files and list them."""

from itertools import chain
from pathlib import Path
from typing import Any

import click

from moola_pipeline.bars.inbox import REFUSED, InboxFile, add_inbox_files
from moola_pipeline.bars.instruments import NQ, instrument_named
from moola_pipeline.bars.manifest import AddedBars, add_bars
from moola_pipeline.bars.quality import BarReview, review_bars
from moola_pipeline.bars.rolls import registered_rolls
from moola_pipeline.bars.store import (
    ManifestEntry,
    is_intact,
    read_manifest,
    registered_store,
    verify_file,
)
from moola_pipeline.cli.next_steps import ADD_BARS, next_steps
from moola_pipeline.cli.output import emit, json_option, next_lines, shown_time
from moola_pipeline.cli.vendor_files import (
    SHOWN_DIGITS,
    added_facts,
    added_lines,
    chosen_options,
    vendor_options,
)
from moola_pipeline.errors import BadInput
from moola_pipeline.instrument_data import labels_follow_bars
from moola_pipeline.storage.home import Home

LABELS_MOVED = "Minutes that were missing inside labeled windows are there now: the labels kept their times."


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@vendor_options
@json_option
@click.pass_obj
def add(home: Home, files: tuple[Path, ...], as_json: bool, **vendor: Any) -> None:
    """Register files of one-minute bars (parquet, csv, JSON or DBN, compressed or not).

    Prints how each file was read. The files are stored unchanged. A file that cannot be read
    without a guess is refused; the error names the option to set. Files before it stay registered.
    """
    options = chosen_options(**vendor)
    store = registered_store(home, options.instrument or NQ.name)
    done: list[dict[str, Any]] = []
    try:
        for path in files:
            added = add_bars(store, path, options)
            review = _review(added)
            done.append(added_facts(store, path, added, review))
            if not as_json:
                click.echo("\n".join(added_lines(store, path, added, review)))
    except BadInput:
        if as_json and done:
            emit({"files": done}, (), as_json)
        raise
    finally:  # files before a refused one stay registered
        if labels_follow_bars(store):
            click.echo(LABELS_MOVED, err=True)
    steps = next_steps(home)
    emit({"files": done, "next": steps}, next_lines(steps), as_json)


@click.command("list")
@json_option
@click.pass_obj
def list_files(home: Home, as_json: bool) -> None:
    """List the registered files. Exits 1 if one was changed or is missing."""
    store = registered_store(home)
    entries = read_manifest(store).files
    rolls = registered_rolls(store)
    n_rolls = 0 if rolls is None else len(rolls)
    intact = {entry.file: is_intact(store, entry) for entry in entries}
    facts = {
        "files": [entry.model_dump(mode="json") | {"intact": intact[entry.file]} for entry in entries],
        "rolls": n_rolls,
    }
    lines = [_listed(entry, intact[entry.file]) for entry in entries]
    lines = lines or [f'No bars are registered. Add a file with "{ADD_BARS["command"]}".']
    emit(facts, [*lines, f"rolls: {n_rolls}"], as_json)
    for entry in entries:
        if not intact[entry.file]:
            verify_file(store, entry)  # raises, with the remedy


def _listed(entry: ManifestEntry, intact: bool) -> str:
    state = "intact" if intact else "CHANGED OR MISSING"
    return (
        f"{entry.file}  {entry.instrument}  {entry.rows:,} bars  "
        f"{shown_time(entry.first)} to {shown_time(entry.last)} UTC  "
        f"sha256 {entry.sha256[:SHOWN_DIGITS]}...  {state}"
    )


@click.command()
@json_option
@click.pass_obj
def inbox(home: Home, as_json: bool) -> None:
    """Add the files in data/inbox, as new_bars_sensor does when it is on.

    An added file leaves the folder. A refused file moves to data/inbox/refused, next to a text
    file with the reason; the exit code is then 2. A file written less than 30 s ago has to wait.
    """
    files = add_inbox_files(home)
    if any(file.added for file in files) and labels_follow_bars(registered_store(home)):
        click.echo(LABELS_MOVED, err=True)
    lines = [_lines(home, file) for file in files] or [[f"There are no files in {home.inbox}."]]
    emit({"files": [_facts(home, file) for file in files]}, chain.from_iterable(lines), as_json)
    refused = [file.name for file in files if file.outcome == "refused"]
    if refused:
        raise BadInput(
            f"Files in the inbox must be readable without a guess, but these are not: {', '.join(refused)}. "
            f"Read the reasons in {home.inbox / REFUSED}, correct the files, and move them back."
        )


def _facts(home: Home, file: InboxFile) -> dict[str, Any]:
    kept_at = None if file.kept is None else str(file.kept)
    facts: dict[str, Any] = {"source": file.name, "inbox": file.outcome, "why": file.why, "kept": kept_at}
    if file.added is not None:
        facts |= added_facts(registered_store(home), home.inbox / file.name, file.added, _review(file.added))
    return facts


def _lines(home: Home, file: InboxFile) -> list[str]:
    if file.added is None:
        return [file.shown]
    return list(added_lines(registered_store(home), home.inbox / file.name, file.added, _review(file.added)))


def _review(added: AddedBars) -> BarReview:
    return review_bars(added.bars.frame, instrument_named(added.entry.instrument))
