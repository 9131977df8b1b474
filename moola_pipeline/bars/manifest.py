"""Register vendor files with `add_bars`; read verified bars with `read_bars`."""

import hashlib
import itertools
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from moola_pipeline.bars.bar_reader import VendorBars
from moola_pipeline.bars.overlap import confirmed, find_conflict, in_order, without_repeats
from moola_pipeline.bars.parsed import (
    current_bars,
    current_entries,
    parsed_or_none,
    read_parsed,
    record_files,
    write_bars,
)
from moola_pipeline.bars.plausibility import level_jump
from moola_pipeline.bars.rolls import registered_rolls
from moola_pipeline.bars.schema import content_digest
from moola_pipeline.bars.store import (
    BarStore,
    Manifest,
    ManifestEntry,
    is_intact,
    read_manifest,
    require_plain_name,
    store_instrument,
    verify_files,
)
from moola_pipeline.bars.table import build_table
from moola_pipeline.bars.vendor import read_recorded_file, read_vendor_file
from moola_pipeline.bars.vendor_options import VendorOptions
from moola_pipeline.errors import BadInput, IntegrityError
from moola_pipeline.storage.atomic_write import atomic_write, file_sha256, locked

_LEVEL_BARS = 1_380
"""Bars next to another file whose prices are compared: a session."""
RECORDED = "the manifest"
"""Source of the zone and stamp of a file that was registered before."""


@dataclass(frozen=True)
class AddedBars:
    """Result of adding a file.

    Attributes:
        entry: Manifest entry of the file.
        bars: Its bars and row counts.
        outcome: `registered` (new), `replaced` (its entry changed), `restored` (its recorded bytes
            are back) or `unchanged` (all of it was registered already).
        cut_short: Files whose incomplete last bar is replaced by the bar of a file that continues.
    """

    entry: ManifestEntry
    bars: VendorBars
    outcome: str
    cut_short: tuple[str, ...] = ()


def add_bars(store: BarStore, path: Path, options: VendorOptions | None = None) -> AddedBars:
    """Register one vendor file: copy its bytes unchanged, and write the manifest last.

    A file in the store's raw/ folder is registered in place: adding it again accepts a change made
    there. A file with the name of a registered file that was changed or lost replaces it. Bytes
    already registered are not stored twice. Any other file whose name is in use gets a number.
    Without options, registered bytes and a changed file in raw/ are read as the manifest records.

    Raises:
        BadInput: If the file is refused (see `read_vendor_file`), holds another instrument than
            the store, or has a bar that differs from that of a registered file.
        IntegrityError: If the manifest is broken.
    """
    try:
        sha256 = file_sha256(path)
    except OSError as fault:
        raise BadInput(
            f"{path.name or path}: a bar file must be readable, got: {fault.strerror}. Check the path."
        ) from None
    bars = _read_added(store, path, sha256, options or VendorOptions())
    with locked(store.manifest):
        manifest = read_manifest(store)
        name = _place(store, manifest, path, sha256)
        before = next((entry for entry in manifest.files if entry.file == name), None)
        others = tuple(entry for entry in manifest.files if entry.file != name)
        _refuse_other_instrument(others, bars, path.name)
        _refuse_other_level(store, others, bars, path.name)
        cut_short = _refuse_conflicts(store, others, bars, path.name)
        intact = before is not None and is_intact(store, before) and parsed_or_none(store, before) is not None
        _copy(path, store.raw / name, sha256)
        entry, outcome = write_bars(store, name, sha256, bars, before), "replaced" if before else "registered"
        if before is not None and entry.same_record(before):
            entry = before.model_copy(update={"reader": entry.reader})
            outcome = "unchanged" if intact else "restored"
        if entry != before:
            record_files(store, manifest, (*others, entry))
    return AddedBars(entry, bars, outcome, cut_short)


def read_bars(store: BarStore) -> pd.DataFrame:
    """The canonical bar table of a store; its vendor files and parsed files are verified first.

    Vendor files are parsed again only if the parsing code has changed. A warning then names the
    first bar that differs, and the manifest is updated.

    Returns:
        BAR_COLUMNS, all registered files merged, with session, contract and segment.

    Raises:
        BadInput: If no bars are registered.
        ChecksumMismatch: If a file's SHA256 is not the recorded one.
        IntegrityError: If a file is missing, two files disagree, or the manifest or the rolls are
            broken.
    """
    verify_files(store)
    entries = current_entries(store)
    if not entries:
        raise BadInput('Bars must be registered, but none are. Add a file with "moola bars add FILE".')
    merged = in_order(*confirmed([read_parsed(store, entry) for entry in entries]))
    if conflict := find_conflict(merged):
        raise IntegrityError(
            f"Bars of the same minute must agree in all registered files, but {conflict}. "
            + store.remedy('Correct a file in raw/ and register it again with "moola bars add".')
        )
    return build_table(without_repeats(merged), registered_rolls(store))


def manifest_digest(store: BarStore) -> str:
    """SHA256 over all inputs of the bar table: files, read options and rolls; reads no bars.

    Files parsed by other code are parsed again first, as in `read_bars`.

    Raises:
        IntegrityError: If the manifest or the rolls are broken.
    """
    fields = {"sha256", "parsed_sha256", "format", "timezone", "stamp", "columns", "instrument"}
    files = sorted(entry.model_dump_json(include=fields) for entry in current_entries(store))
    rolls = registered_rolls(store)
    parts = [*files, "no rolls" if rolls is None else content_digest(rolls)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _read_added(store: BarStore, path: Path, sha256: str, options: VendorOptions) -> VendorBars:
    if options != VendorOptions():
        return read_vendor_file(path, options, store_instrument(store))
    in_raw = path.resolve().parent == store.raw.resolve()
    for entry in read_manifest(store).files:
        if entry.sha256 == sha256:
            return _as_recorded(read_recorded_file(path, entry.options))
        if in_raw and entry.file == path.name:
            try:
                return _as_recorded(read_vendor_file(path, entry.options))
            except BadInput:
                break  # a different file now: read it without the recorded options
    return read_vendor_file(path, options, store_instrument(store))


def _as_recorded(bars: VendorBars) -> VendorBars:
    return replace(bars, zone_known_by=RECORDED, stamp_known_by=RECORDED)


def _place(store: BarStore, manifest: Manifest, path: Path, sha256: str) -> str:
    """Name of the file in raw/."""
    registered = {entry.file: entry for entry in manifest.files}
    same_name = registered.get(path.name)
    if same_name and (path.resolve().parent == store.raw.resolve() or not is_intact(store, same_name)):
        return path.name
    for entry in manifest.files:
        if entry.sha256 == sha256:
            return entry.file
    numbered = (f"{path.stem}-{number}{path.suffix}" for number in itertools.count(2))
    names = (_plain(name) for name in itertools.chain([path.name], numbered))
    return next(name for name in names if name not in registered and _is_free(store.raw / name, sha256))


def _is_free(target: Path, sha256: str) -> bool:
    return not target.exists() or file_sha256(target) == sha256


def _plain(name: str) -> str:
    try:
        return require_plain_name(name)
    except ValueError as fault:
        raise BadInput(f"{fault}. Rename the file.") from None


def _refuse_other_instrument(others: tuple[ManifestEntry, ...], bars: VendorBars, source: str) -> None:
    came = bars.facts.instrument
    if others and others[0].instrument != came:
        raise BadInput(
            f"{source}: a home must hold one instrument, this home holds {others[0].instrument}, got {came}. "
            "Add it to another home with --home."
        )


def _refuse_other_level(
    store: BarStore, others: tuple[ManifestEntry, ...], bars: VendorBars, source: str
) -> None:
    """Refuse prices further from those of the nearest registered file than a market moves in between."""
    first, last = bars.frame["timestamp"].iloc[0], bars.frame["timestamp"].iloc[-1]
    apart = [(max(first - entry.last, entry.first - last), entry) for entry in others]
    nearest = min(apart, key=lambda pair: pair[0], default=None)
    if nearest is None:
        return
    entry = nearest[1]
    known = parsed_or_none(store, entry)
    if known is None:
        return
    near = known.iloc[-_LEVEL_BARS:] if entry.last < last else known.iloc[:_LEVEL_BARS]
    here = bars.frame.iloc[:_LEVEL_BARS] if entry.last < last else bars.frame.iloc[-_LEVEL_BARS:]
    levels = np.array([part["close"].median() for part in (near, here)])
    days = np.array([part["timestamp"].iloc[0].timestamp() for part in (near, here)]) / 86_400
    if level_jump(levels, np.sort(days)) is not None:
        raise BadInput(
            f"{source}: prices must continue those of {entry.file} (median close {levels[0]:,.2f}), but "
            f"their median close is {levels[1]:,.2f}: they are of another instrument or in another unit. "
            "Name the instrument with --instrument."
        )


def _refuse_conflicts(
    store: BarStore, others: tuple[ManifestEntry, ...], bars: VendorBars, source: str
) -> tuple[str, ...]:
    """Names of files, this one included, whose last bar is replaced by that of a continuing file."""
    first, last = bars.frame["timestamp"].iloc[0], bars.frame["timestamp"].iloc[-1]
    near = [
        entry for entry in others if entry.first <= last and entry.last >= first and is_intact(store, entry)
    ]  # a file that was changed is compared when it is registered again
    frames = [*(current_bars(store, entry) for entry in near), bars.frame]
    trimmed = confirmed(frames)
    for entry, frame in zip(near, trimmed, strict=False):
        if conflict := find_conflict(in_order(frame, trimmed[-1])):
            raise BadInput(
                f"{source}: its bars must agree with those of {entry.file}, but {conflict}. "
                f"Correct {source}, or copy it over {store.raw / entry.file} and add that file again."
            )
    names = [*(entry.file for entry in near), source]
    return tuple(
        name for name, frame, left in zip(names, frames, trimmed, strict=True) if len(left) < len(frame)
    )


def _copy(path: Path, target: Path, sha256: str) -> None:
    if target.exists() and file_sha256(target) == sha256:
        return
    with atomic_write(target) as temporary:
        shutil.copyfile(path, temporary)
        if file_sha256(temporary) != sha256:
            raise BadInput(
                f"{path.name}: a file must not change while it is added, but it did. Add it again."
            )
