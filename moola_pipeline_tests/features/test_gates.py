"""The figures that show a dead or squeezed feature."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moola_pipeline.features.gates import feature_table_figures, is_dense, is_spread, weakest_feature
from moola_pipeline.features.relativity import compute_features
from moola_pipeline.features.schema import (
    FEATURE_NAMES,
    FEATURES,
    MIN_DENSITY,
    MIN_SPREAD,
    N_FEATURES,
    RANGE_HIGH,
    RANGE_LOW,
)
from moola_pipeline_tests.made_bars import TICK, made_market


def test_figures_of_one_column_worked_by_hand():
    values = np.zeros((101, N_FEATURES), np.float32)
    values[:, FEATURE_NAMES.index("range_z")] = np.linspace(0, 3, 101)
    figures = feature_table_figures(values).loc["range_z"]
    assert figures["non_zero_share"] == pytest.approx(100 / 101)
    assert figures["p1"] == pytest.approx(0.03)
    assert figures["median"] == pytest.approx(1.5)
    assert figures["p99"] == pytest.approx(2.97)
    assert figures["spread_share"] == pytest.approx(0.98)


def test_an_empty_column_has_no_density_and_no_spread():
    figures = feature_table_figures(np.zeros((10, N_FEATURES), np.float32))
    assert (figures["non_zero_share"] == 0).to_numpy().all()
    assert (figures["spread_share"] == 0).to_numpy().all()


def test_a_constant_is_dense_and_still_fails_for_spread():
    figures = feature_table_figures(np.ones((10, N_FEATURES), np.float32))
    assert is_dense(figures["non_zero_share"]).all()
    assert not is_spread(figures["spread_share"]).any()


def test_a_feature_written_at_one_bar_of_105_fails_for_density():
    values = np.zeros((105 * 20, N_FEATURES), np.float32)
    values[::105] = RANGE_HIGH
    assert not is_dense(feature_table_figures(values)["non_zero_share"]).any()


def test_a_feature_squeezed_into_a_corner_of_its_range_fails_for_spread():
    shares = np.random.default_rng(0).uniform(0, 0.04, (500, N_FEATURES))
    figures = feature_table_figures((RANGE_LOW + shares * (RANGE_HIGH - RANGE_LOW)).astype(np.float32))
    assert not is_spread(figures["spread_share"]).any()


def test_one_outlier_in_a_thousand_gives_no_spread():
    values = np.full((1000, N_FEATURES), 0.5, np.float32)
    values[0] = RANGE_HIGH
    assert not is_spread(feature_table_figures(values)["spread_share"]).any()


@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_shares_of_features_in_their_range_lie_between_zero_and_one(n_rows: int, seed: int):
    shares = np.random.default_rng(seed).uniform(0, 1, (n_rows, N_FEATURES))
    figures = feature_table_figures(RANGE_LOW + shares * (RANGE_HIGH - RANGE_LOW))
    assert list(figures.index) == list(FEATURE_NAMES)
    for name in ("non_zero_share", "spread_share"):
        assert figures[name].between(0, 1 + 1e-9).to_numpy().all()
    assert (figures["p1"] <= figures["median"]).to_numpy().all()
    assert (figures["median"] <= figures["p99"]).to_numpy().all()


def test_a_simulated_market_passes_both_gates():
    bars = made_market(20).bars
    table = compute_features(bars.prices, bars.segment, TICK)
    figures = feature_table_figures(table.values[table.structure_valid])
    assert is_dense(figures["non_zero_share"]).all()
    assert is_spread(figures["spread_share"]).all()


def test_no_row_is_refused():
    with pytest.raises(ValueError, match=r"^values must hold at least one valid row, got none$"):
        feature_table_figures(np.empty((0, N_FEATURES), np.float32))


def test_the_gates_are_those_of_the_design_and_come_from_the_one_table():
    assert {(feature.min_density, feature.min_spread) for feature in FEATURES} == {(0.5, 0.2)}
    assert MIN_DENSITY.tolist() == [feature.min_density for feature in FEATURES]
    assert MIN_SPREAD.tolist() == [feature.min_spread for feature in FEATURES]


def test_half_of_the_values_is_not_enough_and_a_fifth_of_the_range_is():
    assert not is_dense(np.full(N_FEATURES, 0.5)).any()
    assert is_dense(np.full(N_FEATURES, 0.501)).all()
    assert is_spread(np.full(N_FEATURES, 0.2)).all()
    assert not is_spread(np.full(N_FEATURES, 0.199)).any()


def test_the_weakest_feature_is_the_one_farthest_below_its_limit():
    shares = np.full((3, N_FEATURES), 0.9)
    shares[1, FEATURE_NAMES.index("range_z")] = 0.1
    shares[2, 0] = 0.4

    assert weakest_feature(shares, MIN_SPREAD) == ("range_z", 0.1, 0.2)
