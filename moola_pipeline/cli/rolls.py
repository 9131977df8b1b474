"""`moola bars rolls propose`: where the registered bars seem to change contract, for a person to accept."""

from pathlib import Path
from typing import Any

import click

from moola_pipeline.bars.manifest import read_bars
from moola_pipeline.bars.roll_proposals import Proposal, ProposalSettings, propose_rolls
from moola_pipeline.bars.schema import INSTRUMENTS
from moola_pipeline.bars.store import BarStore, read_manifest
from moola_pipeline.cli.output import emit, iso_time, json_option, next_lines, shown_time
from moola_pipeline.errors import BadInput
from moola_pipeline.home import Home
from moola_pipeline.publish import publish_bytes

ACCEPT = {"why": "register them, once you have looked them over"}


@click.command()
@click.option("--out", type=click.Path(path_type=Path), help="Write the proposal as csv, to edit and add.")
@click.option(
    "--min-jump",
    type=click.FloatRange(min=1, min_open=True),
    default=ProposalSettings().min_jump,
    show_default=True,
    help="Least jump, in ordinary gaps of the same kind of boundary.",
)
@json_option
@click.pass_obj
def propose(home: Home, out: Path | None, min_jump: float, as_json: bool) -> None:
    """Propose contract rolls from the expiry calendar and the jump of price.

    Looked at: session opens and 00:01 Chicago, 8 to 3 business days before the third Friday of
    March, June, September and December. Nothing is registered.
    """
    if out is not None and out.suffix != ".csv":
        raise BadInput(f"--out must end in .csv, got {out.name}. Name a csv file.")
    store = BarStore(home.data, simulated=False)
    bars = read_bars(store)
    instrument = INSTRUMENTS[read_manifest(store).files[0].instrument]
    proposal = propose_rolls(bars, instrument, ProposalSettings(min_jump=min_jump))
    steps = []
    if out is not None and len(proposal.rolls):
        publish_bytes(out, proposal.rolls.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%SZ").encode())
        steps = [{"command": f"moola bars rolls add {out}"} | ACCEPT]
    elif len(proposal.rolls):
        steps = [
            {"command": "moola bars rolls propose --out rolls.csv", "why": "write the proposal to a file"}
        ]
    facts = {**_facts(proposal), "min_jump": min_jump, "out": str(out) if steps and out else None}
    emit(
        facts | {"next": steps}, [*_lines(proposal, min_jump), *(next_lines(steps) if steps else ())], as_json
    )


def _facts(proposal: Proposal) -> dict[str, Any]:
    rolls = proposal.rolls.to_dict("records")
    return {
        "rolls": [roll | {"time": iso_time(roll["time"])} for roll in rolls],
        "unfound": [missed._asdict() | {"expiry": str(missed.expiry)} for missed in proposal.unfound],
    }


def _lines(proposal: Proposal, min_jump: float) -> list[str]:
    if not len(proposal.rolls) and not proposal.unfound:
        return ["No rolls are proposed: the bars cover no span of 8 to 3 business days before an expiry."]
    lines = [_found_line(roll) for roll in proposal.rolls.to_dict("records")]
    lines += [
        f"not found  {missed.contract}, expiry {missed.expiry}: "
        f"largest jump {missed.largest_jump:.1f} ordinary gaps, a roll needs {min_jump:g}"
        for missed in proposal.unfound
    ]
    return [*lines, f"{len(lines) - len(proposal.unfound)} rolls proposed, {len(proposal.unfound)} not found"]


def _found_line(roll: dict[str, Any]) -> str:
    return (
        f"{shown_time(roll['time'])} UTC  {roll['old']} to {roll['new']}  {roll['jump_points']:+,.2f} points "
        f"at {roll['boundary']} (ordinary gap {roll['ordinary_points']:,.2f})"
    )
