"""The simulated month of use: every step passes."""

import subprocess
import sys

import pytest

from moola_pipeline.storage.home import PROJECT_ROOT


@pytest.mark.slow
def test_every_step_of_a_month_of_use_passes():
    command = [sys.executable, "-m", "moola_pipeline_tests.month"]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert [line for line in lines[::2] if not line.startswith("ok ")] == [], done.stdout + done.stderr
    assert done.returncode == 0
    texts = {head[16:]: line.strip() for head, line in zip(lines[::2], lines[1::2], strict=True)}
    assert len(texts) == 11
    assert texts["the same file again: no run"].startswith("july.parquet: unchanged")
    assert "labels of July: the weekly training runs, the promotion rule decides" in texts
