"""The options by which a user says how a bar file is to be read."""

from collections.abc import Callable
from typing import Any

import click

from moola_pipeline.bars.schema import INSTRUMENTS
from moola_pipeline.bars.vendor import FORMATS, STAMPS, VendorOptions, column_mapping

_OPTIONS = (
    click.option(
        "--format",
        metavar="NAME",
        help=f"Vendor or layout, where the file does not prove it: {', '.join(FORMATS)}.",
    ),
    click.option(
        "--timezone", metavar="ZONE", help="IANA zone of times that carry none, where the format fixes none."
    ),
    click.option(
        "--stamp",
        metavar="|".join(STAMPS),
        help="Times are bar opens (the default, but for NinjaTrader) or closes.",
    ),
    click.option(
        "--columns",
        metavar="ROLE=NAME,...",
        help="Columns by role, as in time=ts,close=Last; without a header by number.",
    ),
    click.option(
        "--instrument", metavar="|".join(INSTRUMENTS), default=VendorOptions.instrument, show_default=True
    ),
)


def vendor_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command --format, --timezone, --stamp, --columns and --instrument."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def chosen_options(
    format: str | None, timezone: str | None, stamp: str | None, columns: str | None, instrument: str
) -> VendorOptions:
    """What the options of `vendor_options` say.

    Raises:
        BadInput: If a value has no meaning.
    """
    named = {} if columns is None else column_mapping(columns)
    return VendorOptions(format, timezone, stamp, named, instrument)
