"""What commands print, and the files that they write where the user says."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from moola_pipeline.cli.exit_codes import in_this_home
from moola_pipeline.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd

json_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object and nothing else."
)


def emit(facts: Mapping[str, Any], lines: Iterable[str], as_json: bool) -> None:
    """Print the facts as one JSON object, or else the lines that tell a person the same.

    Raises:
        ValueError: If the facts hold NaN or an infinity, which JSON has no word for.
    """
    if as_json:
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        click.echo("\n".join(lines))


def shown_time(moment: datetime) -> str:
    """A UTC moment to the minute, as a person reads it."""
    return f"{moment:%Y-%m-%d %H:%M}"


def iso_time(moment: datetime) -> str:
    """A UTC moment as a program reads it."""
    return moment.isoformat().replace("+00:00", "Z")


def next_lines(steps: Iterable[Mapping[str, str]]) -> list[str]:
    """What to do next: a command and why, one line each."""
    told = [(in_this_home(step["command"]), step["why"]) for step in steps]
    width = max([29, *(len(command) for command, _ in told)])
    return ["Next:", *(f"  {command:<{width}}  {why}" for command, why in told)]


TABLE_SUFFIXES = (".csv", ".parquet", ".json")
PLOT_SUFFIXES = (".png", ".svg")


def require_out(option: str, out: Path | None, suffixes: tuple[str, ...], *others: Path | None) -> None:
    """Refuse a file that cannot be written as asked.

    Args:
        option: As the user typed it.
        out: What came; None asks for no file.
        suffixes: What its name may end in.
        others: Files that it must not replace: the one that is read, and what else is written.

    Raises:
        BadInput: If the suffix is another, or it is one of the others.
    """
    if out is None:
        return
    if out.suffix not in suffixes:
        raise BadInput(f"{option} must end in {', '.join(suffixes)}, got {out.name}. Choose one of them.")
    if any(other is not None and _same(out, other) for other in others):
        raise BadInput(f"{option} must be a file of its own, got {out} twice. Name another place.")


@contextmanager
def writing(option: str, out: Path) -> Iterator[None]:
    """Say in one line where a file could not be written.

    Raises:
        BadInput: If the system refuses.
    """
    try:
        yield
    except OSError as fault:
        raise BadInput(
            f"{option} must lie in a folder that can be written, got {out} ({fault.strerror}). "
            "Name another place."
        ) from fault


def save_table(out: Path, table: "pd.DataFrame", as_json: Any) -> None:
    """Write a table as the suffix of `out` asks; times are UTC.

    Args:
        out: A file with one of TABLE_SUFFIXES.
        table: What csv and parquet hold.
        as_json: What json holds: `records` of the table, and what else belongs to it.
    """
    from moola_pipeline.storage.atomic_write import atomic_write, atomic_write_bytes, atomic_write_json

    if out.suffix == ".json":
        atomic_write_json(out, as_json)
    elif out.suffix == ".csv":
        atomic_write_bytes(out, table.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%SZ").encode())
    else:
        with atomic_write(out) as temporary:
            table.to_parquet(temporary)


def records(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """The rows of a table for JSON, times as a program reads them."""
    return [{str(name): _plain(value) for name, value in row.items()} for row in table.to_dict("records")]


def _plain(value: Any) -> Any:
    """A time as text; null for one that is not known."""
    if not hasattr(value, "isoformat"):
        return value
    return iso_time(value) if value == value else None  # NaT is not itself


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))
