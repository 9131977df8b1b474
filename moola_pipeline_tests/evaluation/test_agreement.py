import numpy as np
import pytest

from moola_pipeline.evaluation.agreement import measure_agreement
from moola_pipeline_tests.labels.weekly_market import label_frame, label_row, weekly_bars, weekly_labels

BARS = weekly_bars(6)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_equal_labels_agree_fully():
    rows = weekly_labels(BARS)
    agreement = measure_agreement(rows, rows, BARS, rng())
    assert agreement.windows == 6
    assert (agreement.finding.estimate, agreement.onset.estimate, agreement.types.estimate) == (1.0, 0.0, 1.0)
    assert agreement.differing.empty


def test_marks_moved_by_a_bar_missing_or_of_another_type_are_counted():
    rows = weekly_labels(BARS)
    other = rows.copy()
    other.loc[0, ["expansion_start", "expansion_end"]] += 2
    other.loc[1, "label"] = "consolidation"
    other.loc[2, ["label", "expansion_start", "expansion_end"]] = ["none", None, None]
    agreement = measure_agreement(rows, other, BARS, rng())
    assert agreement.finding.estimate == pytest.approx(2 * 5 / (2 * 5 + 1))
    assert agreement.onset.estimate == pytest.approx(2 / 5)
    assert agreement.types.estimate == pytest.approx(4 / 5)
    assert agreement.differing.to_dict("list") == {
        "window_id": [rows["window_id"][1], rows["window_id"][2]],
        "differences": [1, 1],
    }


def test_an_unknown_type_counts_in_finding_only():
    rows = weekly_labels(BARS)
    agreement = measure_agreement(rows, rows.assign(label="unknown"), BARS, rng())
    assert agreement.finding.estimate == 1.0
    assert agreement.types.n == 0


def test_windows_that_one_did_not_judge_whole_are_not_compared():
    rows = weekly_labels(BARS)
    other = rows.assign(complete=["no", "no", "yes", "yes", "yes", "yes"])
    other.loc[0, ["expansion_start", "expansion_end"]] += 20
    for pair in ((rows, other), (other, rows)):
        agreement = measure_agreement(*pair, BARS, rng())
        assert (agreement.windows, agreement.finding.estimate) == (4, 1.0)


def test_agreement_is_symmetric():
    rows = weekly_labels(BARS)
    other = rows.iloc[1:].assign(expansion_start=rows["expansion_start"] + 1)
    one, two = (measure_agreement(*pair, BARS, rng()) for pair in ((rows, other), (other, rows)))
    assert (one.finding, one.onset, one.types) == (two.finding, two.onset, two.types)


def test_without_a_common_window_nothing_is_measured():
    one, other = (label_frame([label_row(BARS, bar0, "none")]) for bar0 in (360, 660))
    agreement = measure_agreement(one, other, BARS, rng())
    assert agreement.windows == 0
    assert np.isnan(agreement.finding.estimate)


def test_marks_of_different_length_agree_in_both_orders():
    row = label_row(BARS, 360, "retracement", 40)
    long, short = (label_frame([row | {"expansion_end": end}]) for end in (60, 50))
    assert measure_agreement(long, short, BARS, rng()).finding.estimate == 1
    assert measure_agreement(short, long, BARS, rng()).finding.estimate == 1
