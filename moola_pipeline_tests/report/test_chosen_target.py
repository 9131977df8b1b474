import pytest

from moola_pipeline.errors import IntegrityError
from moola_pipeline.report.chosen_target import read_target_choice, write_target_choice
from moola_pipeline.report.data import Target
from moola_pipeline.storage.checksums import write_checksummed


def test_a_new_home_has_the_default_target(tmp_path):
    assert read_target_choice(tmp_path).is_default


def test_a_target_is_remembered_and_the_next_one_replaces_it(tmp_path):
    for target in (Target(estimate=0.8, low=0.7), Target(estimate=0.6, low=0.5)):
        write_target_choice(tmp_path, target)
        assert read_target_choice(tmp_path) == target


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "it is truncated"),
        ("[]", "it is not a JSON object"),
        ({"estimate": 1.5}, "less than or equal to 1"),
        ({"estimate": "high"}, "valid number"),
        ({"f1": 0.8}, "Extra inputs are not permitted"),
    ],
)
def test_a_broken_target_is_refused_with_its_remedy(tmp_path, content, why):
    if isinstance(content, str):
        (tmp_path / "target.json").write_text(content)
    else:
        write_checksummed(tmp_path / "target.json", content)
    with pytest.raises(IntegrityError) as caught:
        read_target_choice(tmp_path)
    message = str(caught.value)
    assert message.startswith("target.json must hold the chosen target, but ")
    assert why in message and "\n" not in message
    assert message.endswith("delete it and choose again with: moola run --target F1")
