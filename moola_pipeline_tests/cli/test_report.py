"""`moola report`: the last report as text and as JSON."""

import json
import os
import webbrowser
from pathlib import Path

import pytest

from moola_pipeline.cli.exit_codes import BAD_INPUT, FAILED
from moola_pipeline.report.data import ReportData
from moola_pipeline.storage.asset_checksums import write_checksums
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.cli.calls import call, complaint, facts
from moola_pipeline_tests.homes import outcome


def report_file(home: Home, place: str = "simulated-smoke") -> Path:
    return home.reports / place / "report.json"


def test_the_last_report_is_shown_with_the_path_of_its_page(smoke_home: Home):
    result = call("report", home=smoke_home.root)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("SIMULATED bars and labels")
    assert any(line.startswith("Moola minus baseline") for line in lines)
    assert lines[-1] == f"report    {report_file(smoke_home).with_suffix('.html')}"


def test_json_is_the_report_that_the_run_printed(smoke_home: Home):
    shown = facts(call("report", "--json", home=smoke_home.root))
    printed = outcome(smoke_home)
    assert shown == {name: printed[name] for name in shown}
    assert ReportData.model_validate(shown) == ReportData.model_validate_json(
        report_file(smoke_home).read_bytes()
    )


def test_the_page_needs_no_other_file_and_names_its_run(smoke_home: Home):
    page = report_file(smoke_home).with_suffix(".html").read_text()
    assert "SIMULATED" in page
    assert page.count("<svg") >= 4
    assert not any(f"{link}http" in page for link in ('src="', 'href="', "url("))
    run_id = outcome(smoke_home)["run"]["run_id"]
    assert run_id in page


def test_of_two_reports_the_newer_is_shown(smoke_copy: Home):
    older = report_file(smoke_copy)
    newer = report_file(smoke_copy, "nq-full")
    newer.parent.mkdir()
    content = json.loads(older.read_bytes()) | {"profile": "full"}
    newer.write_text(json.dumps(content))
    write_checksums(newer.parent / "report")
    os.utime(older, (1_000, 1_000))
    assert facts(call("report", "--json", home=smoke_copy.root))["profile"] == "full"
    os.utime(newer, (500, 500))
    assert facts(call("report", "--json", home=smoke_copy.root))["profile"] == "smoke"


def test_open_hands_the_page_to_the_browser(smoke_home: Home, monkeypatch: pytest.MonkeyPatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    assert call("report", "--open", home=smoke_home.root).exit_code == 0
    assert opened == [report_file(smoke_home).with_suffix(".html").as_uri()]


def test_without_a_report_one_line_names_the_command(isolated_home: Path):
    result = call("report")
    assert result.exit_code == BAD_INPUT
    assert complaint(result) == "A report must exist, but there is none. Run: moola run"


@pytest.mark.parametrize("content", ["", "{}", '{"data": 3}', "\x00"])
def test_a_broken_report_is_refused_in_one_line(content: str, isolated_home: Path):
    path = report_file(Home(isolated_home))
    path.parent.mkdir(parents=True)
    path.write_text(content)
    write_checksums(path.parent / "report")
    result = call("report")
    assert result.exit_code == FAILED
    fault = complaint(result)
    assert fault.startswith("simulated-smoke/report.json must be a report, but ")
    assert fault.endswith("Run: moola run --force")


def test_a_report_without_checksums_is_refused_with_its_remedy(smoke_copy: Home):
    report_file(smoke_copy).with_name("report.checksums.json").unlink()
    result = call("report", home=smoke_copy.root)
    assert result.exit_code == FAILED
    assert complaint(result) == (
        "report.checksums.json must hold the digests of report, but it is gone. "
        "Rebuild it: moola run --market simulated --profile smoke"
    )
