"""The table of a study: kept, fitting its data, told in words, and drawn as a learning curve."""

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
            row("next_leg", 22, 0.70, 0.10),
            row("scratch", 87, 0.70),
            row("next_leg", 87, 0.60, -0.10, minus_scratch_at_most={"type_f1_macro": score(-0.015)}),
        ],
        "complete": True,
    }
    return StudyResults.model_validate(given | parts)


def test_what_was_kept_is_read_again(tmp_path: Path):
    write_checksummed(tmp_path / STUDY_FILE, results().model_dump(mode="json"))
    assert read_study(tmp_path) == results()


def test_no_study_and_one_of_another_version_are_none(tmp_path: Path):
    assert read_study(tmp_path) is None
    write_checksummed(tmp_path / STUDY_FILE, {"market": "nq"})
    assert read_study(tmp_path) is None


def test_a_damaged_study_is_refused_with_the_place_to_delete(tmp_path: Path):
    place = tmp_path / STUDY_FILE
    write_checksummed(place, results().model_dump(mode="json"))
    assert read_study(tmp_path) == results()
    place.write_bytes(place.read_bytes().replace(b'"nq"', b'"es"'))
    with pytest.raises(ChecksumMismatch, match=f"Delete {place}; moola run --profile study writes it again"):
        read_study(tmp_path)


def test_a_study_fits_the_bars_and_labels_that_it_was_held_on():
    now = {"labels.train": "a", "bars.validation": "b", "bars.test": "t"}
    assert fits(results(), now)
    assert fits(results(), now | {"bars.test": "more"})
    assert not fits(results(), now | {"labels.train": "changed"})
    assert not fits(results(), {"labels.train": "a"})


def test_the_curve_sets_one_objective_beside_scratch():
    points = learning_curve(results(), "next_leg")
    told = [(one.n_labels, one.pretrained.estimate, one.scratch and one.scratch.estimate) for one in points]
    assert told == [(22, 0.7, 0.6), (87, 0.6, 0.7)]
    assert learning_curve(results(), "contrastive") == []


def test_taught_networks_stay_out_of_the_curve():
    assert learning_curve(results(rows=[row("next_leg", 22, 0.9, distilled=True)]), "next_leg") == []


def test_the_table_holds_every_row_with_its_interval():
    lines = study_lines(results())
    assert "110 validation expansions in 100 windows of 50 sessions; no test row was read" in lines[0]
    assert any(line.startswith("22 labels, scratch") and "0.600 [0.55, 0.65]" in line for line in lines)
    assert any(line.startswith("22 labels, next leg") and "+0.100 [+0.05, +0.15]" in line for line in lines)


def test_what_is_sure_is_said_and_what_is_not_is_not():
    said = conclusions(results())
    assert "type F1 surely above scratch: 22 labels, next leg" in said
    assert "type F1 surely more than 0.02 below scratch: 87 labels, next leg" in said
    unsure = [row("next_leg", 22, 0.61, 0.01)]
    assert conclusions(results(rows=unsure))[0] == "type F1 surely above scratch: nowhere"


def test_half_of_the_labels_against_all_is_level_within_the_margin():
    (line,) = (line for line in conclusions(results()) if "with all labels" in line)
    assert line.endswith("-0.015 [-0.07, +0.04], level")
    below = row("next_leg", 87, 0.6, -0.1, minus_scratch_at_most={"type_f1_macro": score(-0.03)})
    assert conclusions(results(rows=[below]))[-1].endswith("below")


def test_a_noisy_student_is_compared_with_scratch_and_a_taught_encoder_with_it():
    rows = [
        row("noisy_student", 22, 0.7, 0.1, distilled=True),
        row("next_leg", 22, 0.7, 0.08, distilled=True),
    ]
    assert [one.in_product for one in rows] == [False, True]
    said = conclusions(results(rows=rows))
    assert "type F1 surely above scratch: 22 labels, noisy student" in said
    assert "type F1 surely above the noisy student: 22 labels, next leg, distilled" in said


def test_a_study_cut_short_says_so():
    assert (
        conclusions(results(complete=False))[-1] == "The study is not complete: run it again and it goes on."
    )
    assert "SIMULATED" in study_lines(results(simulated=True))[0]
