"""A month of use, played by the machinery that a person switches on; each step does what it must."""

import subprocess
import sys

import pytest

from moola_pipeline.storage.home import PROJECT_ROOT


@pytest.mark.slow
def test_a_month_of_use_from_the_first_champion_to_a_home_that_moves():
    command = [sys.executable, "-m", "moola_pipeline_tests.month"]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    shown = done.stdout.splitlines()
    assert [line for line in shown[::2] if not line.startswith("ok ")] == [], done.stdout + done.stderr
    assert done.returncode == 0
    said = {head[16:]: line.strip() for head, line in zip(shown[::2], shown[1::2], strict=True)}
    assert len(said) == 11
    assert said["the same file again: nothing"].startswith("july.parquet: unchanged")
    assert "labels of July: the weekly training runs, the promotion decides" in said
