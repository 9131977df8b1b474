"""How long a person waits before anything happens: for the help, and for Dagster to load the definitions."""

import subprocess
import sys

from moola_pipeline.bench.feature_speed import Timing, timed

HELP_REPEATS, DEFINITIONS_REPEATS = 5, 3
_HELP = ("-m", "moola_pipeline", "--help")
_DEFINITIONS = ("-c", "import moola_pipeline.definitions")


def measure_startup(rehearsed: bool = False) -> dict[str, Timing]:
    """Time both in processes of their own, Python's start included; once only where it is a rehearsal."""
    helped, loaded = (1, 1) if rehearsed else (HELP_REPEATS, DEFINITIONS_REPEATS)
    return {
        "help": timed(lambda: _start(*_HELP), helped, floor=0.5, goal=0.3),
        "definitions": timed(lambda: _start(*_DEFINITIONS), loaded, floor=4, goal=2),
    }


def _start(*words: str) -> None:
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
