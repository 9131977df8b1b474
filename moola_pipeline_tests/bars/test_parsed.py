"""Parsed vendor files: parsed once, and again when the parsing code changes."""

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from moola_pipeline.bars import parsed as parsed_module
from moola_pipeline.bars.bar_reader import VendorBars
from moola_pipeline.bars.manifest import add_bars, manifest_digest, read_bars
from moola_pipeline.bars.parsed import changed_minutes, reader_digest
from moola_pipeline.bars.store import BarStore, read_manifest
from moola_pipeline.bars.vendor import read_recorded_file
from moola_pipeline.bars.vendor_options import VendorOptions
from moola_pipeline.code_digests import PACKAGE, SourceTree
from moola_pipeline.errors import ChecksumMismatch, MissingFile
from moola_pipeline.storage.crash_injection import WRITE_POINTS, InjectedFault, arm
from moola_pipeline_tests.bars.examples import made_up_bars, write_csv

Reader = Callable[[Path, VendorOptions], VendorBars]


@pytest.fixture
def store(tmp_path: Path) -> BarStore:
    made = BarStore(tmp_path / "data", simulated=False)
    add_bars(made, write_csv(tmp_path / "nq.csv", made_up_bars(60)))
    return made


def one_bar_higher(path: Path, options: VendorOptions) -> VendorBars:
    """A corrected reader: it reads one bar with a higher high."""
    bars = read_recorded_file(path, options)
    frame = bars.frame.copy()
    frame.loc[5, "high"] += 0.25
    return replace(bars, sifted=replace(bars.sifted, bars=frame))


def refuse(*_: object) -> None:
    raise AssertionError("a vendor's text was parsed")


def use_reader(patch: pytest.MonkeyPatch, name: str, reader: Reader) -> None:
    patch.setattr(parsed_module, "reader_digest", lambda: name * 64)
    patch.setattr(parsed_module, "read_recorded_file", reader)


def test_reading_bars_does_not_parse_the_vendor_file(store: BarStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("moola_pipeline.bars.vendor.file_content", refuse)

    pd.testing.assert_frame_equal(read_bars(store).loc[:, list(made_up_bars(1))], made_up_bars(60))


@pytest.mark.parametrize("contract", [None, "NQH4"])
def test_parsed_bars_survive_a_round_trip(tmp_path: Path, contract: str | None):
    store = BarStore(tmp_path / "data", simulated=False)
    bars = made_up_bars(60)
    bars.loc[7, "volume"] = pd.NA
    named = bars if contract is None else bars.assign(symbol=contract)
    added = add_bars(store, write_csv(tmp_path / "nq.csv", named))

    pd.testing.assert_frame_equal(parsed_module.read_parsed(store, added.entry), added.bars.frame)


def test_equal_bars_from_a_changed_reader_update_only_the_reader_digest(
    store: BarStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    [before], digest = read_manifest(store).files, manifest_digest(store)
    kept = {path: path.stat().st_mtime_ns for path in store.parsed_folder.iterdir()}
    use_reader(monkeypatch, "a", read_recorded_file)

    assert manifest_digest(store) == digest

    [after] = read_manifest(store).files
    assert after == before.model_copy(update={"reader": "a" * 64})
    assert {path: path.stat().st_mtime_ns for path in store.parsed_folder.iterdir()} == kept
    assert not caplog.records


def test_a_corrected_reader_parses_registered_files_again_and_names_changed_bars(
    store: BarStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    before, digest = read_bars(store), manifest_digest(store)
    use_reader(monkeypatch, "a", one_bar_higher)

    with caplog.at_level(logging.WARNING):
        after = read_bars(store)

    assert caplog.messages == [
        "nq.csv: new parsing code changes 1 of its 60 bars, first 2024-03-08 14:35:00+00:00"
    ]
    assert after["high"].to_numpy()[5] == before["high"].to_numpy()[5] + 0.25
    assert manifest_digest(store) != digest
    use_reader(monkeypatch, "a", refuse)  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(read_bars(store), after)
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("point", WRITE_POINTS)
@pytest.mark.parametrize("passes", [1, 2])
def test_a_kill_while_files_are_parsed_again_loses_nothing(
    store: BarStore, monkeypatch: pytest.MonkeyPatch, point: str, passes: int
):
    """The first pass of a crash point writes the parsed file, the second the manifest."""
    before = read_bars(store)
    with monkeypatch.context() as mended:
        use_reader(mended, "a", one_bar_higher)
        arm(f"{point}:exception:{1 if point == 'atomic_write.after_manifest' else passes}")
        with pytest.raises(InjectedFault):
            read_bars(store)
        arm(None)

    pd.testing.assert_frame_equal(read_bars(store), before)
    use_reader(monkeypatch, "a", one_bar_higher)
    assert read_bars(store)["high"].to_numpy()[5] == before["high"].to_numpy()[5] + 0.25


def test_an_unused_parsed_file_is_removed(store: BarStore, monkeypatch: pytest.MonkeyPatch):
    for name, reader in (("a", one_bar_higher), ("b", read_recorded_file), ("c", one_bar_higher)):
        use_reader(monkeypatch, name, reader)
        read_bars(store)
        assert len(list(store.parsed_folder.iterdir())) == 2  # the previous file may still be in use


def test_a_damaged_parsed_file_is_refused_and_its_remedy_works(store: BarStore):
    [entry] = read_manifest(store).files
    path = store.parsed(entry)
    kept = path.read_bytes()
    remedy = f"Write it again from the registered file: moola bars add {store.raw / 'nq.csv'}"

    path.write_bytes(kept[:-1])
    with pytest.raises(ChecksumMismatch) as caught:
        read_bars(store)
    assert str(caught.value).startswith(f"{path.name}: SHA256 is ")
    assert str(caught.value).endswith(remedy)

    path.unlink()
    with pytest.raises(MissingFile) as gone:
        read_bars(store)
    assert str(gone.value) == f"{path.name} must be in {path.parent}, but it is gone. {remedy}"

    assert add_bars(store, store.raw / "nq.csv").outcome == "restored"
    assert path.read_bytes() == kept


def test_a_new_file_is_compared_with_bars_parsed_by_the_current_reader(
    store: BarStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    more = made_up_bars(60)
    more.loc[5, "high"] += 0.25
    use_reader(monkeypatch, "a", one_bar_higher)

    assert add_bars(store, write_csv(tmp_path / "more.csv", more)).outcome == "registered"
    assert read_bars(store)["high"].to_numpy()[5] == more["high"].to_numpy()[5]


def test_changed_minutes_are_different_added_or_removed():
    before = made_up_bars(6)
    after = before.drop(index=1)
    after.loc[3, "volume"] = pd.NA
    later = made_up_bars(1, start="2024-03-08 15:00")

    found = changed_minutes(before, pd.concat([after, later], ignore_index=True))

    assert [f"{minute:%H:%M}" for minute in found] == ["14:31", "14:33", "15:00"]
    assert changed_minutes(before, before) == []


@pytest.mark.parametrize(
    ("module", "old", "new", "counts"),
    [
        ("time_parsing", "_MIN_FITTING = 0.5", "_MIN_FITTING = 0.6", True),
        ("time_parsing", "_MIN_FITTING = 0.5", "# why\n_MIN_FITTING = (0.5)", False),
        ("time_parsing", '"""Times written as text', '"""Times', False),
        ("inbox", "SETTLE_SECONDS = 30.0", "SETTLE_SECONDS = 31.0", False),
    ],
)
def test_the_reader_digest_changes_with_the_parsing_code_only(
    tmp_path: Path, module: str, old: str, new: str, counts: bool
):
    package = tmp_path / PACKAGE.name
    shutil.copytree(PACKAGE / "bars", package / "bars")
    path = package / "bars" / f"{module}.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))

    assert (reader_digest(SourceTree(package)) != reader_digest()) == counts


def test_the_manifest_names_the_reader_of_each_file(store: BarStore):
    assert json.loads(store.manifest.read_text())["files"][0]["reader"] == reader_digest()
