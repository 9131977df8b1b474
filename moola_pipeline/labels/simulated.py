"""The one place where a simulated market and its labels are published."""

import json
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
from moola_pipeline.publish import file_sha256, locked, publish_json, publishing

DIGESTS = "files"
"""Under this name the record of a market holds the SHA256 of its labels and rolls."""


def ensure_simulated(store: BarStore, settings: SimulationSettings) -> None:
    """Make the market of these settings and its labels in a store, unless it is there already.

    The store then holds raw/bars.parquet, rolls.csv (where a contract rolls), truth.parquet,
    labels.csv, settings.json and, written last, manifest.json. Two processes that ask at once get one market.

    Raises:
        ValueError: If the store is not for simulated bars, or the settings cannot be met.
        ChecksumMismatch: If the labels or the rolls are no longer those that were made.
    """
    if not store.simulated:
        raise ValueError(f"a simulated market must lie apart from registered bars, got {store.root.name}")
    settings_file = _settings_file(store)
    with locked(settings_file):
        if is_simulated(store, settings):
            _require_as_made(store, _read_record(settings_file)[DIGESTS])
            return
        from moola_pipeline.labels.simulated_annotator import draw_labels  # compiles, and is rarely needed

        store.manifest.unlink(missing_ok=True)
        market = simulate(settings)
        labels = draw_labels(market, settings)
        bars_file = store.raw / "bars.parquet"
        _publish_parquet(bars_file, market.bars)
        _publish_parquet(store.root / "truth.parquet", market.truth)
        with publishing(labels_file(store)) as temporary:
            labels.to_csv(temporary, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
        store.rolls.unlink(missing_ok=True)
        if len(market.rolls):
            register_rolls(store, market.rolls)
        beside = [path for path in (labels_file(store), store.rolls) if path.exists()]
        digests = {path.name: file_sha256(path) for path in beside}
        publish_json(settings_file, {**_recorded(settings), DIGESTS: digests})
        add_bars(store, bars_file, VendorOptions(instrument=settings.instrument))


def is_simulated(store: BarStore, settings: SimulationSettings) -> bool:
    """Whether the market of these settings has been made in a store; it may have been changed since."""
    made = _read_record(_settings_file(store))
    digests = made.pop(DIGESTS, None)
    return made == _recorded(settings) and digests is not None and bool(read_manifest(store).files)


def _settings_file(store: BarStore) -> Path:
    return store.root / "settings.json"


def _recorded(settings: SimulationSettings) -> dict[str, Any]:
    return {"generator_version": GENERATOR_VERSION, **settings.model_dump(mode="json")}


def _require_as_made(store: BarStore, digests: dict[str, str]) -> None:
    for name, recorded in digests.items():
        path = store.root / name
        actual = file_sha256(path) if path.exists() else "that of no file"
        if actual != recorded:
            raise ChecksumMismatch(
                f"{name}: SHA256 is {actual}, {store.root.name}/settings.json records {recorded}. "
                + store.remedy("")
            )


def labels_file(store: BarStore) -> Path:
    """Where the labels of a simulated market lie."""
    return store.root / "labels.csv"


def _read_record(path: Path) -> dict[str, Any]:
    """What was recorded of the market; nothing where no record can be read."""
    try:
        record = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _publish_parquet(path: Path, frame: pd.DataFrame) -> None:
    with publishing(path) as temporary:
        frame.to_parquet(temporary, index=False)
