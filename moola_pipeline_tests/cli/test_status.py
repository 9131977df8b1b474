"""moola status: what is stale and why, and that moola run does just that."""

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


def asked(home: Home, *words: str) -> dict:
    return facts(call(*STATUS, *words, "--json", home=home.root))


def reasons(said: dict) -> dict[str, str]:
    return {row["asset"]: row["reason"] for row in said["assets"]}


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
    said = asked(smoke_home)
    assert said["would_make"] == [] and said["champion"] == "1" and said["running"] is False
    assert (said["market"], said["simulated"], said["profile"]) == ("simulated", True, "smoke")
    assert [row["asset"] for row in said["assets"]] == list(STAGES)
    assert {row["state"] for row in said["assets"]} == {"up to date"}
    assert all(row["made_at"].endswith("Z") for row in said["assets"])


def test_nothing_is_written_where_nothing_ran(isolated_home: Path):
    result = call("status")
    assert result.exit_code == 0
    assert result.stdout.endswith("moola run would build all 9 assets: not built yet.\n")
    assert list(isolated_home.iterdir()) == []
    assert {row["state"] for row in facts(call("status", "--json"))["assets"]} == {"missing"}


def test_a_new_day_of_bars_is_named_and_the_run_makes_just_what_was_said(
    registered_copy: Home, registered_files: Path
):
    moola(registered_copy, "bars", "add", registered_files / LATER_BARS)
    said = asked(registered_copy)
    assert reasons(said)["raw_nq_bars"].startswith("bars were added: 1,380 rows after the test period")
    assert reasons(said)["relativity_features"] == "raw_nq_bars will be rebuilt"
    assert reasons(said)["finetuned_classifier"] == "unchanged"
    assert said["would_make"] == made_by_run(registered_copy)
    assert asked(registered_copy)["would_make"] == []


@pytest.mark.parametrize(
    ("lost", "state", "reason"),
    [
        ("store/simulated-smoke/latest_expansions.parquet", "missing", "its files are gone"),
        ("store/simulated-smoke/registered_model.json", "missing", "its files are gone"),
    ],
)
def test_what_is_gone_is_missing_and_is_made_again(smoke_copy: Home, lost: str, state: str, reason: str):
    (smoke_copy.data / lost).unlink()
    said = asked(smoke_copy)
    asset = Path(lost).stem
    assert [(row["state"], row["reason"]) for row in said["assets"] if row["asset"] == asset] == [
        (state, reason)
    ]
    assert said["would_make"] == made_by_run(smoke_copy)


def test_what_another_profile_made_is_named_as_such(smoke_home: Home):
    lines = call("status", home=smoke_home.root).stdout.splitlines()
    assert lines[1] == "market    SIMULATED bars, profile demo"
    assert lines[-1] == "moola run would build all 9 assets: last built for simulated-smoke."
    assert not (smoke_home.simulated / "full").exists()


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
    said = asked(smoke_home)
    assert said["would_make"] == ["bootstrap_ci_report", "registered_model"]
    assert reasons(said)["bootstrap_ci_report"] == "code changed in report/report_front.jinja"


def test_lines_fit_a_terminal(smoke_copy: Home):
    (smoke_copy.tracking / "mlflow.db").unlink()
    lines = call(*STATUS, home=smoke_copy.root).stdout.splitlines()
    assert max(map(len, lines[1:])) <= 100
    assert lines[2] == "champion  none yet"
    assert any(line.startswith("registered_model") and "registry has no version" in line for line in lines)


def test_a_run_at_work_is_told(smoke_copy: Home):
    with locked(smoke_copy.dagster / "run"):
        result = call(*STATUS, home=smoke_copy.root)
    assert "running   a moola run is in progress" in result.stdout


def test_changed_bytes_end_status_and_run_with_the_same_line(registered_copy: Home):
    path = registered_copy.data / "nq" / "raw" / BARS
    path.write_bytes(path.read_bytes() + b"x")
    told, done = (call(*words, home=registered_copy.root) for words in (STATUS, SMOKE))
    assert (told.exit_code, done.exit_code) == (FAILED, FAILED)
    assert complaint(told) == complaint(done)
    assert "SHA256 is" in complaint(told)


def test_status_imports_nothing_that_trains_and_not_mlflow(smoke_home: Home):
    """Together they take longer than the answer."""
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
