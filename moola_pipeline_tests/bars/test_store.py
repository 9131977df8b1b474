"""The manifest of a market: valid content, and refusal of broken manifests."""

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from moola_pipeline.bars.manifest import add_bars, manifest_digest, read_bars
from moola_pipeline.bars.rolls import add_rolls
from moola_pipeline.bars.store import (
    BarStore,
    Manifest,
    read_manifest,
    registered_store,
    require_plain_name,
    verify_files,
)
from moola_pipeline.bars.vendor_options import VendorOptions
from moola_pipeline.errors import BadInput, IntegrityError
from moola_pipeline.storage.checksums import read_checksummed, write_checksummed
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.bars.examples import made_up_bars, write_csv


@pytest.fixture
def store(tmp_path: Path) -> BarStore:
    made = BarStore(tmp_path / "data", simulated=False)
    add_bars(made, write_csv(tmp_path / "nq.csv", made_up_bars(60)))
    return made


def test_a_market_without_a_manifest_has_no_files(tmp_path: Path):
    store = BarStore(tmp_path / "nothing", simulated=False)

    assert read_manifest(store) == Manifest(files=())
    verify_files(store)


def test_the_recorded_options_read_the_file_in_the_same_way(store: BarStore):
    entry = read_manifest(store).files[0]

    assert entry.options.columns["time"] == "timestamp"
    assert (entry.options.format, entry.options.stamp, entry.options.timezone) == ("csv", "open", "UTC")


CHANGES: dict[str, Callable[[dict], object]] = {
    "a path that leads out": lambda entry: entry.update(file="../../elsewhere.csv"),
    "an absolute path": lambda entry: entry.update(file="/elsewhere.csv"),
    "a parent": lambda entry: entry.update(file=".."),
    "a digest that is none": lambda entry: entry.update(sha256="3f2a"),
    "rows that are no number": lambda entry: entry.update(rows="many"),
    "a time without a zone": lambda entry: entry.update(first="2024-03-08T14:30:00"),
    "a zone that does not exist": lambda entry: entry.update(timezone="Mars/Olympus"),
    "an unknown instrument": lambda entry: entry.update(instrument="CL"),
    "a format that does not exist": lambda entry: entry.update(format="pickle"),
    "one key more": lambda entry: entry.update(command="rm"),
    "one key less": lambda entry: entry.pop("sha256"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_manifest_that_moola_did_not_write_is_refused_in_one_line(
    store: BarStore, change: Callable[[dict], object]
):
    content = read_checksummed(store.manifest, "must be whole", "")
    change(content["files"][0])
    write_checksummed(store.manifest, content)

    for read in (read_manifest, verify_files, read_bars, manifest_digest):
        with pytest.raises(IntegrityError) as caught:
            read(store)
        text = str(caught.value)
        assert "\n" not in text
        assert text.startswith("data/manifest.json must list the registered files, but files.0")
        assert text.endswith(f"&& moola bars add {store.raw}/* (with the options that it shows)")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"files": []}', "\x00\xff"])
def test_other_content_in_place_of_a_manifest_is_refused_in_one_line(store: BarStore, content: str):
    store.manifest.write_bytes(content.encode("latin-1"))

    with pytest.raises(
        IntegrityError, match=r"^data/manifest.json must list the registered files, but [^\n]*$"
    ):
        read_manifest(store)


@pytest.mark.parametrize("content", [{"files": 1}, {"files": [], "more": 1}])
def test_a_manifest_with_other_fields_is_refused(store: BarStore, content: dict):
    write_checksummed(store.manifest, content)

    with pytest.raises(
        IntegrityError, match="^data/manifest.json must list the registered files, but (files|more)"
    ):
        read_manifest(store)


def test_the_remedy_for_a_broken_manifest_works_as_written(store: BarStore, tmp_path: Path):
    """A shell runs the command of the error; a function stands in for the program."""
    before, table = read_manifest(store), read_bars(store)
    store.manifest.write_text("{")
    with pytest.raises(IntegrityError) as caught:
        read_manifest(store)

    command = str(caught.value).partition(" again: ")[2].partition(" (with the options")[0]
    shell = f'set -e; moola() {{ printf "%s\\n" "$@" > {shlex.quote(str(tmp_path / "words"))}; }}; {command}'
    subprocess.run(["sh", "-c", shell], check=True)
    words = (tmp_path / "words").read_text().splitlines()
    assert words[:2] == ["bars", "add"]
    for path in words[2:]:
        add_bars(store, Path(path))

    again = read_manifest(store)
    assert [entry.model_dump(exclude={"added_at"}) for entry in again.files] == [
        entry.model_dump(exclude={"added_at"}) for entry in before.files
    ]
    pd.testing.assert_frame_equal(read_bars(store), table)
    assert (tmp_path / "data" / "manifest.json.broken").read_text() == "{"


def test_a_file_listed_twice_is_refused(store: BarStore):
    content = read_checksummed(store.manifest, "must be whole", "")
    write_checksummed(store.manifest, content | {"files": content["files"] * 2})

    with pytest.raises(IntegrityError, match="each file must be listed once"):
        read_manifest(store)


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a/b", "a\\b", "a\nb", "a\0b", "x" * 201, "ж" * 116]
)
def test_a_file_name_that_is_not_plain_is_refused(name: str):
    with pytest.raises(ValueError, match="a file name must be plain"):
        require_plain_name(name)


@pytest.mark.parametrize("name", ["nq.parquet", "NQ 03-25.Last.txt", "größe.csv"])
def test_a_plain_file_name_is_accepted(name: str):
    assert require_plain_name(name) == name


def test_bars_are_stored_by_instrument_and_a_home_uses_one_instrument(tmp_path: Path):
    home, es = Home(tmp_path), VendorOptions(instrument="ES")
    path = write_csv(tmp_path / "es.csv", made_up_bars(60))
    assert registered_store(home).root == home.data / "nq"

    add_bars(registered_store(home, "ES"), path, es)

    assert (home.data / "es" / "raw" / "es.csv").read_bytes() == path.read_bytes()
    assert registered_store(home) == registered_store(home, "NQ") == registered_store(home, "ES")
    with pytest.raises(BadInput, match="must be of instrument ES, but the file.s name says NQ"):
        add_bars(registered_store(home, "NQ"), write_csv(tmp_path / "nq.csv", made_up_bars(50)))
    with pytest.raises(BadInput, match="a home must hold one instrument, this home holds ES, got NQ"):
        add_bars(registered_store(home, "NQ"), tmp_path / "nq.csv", VendorOptions(instrument="NQ"))
    assert not (home.data / "nq").exists()


def test_rolls_alone_do_not_decide_the_instrument_of_a_home(tmp_path: Path):
    home = Home(tmp_path)
    rolls = tmp_path / "rolls.csv"
    rolls.write_text("time,old,new\n2024-03-08T15:00Z,NQH4,NQM4\n")
    add_rolls(registered_store(home), rolls)

    assert registered_store(home, "ES").root == home.data / "es"


def test_a_broken_manifest_still_decides_the_instrument_of_a_home(tmp_path: Path):
    home = Home(tmp_path)
    store = registered_store(home, "ES")
    add_bars(store, write_csv(tmp_path / "es.csv", made_up_bars(60)), VendorOptions(instrument="ES"))
    store.manifest.write_text("{")

    assert registered_store(home) == store
