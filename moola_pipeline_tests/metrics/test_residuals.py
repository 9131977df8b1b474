import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from moola_pipeline.metrics.definitions import bias, mae, residual_metrics, rmse, within

OFF = np.array([0.0, 3.0, -4.0, 1.0])


def test_residuals_by_hand():
    assert bias(OFF) == 0
    assert rmse(OFF) == pytest.approx(np.sqrt(26 / 4))
    assert mae(OFF) == 2
    assert [float(within(OFF, bars)) for bars in (0, 1, 3, 4)] == [0.25, 0.5, 0.75, 1]


def test_a_count_equals_repeating_the_row():
    weights = np.array([[2, 0, 1, 3], [1, 1, 1, 1]])
    for metric in (bias, rmse, mae):
        expected = [metric(np.repeat(OFF, row)) for row in weights]
        np.testing.assert_allclose(metric(OFF, weights), expected)
    assert within(OFF, 1, weights).tolist() == [5 / 6, 0.5]


def test_errors_equal_scikit_learn():
    rng = np.random.default_rng(0)
    labeled, predicted = rng.integers(30, 75, 50), rng.integers(30, 75, 50)
    assert rmse(predicted - labeled) == pytest.approx(root_mean_squared_error(labeled, predicted))
    assert mae(predicted - labeled) == pytest.approx(mean_absolute_error(labeled, predicted))


def test_errors_without_rows_are_undefined():
    assert np.isnan(rmse(np.empty(0)))
    assert np.isnan(mae(OFF, np.array([[0, 0, 0, 0]]))).all()


def test_both_ends_have_every_metric_under_its_name():
    names = list(residual_metrics("onset"))
    assert names == [
        "onset_bias_bars",
        "onset_rmse_bars",
        "onset_mae_bars",
        "onset_within_1",
        "onset_within_3",
        "onset_within_5",
    ]
    got = {name: float(metric(OFF, None)) for name, metric in residual_metrics("offset").items()}
    assert got["offset_within_3"] == 0.75
    assert got["offset_mae_bars"] == 2
