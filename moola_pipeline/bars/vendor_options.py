"""The user's options for reading bars, and how a file was read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from moola_pipeline.bars.columns import COLUMN_ROLES, OPTIONAL_ROLES
from moola_pipeline.bars.file_times import require_zone
from moola_pipeline.bars.formats import VENDOR_FORMATS, format_name
from moola_pipeline.bars.instruments import instrument_named
from moola_pipeline.errors import BadInput

FORMATS = tuple(VENDOR_FORMATS)
STAMPS = ("open", "close")
_COMMAS = re.compile(r""",(?=(?:[^"']*["'][^"']*["'])*[^"']*$)""")
"""Commas outside quotes."""


@dataclass(frozen=True)
class VendorOptions:
    """The user's options for reading bars; None means that the file decides.

    Attributes:
        format: One of FORMATS, or an alias of one.
        timezone: IANA zone of times without a zone.
        stamp: Whether a time is the bar's open or close; None means the stamp of the format, else
            open.
        columns: Column of each role, by name or number: time, open, high, low, close, volume, contract, and
            date if `time` is a time of day; "" leaves volume or contract out.
        instrument: Instrument of the bars; None means the default, unless the file names another.
    """

    format: str | None = None
    timezone: str | None = None
    stamp: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    instrument: str | None = None

    def __post_init__(self) -> None:
        _require_one_of("--format", self.format and format_name(self.format), FORMATS)
        _require_one_of("--stamp", self.stamp, STAMPS)
        if self.instrument is not None:
            instrument_named(self.instrument)
        if self.timezone is not None:
            require_zone(self.timezone)
        if unknown := set(self.columns) - set(COLUMN_ROLES):
            raise BadInput(
                f"--columns must name roles among {', '.join(COLUMN_ROLES)}, "
                f"got {', '.join(sorted(unknown))}. Write role=NAME, for example time=ts,close=Last."
            )
        chosen = [name for name in self.columns.values() if name]
        if len(set(chosen)) < len(chosen):
            raise BadInput(
                "--columns must give each role a different column, got one column twice. Write each once."
            )
        if left_out := {role for role, name in self.columns.items() if not name} - set(OPTIONAL_ROLES):
            raise BadInput(
                f"--columns can leave out {' and '.join(OPTIONAL_ROLES)} only, got {', '.join(left_out)}=. "
                "Name a column."
            )


@dataclass(frozen=True)
class VendorFacts:
    """How a file was read; VendorOptions with these values read it in the same way."""

    format: str
    timezone: str
    stamp: str
    columns: dict[str, str]
    instrument: str


def column_mapping(text: str) -> dict[str, str]:
    """Parse a mapping such as `time=ts,close="Close, USD",volume=`.

    Raises:
        BadInput: If a part is not role=NAME, or a role comes twice.
    """
    mapping: dict[str, str] = {}
    for part in _COMMAS.split(text):
        role, equals, name = (piece.strip() for piece in part.strip(" \"'").partition("="))
        name = name.strip("\"'")
        if not (role and equals) or role in mapping or (not name and role not in OPTIONAL_ROLES):
            raise BadInput(
                f"--columns must hold each role once as role=NAME, got {part!r}. Write time=ts,close=Last; "
                'a name with a comma as close="Close, USD", or its number.'
            )
        mapping[role] = name
    return mapping


def _require_one_of(option: str, came: str | None, known: tuple[str, ...]) -> None:
    if came is not None and came not in known:
        raise BadInput(
            f"{option} must be {' or '.join(known)}, got {came!r}. Choose one of them, or leave it out."
        )
