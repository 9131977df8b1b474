"""Results of a study: storage, matching data, text and learning curve."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from moola_pipeline.errors import ChecksumMismatch
from moola_pipeline.report.data import Score
from moola_pipeline.report.study_results import (
    STUDY_FILE,
    StudyResults,
    StudyRow,
    conclusions,
    fits,
    learning_curve,
    read_study,
    study_lines,
)
from moola_pipeline.storage.checksums import write_checksummed


def score(estimate: float, spread: float = 0.05) -> Score:
    return Score(estimate=estimate, low=estimate - spread, high=estimate + spread, n=110)


def row(arm: str, count: int, type_f1: float, minus: float | None = None, **parts: object) -> StudyRow:
    differences = {} if minus is None else {"type_f1_macro": score(minus), "event_f1_macro": score(minus)}
    given = {
        "arm": arm,
        "distilled": False,
        "count": count,
        "seeds": [0, 1],
        "scores": {"type_f1_macro": score(type_f1), "event_f1_macro": score(type_f1 - 0.2)},
        "minus_scratch": differences,
    }
    return StudyRow.model_validate(given | parts)


def results(**parts: object) -> StudyResults:
    given = {
        "market": "nq",
        "simulated": False,
        "created_at": datetime(2026, 11, 22, tzinfo=UTC),
        "digests": {"labels.train": "a", "bars.validation": "b"},
        "code_version": "c",
        "n_windows": 100,
        "n_sessions": 50,
        "n_labels": 110,
        "settings": {},
        "rows": [
            row("scratch", 22, 0.60),
            row("hidden_blocks", 22, 0.70, 0.10),
            row("scratch", 87, 0.70),
            row("hidden_blocks", 87, 0.60, -0.10, minus_scratch_at_most={"type_f1_macro": score(-0.015)}),
        ],
        "complete": True,
    }
    return StudyResults.model_validate(given | parts)


def test_a_written_study_is_read_back(tmp_path: Path):
    write_checksummed(tmp_path / STUDY_FILE, results().model_dump(mode="json"))
    assert read_study(tmp_path) == results()


def test_a_missing_study_and_one_of_another_version_are_none(tmp_path: Path):
    assert read_study(tmp_path) is None
    write_checksummed(tmp_path / STUDY_FILE, {"market": "nq"})
    assert read_study(tmp_path) is None


def test_a_damaged_study_is_refused_and_the_error_names_the_file_to_delete(tmp_path: Path):
    path = tmp_path / STUDY_FILE
    write_checksummed(path, results().model_dump(mode="json"))
    assert read_study(tmp_path) == results()
    path.write_bytes(path.read_bytes().replace(b'"nq"', b'"es"'))
    with pytest.raises(ChecksumMismatch, match=f"Delete {path}. moola run --profile study writes it again"):
        read_study(tmp_path)


def test_a_study_fits_only_the_bars_and_labels_that_it_used():
    now = {"labels.train": "a", "bars.validation": "b", "bars.test": "t"}
    assert fits(results(), now)
    assert fits(results(), now | {"bars.test": "more"})
    assert not fits(results(), now | {"labels.train": "changed"})
    assert not fits(results(), {"labels.train": "a"})


def test_the_learning_curve_has_the_pretrained_network_and_scratch():
    points = learning_curve(results())
    values = [(it.n_labels, it.pretrained.estimate, it.scratch and it.scratch.estimate) for it in points]
    assert values == [(22, 0.7, 0.6), (87, 0.6, 0.7)]


def test_distilled_networks_are_not_in_the_learning_curve():
    assert learning_curve(results(rows=[row("hidden_blocks", 22, 0.9, distilled=True)])) == []


def test_the_table_holds_every_row_with_its_interval():
    lines = study_lines(results())
    assert "110 validation expansions in 100 windows of 50 sessions; no test row was read" in lines[0]
    assert any(line.startswith("22 labels, scratch") and "0.600 [0.55, 0.65]" in line for line in lines)
    assert any(
        line.startswith("22 labels, hidden blocks") and "+0.100 [+0.05, +0.15]" in line for line in lines
    )


def test_conclusions_name_only_differences_whose_interval_excludes_the_margin():
    lines = conclusions(results())
    assert "type F1, interval above scratch: 22 labels, hidden blocks" in lines
    assert "type F1, interval more than 0.02 below scratch: 87 labels, hidden blocks" in lines
    unsure = [row("hidden_blocks", 22, 0.61, 0.01)]
    assert conclusions(results(rows=unsure))[0] == "type F1, interval above scratch: none"


@pytest.mark.parametrize(
    ("estimate", "low", "high", "outcome"),
    [
        (-0.01, -0.019, 0.01, "not more than 0.02 below"),
        (-0.015, -0.07, 0.04, "neither level nor below"),
        (0.08, -0.03, 0.13, "neither level nor below"),
        (-0.08, -0.12, -0.03, "below"),
    ],
)
def test_half_of_the_labels_is_level_with_all_of_them_if_the_whole_interval_is(
    estimate: float, low: float, high: float, outcome: str
):
    difference = Score(estimate=estimate, low=low, high=high, n=100)
    half = row("hidden_blocks", 87, 0.6, -0.1, minus_scratch_at_most={"type_f1_macro": difference})
    assert conclusions(results(rows=[half]))[-1].endswith(f"], {outcome}")


def test_the_noisy_student_is_compared_with_scratch_and_a_distilled_encoder_with_the_student():
    rows = [
        row("noisy_student", 22, 0.7, 0.1, distilled=True),
        row("hidden_blocks", 22, 0.7, 0.08, distilled=True),
    ]
    assert [row.in_product for row in rows] == [False, True]
    lines = conclusions(results(rows=rows))
    assert "type F1, interval above scratch: 22 labels, noisy student" in lines
    assert "type F1, interval above the noisy student: 22 labels, hidden blocks, distilled" in lines


def test_a_stopped_study_is_reported_as_incomplete():
    assert conclusions(results(complete=False))[-1] == "The study is not complete. Run it again to continue."
    assert "SIMULATED" in study_lines(results(simulated=True))[0]
