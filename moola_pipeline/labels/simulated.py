"""The one place where a simulated market and its labels are published."""

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
from moola_pipeline.bars.vendor import VendorOptions
from moola_pipeline.errors import ChecksumMismatch
from moola_pipeline.storage.atomic_write import atomic_write, locked
from moola_pipeline.storage.checksums import (
    FileDigest,
    digests_in,
    listed,
    prove_file,
    read_checksummed,
    write_checksummed,
)

DIGESTS = "files"
"""Under this name the record of a market holds the digests of its labels, its rolls and its truth."""
RECORDED = "must record the market"
SETTINGS_NAME, TRUTH_NAME = "settings.json", "truth.parquet"


def ensure_simulated(store: BarStore, settings: SimulationSettings) -> None:
    """Make the market of these settings and its labels in a store, unless it is there already.

    The store then holds raw/bars.parquet, rolls.csv (where a contract rolls), truth.parquet,
    labels.csv, settings.json and, written last, manifest.json. Two processes that ask at once get one market.

    Raises:
        ValueError: If the store is not for simulated bars, or the settings cannot be met.
        Truncated, ChecksumMismatch: If labels, rolls, truth or the record of the settings are no longer
            those that were made.
    """
    if not store.simulated:
        raise ValueError(f"a simulated market must lie apart from registered bars, got {store.root.name}")
    settings_file = _settings_file(store)
    with locked(settings_file):
        if is_simulated(store, settings):
            _require_as_made(store, recorded_digests(store))
            return
        from moola_pipeline.labels.simulated_annotator import draw_labels  # compiles, and is rarely needed

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
        _record(store, _recorded(settings))
        add_bars(store, bars_file, VendorOptions(instrument=settings.instrument))


def is_simulated(store: BarStore, settings: SimulationSettings) -> bool:
    """Whether the market of these settings has been made in a store; it may have been changed since.

    Raises:
        Truncated, ChecksumMismatch, IntegrityError: If its record is not what was written.
    """
    made = _read_record(store)
    digests = made.pop(DIGESTS, None)
    return made == _recorded(settings) and digests is not None and bool(read_manifest(store).files)


def _settings_file(store: BarStore) -> Path:
    return store.root / SETTINGS_NAME


def _recorded(settings: SimulationSettings) -> dict[str, Any]:
    return {"generator_version": GENERATOR_VERSION, **settings.model_dump(mode="json")}


def _require_as_made(store: BarStore, digests: dict[str, FileDigest]) -> None:
    for name, recorded in digests.items():
        try:
            _prove(store, name, recorded)
        except FileNotFoundError:
            raise ChecksumMismatch(
                f"{name}: SHA256 is that of no file, {store.root.name}/{SETTINGS_NAME} records "
                f"{recorded.sha256}. {store.remedy('')}"
            ) from None


def _prove(store: BarStore, name: str, recorded: FileDigest) -> None:
    recorded_in = f"{store.root.name}/{SETTINGS_NAME}"
    prove_file(store.root / name, name, recorded, recorded_in, store.remedy(""))


def labels_file(store: BarStore) -> Path:
    """Where the labels of a simulated market lie."""
    return store.root / "labels.csv"


def read_truth(store: BarStore) -> pd.DataFrame:
    """What was planted in a simulated market, as `simulate` returns it; proven first.

    Raises:
        FileNotFoundError: If the market has not been made, or its truth is gone.
        ChecksumMismatch: If it is no longer what was planted.
    """
    recorded = recorded_digests(store).get(TRUTH_NAME)
    if recorded is None:
        raise FileNotFoundError(store.root / TRUTH_NAME)
    _prove(store, TRUTH_NAME, recorded)
    return pd.read_parquet(store.root / TRUTH_NAME)


def recorded_digests(store: BarStore) -> dict[str, FileDigest]:
    """The digest of each file of a market that its record holds; none where no market was made.

    Raises:
        Truncated, ChecksumMismatch, IntegrityError: If the record is not what was written.
    """
    made = _read_record(store)
    return digests_in(made, f"{SETTINGS_NAME} {RECORDED}", store.remedy("")) if made else {}


def _record(store: BarStore, about: dict[str, Any]) -> None:
    files = (labels_file(store), store.rolls, store.root / TRUTH_NAME)
    digests = {path.name: FileDigest.of(path) for path in files if path.exists()}
    write_checksummed(_settings_file(store), {**about, DIGESTS: listed(digests)})


def _read_record(store: BarStore) -> dict[str, Any]:
    """What was recorded of the market; nothing where none was made."""
    try:
        return read_checksummed(_settings_file(store), RECORDED, store.remedy(""))
    except FileNotFoundError:
        return {}


def _write_parquet(path: Path, frame: pd.DataFrame) -> None:
    with atomic_write(path) as temporary:
        frame.to_parquet(temporary, index=False)
