"""`moola bars`: vendor files and contract rolls in, and what is registered."""

from pathlib import Path
from typing import Any

import click

from moola_pipeline.bars.cleaning import known_instrument
from moola_pipeline.bars.manifest import add_bars
from moola_pipeline.bars.quality import review_bars
from moola_pipeline.bars.rolls import add_rolls, registered_rolls
from moola_pipeline.bars.store import BarStore, ManifestEntry, is_intact, read_manifest
from moola_pipeline.cli.added import SHOWN_DIGITS, added_facts, added_lines
from moola_pipeline.cli.next_steps import ADD_BARS, next_steps
from moola_pipeline.cli.output import emit, json_option, next_lines, shown_time
from moola_pipeline.cli.rolls import propose
from moola_pipeline.cli.vendor import chosen_options, vendor_options
from moola_pipeline.errors import BadInput
from moola_pipeline.home import Home


@click.group()
def bars() -> None:
    """Add bars and contract rolls, and list them."""


@bars.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@vendor_options
@json_option
@click.pass_obj
def add(home: Home, files: tuple[Path, ...], as_json: bool, **vendor: Any) -> None:
    """Register files of one-minute bars (parquet, csv or DBN, packed or not), and say how each was read.

    The bytes are kept as they are. A file that cannot be read without a guess is refused, with
    the option that settles it; the files before it stay registered.
    """
    options = chosen_options(**vendor)
    store = BarStore(home.data, simulated=False)
    done: list[dict[str, Any]] = []
    try:
        for path in files:
            added = add_bars(store, path, options)
            review = review_bars(added.bars.frame, known_instrument(options.instrument))
            done.append(added_facts(store, path, added, review))
            if not as_json:
                click.echo("\n".join(added_lines(store, path, added, review)))
    except BadInput:
        if as_json and done:
            emit({"files": done}, (), as_json)
        raise
    steps = next_steps(home)
    emit({"files": done, "next": steps}, next_lines(steps), as_json)


@bars.command("list")
@json_option
@click.pass_obj
def list_files(home: Home, as_json: bool) -> None:
    """List the registered files, and whether their bytes are still those registered."""
    store = BarStore(home.data, simulated=False)
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


@bars.group()
def rolls() -> None:
    """Contract rolls: when one contract gave way to the next."""


rolls.add_command(propose)


@rolls.command("add")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@click.pass_obj
def add_roll_file(home: Home, file: Path, as_json: bool) -> None:
    """Register the rolls of a csv (time, old, new) in place of those registered before."""
    added = add_rolls(BarStore(home.data, simulated=False), file)
    outcome = "unchanged" if not added.changed else "replaced" if added.n_before else "registered"
    steps = next_steps(home)
    facts = {
        "file": file.name,
        "outcome": outcome,
        "rolls": added.n_rolls,
        "rolls_before": added.n_before,
        "next": steps,
    }
    before = f" (before: {added.n_before})" if added.n_before else ""
    emit(facts, [f"{file.name}: {outcome}, {added.n_rolls} rolls{before}", *next_lines(steps)], as_json)


def _listed(entry: ManifestEntry, intact: bool) -> str:
    state = "intact" if intact else "CHANGED OR MISSING"
    return (
        f"{entry.file}  {entry.instrument}  {entry.rows:,} bars  "
        f"{shown_time(entry.first)} to {shown_time(entry.last)} UTC  "
        f"sha256 {entry.sha256[:SHOWN_DIGITS]}...  {state}"
    )
