"""A simulated market on disk, with its labels and ground truth: written once, checked when read."""

from pathlib import Path
from typing import Any

import pandas as pd

from moola_pipeline.bars.manifest import add_bars
from moola_pipeline.bars.rolls import register_rolls
from moola_pipeline.bars.simulated import (
    GENERATOR_VERSION,
    SimulationSettings,
    simulate,
)
from moola_pipeline.bars.store import BarStore, read_manifest
from moola_pipeline.bars.vendor_options import VendorOptions
from moola_pipeline.errors import ChecksumMismatch
from moola_pipeline.storage.atomic_write import atomic_write, locked
from moola_pipeline.storage.checksums import (
    FileDigest,
    digests_in,
    listed,
    read_checksummed,
    verify_digest,
    write_checksummed,
)

DIGESTS = "files"
"""Key of a market's record that holds the digests of its labels, rolls and ground truth."""
RECORDED = "must record the market"
SETTINGS_NAME, TRUTH_NAME = "settings.json", "truth.parquet"


def ensure_simulated(store: BarStore, settings: SimulationSettings) -> None:
    """Write the market of these settings and its labels to a store, unless it is there already.

    The store then holds raw/bars.parquet, rolls.csv (where a contract rolls), truth.parquet,
    labels.csv, settings.json and, written last, manifest.json. Two processes that call this at once
    write one market.

    Raises:
        ValueError: If the store is not for simulated bars, or the settings cannot be met.
        Truncated, ChecksumMismatch: If labels, rolls, ground truth or the record of the settings have
            changed since.
    """
    if not store.simulated:
        raise ValueError(
            f"a simulated market must be stored apart from registered bars, got {store.root.name}"
        )
    settings_file = _settings_file(store)
    with locked(settings_file):
        if is_simulated(store, settings):
            _require_unchanged(store, recorded_digests(store))
            return
        from moola_pipeline.labels.simulated_annotator import (
            draw_labels,
        )  # imports compiled code; rarely needed

        store.manifest.unlink(missing_ok=True)
        market = simulate(settings)
        labels = draw_labels(market, settings)
        bars_file = store.raw / "bars.parquet"
        _write_parquet(bars_file, market.bars)
        _write_parquet(store.root / TRUTH_NAME, market.truth)
        with atomic_write(labels_file(store)) as temporary:
            labels.to_csv(temporary, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
        store.rolls.unlink(missing_ok=True)
        if len(market.rolls):
            register_rolls(store, market.rolls)
        _write_record(store, _recorded(settings))
        add_bars(store, bars_file, VendorOptions(instrument=settings.instrument))


def is_simulated(store: BarStore, settings: SimulationSettings) -> bool:
    """Whether a store holds the market of these settings; its files may have changed since.

    Raises:
        Truncated, ChecksumMismatch, IntegrityError: If its record has changed.
    """
    record = _read_record(store)
    digests = record.pop(DIGESTS, None)
    return record == _recorded(settings) and digests is not None and bool(read_manifest(store).files)


def _settings_file(store: BarStore) -> Path:
    return store.root / SETTINGS_NAME


def _recorded(settings: SimulationSettings) -> dict[str, Any]:
    return {"generator_version": GENERATOR_VERSION, **settings.model_dump(mode="json")}


def _require_unchanged(store: BarStore, digests: dict[str, FileDigest]) -> None:
    for name, recorded in digests.items():
        try:
            _prove(store, name, recorded)
        except FileNotFoundError:
            raise ChecksumMismatch(
                f"{name}: {store.root.name}/{SETTINGS_NAME} records SHA256 {recorded.sha256}, but the "
                f"file is missing. {store.remedy('')}"
            ) from None


def _prove(store: BarStore, name: str, recorded: FileDigest) -> None:
    recorded_in = f"{store.root.name}/{SETTINGS_NAME}"
    verify_digest(store.root / name, name, recorded, recorded_in, store.remedy(""))


def labels_file(store: BarStore) -> Path:
    """Where the labels of a simulated market lie."""
    return store.root / "labels.csv"


def read_truth(store: BarStore) -> pd.DataFrame:
    """The ground truth of a simulated market, as `simulate` returns it, after a checksum check.

    Raises:
        FileNotFoundError: If the market was not made, or its ground truth is missing.
        ChecksumMismatch: If the file has changed.
    """
    recorded = recorded_digests(store).get(TRUTH_NAME)
    if recorded is None:
        raise FileNotFoundError(store.root / TRUTH_NAME)
    _prove(store, TRUTH_NAME, recorded)
    return pd.read_parquet(store.root / TRUTH_NAME)


def recorded_digests(store: BarStore) -> dict[str, FileDigest]:
    """The digest of each file in a market's record; empty if no market was made.

    Raises:
        Truncated, ChecksumMismatch, IntegrityError: If the record has changed.
    """
    record = _read_record(store)
    return digests_in(record, f"{SETTINGS_NAME} {RECORDED}", store.remedy("")) if record else {}


def _write_record(store: BarStore, settings: dict[str, Any]) -> None:
    files = (labels_file(store), store.rolls, store.root / TRUTH_NAME)
    digests = {path.name: FileDigest.of(path) for path in files if path.exists()}
    write_checksummed(_settings_file(store), {**settings, DIGESTS: listed(digests)})


def _read_record(store: BarStore) -> dict[str, Any]:
    """The record of the market; empty if none was made."""
    try:
        return read_checksummed(_settings_file(store), RECORDED, store.remedy(""))
    except FileNotFoundError:
        return {}


def _write_parquet(path: Path, frame: pd.DataFrame) -> None:
    with atomic_write(path) as temporary:
        frame.to_parquet(temporary, index=False)
