"""Random bar files: right ones are read to the bar, wrong ones are refused wherever their bars show it."""

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings

from moola_pipeline_tests.bars.random_files import FILES, RandomFile, is_at_fault, outcome

ONE_MORNING = RandomFile(
    seed=1882,
    first=date(2026, 1, 3),
    n_sessions=1,
    part="day",
    cut=0.4,
    traded=1.0,
    zone="Asia/Kolkata",
    late=False,
    instrument="NQ",
    layout="counts",
    wrong="stamp",
    other_zone="Europe/London",
    scale=100,
    step=60,
)
"""Its second bar of the day is by chance the larger one, as if it were the opening's."""
NEWS = replace(
    ONE_MORNING,
    seed=204,
    first=date(2021, 3, 9),
    part="whole",
    cut=0.95,
    traded=0.9,
    zone="America/New_York",
    instrument="ES",
    layout="offsets",
    wrong="zone",
    other_zone="America/Chicago",
)
"""Its ranges rise by chance at 08:30, which another zone makes the opening."""
EARLY_CLOSE = replace(
    ONE_MORNING,
    seed=1621,
    first=date(2024, 1, 8),
    n_sessions=7,
    cut=1.0,
    zone="Europe/Athens",
    instrument="RTY",
    layout="csv",
    wrong="zone of one session",
    other_zone="America/New_York",
)
"""The session in another zone is one that closed early, so that its end moved otherwise than its begin."""


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(FILES)
def test_a_random_file_is_read_right_or_refused(file: RandomFile):
    came = outcome(file)
    assert not is_at_fault(file, came), came


@pytest.mark.parametrize("file", [ONE_MORNING, NEWS, EARLY_CLOSE], ids=["morning", "news", "early close"])
def test_files_that_were_once_read_wrong_are_refused(file: RandomFile):
    assert outcome(file).startswith("refused: ")
