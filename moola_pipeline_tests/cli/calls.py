"""Calls of `moola`, in this process or in a separate one (for signals and imports)."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from moola_pipeline.cli import moola
from moola_pipeline.storage.home import PROJECT_ROOT


def call(*words: str | Path, home: Path | None = None) -> Result:
    """Run `moola WORDS` in this process, in the test's home unless `home` is given."""
    before = [] if home is None else ["--home", str(home)]
    return CliRunner().invoke(moola, [*before, *map(str, words)])


def facts(result: Result) -> dict[str, Any]:
    """The one JSON object on standard output."""
    output = json.loads(result.stdout)
    assert isinstance(output, dict)
    return output


def complaint(result: Result) -> str:
    """The one line on standard error."""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("Error: ").rstrip("\n")


def start(code: str, *words: str | Path, **variables: str) -> subprocess.Popen[str]:
    """A Python process that runs `code` with `words` as arguments; its output is piped."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
