"""Parsed vendor files as parquet: written once, and again when the parsing code changes."""

import hashlib
import io
import json
import logging
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pandas.util import hash_pandas_object

from moola_pipeline.bars.bar_reader import VendorBars
from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.bars.store import (
    BarStore,
    Manifest,
    ManifestEntry,
    read_manifest,
    verify_file,
    verify_parsed,
    write_manifest,
)
from moola_pipeline.bars.vendor import read_recorded_file
from moola_pipeline.code_digests import SourceTree, package_tree
from moola_pipeline.errors import IntegrityError
from moola_pipeline.storage.atomic_write import atomic_write_bytes, locked
from moola_pipeline.storage.crash_injection import crash_point

READER = "bars/vendor.py"
"""The module that parses vendor files; with all its imports it is the reader."""
_LIBRARIES = (np.__version__, pa.__version__, pd.__version__)
_ENCODINGS = {"timestamp": "DELTA_BINARY_PACKED", "volume": "DELTA_BINARY_PACKED"} | dict.fromkeys(
    PRICE_COLUMNS, "BYTE_STREAM_SPLIT"
)
"""Half the size and time of parquet's default encodings: 1.7 million bars take 12 MB."""
log = logging.getLogger(__name__)


@cache
def reader_digest(tree: SourceTree | None = None) -> str:
    """SHA256 of the reader's code and of the versions of its libraries.

    Args:
        tree: Source tree of the code; None: this package.
    """
    files = (tree or package_tree()).code([READER]).files
    return hashlib.sha256(json.dumps([_LIBRARIES, files]).encode()).hexdigest()


def write_bars(
    store: BarStore, name: str, sha256: str, bars: VendorBars, before: ManifestEntry | None
) -> ManifestEntry:
    """Write the parsed bars and the rejected rows of a file; return its manifest entry.

    Args:
        store: Store of the file.
        name: Name of the file in raw/.
        sha256: SHA256 of the file.
        bars: Parsed bars.
        before: Previous entry of this name; its parquet is kept if the bars are equal.
    """
    timestamps, facts = bars.frame["timestamp"], bars.facts
    parsed = None if before is None else parsed_or_none(store, before)
    stays = before.parsed_sha256 if before and parsed is not None and parsed.equals(bars.frame) else None
    content = b"" if stays else _parquet(bars.frame)
    rejected = b"" if bars.rejected.empty else bars.rejected.to_csv(index=False).encode()
    entry = ManifestEntry(
        file=name,
        sha256=sha256,
        bytes=(store.raw / name).stat().st_size,
        rows=len(bars.frame),
        rejected=bars.counts.rejected,
        rejected_sha256=hashlib.sha256(rejected).hexdigest() if rejected else None,
        parsed_sha256=stays or hashlib.sha256(content).hexdigest(),
        reader=reader_digest(),
        first=timestamps.iloc[0].to_pydatetime(),
        last=timestamps.iloc[-1].to_pydatetime(),
        format=facts.format,
        timezone=facts.timezone,
        stamp=facts.stamp,
        columns=facts.columns,
        instrument=facts.instrument,
        added_at=datetime.now(UTC).replace(microsecond=0),
    )
    if rejected:
        atomic_write_bytes(store.quarantined(entry), rejected)
    else:
        store.quarantined(entry).unlink(missing_ok=True)
    if content:
        atomic_write_bytes(store.parsed(entry), content)
    return entry


def record_files(store: BarStore, before: Manifest, files: tuple[ManifestEntry, ...]) -> None:
    """Write the manifest with these files in place of those in `before`.

    Parquet files in `before` are deleted at the next call: a reader may be about to open them.
    """
    write_manifest(store, Manifest(files=files, rolls=before.rolls))
    crash_point("atomic_write.after_manifest", store.manifest)
    in_use = {store.parsed(entry) for entry in (*before.files, *files)}
    for path in store.parsed_folder.glob("[!.]*"):
        if path not in in_use:
            path.unlink(missing_ok=True)


def current_entries(store: BarStore) -> tuple[ManifestEntry, ...]:
    """Manifest entries of a store; files that another reader parsed are parsed again first.

    Raises:
        BadInput: If this reader refuses a file.
        IntegrityError: If such a file was changed or is missing, or the manifest is broken.
    """
    entries = read_manifest(store).files
    if all(entry.reader == reader_digest() for entry in entries):
        return entries
    with locked(store.manifest):
        manifest = read_manifest(store)
        files = tuple(
            entry if entry.reader == reader_digest() else _parsed_again(store, entry)
            for entry in manifest.files
        )
        if files != manifest.files:
            record_files(store, manifest, files)
    return files


def _parsed_again(store: BarStore, before: ManifestEntry) -> ManifestEntry:
    verify_file(store, before)
    bars, parsed = _read_recorded(store, before), parsed_or_none(store, before)
    if parsed is not None and len(minutes := changed_minutes(parsed, bars.frame)):
        log.warning(
            f"{before.file}: new parsing code changes {len(minutes):,} of its {len(bars.frame):,} bars, "
            f"first {minutes[0]}"
        )
    entry = write_bars(store, before.file, before.sha256, bars, before)
    return entry.model_copy(update={"added_at": before.added_at})


def parsed_or_none(store: BarStore, entry: ManifestEntry) -> pd.DataFrame | None:
    """As `read_parsed`; None if the file is not the recorded one."""
    try:
        return read_parsed(store, entry)
    except IntegrityError:
        return None


def current_bars(store: BarStore, entry: ManifestEntry) -> pd.DataFrame:
    """The bars of a registered file, parsed by this reader."""
    parsed = parsed_or_none(store, entry) if entry.reader == reader_digest() else None
    return _read_recorded(store, entry).frame if parsed is None else parsed


def _read_recorded(store: BarStore, entry: ManifestEntry) -> VendorBars:
    return read_recorded_file(store.raw / entry.file, entry.options)


def read_parsed(store: BarStore, entry: ManifestEntry) -> pd.DataFrame:
    """Read the verified parsed bars of a registered file; errors as in `verify_parsed`."""
    verify_parsed(store, entry)
    return pq.read_table(pa.BufferReader(store.parsed(entry).read_bytes())).to_pandas()


def _parquet(bars: pd.DataFrame) -> bytes:
    table = pa.Table.from_pandas(bars, preserve_index=False)
    sink = io.BytesIO()
    encodings = {name: _ENCODINGS[name] for name in table.column_names if name in _ENCODINGS}
    dictionary_columns: Any = [name for name in table.column_names if name not in encodings]
    pq.write_table(
        table, sink, compression="zstd", use_dictionary=dictionary_columns, column_encoding=encodings
    )
    return sink.getvalue()


def changed_minutes(before: pd.DataFrame, after: pd.DataFrame) -> list[pd.Timestamp]:
    """Minutes, in order, whose bar differs between two readings of a file or is in only one."""
    columns = list(dict.fromkeys([*before, *after]))
    old, new = (_row_hashes(frame.reindex(columns=columns)) for frame in (before, after))
    removed, added = before.loc[~np.isin(old, new)], after.loc[~np.isin(new, old)]
    return sorted({*removed["timestamp"], *added["timestamp"]})


def _row_hashes(frame: pd.DataFrame) -> np.ndarray:
    hashes: Any = hash_pandas_object
    return hashes(frame, index=False).to_numpy()
