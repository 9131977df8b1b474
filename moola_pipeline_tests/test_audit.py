"""`make audit` on recorded outputs of pip-audit; real ones need the internet."""

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


def pip_audit_output(*packages: dict) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_packages_without_advisories_are_sound():
    assert verdict(pip_audit_output(CLICK, CLICK), "") == (
        SOUND,
        ["2 pinned packages, no known vulnerability."],
    )


def test_an_advisory_is_listed_with_the_fixed_versions():
    code, lines = verdict(pip_audit_output(CLICK, FOUND, UNKNOWN), "")
    assert code == VULNERABLE
    assert lines[0] == "torch 1.0: PYSEC-1, fixed in 2.0, 1.9"


def test_a_skipped_package_does_not_count_as_sound():
    code, (line,) = verdict(pip_audit_output(CLICK, UNKNOWN), "")
    assert code == NOT_RUN
    assert line.startswith("Not audited: ")
    assert "but 1 of 2 are unknown (numpy)" in line
    assert verdict(pip_audit_output(), "")[0] == NOT_RUN


def test_without_an_answer_the_audit_fails_in_one_line():
    code, (line,) = verdict("", "Traceback:\n  File x\nConnectionError: Name or service not known\n")
    assert code == NOT_RUN
    assert "got ConnectionError: Name or service not known." in line
    assert verdict("no json", "")[0] == NOT_RUN


def test_the_audit_is_a_make_target_and_not_part_of_ci():
    makefile = (PROJECT_ROOT / "Makefile").read_text()
    assert "\naudit: $(VENV)/.audit\n\t$(BIN)/python -m moola_pipeline_tests.audit\n" in makefile
    assert "audit" not in (PROJECT_ROOT / ".ci" / "run").read_text()
