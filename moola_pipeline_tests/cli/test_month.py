"""A month of use, played by the machinery that a person switches on; each step does what it must."""

import json
import subprocess
import sys

import pytest

from moola_pipeline.storage.home import PROJECT_ROOT


@pytest.mark.slow
def test_a_month_of_use_from_the_first_champion_to_a_home_that_moves():
    command = [sys.executable, "-m", "moola_pipeline", "selftest", "--month", "--json"]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert [step["name"] for step in found["steps"] if not step["passed"]] == [], found["steps"]
    assert done.returncode == 0
    said = {step["name"]: step["said"] for step in found["steps"]}
    assert len(said) == 11
    assert said["the same file again: nothing"].startswith("july.parquet: unchanged")
    assert "labels of July: the weekly training runs, the promotion decides" in said
