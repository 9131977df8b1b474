"""Imputation baselines for hidden bars, worked by hand."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from moola_pipeline.training.imputation import edge_inputs, fit_ridge, imputation_errors, locate_hidden
from moola_pipeline.windows.augmentation import hidden_blocks

HIDDEN = np.array([[False, True, True, True, False, False]])
VISIBLE = np.array([[[1.0], [99], [99], [99], [5], [6]]], np.float32)


def test_hidden_bars_and_their_visible_neighbors_worked_by_hand():
    where = locate_hidden(np.array([[False, True, False, False], [False, True, True, False]]))

    assert where.window.tolist() == [0, 1, 1]
    assert where.bar.tolist() == [1, 1, 2]
    assert where.before.tolist() == [0, 0, 0]
    assert where.after.tolist() == [2, 3, 3]


def test_imputation_errors_worked_by_hand():
    where = locate_hidden(HIDDEN)
    targets = np.array([[2.0], [4.0], [4.0]], np.float32)
    inputs, ridge = np.ones((3, 2), np.float32), np.array([[1.0], [2.0]], np.float32)

    errors = imputation_errors(VISIBLE, where, inputs, ridge, targets)

    # Interpolation gives 2, 3, 4; the last value 1; the ridge 3; the mean 0.
    assert errors == pytest.approx(
        {
            "mean": (4 + 16 + 16) / 3,
            "last_value": (1 + 9 + 9) / 3,
            "interpolation": 1 / 3,
            "ridge": (1 + 1 + 1) / 3,
        }
    )


def test_the_inputs_of_the_ridge_worked_by_hand():
    inputs = edge_inputs(VISIBLE, HIDDEN, locate_hidden(HIDDEN))

    # Left, right, both times the position, mean of the visible rows, position, 1.
    assert inputs.dtype == np.float32
    assert inputs[:, :5] == pytest.approx(
        np.array([[1, 5, s, 5 * s, 4] for s in (0.25, 0.5, 0.75)]), abs=1e-6
    )
    assert inputs[:, 5:].tolist() == [[0.25, 1], [0.5, 1], [0.75, 1]]


def test_hidden_rows_do_not_influence_inputs_or_predictions():
    rng = np.random.default_rng(0)
    hidden = hidden_blocks(6, 0.4, 10, rng)
    where = locate_hidden(hidden)
    visible = rng.normal(size=(6, 125, 3)).astype(np.float32)
    other = np.where(hidden[:, :, None], np.float32(1e6), visible)
    inputs = edge_inputs(visible, hidden, where)
    ridge = rng.normal(size=(inputs.shape[1], 3)).astype(np.float32)
    targets = visible[where.window, where.bar]

    assert np.array_equal(inputs, edge_inputs(other, hidden, where))
    assert imputation_errors(visible, where, inputs, ridge, targets) == imputation_errors(
        other, where, inputs, ridge, targets
    )


def test_the_ridge_is_that_of_scikit_learn():
    rng = np.random.default_rng(1)
    inputs, targets = rng.normal(size=(300, 7)), rng.normal(size=(300, 3))

    reference = Ridge(alpha=10.0, fit_intercept=False).fit(inputs, targets).coef_.T

    assert fit_ridge(inputs, targets) == pytest.approx(reference, abs=1e-6)


def test_the_ridge_recovers_planted_coefficients():
    rng = np.random.default_rng(2)
    inputs, planted = rng.normal(size=(5000, 4)), rng.normal(size=(4, 2))

    assert fit_ridge(inputs, inputs @ planted) == pytest.approx(planted, abs=0.02)
