"""`make audit`: whether a version pinned in requirements.txt has a known vulnerability."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from moola_pipeline.storage.home import PROJECT_ROOT

PINS = PROJECT_ROOT / "requirements.txt"
SOUND, VULNERABLE, NOT_RUN = 0, 1, 2
"""How the command ends."""
SHOWN = 5


def audit(pins: Path) -> tuple[int, list[str]]:
    """Ask the package index for advisories on each pinned version; needs the internet.

    Returns:
        SOUND, VULNERABLE or NOT_RUN, and what to print.
    """
    words = ["--requirement", str(pins), "--no-deps", "--disable-pip", "--format", "json"]
    command = [sys.executable, "-m", "pip_audit", *words, "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return verdict(done.stdout, done.stderr)


def verdict(stdout: str, stderr: str) -> tuple[int, list[str]]:
    """What a run of pip-audit says; a package that it left out is not taken for a sound one."""
    try:
        listed: list[dict[str, Any]] = json.loads(stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        said = next((line for line in reversed(stderr.splitlines()) if line.strip()), "nothing")
        return NOT_RUN, [
            f"Not audited: the vulnerability service must answer, got {said[:300]}. "
            "Run it where the internet can be reached."
        ]
    left_out = [str(one["name"]) for one in listed if "skip_reason" in one]
    faults = [
        f"{one['name']} {one['version']}: {found['id']}, mended in {_versions(found['fix_versions'])}"
        for one in listed
        for found in one.get("vulns", [])
    ]
    if faults:
        return VULNERABLE, [*faults, "Pin a mended version in requirements.txt, and run the tests."]
    if left_out or not listed:
        more = f" and {len(left_out) - SHOWN} more" if len(left_out) > SHOWN else ""
        return NOT_RUN, [
            f"Not audited: the vulnerability service must know every package, but of {len(listed)} it does "
            f"not know {len(left_out)} ({', '.join(left_out[:SHOWN])}{more}). "
            "Run it where the internet can be reached."
        ]
    return SOUND, [f"{len(listed)} pinned packages, no known vulnerability."]


def _versions(fixed: list[str]) -> str:
    return ", ".join(fixed) or "no version yet"


if __name__ == "__main__":
    code, lines = audit(Path(sys.argv[1]) if len(sys.argv) > 1 else PINS)
    print("\n".join(lines))  # noqa: T201 - this is what it is for
    sys.exit(code)
