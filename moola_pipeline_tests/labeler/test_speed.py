"""The figures of the labeler's benchmark; `moola bench labeler` measures them."""

from moola_pipeline.benchmarks.labeler_speed import LabelerSpeed, labeler_lines


def test_the_lines_show_times_and_limits():
    lines = labeler_lines(LabelerSpeed(1_800_000, 2.5, 0.02, 0.03, 0.004, 2**29))
    assert lines[0] == "labeler at 1,800,000 simulated bars, memory 512 MiB"
    assert "20.0 ms  (limit 300)" in lines[2]
    assert "30.0 ms  (limit 50)" in lines[3]
