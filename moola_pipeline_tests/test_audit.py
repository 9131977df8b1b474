"""What `make audit` makes of pip-audit's answers; the answers themselves take the internet."""

import json

from moola_pipeline.storage.home import PROJECT_ROOT
from moola_pipeline_tests.audit import NOT_RUN, SOUND, VULNERABLE, verdict

CLICK = {"name": "click", "version": "8.5.1", "vulns": []}
FOUND = {
    "name": "torch",
    "version": "1.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.0", "1.9"], "aliases": [], "description": "x"}],
}
UNKNOWN = {"name": "numpy", "skip_reason": "Dependency not found on PyPI and could not be audited"}


def said(*packages: dict) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_packages_without_advisories_are_sound():
    assert verdict(said(CLICK, CLICK), "") == (SOUND, ["2 pinned packages, no known vulnerability."])


def test_an_advisory_is_named_with_the_versions_that_mend_it():
    code, lines = verdict(said(CLICK, FOUND, UNKNOWN), "")
    assert code == VULNERABLE
    assert lines[0] == "torch 1.0: PYSEC-1, mended in 2.0, 1.9"


def test_a_package_that_was_left_out_is_not_taken_for_a_sound_one():
    code, (line,) = verdict(said(CLICK, UNKNOWN), "")
    assert code == NOT_RUN
    assert line.startswith("Not audited: ")
    assert "of 2 it does not know 1 (numpy)" in line
    assert verdict(said(), "")[0] == NOT_RUN


def test_a_service_that_does_not_answer_is_one_line_and_no_success():
    code, (line,) = verdict("", "Traceback:\n  File x\nConnectionError: Name or service not known\n")
    assert code == NOT_RUN
    assert "got ConnectionError: Name or service not known." in line
    assert verdict("no json", "")[0] == NOT_RUN


def test_it_is_one_command_and_no_part_of_ci():
    makefile = (PROJECT_ROOT / "Makefile").read_text()
    assert "\naudit: $(VENV)/.audit\n\t$(BIN)/python -m moola_pipeline_tests.audit\n" in makefile
    assert "audit" not in (PROJECT_ROOT / ".ci" / "run").read_text()
