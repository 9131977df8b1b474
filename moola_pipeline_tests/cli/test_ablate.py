"""`moola ablate`: rows are chosen by the start of their names, with the row that they are compared with."""

import pytest

from moola_pipeline.cli.ablate import _base, _rows
from moola_pipeline.studies.ablation_rows import DEFAULT, ROWS
from moola_pipeline_tests.cli.calls import call, complaint


def test_the_default_of_the_path_of_a_chosen_row_comes_with_it():
    rows = _rows(("no warp",), None)
    assert [(row.path, row.name) for row in rows] == [("labels", DEFAULT), ("labels", "no warp")]
    both = _rows(("no pretraining",), None)
    assert [row.path for row in both if row.name == DEFAULT] == ["pseudo_labels", "labels"]
    assert {row.path for row in _rows(("no pretraining",), "labels")} == {"labels"}
    assert _rows((), None) == list(ROWS)


def test_a_row_that_does_not_exist_is_refused_with_the_choices():
    result = call("ablate", "--row", "no such row")
    assert result.exit_code == 2
    assert complaint(result).startswith(
        "--row must be the start of a row's name, got no such row. Choose from"
    )
    assert "the teachers themselves" in complaint(result)


@pytest.mark.parametrize("name, n_rows", [("no such row", 0), ("heads without", 2)])
def test_a_row_to_compare_with_must_be_one(name: str, n_rows: int):
    result = call("ablate", "--against", name)
    assert result.exit_code == 2
    assert complaint(result).startswith(
        f"--against must be the start of one row's name, got {name}, which {n_rows} have. Choose from:"
    )
    assert ("the teachers themselves" in complaint(result)) == (n_rows == 0)


def test_a_row_to_compare_with_is_named_in_full_or_by_a_start_of_its_own():
    shared = "heads without measured numbers"
    assert _base(shared, None) == shared
    assert _base(f"{shared}, ran", None) == f"{shared}, random weights"


def test_fewer_labels_than_four_are_refused():
    result = call("ablate", "--labels", "3")
    assert result.exit_code == 2
    assert "'--labels': 3 is not in the range x>=4" in complaint(result)
