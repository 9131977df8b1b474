"""Drift checks: shifted bars warn, similar bars pass, too few bars pass with a reason."""

import numpy as np
import pytest

from moola_pipeline.metrics.drift import (
    MAJOR_SHIFT,
    MODERATE_SHIFT,
    Reference,
    bin_shares,
    check_calibration,
    check_features,
    check_rates,
    check_type_mix,
    estimate_mix,
    feature_shifts,
    fit_bins,
    population_stability,
)

NAMES = ["a", "b"]


@pytest.fixture(scope="module")
def training() -> np.ndarray:
    """Two features: one normal, one that is 0 in half of the rows."""
    rng = np.random.default_rng(0)
    second = np.where(rng.random(50_000) < 0.5, 0, rng.random(50_000))
    return np.column_stack([rng.normal(size=50_000), second]).astype(np.float32)


@pytest.fixture(scope="module")
def reference(training: np.ndarray) -> Reference:
    edges, shares = fit_bins(training, NAMES)
    rates = np.random.default_rng(1).normal(2, 0.3, 60).tolist()
    return Reference(edges=edges, shares=shares, rows=len(training), rates=rates, retracement_share=0.35)


def test_population_stability_worked_by_hand():
    # (0.4 - 0.5) * ln(0.4 / 0.5) + (0.6 - 0.5) * ln(0.6 / 0.5) = 0.0223 + 0.0182
    assert population_stability(np.array([0.5, 0.5]), np.array([0.4, 0.6])) == pytest.approx(0.0405, abs=1e-4)
    assert population_stability(np.array([0.2, 0.8]), np.array([0.2, 0.8])) == 0


def test_bins_contain_a_tenth_each_and_equal_values_share_a_bin(reference: Reference):
    assert len(reference.edges["a"]) == 9
    np.testing.assert_allclose(reference.shares["a"], 0.1, atol=0.002)
    assert len(reference.edges["b"]) < 9
    assert sum(reference.shares["b"]) == pytest.approx(1)


def test_an_empty_bin_has_a_share_above_zero():
    assert bin_shares(np.array([1.0, 1.0]), np.array([0.0, 2.0])).tolist() == pytest.approx(
        [0.5 / 3.5, 2.5 / 3.5, 0.5 / 3.5]
    )


def test_similar_rows_pass_and_shifted_rows_warn(reference: Reference):
    rng = np.random.default_rng(2)
    second = np.where(rng.random(3000) < 0.5, 0, rng.random(3000))
    same = np.column_stack([rng.normal(size=3000), second])
    similar = check_features(feature_shifts(reference, same, NAMES), 3000)
    assert similar.passed
    assert similar.value < 0.02
    shifted = check_features(feature_shifts(reference, same + np.array([0.7, 0]), NAMES), 3000)
    assert not shifted.passed
    assert shifted.said.startswith("3,000 new rows; largest shift: a ")
    assert f"major (from {MAJOR_SHIFT}): a" in shifted.said
    slightly = check_features(feature_shifts(reference, same + np.array([0.4, 0]), NAMES), 3000)
    assert slightly.passed
    assert f"moderate (from {MODERATE_SHIFT}): a" in slightly.said


def test_bins_do_not_depend_on_later_rows(training: np.ndarray):
    assert fit_bins(training[:1000].copy(), NAMES) == fit_bins(training[:1000], NAMES)
    assert fit_bins(training[:1000], NAMES) != fit_bins(training, NAMES)


def test_usual_rates_pass_and_rare_ones_warn(reference: Reference):
    assert check_rates(reference, np.array([1.9, 2.1, 2.0, 2.4])).passed
    assert check_rates(reference, np.array([0.2, 2.0, 2.1])).passed  # one of three may be chance
    few = check_rates(reference, np.array([0.2, 0.3, 2.1]))
    assert not few.passed
    assert few.said.startswith("2 of 3 new sessions outside ")


def test_usual_sessions_rarely_raise_a_false_alarm(reference: Reference):
    rng = np.random.default_rng(3)
    alarms = [not check_rates(reference, rng.normal(2, 0.3, 10)).passed for _ in range(400)]
    assert np.mean(alarms) < 0.06  # the band itself is estimated from 60 sessions


def test_the_class_mix_is_estimated_from_calibrated_probabilities():
    rng = np.random.default_rng(4)
    y = rng.random(20_000) < 0.6
    odds = np.exp(np.where(y, 1, -1) * 1.5 + rng.normal(size=20_000) * np.sqrt(3))  # likelihood ratios
    p = 0.35 * odds / (0.35 * odds + 0.65)
    assert estimate_mix(p, 0.35) == pytest.approx(0.6, abs=0.03)


def test_a_changed_class_mix_warns_and_an_unchanged_one_passes(reference: Reference):
    rng = np.random.default_rng(5)
    for share, passes in ((0.35, True), (0.8, False)):
        y = rng.random(300) < share
        odds = np.exp(np.where(y, 1, -1) * 1.5 + rng.normal(size=300) * np.sqrt(3))
        assert check_type_mix(reference, 0.35 * odds / (0.35 * odds + 0.65), rng).passed == passes


@pytest.mark.parametrize("prior", [0.25, 0.48, 0.6])
def test_a_share_that_calibration_does_not_reach_gives_no_alarm(reference: Reference, prior: float):
    """The shift of the calibration is pulled to 0: P assumes another share than that of validation."""
    own = reference.model_copy(update={"retracement_prior": prior})
    for share, passes in ((0.35, True), (0.8, False)):
        rng = np.random.default_rng(8)
        y = rng.random(400) < share
        odds = np.exp(np.where(y, 1, -1) * 1.5 + rng.normal(size=400) * np.sqrt(3))
        found = check_type_mix(own, prior * odds / (prior * odds + 1 - prior), rng)
        assert found.passed == passes
        assert found.value == pytest.approx(share - 0.35, abs=0.08)


def test_calibrated_probabilities_pass_and_overconfident_ones_warn():
    rng = np.random.default_rng(6)
    p = rng.random(400)
    assert check_calibration(rng.random(400) < p, p, rng).passed
    overconfident = check_calibration(rng.random(400) < 0.5, np.where(p > 0.5, 0.95, 0.05), rng)
    assert not overconfident.passed
    assert "400 newly labeled expansions" in overconfident.said


def test_too_few_rows_pass_with_a_reason(reference: Reference):
    rng = np.random.default_rng(7)
    few = check_type_mix(reference, np.full(5, 0.5), rng), check_calibration(np.ones(3), np.full(3, 0.9), rng)
    assert all(check.passed and "at least 20 are needed" in check.said for check in few)
    assert "too few to compare" in check_rates(reference, np.empty(0)).said
