"""One changed byte of a bar file fails the run; the remedy in the error repairs it."""

import shlex
from pathlib import Path

import dagster as dg
import pytest
from click.testing import Result

from moola_pipeline.cli.exit_codes import FAILED
from moola_pipeline.staleness.stages import STAGES
from moola_pipeline.storage.atomic_write import file_sha256
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.cli.calls import call, complaint
from moola_pipeline_tests.homes import BARS, SMOKE, instance_of

SIMULATED_BARS = "simulated/smoke/raw/bars.parquet"
REBUILT = ["raw_nq_bars", "labeled_expansions", "relativity_features", "densified_windows"]


def change_byte(path: Path) -> tuple[bytes, str, str]:
    """Flip one bit in the middle of a file: its content before, its digests before and after."""
    content = path.read_bytes()
    before = file_sha256(path)
    at = len(content) // 2
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    return content, before, file_sha256(path)


def run(home: Home) -> Result:
    return call(*SMOKE, home=home.root)


def made_in_last_run(home: Home) -> list[str]:
    with instance_of(home) as instance:
        [last] = instance.get_runs(limit=1)
        result = instance.get_records_for_run(last.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        keys = [record.event_log_entry.dagster_event.asset_key for record in result.records]  # pyright: ignore
    return [key.to_user_string() for key in keys if key]


@pytest.mark.parametrize(
    ("kind", "file", "manifest", "remedy"),
    [
        (
            "registered_copy",
            f"nq/raw/{BARS}",
            "nq/manifest.json",
            'Add the original again with "moola bars add FILE", or, if the change is meant, '
            "run: moola bars add {file}",
        ),
        (
            "smoke_copy",
            SIMULATED_BARS,
            "smoke/manifest.json",
            "Delete the folder {folder}: the next run generates it again.",
        ),
    ],
)
def test_a_changed_byte_is_named_with_both_digests_and_a_remedy(
    kind: str, file: str, manifest: str, remedy: str, request: pytest.FixtureRequest
):
    home: Home = request.getfixturevalue(kind)
    _, before, after = change_byte(home.data / file)
    result = run(home)
    assert result.exit_code == FAILED
    folder, path = home.simulated / "smoke", shlex.quote(str(home.data / file))
    assert complaint(result) == (
        f"{BARS}: SHA256 is {after}, {manifest} records {before}. {remedy.format(folder=folder, file=path)}"
    )
    assert made_in_last_run(home) == []
    with instance_of(home) as instance:
        key = dg.AssetCheckKey(dg.AssetKey("raw_nq_bars"), "bars_match_manifest")
        found = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])
    assert found[key].status.value == "FAILED"


def test_restoring_the_byte_makes_the_home_run_again(registered_copy: Home):
    path = registered_copy.data / "nq" / "raw" / BARS
    content, _, _ = change_byte(path)
    assert run(registered_copy).exit_code == FAILED
    path.write_bytes(content)
    result = run(registered_copy)
    assert result.exit_code == 0
    assert "rebuilding raw_nq_bars: check bars_match_manifest did not pass" in result.stdout
    assert made_in_last_run(registered_copy) == ["raw_nq_bars"]  # its rows are those of before


@pytest.mark.slow
def test_a_run_does_not_parse_vendor_files_again(registered_copy: Home, monkeypatch: pytest.MonkeyPatch):
    def parsed(*_: object) -> None:
        raise AssertionError("a vendor's text was parsed")

    monkeypatch.setattr("moola_pipeline.bars.vendor.file_content", parsed)
    assert call(*SMOKE, "--force", home=registered_copy.root).exit_code == 0
    assert made_in_last_run(registered_copy)[:4] == REBUILT


@pytest.mark.slow
def test_a_simulated_market_is_generated_again_after_its_folder_is_deleted(smoke_copy: Home):
    path = smoke_copy.data / SIMULATED_BARS
    _, before, _ = change_byte(path)
    assert run(smoke_copy).exit_code == FAILED
    for part in sorted((smoke_copy.simulated / "smoke").rglob("*"), reverse=True):
        part.rmdir() if part.is_dir() else part.unlink()
    assert run(smoke_copy).exit_code == 0
    assert file_sha256(path) == before


def test_a_missing_file_stops_the_run_as_a_changed_one_does(registered_copy: Home):
    (registered_copy.data / "nq" / "raw" / BARS).unlink()
    result = run(registered_copy)
    assert result.exit_code == FAILED
    assert complaint(result).startswith(f"{BARS}: nq/manifest.json records it, but it is gone.")
    assert made_in_last_run(registered_copy) == []


def test_a_failed_run_leaves_the_last_results(registered_copy: Home):
    report = registered_copy.reports / "nq-smoke" / "report.json"
    before = report.read_bytes()
    change_byte(registered_copy.data / "nq" / "raw" / BARS)
    assert run(registered_copy).exit_code == FAILED
    assert report.read_bytes() == before
    assets = {path.name.partition(".")[0] for path in (registered_copy.store / "nq-smoke").iterdir()}
    assert assets - {"checkpoints", "drift"} == set(STAGES) - {"bootstrap_ci_report"}
