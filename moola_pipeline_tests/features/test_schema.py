"""The feature schema: names, ranges, and mirror."""

import numpy as np

from moola_pipeline.features.schema import (
    FEATURE_NAMES,
    FEATURES,
    N_FEATURES,
    N_RELATIVITY,
    RANGE_HIGH,
    RANGE_LOW,
    RELATIVITY,
    STRUCTURE,
    mirrored,
)


def in_range(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random features in their declared ranges, multiples of 1/64 so that 1 - x is exact."""
    shares = rng.integers(0, 65, (*shape, N_FEATURES)) / 64
    return (RANGE_LOW + shares * (RANGE_HIGH - RANGE_LOW)).astype(np.float32)


def test_a_mirrored_row_worked_by_hand():
    row = dict.fromkeys(FEATURE_NAMES, 0.0)
    row |= {"open_norm": 0.25, "close_norm": 0.875, "body_pct": 0.625}
    row |= {"upper_wick_pct": 0.125, "lower_wick_pct": 0.25, "range_z": 1.5}
    row |= {"dist_to_prev_swing_high": 2.0, "dist_to_prev_swing_low": -3.0}
    row |= {"bars_since_swing_high": 0.5, "bars_since_swing_low": 0.75}
    row |= {"expansion_proxy": -0.5, "consolidation_proxy": 0.375}
    row |= {"range_20": 3.0, "net_move_20": -2.5, "efficiency_20": 0.5, "position_20": 0.125}

    upside_down = dict(zip(FEATURE_NAMES, mirrored(np.array(list(row.values()))).tolist(), strict=True))

    assert {name: upside_down[name] for name in FEATURE_NAMES[:N_RELATIVITY]} == {
        "open_norm": 0.75,
        "close_norm": 0.125,
        "body_pct": -0.625,
        "upper_wick_pct": 0.25,
        "lower_wick_pct": 0.125,
        "range_z": 1.5,
        "dist_to_prev_swing_high": -3.0,
        "dist_to_prev_swing_low": 2.0,
        "bars_since_swing_high": 0.75,
        "bars_since_swing_low": 0.5,
        "expansion_proxy": -0.5,
        "consolidation_proxy": 0.375,
    }
    assert [upside_down[f"{name}_20"] for name in ("range", "net_move", "efficiency", "position")] == [
        3.0,
        2.5,
        0.5,
        0.875,
    ]


def test_mirroring_twice_changes_nothing():
    values = in_range(np.random.default_rng(0), 6, 5)
    assert np.array_equal(mirrored(mirrored(values)), values)


def test_mirroring_keeps_shape_dtype_and_the_callers_array():
    values = in_range(np.random.default_rng(1), 3, 4)
    before = values.copy()
    result = mirrored(values)

    assert result.shape == (3, 4, N_FEATURES)
    assert result.dtype == np.float32
    assert not np.array_equal(result, values)
    assert np.array_equal(values, before)


def test_mirrored_features_stay_in_their_declared_ranges():
    for corner in (RANGE_LOW, RANGE_HIGH):
        result = mirrored(corner)
        assert ((result >= RANGE_LOW) & (result <= RANGE_HIGH)).all()


def test_features_that_swap_name_each_other_and_share_a_range():
    by_name = {feature.name: feature for feature in FEATURES}
    swapped = [feature for feature in FEATURES if feature.mirror == "swap"]

    assert len(swapped) == 6
    for feature in swapped:
        partner = by_name[feature.partner]
        assert partner.partner == feature.name != partner.name
        assert (partner.low, partner.high) == (feature.low, feature.high)
    assert not any(feature.partner for feature in FEATURES if feature.mirror != "swap")


def test_there_are_twelve_relativity_and_twelve_structural_features_with_unique_names():
    assert (len(RELATIVITY), len(STRUCTURE)) == (12, 12)
    assert (N_RELATIVITY, N_FEATURES) == (12, 24)
    assert len(set(FEATURE_NAMES)) == N_FEATURES
    assert (RANGE_LOW < RANGE_HIGH).all()
