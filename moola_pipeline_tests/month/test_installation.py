"""The simulated month of a real installation: its clock."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from moola_pipeline_tests.cli.calls import start
from moola_pipeline_tests.month.moved_clock import COMPILER, MovedClock

PROBE = """
import sys, threading, time
from datetime import UTC, datetime
from pathlib import Path

while True:
    begun = time.monotonic()
    time.sleep(0.1)
    threading.Event().wait(0.1)
    waited, today = time.monotonic() - begun, datetime.now(UTC).date()
    age = time.time() - Path(sys.argv[1]).stat().st_ctime
    print(today, 0.2 <= waited < 5, 0 <= age < 60, flush=True)
"""
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="needs Linux and a C compiler (cc)")


@needs_compiler
def test_the_clock_of_a_running_process_moves_while_waiting_and_the_ages_of_files_stay(tmp_path: Path):
    clock, days = (
        MovedClock(tmp_path),
        (datetime(2025, 10, 30, 9, tzinfo=UTC), datetime(2031, 1, 2, 9, tzinfo=UTC)),
    )
    clock.set(days[0])
    with start(PROBE, tmp_path / "offset", **clock.environment) as process:
        assert process.stdout is not None
        for day in days:
            clock.set(day)
            lines = iter(process.stdout.readline, "")
            assert next(line for line in lines if line.startswith(f"{day:%Y-%m-%d}")).endswith("True True\n")
        process.kill()
