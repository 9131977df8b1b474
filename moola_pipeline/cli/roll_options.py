"""Contract rolls that apply to a bar file: from its contracts, --rolls, or the registered rolls."""

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
    help="csv of rolls (time,old,new), if the file has no contracts. Default: the registered rolls.",
)


@dataclass(frozen=True)
class AppliedRolls:
    """The rolls that apply to the bars of a file.

    Attributes:
        rolls: As `read_rolls` returns them; None if unknown.
        source: Their source; `contracts`: each bar has a contract code.
        name: Name of the roll file; empty if none was read.
        n_within: Rolls between the file's first bar and its last.
    """

    rolls: "pd.DataFrame | None"
    source: Literal["contracts", "file", "registered", "none"]
    name: str = ""
    n_within: int = 0


def applied_rolls(home: "Home", bars: "pd.DataFrame", instrument: str, chosen: Path | None) -> AppliedRolls:
    """The rolls for a file: its contracts, else the chosen rolls, else the registered rolls.

    Args:
        home: Home of the registered rolls.
        bars: Clean bars of one file, with `contract` if the file has it.
        instrument: Of the file; registered rolls of another are not applied.
        chosen: The file of --rolls.

    Raises:
        BadInput: If the chosen file does not hold rolls.
        IntegrityError: If the registered rolls were changed.
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
    """The rolls as a line of text."""
    if known.source == "none":
        return "rolls: none known, a roll in these bars would look like a price move (--rolls FILE)"
    if known.source == "contracts":
        unused = f"; {known.name} is not used" if known.name else ""
        return f"rolls: where the contract in the file changes{unused}"
    whose = "registered" if known.source == "registered" else known.name
    return f"rolls: {known.n_within} within these bars ({whose}); each begins a new segment"


def _within(rolls: "pd.DataFrame", bars: "pd.DataFrame") -> int:
    first, last = bars["timestamp"].iloc[0], bars["timestamp"].iloc[-1]
    return int(((rolls["time"] > first) & (rolls["time"] <= last)).sum())


def _registered(home: "Home", instrument: str) -> "pd.DataFrame | None":
    """The home's rolls, if their contracts, or else the home's bars, are of this instrument."""
    from moola_pipeline.bars.rolls import registered_rolls
    from moola_pipeline.bars.store import read_manifest, registered_store
    from moola_pipeline.bars.symbols import parse_symbol

    store = registered_store(home)
    rolls = registered_rolls(store)
    if rolls is None:
        return None
    symbol = parse_symbol(str(rolls["new"].iloc[0]))
    files = read_manifest(store).files
    owner = symbol.root if symbol and symbol.expiry else files[0].instrument if files else instrument
    return rolls if owner == instrument else None
