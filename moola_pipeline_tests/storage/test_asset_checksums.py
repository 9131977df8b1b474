"""Checksum files: an asset is verified before it is read."""

from pathlib import Path

import pytest

from moola_pipeline.errors import ChecksumMismatch, IntegrityError, MissingFile
from moola_pipeline.storage.asset_checksums import (
    damage,
    prove,
    remedy_of,
    without_checksums,
    write_checksums,
)
from moola_pipeline.storage.atomic_write import file_sha256


@pytest.fixture
def artifact_path(tmp_path: Path) -> Path:
    """An asset of one file and a folder with two files, with its checksum file."""
    (tmp_path / "encoder" / "seed-0").mkdir(parents=True)
    (tmp_path / "encoder.json").write_text("facts")
    (tmp_path / "encoder" / "config.json").write_text("config")
    (tmp_path / "encoder" / "seed-0" / "weights").write_bytes(bytes(1000))
    write_checksums(tmp_path / "encoder")
    return tmp_path / "encoder"


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_unchanged_files_are_verified(artifact_path: Path):
    prove(artifact_path)
    assert damage(artifact_path) is None


@pytest.mark.parametrize("name", ["encoder.json", "encoder/config.json", "encoder/seed-0/weights"])
@pytest.mark.parametrize("position", [0, -1])
def test_a_flipped_bit_in_any_file_is_refused_with_both_digests(
    artifact_path: Path, name: str, position: int
):
    path = artifact_path.parent / name
    recorded = file_sha256(path)
    flip(path, position)
    with pytest.raises(ChecksumMismatch) as fault:
        prove(artifact_path)
    assert str(fault.value) == (
        f"{name}: SHA256 is {file_sha256(path)}, encoder.checksums.json records {recorded}. "
        "Rebuild it: moola run"
    )
    assert damage(artifact_path) == "its files were changed"


def test_a_missing_file_is_distinguished_from_a_changed_one(artifact_path: Path):
    (artifact_path / "config.json").unlink()
    with pytest.raises(FileNotFoundError):
        prove(artifact_path)
    assert damage(artifact_path) == "its files are gone"


def test_a_broken_checksum_file_is_refused(artifact_path: Path):
    for content in ("{", "[]", '"text"'):
        (artifact_path.parent / "encoder.checksums.json").write_text(content)
        with pytest.raises(IntegrityError, match="must hold digests"):
            prove(artifact_path)
        assert damage(artifact_path) == "its files were changed"


def test_files_without_a_checksum_file_are_refused(artifact_path: Path):
    (artifact_path.parent / "encoder.checksums.json").unlink()
    with pytest.raises(MissingFile) as fault:
        prove(artifact_path)
    assert str(fault.value) == (
        "encoder.checksums.json must hold the digests of encoder, but it is gone. Rebuild it: moola run"
    )
    assert damage(artifact_path) == "its checksum file is gone"
    assert without_checksums(artifact_path.parent) == [artifact_path]


def test_only_assets_with_files_are_listed_as_lacking_checksums(artifact_path: Path):
    (artifact_path.parent / "checkpoints" / "encoder").mkdir(parents=True)
    (artifact_path.parent / "checkpoints" / "encoder" / "epoch").write_text("on the way")
    (artifact_path.parent / ".encoder.lock").write_text("")
    (artifact_path.parent / "nothing").mkdir()
    assert without_checksums(artifact_path.parent) == []
    assert without_checksums(artifact_path.parent / "nowhere") == []


def test_files_of_another_asset_and_half_written_ones_are_not_recorded(artifact_path: Path):
    (artifact_path.parent / "encoder_two.json").write_text("another")
    (artifact_path / ".config.json.x.tmp").write_text("half")
    before = (artifact_path.parent / "encoder.checksums.json").read_bytes()
    write_checksums(artifact_path)
    assert (artifact_path.parent / "encoder.checksums.json").read_bytes() == before


def test_an_asset_that_was_never_stored_is_gone(tmp_path: Path):
    assert damage(tmp_path / "encoder") == "its files are gone"


@pytest.mark.parametrize(
    ("folder", "command"),
    [
        ("nq-full", "moola run --market registered --profile full"),
        ("simulated-smoke", "moola run --market simulated --profile smoke"),
        ("simulated-no_signal-demo", "moola run --scenario no_signal --profile demo"),
        ("elsewhere", "moola run"),
    ],
)
def test_the_remedy_is_a_run_of_the_asset_s_market_and_profile(folder: str, command: str):
    assert remedy_of(Path("store") / folder / "raw_nq_bars") == f"Rebuild it: {command}"
