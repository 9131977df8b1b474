"""What commands print: text for a person, or one JSON object for a program."""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import click

from moola_pipeline.cli.faults import in_this_home

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
