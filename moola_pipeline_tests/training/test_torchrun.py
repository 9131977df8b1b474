"""The rank named as the cause when processes that train together fail."""

import pytest

from moola_pipeline.training.torchrun import first_failure


@pytest.mark.parametrize(
    ("codes", "first", "cause"),
    [
        ({1: -9}, 1, 1),
        ({0: 1, 1: -9}, 0, 1),  # rank 0 lost its connection to the killed rank 1
        ({0: -9, 1: 1}, 1, 0),
        ({0: -15, 1: 1}, 1, 1),  # torchrun ended rank 0
        ({0: -15, 1: -15}, 0, 0),
        ({0: 1, 1: 1}, 1, 1),
    ],
)
def test_a_killed_rank_is_named_before_those_that_lost_it(codes: dict[int, int], first: int, cause: int):
    assert first_failure(codes, first) == cause
