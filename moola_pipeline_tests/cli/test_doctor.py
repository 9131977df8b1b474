"""`moola doctor`: passed and failed checks, and no changes to the home."""

import os
import socket
import time
from importlib import metadata
from pathlib import Path

import pytest

from moola_pipeline.bars.manifest import add_bars
from moola_pipeline.bars.store import registered_store
from moola_pipeline.cli.doctor import CHECKS
from moola_pipeline.errors import IntegrityError
from moola_pipeline.storage.atomic_write import locked
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.bars.examples import made_up_bars, write_csv
from moola_pipeline_tests.cli.calls import call, facts

INSTALLATION = {"python", "packages", "TA-Lib", "device"}


@pytest.fixture
def with_bars(isolated_home: Path, tmp_path: Path) -> Path:
    path = write_csv(tmp_path / "nq.csv", made_up_bars(6))
    add_bars(registered_store(Home(isolated_home)), path)
    return isolated_home


def check_result(what: str, home: Path) -> tuple[str, str]:
    finding = CHECKS[what](Home(home))
    assert finding.what == what
    return finding.status, finding.detail


def test_a_fresh_home_on_a_sound_installation_passes_and_stays_empty(isolated_home: Path):
    result = call("doctor", "--json")
    shown = facts(result)
    statuses = {check["what"]: check["status"] for check in shown["checks"]}
    assert list(statuses) == list(CHECKS)
    assert {name: status for name, status in statuses.items() if name in INSTALLATION} == dict.fromkeys(
        INSTALLATION, "ok"
    )
    assert (result.exit_code, shown["healthy"], "fail" in statuses.values()) == (0, True, False)
    assert list(isolated_home.iterdir()) == []


def test_a_failed_check_is_shown_and_exits_1(monkeypatch: pytest.MonkeyPatch, isolated_home: Path):
    def broken(_: Home) -> None:
        raise IntegrityError("bars are\nnot what they were")

    monkeypatch.setattr("moola_pipeline.cli.doctor.CHECKS", {"bars": broken})
    result = call("doctor")
    assert (result.exit_code, result.stdout) == (1, "fail  bars       bars are not what they were\n")
    assert facts(call("doctor", "--json"))["healthy"] is False


def test_a_changed_bar_file_fails_with_both_digests(with_bars: Path):
    assert check_result("bars", with_bars) == (
        "ok",
        "6 in 1 file, 2024-03-08 14:30 to 2024-03-08 14:35 UTC, all SHA256 match",
    )
    with (with_bars / "data/nq/raw/nq.csv").open("ab") as stream:
        stream.write(b" ")
    result = call("doctor", "--json")
    (bars,) = [check for check in facts(result)["checks"] if check["what"] == "bars"]
    assert (result.exit_code, bars["status"]) == (1, "fail")
    assert bars["detail"].startswith("nq.csv: SHA256 is ")
    assert "moola bars add" in bars["detail"]


def test_missing_rolls_and_labels_are_named_with_their_commands(with_bars: Path):
    assert check_result("rolls", with_bars)[0] == "warn"
    assert check_result("rolls", with_bars)[1].endswith("Run: moola bars rolls add FILE")
    assert check_result("labels", with_bars) == (
        "warn",
        "no labels are registered. Run: moola labels add FILE",
    )


def test_damaged_labels_fail(with_bars: Path):
    folder = with_bars / "data" / "nq" / "labels"
    folder.mkdir()
    (folder / "labels.csv").write_text("window_id\n")
    result = call("doctor", "--json")
    (labels,) = [check for check in facts(result)["checks"] if check["what"] == "labels"]
    assert (result.exit_code, labels["status"]) == (1, "fail")
    assert labels["detail"].startswith("labels.csv: SHA256 is ")


def test_a_package_of_another_version_is_a_warning_and_a_missing_one_a_failure(
    monkeypatch: pytest.MonkeyPatch, isolated_home: Path
):
    real = list(metadata.distributions())
    names = {distribution.name.lower(): distribution for distribution in real}

    class Older:
        name, version = "pandas", "3.0.0"

    others = [distribution for name, distribution in names.items() if name != "pandas"]
    monkeypatch.setattr(metadata, "distributions", lambda: [*others, Older])
    status, detail = check_result("packages", isolated_home)
    assert (status, detail.partition(" (")[0]) == ("warn", "pandas 3.0.0")
    monkeypatch.setattr(metadata, "distributions", lambda: others)
    assert check_result("packages", isolated_home) == ("fail", "pandas must be installed. Run: make install")


def test_a_build_for_one_kind_of_device_counts_as_the_pinned_version(
    monkeypatch: pytest.MonkeyPatch, isolated_home: Path
):
    real = [it for it in metadata.distributions() if it.name != "torch"]

    class Built:
        name, version = "torch", f"{metadata.version('torch').partition('+')[0]}+cu130"

    monkeypatch.setattr(metadata, "distributions", lambda: [*real, Built])
    assert check_result("packages", isolated_home)[0] == "ok"


def test_a_taken_port_is_a_warning(monkeypatch: pytest.MonkeyPatch, isolated_home: Path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr("moola_pipeline.cli.doctor.PORTS", {"Dagster": server.getsockname()[1]})
        status, detail = check_result("ports", isolated_home)
    assert status == "warn"
    assert detail.endswith("(Dagster) taken: moola ui uses the next free port")
    assert check_result("ports", isolated_home)[0] == "ok"


def test_partly_written_files_and_held_locks_are_found(isolated_home: Path):
    data = isolated_home / "data"
    with locked(data / "manifest.json"):
        assert check_result("leftovers", isolated_home) == (
            "warn",
            ".manifest.json.lock held by another command that is running",
        )
    assert check_result("leftovers", isolated_home)[0] == "ok"
    half_written = data / ".manifest.json.x1.tmp"
    half_written.write_text("{")
    assert check_result("leftovers", isolated_home)[0] == "ok"
    two_hours_ago = time.time() - 7200
    os.utime(half_written, (two_hours_ago, two_hours_ago))
    assert check_result("leftovers", isolated_home) == (
        "warn",
        "1 partly written file left by a killed command. Delete: data/.manifest.json.x1.tmp",
    )


def test_little_free_space_is_a_warning(monkeypatch: pytest.MonkeyPatch, isolated_home: Path):
    monkeypatch.setattr("moola_pipeline.cli.doctor.MIN_FREE_GIB", 10**9)
    status, detail = check_result("home", isolated_home / "not" / "made")
    assert status == "warn"
    assert "free some space" in detail


def test_the_last_report_is_named(isolated_home: Path):
    reports = isolated_home / "data" / "reports"
    for name, written in (("old", 1_699_999_900), ("new", 1_700_000_000)):
        (reports / name).mkdir(parents=True)
        (reports / name / "report.json").write_text("{}")
        os.utime(reports / name / "report.json", (written, written))
    assert check_result("report", isolated_home) == (
        "ok",
        "the newest is data/reports/new, 2023-11-14 22:13 UTC",
    )
