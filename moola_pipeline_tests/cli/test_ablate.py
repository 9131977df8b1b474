"""`moola ablate`: rows are chosen by the start of their names, with the row that they are compared with."""

import pytest

from moola_pipeline.cli.ablate import _rows
from moola_pipeline.studies.ablation_rows import DEFAULT, ROWS
from moola_pipeline_tests.cli.calls import call, complaint


def test_the_default_of_the_path_of_a_chosen_row_comes_with_it():
    rows = _rows(("no warp",), None)
    assert [(row.path, row.name) for row in rows] == [("labels", DEFAULT), ("labels", "no warp")]
    both = _rows(("no pretraining",), None)
    assert [row.path for row in both if row.name == DEFAULT] == ["pseudo_labels", "labels"]
    assert {row.path for row in _rows(("no pretraining",), "labels")} == {"labels"}
    assert _rows((), None) == list(ROWS)


@pytest.mark.parametrize("option", ["--row", "--against"])
def test_a_row_that_does_not_exist_is_refused_with_the_choices(option: str):
    result = call("ablate", option, "no such row")
    assert result.exit_code == 2
    assert complaint(result).startswith(
        "--row must be the start of a row's name, got no such row. Choose from:"
    )
    assert "the teachers themselves" in complaint(result)


def test_fewer_labels_than_four_are_refused():
    result = call("ablate", "--labels", "3")
    assert result.exit_code == 2
    assert "'--labels': 3 is not in the range x>=4" in complaint(result)
