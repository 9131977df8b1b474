"""Assets pushed to a bucket, and pulled on another machine."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from moola_pipeline.errors import BadInput, ChecksumMismatch, IntegrityError
from moola_pipeline.selftest.verify import verify_home
from moola_pipeline.storage.asset_checksums import prove, write_checksums
from moola_pipeline.storage.bucket import pull, push
from moola_pipeline.storage.checksums import FileDigest, listed, write_checksummed
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.counts import record
from moola_pipeline_tests.servers import KEYS, bucket_of, bucket_server

CHECKSUMS = "data/store/simulated-demo/finetuned_classifier.checksums.json"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with bucket_server() as address:
        yield address


@pytest.fixture
def address(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("MOOLA_STORE_URI", "s3://moola/team")
    bucket_of(server).objects.all().delete()
    return server


@pytest.fixture
def here(tmp_path: Path) -> Home:
    home = Home(tmp_path / "here")
    artifact_path = _asset_path(home)
    artifact_path.mkdir(parents=True)
    artifact_path.with_suffix(".json").write_text("{}")
    (artifact_path / "seed-0").mkdir()
    (artifact_path / "seed-0" / "weights.safetensors").write_bytes(
        bytes(range(256)) * 40_000
    )  # more than one chunk
    write_checksums(artifact_path)
    return home


@pytest.fixture
def there(tmp_path: Path) -> Home:
    return Home(tmp_path / "there")


def _asset_path(home: Home) -> Path:
    return home.store / "simulated-demo" / "finetuned_classifier"


def _files(home: Home) -> dict[str, bytes]:
    return {
        str(path.relative_to(home.root)): path.read_bytes() for path in home.root.rglob("*") if path.is_file()
    }


def test_what_one_machine_pushes_another_pulls_byte_for_byte(address: str, here: Home, there: Home):
    push(here, _asset_path(here))
    pull(there, _asset_path(there))
    assert _files(there) == _files(here)
    prove(_asset_path(there))
    keys = {entry.key for entry in bucket_of(address).objects.all()}
    assert keys == {f"team/{name}" for name in _files(here)}


def test_an_identical_asset_is_not_fetched(address: str, here: Home, there: Home):
    push(here, _asset_path(here))
    pull(there, _asset_path(there))
    before = {path: path.stat().st_mtime_ns for path in there.root.rglob("*") if path.is_file()}
    pull(there, _asset_path(there))
    assert {path: path.stat().st_mtime_ns for path in there.root.rglob("*") if path.is_file()} == before


def test_a_newer_version_replaces_the_local_one(address: str, here: Home, there: Home):
    push(here, _asset_path(here))
    pull(there, _asset_path(there))
    _asset_path(here).with_suffix(".json").write_text('{"newer": true}')
    write_checksums(_asset_path(here))
    push(here, _asset_path(here))
    pull(there, _asset_path(there))
    assert _asset_path(there).with_suffix(".json").read_text() == '{"newer": true}'


def test_without_the_variable_nothing_leaves_the_home(
    address: str, here: Home, there: Home, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("MOOLA_STORE_URI")
    push(here, _asset_path(here))
    assert not list(bucket_of(address).objects.all())
    pull(there, _asset_path(there))
    assert not there.root.exists()


def test_an_asset_that_was_never_pushed_is_left_unchanged(address: str, here: Home):
    before = _files(here)
    pull(here, _asset_path(here))
    assert _files(here) == before


def test_a_byte_changed_in_the_bucket_is_refused_with_both_digests(address: str, here: Home, there: Home):
    push(here, _asset_path(here))
    key = "team/data/store/simulated-demo/finetuned_classifier.json"
    bucket_of(address).Object(key).put(Body=b"[]")
    with pytest.raises(
        ChecksumMismatch, match=rf"{key}: SHA256 is [0-9a-f]{{64}}, its checksum file records [0-9a-f]{{64}}"
    ):
        pull(there, _asset_path(there))
    assert not _asset_path(there).with_suffix(".json").exists()


def test_a_file_gone_from_the_bucket_is_named(address: str, here: Home, there: Home):
    push(here, _asset_path(here))
    key = "team/data/store/simulated-demo/finetuned_classifier/seed-0/weights.safetensors"
    bucket_of(address).Object(key).delete()
    with pytest.raises(IntegrityError, match=f"{key} must be in the bucket"):
        pull(there, _asset_path(there))


@pytest.mark.parametrize("content", [b"no json", b"[1]", b"{}"])
def test_a_checksum_file_that_holds_no_digests_is_refused(
    address: str, here: Home, there: Home, content: bytes
):
    push(here, _asset_path(here))
    bucket_of(address).Object(f"team/{CHECKSUMS}").put(Body=content)
    with pytest.raises(IntegrityError, match=r"^s3://moola/.*must hold digests"):
        pull(there, _asset_path(there))


@pytest.mark.parametrize("name", ["../../x", "finetuned_classifier/../../../x", "raw_nq_bars.parquet"])
def test_a_checksum_file_that_names_other_files_is_refused(
    address: str, here: Home, there: Home, tmp_path: Path, name: str
):
    push(here, _asset_path(here))
    write_checksummed(tmp_path / "made", {"files": listed({name: FileDigest("0" * 64, 1)})})
    bucket_of(address).Object(f"team/{CHECKSUMS}").put(Body=(tmp_path / "made").read_bytes())
    with pytest.raises(IntegrityError, match="must hold digests, but it cannot be read"):
        pull(there, _asset_path(there))
    assert not there.root.exists()


def test_a_missing_bucket_is_named_without_keys(address: str, here: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MOOLA_STORE_URI", "s3://nowhere/team")
    with pytest.raises(
        BadInput, match="MOOLA_STORE_URI must name a bucket that responds, got s3://nowhere"
    ) as error:
        push(here, _asset_path(here))
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in str(error.value)


def test_a_store_that_is_not_a_bucket_is_refused(address: str, here: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MOOLA_STORE_URI", "/somewhere")
    with pytest.raises(BadInput, match="must be s3://BUCKET/PREFIX, got '/somewhere'"):
        push(here, _asset_path(here))


def test_verify_hashes_what_lies_in_the_bucket_against_its_checksums_there(address: str, here: Home):
    began, files = time.monotonic(), bucket_of(address)
    push(here, _asset_path(here))
    assert verify_home(here).findings == []
    assert verify_home(here).counts["files in the bucket"] == 2
    key = "team/data/store/simulated-demo/finetuned_classifier/seed-0/weights.safetensors"
    content = files.Object(key).get()["Body"].read()
    offsets = (0, len(content) // 2, len(content) - 1)
    for offset in offsets:
        flipped = bytearray(content)
        flipped[offset] ^= 1
        files.Object(key).put(Body=bytes(flipped))
        [result] = verify_home(here).findings
        assert (result.file, result.kind) == (f"s3://moola/{key}", "changed")
        assert result.what.endswith("Rebuild the asset: moola run --force")
    files.Object(key).put(Body=content[:-7])
    assert [one.kind for one in verify_home(here).findings] == ["truncated"]
    files.Object(key).delete()
    assert [one.kind for one in verify_home(here).findings] == ["missing"]
    files.Object(key).put(Body=content)
    files.Object(f"team/{CHECKSUMS}").put(Body=b"{}x")
    assert [one.kind for one in verify_home(here).findings] == ["unreadable"]
    record(
        "bytes flipped in the assets' bucket", flips=len(offsets), missed=0, seconds=time.monotonic() - began
    )


def test_verify_reports_a_bucket_that_does_not_respond(
    address: str, here: Home, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    [result] = verify_home(here).findings
    assert result.kind == "unreadable" and "MOOLA_STORE_URI must name a bucket that responds" in result.what
