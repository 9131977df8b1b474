"""A home of an earlier format: a copy is set aside, then everything in it proves itself."""

import json
from pathlib import Path

import pytest

from moola_pipeline.bars.manifest import add_bars, read_bars
from moola_pipeline.bars.rolls import add_rolls, registered_rolls
from moola_pipeline.bars.store import BarStore, read_manifest, verify_quarantined
from moola_pipeline.errors import ChecksumMismatch
from moola_pipeline.labels.simulated import ensure_simulated, read_truth
from moola_pipeline.resources.backup import restore
from moola_pipeline.resources.formats import HOME_FORMAT, bring_up_to_date, home_format
from moola_pipeline.resources.verification import verify_home
from moola_pipeline.storage.checksums import OWN_DIGEST, publish_record, read_record
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.bars.examples import made_up_bars, write_csv
from moola_pipeline_tests.labels.test_simulated import TINY

ROLLS = "time,old,new\n2024-03-15T22:00:00.000000Z,NQH4,NQM4\n"


def as_format_2_left_it(home: Home, folder: Path) -> BarStore:
    """Rolls, rows set aside and the planted truth without digests; the rest has them."""
    store = BarStore(home.data, simulated=False)
    bars = made_up_bars(200)
    bars.loc[100, "low"] = -1.0
    add_bars(store, write_csv(folder / "a.csv", bars))
    store.rolls.write_text(ROLLS)
    manifest = read_record(store.manifest, "must be whole", "")
    for entry in manifest["files"]:
        del entry["rejected_sha256"]
    publish_record(store.manifest, manifest)
    market = BarStore(home.simulated / "tiny", simulated=True)
    ensure_simulated(market, TINY)
    settings = read_record(market.root / "settings.json", "must be whole", "")
    del settings["files"]["truth.parquet"]
    (market.root / "settings.json").write_text(json.dumps(settings, indent=2) + "\n")
    publish_record(home.data / "format.json", {"format": 2, "moola": "0.1"})
    return store


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    as_format_2_left_it(home, tmp_path)
    return home


def test_a_home_of_format_2_is_copied_and_then_proves_rolls_rows_set_aside_and_truth(
    home: Home, tmp_path: Path
):
    store, market = BarStore(home.data, simulated=False), BarStore(home.simulated / "tiny", simulated=True)
    before = {path: path.read_bytes() for path in home.data.rglob("*.*") if path.is_file()}
    table, rolls = read_bars(store), registered_rolls(store)
    assert home_format(home) == 2

    aside = bring_up_to_date(home)

    assert aside is not None and aside == home.root / "before-format-4-of-2.zip"
    restore(Home(tmp_path / "old"), aside, force=False)
    kept = [path for path in before if not path.name.startswith(".")]
    assert all((tmp_path / "old" / path.relative_to(home.root)).read_bytes() == before[path] for path in kept)
    assert home_format(home) == HOME_FORMAT == 4
    assert read_bars(store).equals(table)
    assert rolls is not None and rolls.equals(registered_rolls(store))
    assert verify_home(home).findings == []
    assert verify_home(home).counts["rows set aside"] == 1
    for path, read in (
        (store.rolls, lambda: registered_rolls(store)),
        (store.quarantined(read_manifest(store).files[0]), lambda: quarantined(store)),
        (market.root / "truth.parquet", lambda: read_truth(market)),
    ):
        content = path.read_bytes()
        path.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
        with pytest.raises(ChecksumMismatch):
            read()
        path.write_bytes(content)


def quarantined(store: BarStore) -> None:
    verify_quarantined(store, read_manifest(store).files[0])


def test_what_is_damaged_already_is_left_for_verify_to_name(home: Home):
    rolls = home.data / "rolls.csv"
    rolls.write_text("time,old,new\nnonsense\n")
    bring_up_to_date(home)
    assert rolls.read_text() == "time,old,new\nnonsense\n"
    assert [one.file for one in verify_home(home).findings] == ["data/rolls.csv"]


def test_a_home_of_this_format_is_left_as_it_is(home: Home, tmp_path: Path):
    bring_up_to_date(home)
    add_rolls(BarStore(home.data, simulated=False), home.data / "rolls.csv")  # it may be added as it lies
    files = {path: path.read_bytes() for path in home.root.rglob("*") if path.is_file()}
    assert bring_up_to_date(home) is None
    assert {path: path.read_bytes() for path in home.root.rglob("*") if path.is_file()} == files
    assert OWN_DIGEST.encode() in files[home.data / "rolls.csv"]
