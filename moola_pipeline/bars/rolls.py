"""Contract rolls: reading and registration."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from moola_pipeline.bars.csv_tables import refuse_swallowed_rows
from moola_pipeline.bars.file_times import in_utc, read_times
from moola_pipeline.bars.schema import nanoseconds
from moola_pipeline.bars.store import BarStore, Manifest, read_manifest, write_manifest
from moola_pipeline.errors import BadInput, IntegrityError, MissingFile
from moola_pipeline.storage.atomic_write import atomic_write_bytes, locked
from moola_pipeline.storage.checksums import checksummed_csv, unreadable, verify_csv

CHICAGO = "America/Chicago"
ROLL_COLUMNS = ("time", "old", "new")
MAX_FILE = 2**24
"""Most bytes of a roll file; a thousand years of rolls need a hundredth of it."""
MAX_HEADER_LENGTH = 2**14
ROLL_TIME_NAMES = ("time", "timestamp", "roll_ts_utc")
REMEDY = 'Register the rolls again with "moola bars rolls add FILE", or remove them: moola bars rolls remove'


@dataclass(frozen=True)
class AddedRolls:
    """Number of registered rolls now and before, and whether the rolls changed."""

    n_rolls: int
    n_before: int
    changed: bool


def read_rolls(path: Path) -> pd.DataFrame:
    """Read a csv of rolls.

    Args:
        path: csv with columns `old`, `new` and one of ROLL_TIME_NAMES, in any case; others are
            ignored. Times have an offset, or are in a column whose name ends in `_utc`.

    Returns:
        ROLL_COLUMNS: time (datetime64[ns, UTC], strictly increasing), old and new (str).

    Raises:
        BadInput: If a column or value is missing, the zone of a time is unknown, the times do not
            increase, or a roll does not start from the new contract of the previous roll.
    """
    return rolls_of_text(path, path.name)


def rolls_of_text(source: Path | io.BytesIO, name: str) -> pd.DataFrame:
    """As `read_rolls`, from a file or its bytes; `name` is the name in errors."""
    table, columns = _read_table(source, name)
    if not table.num_rows:
        raise BadInput(f"{name}: a roll file must hold at least one roll, got no rows. Add a line for each.")
    times = read_times(table.column(columns["time"]), columns["time"], name)
    if times.zone is None:
        raise BadInput(
            f"{name}: the times in {columns['time']} must prove their time zone, got none. "
            "Write them with their offset, as in 2024-12-16T23:00:00Z, or name the column roll_ts_utc."
        )
    rolls = pd.DataFrame({"time": in_utc(times, times.zone, columns["time"], name)})
    for role in ("old", "new"):
        rolls[role] = table.column(columns[role]).to_pandas().astype("str").str.strip()
    _refuse_broken_chain(rolls, name)
    return rolls


def registered_rolls(store: BarStore) -> pd.DataFrame | None:
    """The rolls registered in a store, or None if none are.

    Raises:
        MissingFile: If the registered file is missing.
        Truncated, ChecksumMismatch: If it is not the file that `add_rolls` wrote.
        UnreadableFile: If the system cannot read it.
        IntegrityError: If it holds no rolls.
    """
    remedy = store.remedy(REMEDY)
    try:
        content = store.rolls.read_bytes()
        verify_csv(content, ",".join(ROLL_COLUMNS), store.rolls.name, remedy)
        return rolls_of_text(io.BytesIO(content), store.rolls.name)
    except FileNotFoundError:
        if read_manifest(store).rolls:
            raise MissingFile(
                f"{store.rolls.name}: {store.shown_manifest} records that rolls are registered, but it is "
                f"gone. {remedy}"
            ) from None
        return None
    except BadInput as fault:
        raise IntegrityError(f"{fault} It was edited. {remedy}") from None
    except OSError as fault:
        raise unreadable(store.rolls, fault, remedy) from fault


def add_rolls(store: BarStore, path: Path) -> AddedRolls:
    """Register the rolls of a csv file; they replace the registered rolls.

    Raises:
        BadInput: As `read_rolls`.
    """
    return register_rolls(store, read_rolls(path))


def register_rolls(store: BarStore, rolls: pd.DataFrame) -> AddedRolls:
    """Register rolls, as `read_rolls` returns them; they replace the registered rolls.

    Raises:
        IntegrityError: If the manifest is broken; the registered rolls then stay.
    """
    with locked(store.manifest):
        manifest = read_manifest(store)
        try:
            before = registered_rolls(store)
        except IntegrityError:
            before = None  # the new rolls replace the damaged ones
        written = rolls.assign(time=rolls["time"].dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
        atomic_write_bytes(store.rolls, checksummed_csv(written.to_csv(index=False, lineterminator="\n")))
        _record(store, manifest, has_rolls=True)
        changed = before is None or not before.equals(rolls)
    return AddedRolls(len(rolls), 0 if before is None else len(before), changed)


def remove_rolls(store: BarStore) -> int:
    """Remove the registered rolls; return how many there were.

    Raises:
        IntegrityError: If the manifest is broken.
    """
    with locked(store.manifest):
        manifest = read_manifest(store)
        try:
            before = registered_rolls(store)
        except IntegrityError:
            before = None  # damaged or missing: removed unread
        _record(store, manifest, has_rolls=False)
        store.rolls.unlink(missing_ok=True)
    return 0 if before is None else len(before)


def _record(store: BarStore, manifest: Manifest, has_rolls: bool) -> None:
    """Record in the manifest whether rolls are registered; not for a simulated market."""
    if not store.simulated and manifest.rolls != has_rolls:
        write_manifest(store, manifest.model_copy(update={"rolls": has_rolls}))


def _read_table(source: Path | io.BytesIO, name: str) -> tuple[pa.Table, dict[str, str]]:
    try:
        if isinstance(source, Path) and source.stat().st_size > MAX_FILE:
            raise BadInput(f"{name}: rolls must have at most {MAX_FILE >> 20} MiB, got more. Check the path.")
        content = source.read_bytes() if isinstance(source, Path) else source.getvalue()
        if len(content.partition(b"\n")[0]) > MAX_HEADER_LENGTH:
            raise BadInput(
                f"{name}: the header of rolls must have at most {MAX_HEADER_LENGTH >> 10} KiB, got more. "
                "Keep only the columns time, old and new."
            )
        refuse_swallowed_rows(content, ",", name)
        header = pyarrow.csv.open_csv(io.BytesIO(content)).schema.names
        text = {column: pa.string() for column in header if column.strip().lower() in ("old", "new")}
        table = pyarrow.csv.read_csv(
            io.BytesIO(content), convert_options=pyarrow.csv.ConvertOptions(column_types=text)
        )
    except (pa.ArrowException, OSError, UnicodeDecodeError) as fault:
        raise BadInput(
            f"{name}: rolls must be a csv file, got: {str(fault).splitlines()[0].rstrip('.')}. "
            "Check the path."
        ) from None
    columns = {}
    for role, known in (("time", ROLL_TIME_NAMES), ("old", ("old",)), ("new", ("new",))):
        matches = [column for column in header if column.strip().lower() in known]
        if len(matches) != 1:
            raise BadInput(
                f"{name}: rolls must have one column named {' or '.join(known)}, "
                f"got {', '.join(header[:20])}. Write a header line such as time,old,new."
            )
        columns[role] = matches[0]
    return table, columns


def _refuse_broken_chain(rolls: pd.DataFrame, source: str) -> None:
    blank = (rolls.isna() | (rolls == "")).any(axis=1).to_numpy()
    if blank.any():
        raise BadInput(
            f"{source}: each roll must have a time, an old and a new contract, "
            f"but row {blank.argmax() + 1} lacks one. Fill it in."
        )
    old, new = rolls["old"].to_numpy(object), rolls["new"].to_numpy(object)
    faults = (
        ("must be later than the previous roll", np.diff(nanoseconds(rolls, "time")) <= 0),
        ("must start from the new contract of the previous roll", old[1:] != new[:-1]),
        ("must change the contract", old == new),
    )
    for requirement, broken in faults:
        if broken.any():
            roll = rolls.iloc[len(rolls) - len(broken) + int(broken.argmax())]
            raise BadInput(
                f"{source}: each roll {requirement}, got {roll['old']} to {roll['new']} at {roll['time']}. "
                "Correct the file."
            )
