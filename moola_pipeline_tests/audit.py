"""`make audit`: check the pinned versions in requirements.txt for known vulnerabilities."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from moola_pipeline.storage.home import PROJECT_ROOT

PINS = PROJECT_ROOT / "requirements.txt"
SOUND, VULNERABLE, NOT_RUN = 0, 1, 2
"""Exit codes."""
SHOWN = 5


def audit(pins: Path) -> tuple[int, list[str]]:
    """Look up advisories for each pinned version; needs the internet.

    Returns:
        SOUND, VULNERABLE or NOT_RUN, and the lines to print.
    """
    words = ["--requirement", str(pins), "--no-deps", "--disable-pip", "--format", "json"]
    command = [sys.executable, "-m", "pip_audit", *words, "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return verdict(done.stdout, done.stderr)


def verdict(stdout: str, stderr: str) -> tuple[int, list[str]]:
    """Exit code and lines from the output of pip-audit; a skipped package does not count as sound."""
    try:
        listed: list[dict[str, Any]] = json.loads(stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last_line = next((line for line in reversed(stderr.splitlines()) if line.strip()), "nothing")
        return NOT_RUN, [
            f"Not audited: the vulnerability service must answer, got {last_line[:300]}. "
            "Run it on a machine with internet access."
        ]
    skipped = [str(package["name"]) for package in listed if "skip_reason" in package]
    advisories = [
        f"{package['name']} {package['version']}: {advisory['id']}, "
        f"fixed in {_versions(advisory['fix_versions'])}"
        for package in listed
        for advisory in package.get("vulns", [])
    ]
    if advisories:
        return VULNERABLE, [*advisories, "Pin a fixed version in requirements.txt, and run the tests."]
    if skipped or not listed:
        more = f" and {len(skipped) - SHOWN} more" if len(skipped) > SHOWN else ""
        return NOT_RUN, [
            f"Not audited: the vulnerability service must know every package, but {len(skipped)} of "
            f"{len(listed)} are unknown ({', '.join(skipped[:SHOWN])}{more}). "
            "Run it on a machine with internet access."
        ]
    return SOUND, [f"{len(listed)} pinned packages, no known vulnerability."]


def _versions(versions: list[str]) -> str:
    return ", ".join(versions) or "no version yet"


if __name__ == "__main__":
    code, lines = audit(Path(sys.argv[1]) if len(sys.argv) > 1 else PINS)
    print("\n".join(lines))  # noqa: T201 - a command line program
    sys.exit(code)
