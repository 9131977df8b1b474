"""Random bar files: right ones are read to the bar, wrong ones are refused wherever their bars show it."""

from hypothesis import HealthCheck, given, settings

from moola_pipeline_tests.bars.random_files import FILES, RandomFile, is_at_fault, outcome


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(FILES)
def test_a_random_file_is_read_right_or_refused(file: RandomFile):
    came = outcome(file)
    assert not is_at_fault(file, came), came
