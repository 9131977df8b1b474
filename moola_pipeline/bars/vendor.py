"""A vendor's file in, clean one-minute bars in UTC out: by what the file proves, and the user says."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from moola_pipeline.bars.cleaning import RowCounts, clean_bars, known_instrument
from moola_pipeline.bars.columns import COLUMN_ROLES, file_format, find_columns, read_columns
from moola_pipeline.bars.schema import BAR_INTERVAL, PRICE_COLUMNS
from moola_pipeline.bars.stamps import require_zone, utc_instants
from moola_pipeline.errors import BadInput

FORMATS = ("parquet", "csv")
STAMPS = ("open", "close")
CONTRACT_CODE = re.compile(r"[A-Z0-9]{1,4}[FGHJKMNQUVXZ]\d{1,4}")
"""Root, month letter and year, as in NQH5: what tells a contract from a continuous symbol."""
LARGEST_VOLUME = 2**53


@dataclass(frozen=True)
class VendorOptions:
    """What the user says about a file; None leaves it to what the file proves.

    Attributes:
        format: parquet or csv.
        timezone: IANA zone of times that carry none.
        stamp: Whether a time is that of the bar's open or of its close; None means open.
        columns: Name in the file of each role: time, open, high, low, close, volume, contract.
        instrument: Whose tick grid the prices lie on.
    """

    format: str | None = None
    timezone: str | None = None
    stamp: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    instrument: str = "NQ"

    def __post_init__(self) -> None:
        _require_one_of("--format", self.format, FORMATS)
        _require_one_of("--stamp", self.stamp, STAMPS)
        known_instrument(self.instrument)
        if len(set(self.columns.values())) < len(self.columns):
            raise BadInput(
                "--columns must give each role a column of its own, got one column twice. Write each once."
            )
        if self.timezone is not None:
            require_zone(self.timezone)
        if unknown := set(self.columns) - set(COLUMN_ROLES):
            raise BadInput(
                f"--columns must name roles among {', '.join(COLUMN_ROLES)}, "
                f"got {', '.join(sorted(unknown))}. Write role=NAME, for example time=ts,close=Last."
            )


@dataclass(frozen=True)
class VendorFacts:
    """How a file was read; the same values as VendorOptions read it the same way again."""

    format: str
    timezone: str
    stamp: str
    columns: dict[str, str]
    instrument: str


@dataclass(frozen=True)
class VendorBars:
    """Clean bars of one file: RAW_COLUMNS, and `contract` (str) where the file proves it."""

    frame: pd.DataFrame
    facts: VendorFacts
    counts: RowCounts


def column_mapping(text: str) -> dict[str, str]:
    """The mapping in an option such as `time=ts,close=Last`.

    Raises:
        BadInput: If a part is not role=NAME, or a role comes twice.
    """
    mapping: dict[str, str] = {}
    for part in text.split(","):
        role, equals, name = (piece.strip() for piece in part.partition("="))
        if not (role and equals and name) or role in mapping:
            raise BadInput(
                f"--columns must hold each role once as role=NAME, got {part!r}. Write time=ts,close=Last."
            )
        mapping[role] = name
    return mapping


def read_vendor_file(path: Path, options: VendorOptions | None = None) -> VendorBars:
    """Read one file of one-minute bars, prove what it says, and clean it.

    Args:
        path: parquet, or csv with `,` or `;` and one header line.
        options: What the user says about the file.

    Returns:
        Bars in UTC, stamped at their open, strictly increasing in time.

    Raises:
        BadInput: If the file cannot be read as bars without a guess; the text says what must
            hold, what came, and the option that settles it.
    """
    options = options or VendorOptions()
    source = path.name
    found = file_format(path, options.format, source)
    columns = find_columns(path, found, options.columns, source)
    table = read_columns(path, found, columns, source)
    timestamps, zone = utc_instants(
        table["time"],
        column=columns["time"],
        timezone=options.timezone,
        source=source,
        remedy="Name it with --timezone, for example --timezone America/New_York.",
    )
    stamp = options.stamp or "open"
    if stamp == "close":
        timestamps = timestamps - BAR_INTERVAL
    frame = pd.DataFrame(
        {"timestamp": timestamps, **{name: table[name].to_numpy() for name in PRICE_COLUMNS}}
    )
    frame["volume"] = _volume(table, timestamps, source)
    contract = _contract(table, named="contract" in options.columns)
    if contract is None:
        columns.pop("contract", None)
    else:
        frame["contract"] = contract
    clean, counts = clean_bars(frame, known_instrument(options.instrument), source)
    facts = VendorFacts(found, zone, stamp, columns, options.instrument)
    return VendorBars(clean, facts, counts)


def _require_one_of(option: str, came: str | None, known: tuple[str, ...]) -> None:
    if came is not None and came not in known:
        raise BadInput(
            f"{option} must be {' or '.join(known)}, got {came!r}. Choose one of them, or leave it out."
        )


def _volume(table: dict[str, pa.ChunkedArray], timestamps: pd.Series, source: str) -> pd.Series:
    if "volume" not in table:
        return pd.Series(pd.NA, timestamps.index, dtype="Int64")
    volume = table["volume"].to_numpy()
    known = ~np.isnan(volume)
    odd = np.flatnonzero(known & ~((np.abs(volume) < LARGEST_VOLUME) & (volume == np.rint(volume))))
    if len(odd):
        raise BadInput(
            f"{source}: volume must be a whole number of contracts, but {len(odd):,} are not, "
            f"first {volume[odd[0]]} at {timestamps.iloc[odd[0]]}. Correct it, or drop the column."
        )
    whole = np.where(known, volume, 0).astype(np.int64)
    return pd.Series(pd.arrays.IntegerArray(whole, mask=~known))


def _contract(table: dict[str, pa.ChunkedArray], named: bool) -> pd.Series | None:
    """Contract codes, unless the column holds something else, such as one continuous symbol."""
    if "contract" not in table:
        return None
    codes = table["contract"].to_pandas().astype("str")
    proven = named or all(CONTRACT_CODE.fullmatch(code) for code in codes.dropna().unique())
    return codes if proven and codes.notna().any() else None
