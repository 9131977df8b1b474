"""`moola status`: stale assets with reasons, and `moola run` rebuilds exactly these."""

import json
import shutil
from pathlib import Path

import pytest

from moola_pipeline.cli.exit_codes import BAD_INPUT, FAILED
from moola_pipeline.code_digests import PACKAGE, SourceTree
from moola_pipeline.staleness import fingerprints
from moola_pipeline.staleness.fingerprints import PackageCode
from moola_pipeline.staleness.stages import STAGES
from moola_pipeline.storage.atomic_write import locked
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.cli.calls import call, complaint, facts, start
from moola_pipeline_tests.homes import BARS, LATER_BARS, SMOKE, moola
from moola_pipeline_tests.staleness.edits import template

STATUS = ("status", "--profile", "smoke")


def status_of(home: Home, *words: str) -> dict:
    return facts(call(*STATUS, *words, "--json", home=home.root))


def reasons(output: dict) -> dict[str, str]:
    return {row["asset"]: row["reason"] for row in output["assets"]}


def made_by_run(home: Home) -> list[str]:
    return json.loads(moola(home, *SMOKE, "--json"))["made"]


def test_after_a_run_everything_is_up_to_date(smoke_home: Home):
    result = call(*STATUS, home=smoke_home.root)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:3] == [
        f"home      {smoke_home.root}",
        "market    SIMULATED bars, profile smoke",
        "champion  models:/moola-simulated/1",
    ]
    assert lines[-1] == "moola run --profile smoke would change nothing."
    assert sum("up to date" in line for line in lines) == len(STAGES)


def test_the_json_object_names_every_asset_with_its_state(smoke_home: Home):
    output = status_of(smoke_home)
    assert output["would_make"] == [] and output["champion"] == "1" and output["running"] is False
    assert (output["market"], output["simulated"], output["profile"]) == ("simulated", True, "smoke")
    assert [row["asset"] for row in output["assets"]] == list(STAGES)
    assert {row["state"] for row in output["assets"]} == {"up to date"}
    assert all(row["made_at"].endswith("Z") for row in output["assets"])


def test_status_writes_nothing_in_an_empty_home(isolated_home: Path):
    result = call("status")
    assert result.exit_code == 0
    assert result.stdout.endswith("moola run would build all 9 assets: not built yet.\n")
    assert list(isolated_home.iterdir()) == []
    assert {row["state"] for row in facts(call("status", "--json"))["assets"]} == {"missing"}


def test_a_new_day_of_bars_is_the_reason_and_the_run_builds_the_listed_assets(
    registered_copy: Home, registered_files: Path
):
    moola(registered_copy, "bars", "add", registered_files / LATER_BARS)
    output = status_of(registered_copy)
    assert reasons(output)["raw_nq_bars"].startswith("bars were added: 1,380 rows after the test period")
    assert reasons(output)["relativity_features"] == "raw_nq_bars will be rebuilt"
    assert reasons(output)["finetuned_classifier"] == "unchanged"
    assert output["would_make"] == made_by_run(registered_copy)
    assert status_of(registered_copy)["would_make"] == []


@pytest.mark.parametrize(
    ("lost", "state", "reason"),
    [
        ("store/simulated-smoke/latest_expansions.parquet", "missing", "its files are gone"),
        ("store/simulated-smoke/registered_model.json", "missing", "its files are gone"),
    ],
)
def test_a_missing_file_is_reported_and_rebuilt(smoke_copy: Home, lost: str, state: str, reason: str):
    (smoke_copy.data / lost).unlink()
    output = status_of(smoke_copy)
    asset = Path(lost).stem
    assert [(row["state"], row["reason"]) for row in output["assets"] if row["asset"] == asset] == [
        (state, reason)
    ]
    assert output["would_make"] == made_by_run(smoke_copy)


def test_the_profile_that_ran_last_is_judged_and_the_plain_run_is_named(smoke_home: Home):
    result = call("status", home=smoke_home.root)
    lines = result.stdout.splitlines()
    assert lines[1] == "market    SIMULATED bars, profile smoke"
    assert lines[-3:] == [
        "moola run --profile smoke would change nothing.",
        "moola run without options takes SIMULATED bars, profile demo and would build 9 of 9 assets: last",
        "  built for simulated-smoke.",
    ]
    assert not (smoke_home.simulated / "full").exists()
    output = facts(call("status", "--json", home=smoke_home.root))
    assert (output["profile"], output["would_make"]) == ("smoke", [])
    assert output["plain_run"]["profile"] == "demo"
    assert output["plain_run"]["would_make"] == list(STAGES)


def test_assets_of_another_profile_are_the_reason(smoke_home: Home):
    lines = call("status", "--profile", "demo", home=smoke_home.root).stdout.splitlines()
    assert lines[1] == "market    SIMULATED bars, profile demo"
    assert lines[-1] == "moola run --profile demo would build all 9 assets: last built for simulated-smoke."


def test_after_a_run_on_registered_bars_the_plain_run_takes_the_full_profile(registered_home: Home):
    lines = call("status", home=registered_home.root).stdout.splitlines()
    assert lines[1] == "market    registered NQ bars, profile smoke"
    assert lines[-2] == "moola run --profile smoke would change nothing."
    assert lines[-1] == (
        "moola run without options takes registered NQ bars, profile full and would build 9 of 9 assets."
    )


def test_bars_without_labels_do_not_hide_the_simulated_run(smoke_copy: Home, registered_files: Path):
    moola(smoke_copy, "bars", "add", registered_files / BARS)
    lines = call("status", home=smoke_copy.root).stdout.splitlines()
    assert lines[1] == "market    SIMULATED bars, profile smoke"
    assert "moola run --profile smoke --market simulated would change nothing." in lines
    assert "moola run without options: no labels are registered." in lines
    assert lines[-1].split("  ")[1] == "moola labels add FILE"
    assert facts(call("status", "--json", home=smoke_copy.root))["plain_run"]["lacks"] == "labels"


def test_a_scenario_is_a_market_of_its_own(smoke_home: Home):
    lines = call(*STATUS, "--scenario", "no_signal", home=smoke_home.root).stdout.splitlines()
    assert lines[1] == "market    SIMULATED bars, scenario no_signal, profile smoke"
    assert lines[2] == "champion  none yet"
    assert lines[-1].endswith("--profile smoke --scenario no_signal would build all 9 assets: not built yet.")


def test_a_changed_template_of_the_page_makes_the_report_stale(
    smoke_home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    package = tmp_path / "moola_pipeline"
    shutil.copytree(PACKAGE, package)
    page = package / "report" / "report_front.jinja"
    page.write_text(template(page.read_text()))
    monkeypatch.setattr(fingerprints, "package_code", lambda: PackageCode(SourceTree(package)))
    output = status_of(smoke_home)
    assert output["would_make"] == ["bootstrap_ci_report", "registered_model"]
    assert reasons(output)["bootstrap_ci_report"] == "code changed in report/report_front.jinja"


def test_lines_fit_a_terminal(smoke_copy: Home):
    (smoke_copy.tracking / "mlflow.db").unlink()
    lines = call(*STATUS, home=smoke_copy.root).stdout.splitlines()
    assert max(map(len, lines[1:])) <= 100
    assert lines[2] == "champion  none yet"
    assert any(line.startswith("registered_model") and "registry has no version" in line for line in lines)


def test_a_run_in_progress_is_shown(smoke_copy: Home):
    with locked(smoke_copy.dagster / "run"):
        result = call(*STATUS, home=smoke_copy.root)
    assert "running   a moola run is in progress" in result.stdout


def test_changed_bytes_end_status_and_run_with_the_same_line(registered_copy: Home):
    path = registered_copy.data / "nq" / "raw" / BARS
    path.write_bytes(path.read_bytes() + b"x")
    status, run = (call(*words, home=registered_copy.root) for words in (STATUS, SMOKE))
    assert (status.exit_code, run.exit_code) == (FAILED, FAILED)
    assert complaint(status) == complaint(run)
    assert "SHA256 is" in complaint(status)


def test_status_imports_nothing_that_trains_and_not_mlflow(smoke_home: Home):
    """Their imports take longer than the command."""
    heavy = {"torch", "talib", "numba", "sklearn", "matplotlib", "mlflow"}
    code = (
        "import sys; from moola_pipeline.cli import main\n"
        f"try: main(['--home', {str(smoke_home.root)!r}, 'status', '--profile', 'smoke'])\n"
        f"finally: print(sorted({heavy!r} & set(sys.modules)))"
    )
    shown, errors = start(code).communicate()
    assert shown.splitlines()[-2:] == ["moola run --profile smoke would change nothing.", "[]"], errors


def test_a_home_below_a_file_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    result = call("status", home=tmp_path / "file" / "home")
    assert result.exit_code == BAD_INPUT
    assert complaint(result).startswith("--home must be a folder")
