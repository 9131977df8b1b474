"""Registration of vendor files, and reading of verified bars."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from moola_pipeline.bars.manifest import add_bars, manifest_digest, read_bars
from moola_pipeline.bars.parsed import reader_digest
from moola_pipeline.bars.rolls import add_rolls
from moola_pipeline.bars.schema import MAX_GAP, PRICE_COLUMNS, content_digest, validate_bars
from moola_pipeline.bars.store import BarStore, read_manifest
from moola_pipeline.bars.vendor_options import VendorOptions
from moola_pipeline.errors import BadInput, ChecksumMismatch, IntegrityError
from moola_pipeline.storage.atomic_write import file_sha256
from moola_pipeline_tests.bars.examples import made_up_bars, write_csv, write_parquet


@pytest.fixture
def store(tmp_path: Path) -> BarStore:
    return BarStore(tmp_path / "data", simulated=False)


@pytest.fixture
def vendor_file(tmp_path: Path) -> Path:
    return write_parquet(tmp_path / "nq.parquet", made_up_bars(60))


def one_tick_up(bars: pd.DataFrame, row: int) -> pd.DataFrame:
    changed = bars.copy()
    changed.loc[row, list(PRICE_COLUMNS)] += 0.25
    return changed


def test_a_file_is_stored_unchanged_and_recorded(store: BarStore, vendor_file: Path):
    added = add_bars(store, vendor_file)

    assert added.outcome == "registered"
    assert (store.raw / "nq.parquet").read_bytes() == vendor_file.read_bytes()
    recorded = json.loads(store.manifest.read_text())["files"][0]
    assert recorded.pop("added_at").endswith("Z")
    [parsed] = store.parsed_folder.iterdir()
    assert parsed.name == f"nq.parquet.{recorded['parsed_sha256'][:12]}.parquet"
    assert recorded == {
        "file": "nq.parquet",
        "sha256": file_sha256(vendor_file),
        "bytes": vendor_file.stat().st_size,
        "rows": 60,
        "rejected": 0,
        "rejected_sha256": None,
        "parsed_sha256": file_sha256(parsed),
        "reader": reader_digest(),
        "first": "2024-03-08T14:30:00Z",
        "last": "2024-03-08T15:29:00Z",
        "format": "parquet",
        "timezone": "UTC",
        "stamp": "open",
        "columns": {"time": "timestamp"} | {name: name for name in (*PRICE_COLUMNS, "volume")},
        "instrument": "NQ",
    }


def test_the_table_holds_the_bars_of_all_files_in_order(store: BarStore, tmp_path: Path):
    made_up = made_up_bars(90)
    add_bars(store, write_csv(tmp_path / "later.csv", made_up.iloc[40:]))
    add_bars(store, write_parquet(tmp_path / "earlier.parquet", made_up.iloc[:50]))

    table = read_bars(store)

    pd.testing.assert_frame_equal(table.loc[:, made_up.columns], made_up)
    validate_bars(table)


def test_the_table_does_not_depend_on_the_file_format(store: BarStore, tmp_path: Path):
    made_up = made_up_bars(60)
    other = BarStore(tmp_path / "other", simulated=False)
    add_bars(store, write_csv(tmp_path / "bars.csv", made_up))
    add_bars(other, write_parquet(tmp_path / "bars.parquet", made_up))

    assert content_digest(read_bars(store)) == content_digest(read_bars(other))
    assert manifest_digest(store) != manifest_digest(other)


def test_a_changed_byte_is_refused_with_both_digests(store: BarStore, tmp_path: Path):
    add_bars(store, write_csv(tmp_path / "nq.csv", made_up_bars(60)))
    recorded = file_sha256(store.raw / "nq.csv")
    kept = (store.raw / "nq.csv").read_bytes()
    (store.raw / "nq.csv").write_bytes(kept.replace(b"14:30", b"14:29", 1))

    with pytest.raises(ChecksumMismatch) as caught:
        read_bars(store)

    assert str(caught.value) == (
        f"nq.csv: SHA256 is {file_sha256(store.raw / 'nq.csv')}, data/manifest.json records {recorded}. "
        'Add the original again with "moola bars add FILE", or, if the change is meant, '
        f"run: moola bars add {store.raw / 'nq.csv'}"
    )
    (store.raw / "nq.csv").write_bytes(kept)
    assert len(read_bars(store)) == 60


def test_without_options_a_file_is_restored_or_replaced_with_its_recorded_options(
    store: BarStore, tmp_path: Path
):
    """Neither the zone nor the stamp is in the file: only the manifest has them."""
    bars = made_up_bars(60)
    local = bars.assign(timestamp=bars["timestamp"].dt.tz_convert("America/New_York").dt.tz_localize(None))
    vendor_file = write_csv(tmp_path / "nq.csv", local)
    options = VendorOptions(timezone="America/New_York", stamp="close")
    before = add_bars(store, vendor_file, options).entry
    table = read_bars(store)

    (store.raw / "nq.csv").unlink()
    restored = add_bars(store, vendor_file)
    assert (restored.outcome, restored.entry) == ("restored", before)
    assert restored.bars.zone_known_by == restored.bars.stamp_known_by == "the manifest"
    pd.testing.assert_frame_equal(read_bars(store), table)

    write_csv(store.raw / "nq.csv", local.iloc[:50])
    accepted = add_bars(store, store.raw / "nq.csv")
    assert (accepted.outcome, accepted.entry.stamp, accepted.entry.timezone) == (
        "replaced",
        "close",
        "America/New_York",
    )
    pd.testing.assert_frame_equal(read_bars(store), table.iloc[:50])

    write_csv(store.raw / "nq.csv", bars.rename(columns={"timestamp": "when"}))
    other = add_bars(store, store.raw / "nq.csv", VendorOptions(columns={"time": "when"}))
    assert (other.outcome, other.entry.stamp) == ("replaced", "open")


def test_a_changed_file_that_recorded_options_cannot_read_is_read_without_them(
    store: BarStore, tmp_path: Path
):
    named = made_up_bars(60).rename(columns={"timestamp": "when"})
    add_bars(store, write_csv(tmp_path / "nq.csv", named), VendorOptions(columns={"time": "when"}))
    write_csv(store.raw / "nq.csv", made_up_bars(60))

    accepted = add_bars(store, store.raw / "nq.csv")

    assert (accepted.outcome, accepted.bars.zone_known_by) == ("replaced", "the times")
    assert accepted.entry.columns["time"] == "timestamp"


def test_no_file_is_read_before_all_are_verified(
    store: BarStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    add_bars(store, write_csv(tmp_path / "a.csv", made_up_bars(60)))
    add_bars(store, write_csv(tmp_path / "b.csv", made_up_bars(60, start="2024-03-12 14:30")))
    (store.raw / "b.csv").write_bytes(b"changed")

    def parsed(*_: object) -> None:
        raise AssertionError("a file was parsed")

    monkeypatch.setattr("moola_pipeline.bars.manifest.read_parsed", parsed)
    with pytest.raises(ChecksumMismatch, match=r"^b.csv"):
        read_bars(store)


def test_a_missing_file_is_named(store: BarStore, vendor_file: Path):
    add_bars(store, vendor_file)
    (store.raw / "nq.parquet").unlink()

    with pytest.raises(IntegrityError, match=r"nq.parquet: data/manifest.json records it, but it is gone"):
        read_bars(store)


def test_changed_simulated_bars_are_refused_with_the_folder_to_delete(tmp_path: Path, vendor_file: Path):
    store = BarStore(tmp_path / "simulated" / "demo", simulated=True)
    add_bars(store, vendor_file)
    (store.raw / "nq.parquet").write_bytes(b"changed")

    with pytest.raises(ChecksumMismatch) as caught:
        read_bars(store)
    assert f"Delete the folder {store.root}: the next run generates it again." in str(caught.value)
    assert "bars add" not in str(caught.value)


def test_without_registered_bars_the_error_names_the_command_to_add_them(store: BarStore):
    with pytest.raises(BadInput, match='Add a file with "moola bars add FILE"'):
        read_bars(store)


def test_the_same_bytes_are_registered_once(store: BarStore, vendor_file: Path, tmp_path: Path):
    first = add_bars(store, vendor_file)
    written = store.manifest.read_bytes()
    copied = tmp_path / "another name.parquet"
    copied.write_bytes(vendor_file.read_bytes())

    for path in (vendor_file, copied, store.raw / "nq.parquet"):
        again = add_bars(store, path)
        assert (again.outcome, again.entry) == ("unchanged", first.entry)

    assert store.manifest.read_bytes() == written
    assert [path.name for path in store.raw.iterdir()] == ["nq.parquet"]


def test_the_same_bytes_with_other_options_replace_the_entry(store: BarStore, vendor_file: Path):
    add_bars(store, vendor_file)

    added = add_bars(store, vendor_file, VendorOptions(stamp="close"))

    assert added.outcome == "replaced"
    assert read_bars(store)["timestamp"].iloc[0] == pd.Timestamp("2024-03-08 14:29", tz="UTC")
    assert len(read_manifest(store).files) == 1


def test_a_change_in_raw_is_accepted_by_adding_the_file_in_place(store: BarStore, vendor_file: Path):
    add_bars(store, vendor_file)
    changed = one_tick_up(made_up_bars(60), row=5)
    write_parquet(store.raw / "nq.parquet", changed)

    added = add_bars(store, store.raw / "nq.parquet")

    assert added.outcome == "replaced"
    assert read_bars(store)["close"].tolist() == changed["close"].tolist()
    assert [entry.file for entry in read_manifest(store).files] == ["nq.parquet"]


def test_a_damaged_copy_is_restored_by_adding_the_original(store: BarStore, vendor_file: Path):
    first = add_bars(store, vendor_file)
    (store.raw / "nq.parquet").write_bytes(b"damaged")

    again = add_bars(store, vendor_file)

    assert (again.outcome, again.entry) == ("restored", first.entry)
    assert len(read_bars(store)) == 60


def test_a_new_file_replaces_a_lost_file_of_the_same_name(store: BarStore, vendor_file: Path):
    add_bars(store, vendor_file)
    (store.raw / "nq.parquet").unlink()
    write_parquet(vendor_file, made_up_bars(70, seed=8))

    assert add_bars(store, vendor_file).outcome == "replaced"
    assert len(read_bars(store)) == 70


def test_another_file_with_a_name_in_use_gets_a_number(store: BarStore, vendor_file: Path, tmp_path: Path):
    add_bars(store, vendor_file)
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        other = made_up_bars(60, start=f"2024-03-1{number} 14:30")
        add_bars(store, write_parquet(tmp_path / str(number) / "nq.parquet", other))

    assert [entry.file for entry in read_manifest(store).files] == [
        "nq.parquet",
        "nq-2.parquet",
        "nq-3.parquet",
    ]
    assert len(read_bars(store)) == 180


def test_bars_that_disagree_with_a_registered_file_are_refused_and_nothing_changes(
    store: BarStore, vendor_file: Path, tmp_path: Path
):
    add_bars(store, vendor_file)
    written = store.manifest.read_bytes()
    made_up = made_up_bars(60)

    with pytest.raises(BadInput) as caught:
        add_bars(store, write_csv(tmp_path / "other.csv", one_tick_up(made_up, row=5)))

    text = str(caught.value)
    assert "must agree with those of nq.parquet" in text
    assert f"1 minute differs, first 2024-03-08 14:35:00+00:00: open {made_up['open'][5]}" in text
    assert store.manifest.read_bytes() == written
    assert [path.name for path in store.raw.iterdir()] == ["nq.parquet"]


def test_a_refused_file_leaves_no_trace(store: BarStore, tmp_path: Path):
    off_grid = made_up_bars(60).assign(high=lambda bars: bars["high"] + 0.1)

    with pytest.raises(BadInput, match="tick grid"):
        add_bars(store, write_csv(tmp_path / "cfd.csv", off_grid))
    with pytest.raises(BadInput, match="No such file"):
        add_bars(store, tmp_path / "none.csv")

    assert not store.root.exists()


def test_one_home_holds_one_instrument(store: BarStore, vendor_file: Path, tmp_path: Path):
    add_bars(store, vendor_file)
    es = write_parquet(tmp_path / "es.parquet", made_up_bars(60, start="2024-05-08 14:30"))

    with pytest.raises(BadInput, match="a home must hold one instrument, this home holds NQ, got ES"):
        add_bars(store, es, VendorOptions(instrument="ES"))


@pytest.mark.parametrize("name", [".hidden.csv", "a\nb.csv", "back\\slash.csv"])
def test_a_file_name_that_is_not_plain_is_refused(store: BarStore, tmp_path: Path, name: str):
    with pytest.raises(BadInput, match="Rename the file"):
        add_bars(store, write_csv(tmp_path / name, made_up_bars(60)))


def test_the_digest_of_a_market_follows_files_reading_and_rolls(
    store: BarStore, vendor_file: Path, tmp_path: Path
):
    digests = [manifest_digest(store)]
    add_bars(store, vendor_file)
    digests.append(manifest_digest(store))
    add_bars(store, vendor_file, VendorOptions(stamp="close"))
    digests.append(manifest_digest(store))
    rolls = tmp_path / "rolls.csv"
    rolls.write_text("time,old,new\n2024-03-08T15:00Z,NQH4,NQM4\n")
    add_rolls(store, rolls)
    digests.append(manifest_digest(store))
    assert len(set(digests)) == 4

    assert read_bars(store)["contract"].value_counts().to_dict() == {"NQH4": 31, "NQM4": 29}
    add_bars(store, store.raw / "nq.parquet", VendorOptions(stamp="close"))
    assert manifest_digest(store) == digests[-1]


def test_a_market_may_be_moved(store: BarStore, vendor_file: Path, tmp_path: Path):
    add_bars(store, vendor_file)
    digest = manifest_digest(store)
    store.root.rename(tmp_path / "elsewhere")
    moved = BarStore(tmp_path / "elsewhere", simulated=False)

    assert manifest_digest(moved) == digest
    assert len(read_bars(moved)) == 60


@pytest.mark.slow
def test_private_bars_and_rolls_make_sound_segments(store: BarStore, private_data: Path):
    add_bars(store, private_data / "real" / "nq_1m_2020-09_2025-06.parquet")
    add_rolls(store, private_data / "real" / "nq_rolls.csv")

    table = read_bars(store)

    validate_bars(table)
    segments = table.groupby("segment")
    assert set(segments["session"].nunique()) == {1}
    assert set(segments["contract"].nunique()) == {1}
    assert max(segments["timestamp"].diff().dropna()) <= MAX_GAP
    firsts = table.loc[table["segment"].diff() != 0]
    lasts = table.loc[table["segment"].diff(-1) != 0]
    before, after = lasts.iloc[:-1].reset_index(), firsts.iloc[1:].reset_index()
    has_reason = (
        (before["session"] != after["session"])
        | (before["contract"] != after["contract"])
        | (after["timestamp"] - before["timestamp"] > MAX_GAP)
    )
    assert has_reason.all()


def test_files_added_at_once_are_all_registered(store: BarStore, tmp_path: Path):
    days = [f"2024-03-{day:02}" for day in (4, 5, 6, 7)]
    files = [write_csv(tmp_path / f"{day}.csv", made_up_bars(60, start=f"{day} 14:30")) for day in days]

    with ThreadPoolExecutor(len(files)) as pool:
        outcomes = [added.outcome for added in pool.map(lambda path: add_bars(store, path), files)]

    assert outcomes == ["registered"] * 4
    assert len(read_bars(store)) == 240


def test_an_import_cut_off_before_the_manifest_was_written_can_be_repeated(
    store: BarStore, vendor_file: Path, monkeypatch: pytest.MonkeyPatch
):
    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("moola_pipeline.bars.parsed.write_manifest", cut_off)
        add_bars(store, vendor_file)
    assert read_manifest(store).files == ()

    assert add_bars(store, vendor_file).entry.file == "nq.parquet"
    assert len(read_bars(store)) == 60
