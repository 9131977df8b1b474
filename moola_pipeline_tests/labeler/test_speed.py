import pytest

from moola_pipeline.benchmarks.labeler_speed import (
    FIRST_LIMIT,
    NEXT_LIMIT,
    LabelerSpeed,
    labeler_lines,
    measure_labeler,
)


def test_the_lines_show_times_and_limits():
    lines = labeler_lines(LabelerSpeed(1_800_000, 2.5, 0.02, 0.03, 0.004, 2**29))
    assert lines[0] == "labeler at 1,800,000 simulated bars, memory 512 MiB"
    assert "20.0 ms  (limit 300)" in lines[2]
    assert "30.0 ms  (limit 50)" in lines[3]


@pytest.mark.slow
def test_at_five_years_the_first_window_takes_under_300_ms_and_the_next_under_50():
    speed = measure_labeler()
    assert speed.bars > 1_800_000
    assert speed.first_seconds < FIRST_LIMIT
    assert speed.next_seconds < NEXT_LIMIT
