"""Which rolls break a file of bars: those of its contracts, of --rolls, or those registered in the home."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    import pandas as pd

    from moola_pipeline.storage.home import Home

rolls_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--rolls",
    type=click.Path(path_type=Path),
    help="csv of rolls (time,old,new) for a file that names no contracts; else the registered ones.",
)


@dataclass(frozen=True)
class AppliedRolls:
    """The rolls by which a file's bars are told apart.

    Attributes:
        rolls: As `read_rolls` returns them; None where none are known.
        source: Where they came from; `contracts`: each bar names its own.
        name: Of the file; empty where none was read.
        n_within: Rolls between the file's first bar and its last.
    """

    rolls: "pd.DataFrame | None"
    source: Literal["contracts", "file", "registered", "none"]
    name: str = ""
    n_within: int = 0


def applied_rolls(home: "Home", bars: "pd.DataFrame", instrument: str, chosen: Path | None) -> AppliedRolls:
    """The rolls for a file: its own contracts stand; else the chosen rolls, else the registered ones.

    Args:
        home: Whose registered rolls.
        bars: Clean bars of one file, with `contract` where it names them.
        instrument: Of the file; registered rolls of another are not applied.
        chosen: The file of --rolls.

    Raises:
        BadInput: If the chosen file does not hold rolls.
        IntegrityError: If the registered rolls are no longer what was registered.
    """
    from moola_pipeline.bars.rolls import read_rolls

    named = "contract" in bars and bool(bars["contract"].notna().all())
    if chosen is not None:
        rolls = read_rolls(chosen)
        return AppliedRolls(rolls, "contracts" if named else "file", chosen.name, _within(rolls, bars))
    if named:
        return AppliedRolls(None, "contracts")
    rolls = _registered(home, instrument)
    return (
        AppliedRolls(None, "none")
        if rolls is None
        else AppliedRolls(rolls, "registered", "rolls.csv", _within(rolls, bars))
    )


def roll_facts(known: AppliedRolls) -> dict[str, Any]:
    """The rolls for JSON."""
    return {"source": known.source, "file": known.name or None, "within_bars": known.n_within}


def roll_line(known: AppliedRolls) -> str:
    """What was applied, in a line for a person."""
    if known.source == "none":
        return "rolls: none known, a roll in these bars would look like a price move (--rolls FILE)"
    if known.source == "contracts":
        spare = f"; {known.name} is not needed" if known.name else ""
        return f"rolls: where the file names another contract{spare}"
    whose = "registered" if known.source == "registered" else known.name
    return f"rolls: {known.n_within} within these bars ({whose}); nothing reaches over one"


def _within(rolls: "pd.DataFrame", bars: "pd.DataFrame") -> int:
    first, last = bars["timestamp"].iloc[0], bars["timestamp"].iloc[-1]
    return int(((rolls["time"] > first) & (rolls["time"] <= last)).sum())


def _registered(home: "Home", instrument: str) -> "pd.DataFrame | None":
    """The home's rolls, if they are of this instrument: its contracts say so, or else its bars."""
    from moola_pipeline.bars.raw import CONTRACT_CODE
    from moola_pipeline.bars.rolls import registered_rolls
    from moola_pipeline.bars.store import read_manifest, registered_store

    store = registered_store(home)
    rolls = registered_rolls(store)
    if rolls is None:
        return None
    code = CONTRACT_CODE.fullmatch(str(rolls["new"].iloc[0]))
    files = read_manifest(store).files
    owner = code[1] if code else files[0].instrument if files else instrument
    return rolls if owner == instrument else None
