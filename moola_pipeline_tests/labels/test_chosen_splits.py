from datetime import date

import pytest

from moola_pipeline.errors import IntegrityError
from moola_pipeline.labels.chosen_splits import read_split_choice, write_split_choice
from moola_pipeline.labels.splits import SplitSettings
from moola_pipeline.storage.checksums import write_checksummed

CHOSEN = SplitSettings(
    train_end=date(2021, 3, 31), validation_end=date(2021, 4, 30), test_end=date(2021, 6, 30)
)


def test_a_new_home_has_no_chosen_splits(tmp_path):
    assert read_split_choice(tmp_path) is None


def test_a_choice_is_remembered_and_the_next_one_replaces_it(tmp_path):
    write_split_choice(tmp_path, CHOSEN)
    assert read_split_choice(tmp_path) == CHOSEN
    rolling = SplitSettings(rule="rolling", rolling_test_months=2)
    write_split_choice(tmp_path, rolling)
    assert read_split_choice(tmp_path) == rolling


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "it is truncated"),
        ("{]}", "it is not JSON"),
        ("[]", "it is not a JSON object"),
        ({"train_end": "someday"}, "Input should be a valid date"),
        ({"train_end": "2026-01-01"}, "must follow each other"),
        ({"seed": 1}, "Extra inputs are not permitted"),
    ],
)
def test_a_broken_choice_is_refused_with_its_remedy(tmp_path, content, why):
    if isinstance(content, str):
        (tmp_path / "splits.json").write_text(content)
    else:
        write_checksummed(tmp_path / "splits.json", content)
    with pytest.raises(IntegrityError) as caught:
        read_split_choice(tmp_path)
    message = str(caught.value)
    assert message.startswith("splits.json must hold the chosen split dates, but ")
    assert why in message and "\n" not in message
    assert message.endswith("again with: moola run --train-end DATE --validation-end DATE --test-end DATE")
