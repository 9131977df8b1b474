"""Output of commands: JSON or text on stdout, and the files that options name."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from moola_pipeline.cli.exit_codes import in_this_home
from moola_pipeline.cli.home_access import real_paths
from moola_pipeline.errors import BadInput, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

json_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object and nothing else."
)


def _require_zone(_: click.Context, __: click.Parameter, name: str) -> str:
    from zoneinfo import available_timezones

    from moola_pipeline.bars.time_parsing import is_zone

    if not is_zone(name):
        nearest = did_you_mean(name, available_timezones()) or " Give UTC or America/Chicago, for example."
        raise BadInput(f"--show-timezone must name a zone of the IANA database, got {name!r}.{nearest}")
    return name


timezone_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--show-timezone",
    metavar="ZONE",
    default="America/New_York",
    show_default=True,
    callback=_require_zone,
    help="Time zone of the chart and of printed times. Files and --json stay in UTC.",
)


def place_of(zone: str) -> str:
    """An IANA time zone in words: New York time."""
    return f"{zone.rpartition('/')[2].replace('_', ' ')} time"


def emit(facts: Mapping[str, Any], lines: Iterable[str], as_json: bool) -> None:
    """Print the facts as one JSON object, or the same as lines of text.

    Raises:
        ValueError: If the facts hold NaN or infinity, which JSON cannot represent.
    """
    if as_json:
        click.echo(real_paths(json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False)))
    else:
        click.echo(real_paths("\n".join(lines)))


def shown_time(moment: datetime) -> str:
    """A UTC time to the minute, for text output."""
    return f"{moment:%Y-%m-%d %H:%M}"


def iso_time(moment: datetime) -> str:
    """A UTC time in ISO 8601, for JSON."""
    return moment.isoformat().replace("+00:00", "Z")


def next_lines(steps: Iterable[Mapping[str, str]]) -> list[str]:
    """The next commands with their reasons, one line each."""
    commands = [(in_this_home(step["command"]), step["why"]) for step in steps]
    width = max([29, *(len(command) for command, _ in commands)])
    return ["Next:", *(f"  {command:<{width}}  {why}" for command, why in commands)]


TABLE_SUFFIXES = (".csv", ".parquet", ".json")
PLOT_SUFFIXES = (".png", ".svg")


def require_out(option: str, out: Path | None, suffixes: tuple[str, ...], *others: Path | None) -> None:
    """Refuse an output file with a wrong suffix, or one that would replace another file.

    Args:
        option: Name of the option, for the message.
        out: Output file; None if the option is not given.
        suffixes: Allowed suffixes.
        others: Files that it must not replace: the input and the other outputs.

    Raises:
        BadInput: If the suffix is not allowed, or `out` is one of the others.
    """
    if out is None:
        return
    if out.suffix not in suffixes:
        raise BadInput(f"{option} must end in {', '.join(suffixes)}, got {out.name}. Choose one of them.")
    if any(other is not None and _same(out, other) for other in others):
        raise BadInput(
            f"{option} must differ from the input and the other outputs, got {out} twice. "
            "Choose another path."
        )


@contextmanager
def writing(option: str, out: Path) -> Iterator[None]:
    """Turn an OSError into one line that names the option.

    Raises:
        BadInput: If the file cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise BadInput(
            f"{option} must be in a writable folder, got {out} ({error.strerror}). Choose another path."
        ) from error


def save_table(out: Path, table: "pd.DataFrame", as_json: Any) -> None:
    """Write a table in the format of its suffix; times are UTC.

    Args:
        out: File with one of TABLE_SUFFIXES.
        table: Content of csv and parquet.
        as_json: Content of json: the `records` of the table, and other data.
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
    """The rows of a table for JSON, with times in ISO 8601."""
    return [{str(name): _plain(value) for name, value in row.items()} for row in table.to_dict("records")]


def _plain(value: Any) -> Any:
    """A time in ISO 8601, None for NaT; any other value as it is."""
    if not hasattr(value, "isoformat"):
        return value
    return iso_time(value) if value == value else None  # NaT != NaT


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))
