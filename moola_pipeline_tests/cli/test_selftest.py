"""`moola selftest`: output and exit codes."""

import pytest

from moola_pipeline.cli.exit_codes import FAILED
from moola_pipeline.selftest import checks
from moola_pipeline.selftest.checks import Selftest, SelftestCheck
from moola_pipeline_tests.cli.calls import call, facts

FOUND = SelftestCheck("signal_found", True, 0.2689, "> 0", "type F1 0.86 on planted types")
MISSED = SelftestCheck("leak_caught", False, 0.0, "> 0", "a copy of a test window put into training")


def ending_with(monkeypatch: pytest.MonkeyPatch, *found: SelftestCheck) -> None:
    monkeypatch.setattr(checks, "selftest", lambda device, on_step: Selftest(found, 51.26, device))


def test_passed_checks_are_printed_one_per_line(monkeypatch: pytest.MonkeyPatch):
    ending_with(monkeypatch, FOUND)
    result = call("selftest")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "ok    signal_found  +0.27 (> 0)  type F1 0.86 on planted types",
        "The planted signal and all planted faults were detected. "
        f"SIMULATED market, {facts_device(result.stdout)}, 51 s.",
    ]


def facts_device(text: str) -> str:
    return text.rsplit("SIMULATED market, ", 1)[1].split(",")[0]


def test_a_missed_check_exits_1_with_a_remedy(monkeypatch: pytest.MonkeyPatch):
    ending_with(monkeypatch, FOUND, MISSED)
    result = call("selftest")
    assert result.exit_code == FAILED
    assert "FAIL  leak_caught   +0.00 (> 0)  a copy of a test window put into training" in result.stdout
    assert (
        "1 of 2 checks failed: do not trust scores of this installation. Run: moola doctor" in result.stdout
    )


def test_json_is_one_object_with_the_same_exit_code(monkeypatch: pytest.MonkeyPatch):
    ending_with(monkeypatch, FOUND, MISSED)
    result = call("selftest", "--json")
    assert result.exit_code == FAILED
    output = facts(result)
    assert (output["passed"], output["simulated"], output["seconds"]) == (False, True, 51.3)
    assert output["checks"][0] == {
        "name": "signal_found",
        "passed": True,
        "value": 0.2689,
        "expected": "> 0",
        "detail": "type F1 0.86 on planted types",
    }
