"""What the page says about how much is labeled."""

import pytest

from moola_pipeline.labeler.progress import progress_facts


@pytest.mark.parametrize(
    ("n", "said"),
    [
        (0, "0 expansions: first model at 30, test split at 80"),
        (1, "1 expansion: first model at 30, test split at 80"),
        (30, "30 expansions: test split at 80"),
        (80, "80 expansions"),
    ],
)
def test_the_line_names_what_is_still_to_come(n: int, said: str):
    facts = progress_facts({"train": 9, "validation": 0, "test": 4, "unused": 0}, n)
    assert facts["text"] == f"train 9 · validation 0 · test 4  —  {said}"
    assert facts["expansions"] == n
