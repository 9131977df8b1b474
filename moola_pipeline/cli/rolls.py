"""`moola bars rolls`: register, remove and propose contract rolls."""

from pathlib import Path
from typing import Any

import click
import pandas as pd

from moola_pipeline.bars.instruments import INSTRUMENTS
from moola_pipeline.bars.manifest import read_bars
from moola_pipeline.bars.roll_proposals import ProposalSettings, RollProposal, propose_rolls
from moola_pipeline.bars.rolls import add_rolls, registered_rolls, remove_rolls
from moola_pipeline.bars.store import read_manifest, registered_store
from moola_pipeline.cli.next_steps import next_steps
from moola_pipeline.cli.output import (
    emit,
    iso_time,
    json_option,
    next_lines,
    require_out,
    save_table,
    shown_time,
    writing,
)
from moola_pipeline.storage.home import Home

ACCEPT = {"why": "check the proposed rolls, then register them"}


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@click.pass_obj
def add(home: Home, file: Path, as_json: bool) -> None:
    """Register the rolls of a csv file (time, old, new); they replace the registered rolls."""
    added = add_rolls(registered_store(home), file)
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


@click.command()
@json_option
@click.pass_obj
def remove(home: Home, as_json: bool) -> None:
    """Remove the registered rolls. Contracts are then known only from the bar files."""
    n_removed = remove_rolls(registered_store(home))
    steps = next_steps(home)
    line = f"removed, {n_removed} rolls" if n_removed else "no rolls were registered"
    emit({"rolls_before": n_removed, "next": steps}, [line, *next_lines(steps)], as_json)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), help="Write the proposal to a csv file.")
@click.option(
    "--min-jump",
    type=click.FloatRange(min=1, min_open=True),
    default=ProposalSettings().min_jump,
    show_default=True,
    help="Least jump of a roll, as a multiple of the ordinary gap at the same kind of boundary.",
)
@json_option
@click.pass_obj
def propose(home: Home, out: Path | None, min_jump: float, as_json: bool) -> None:
    """Propose contract rolls from the expiry calendar and price jumps.

    Searches session opens and 00:01 Chicago, 8 to 3 business days before the third Friday of
    March, June, September and December. Registers nothing. Compares the proposal with the
    registered rolls, if there are any.
    """
    require_out("--out", out, (".csv",))
    store = registered_store(home)
    bars = read_bars(store)
    instrument = INSTRUMENTS[read_manifest(store).files[0].instrument]
    proposal = propose_rolls(bars, instrument, ProposalSettings(min_jump=min_jump))
    compared = _compared(proposal, bars, registered_rolls(store))
    steps = []
    if out is not None and len(proposal.rolls):
        with writing("--out", out):
            save_table(out, proposal.rolls, None)
        steps = [{"command": f"moola bars rolls add {out}"} | ACCEPT]
    elif len(proposal.rolls):
        steps = [
            {"command": "moola bars rolls propose --out rolls.csv", "why": "write the proposal to a file"}
        ]
    facts = {
        **_facts(proposal),
        "registered": compared,
        "min_jump": min_jump,
        "out": str(out) if steps and out else None,
        "next": steps,
    }
    lines = [*_lines(proposal, min_jump), *_compared_lines(compared)]
    emit(facts, [*lines, *(next_lines(steps) if steps else ())], as_json)


def _compared(
    proposal: RollProposal, bars: pd.DataFrame, rolls: pd.DataFrame | None
) -> dict[str, Any] | None:
    """Compare the proposal with the registered rolls between the first bar and the last."""
    if rolls is None:
        return None
    known = pd.DatetimeIndex(rolls["time"])
    known = known[(known > bars["timestamp"].iloc[0]) & (known <= bars["timestamp"].iloc[-1])]
    proposed = pd.DatetimeIndex(proposal.rolls["time"])
    return {
        "within_bars": len(known),
        "proposed": int(known.isin(proposed).sum()),
        "not_proposed": [iso_time(moment) for moment in known[~known.isin(proposed)]],
        "proposed_in_error": [iso_time(moment) for moment in proposed[~proposed.isin(known)]],
    }


def _compared_lines(compared: dict[str, Any] | None) -> list[str]:
    if compared is None:
        return []
    n_missed, n_wrong = (len(compared[name]) for name in ("not_proposed", "proposed_in_error"))
    return [
        f"registered rolls within the bars: {compared['within_bars']}, of which {compared['proposed']} are "
        f"proposed and {n_missed} are not; proposed rolls that are not registered: {n_wrong}"
    ]


def _facts(proposal: RollProposal) -> dict[str, Any]:
    rolls = proposal.rolls.to_dict("records")
    return {
        "rolls": [roll | {"time": iso_time(roll["time"])} for roll in rolls],
        "unfound": [missed._asdict() | {"expiry": str(missed.expiry)} for missed in proposal.unfound],
    }


def _lines(proposal: RollProposal, min_jump: float) -> list[str]:
    if not len(proposal.rolls) and not proposal.unfound:
        return ["No rolls are proposed: the bars do not cover 8 to 3 business days before any expiry."]
    lines = [_found_line(roll) for roll in proposal.rolls.to_dict("records")]
    lines += [
        f"not found  {missed.contract}, expiry {missed.expiry}: "
        f"largest jump {missed.largest_jump:.1f} times the ordinary gap, a roll needs {min_jump:g}"
        for missed in proposal.unfound
    ]
    return [*lines, f"{len(lines) - len(proposal.unfound)} rolls proposed, {len(proposal.unfound)} not found"]


def _found_line(roll: dict[str, Any]) -> str:
    return (
        f"{shown_time(roll['time'])} UTC  {roll['old']} to {roll['new']}  {roll['jump_points']:+,.2f} points "
        f"at {roll['boundary']} (ordinary gap {roll['ordinary_points']:,.2f})"
    )
