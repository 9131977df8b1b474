"""The losses and the task weights, worked by hand."""

import math

import numpy as np
import pytest
import torch

from moola_pipeline.training.losses import (
    TASKS,
    TaskWeights,
    binary_loss,
    pointer_loss,
    require_finite,
    smoothed,
)
from moola_pipeline.windows.window_geometry import WINDOW_BARS

LOSSES = dict(zip(TASKS, torch.tensor([0.5, 1.0, 2.0, 4.0]), strict=True))


def weights_at(*log_variances: float) -> TaskWeights:
    weights = TaskWeights()
    weights.log_variance.data = torch.tensor(log_variances)
    return weights


def test_initially_each_task_has_weight_one_and_regression_one_half():
    total, terms = TaskWeights()(LOSSES)

    assert TASKS == ("bars", "expansion", "type", "pointer")
    assert {task: term.item() for task, term in terms.items()} == {
        "bars": 0.5,
        "expansion": 1.0,
        "type": 2.0,
        "pointer": 2.0,
    }
    assert total.item() == 5.5


def test_task_weights_gradient_at_a_point_worked_by_hand():
    weights = weights_at(math.log(2), 0.0, -math.log(2), math.log(4))
    total, terms = weights(LOSSES)
    total.backward()

    # L = sum exp(-s) L_i + s / 2, the pointer's term halved: 0.25 + 1 + 4 + 0.5, and s sum to log 4.
    assert total.item() == pytest.approx(5.75 + math.log(4) / 2)
    assert terms["pointer"].item() == pytest.approx(0.5)
    # dL/ds = 1/2 - (exp(-s) L_i, halved for the pointer).
    assert weights.log_variance.grad is not None
    assert weights.log_variance.grad.tolist() == pytest.approx([0.25, -0.5, -3.5, 0.0])


def test_a_task_settles_where_its_weighted_loss_is_one_half():
    weights = weights_at(math.log(1.0), math.log(2.0), math.log(4.0), math.log(4.0))
    weights(LOSSES)[0].backward()

    assert weights.log_variance.grad is not None
    assert weights.log_variance.grad.tolist() == pytest.approx([0, 0, 0, 0], abs=1e-6)


def test_the_gradient_of_each_loss_is_its_weight():
    losses = {task: torch.tensor(1.0, requires_grad=True) for task in TASKS}
    weights_at(math.log(2), 0.0, -math.log(2), 0.0)(losses)[0].backward()

    assert [losses[task].grad for task in TASKS] == pytest.approx([0.5, 1, 2, 0.5])


def test_no_log_variance_suppresses_a_task():
    _, terms = weights_at(50.0, 0.0, 0.0, -50.0)(LOSSES)

    assert terms["bars"].item() == pytest.approx(math.exp(-3) * 0.5)
    assert terms["pointer"].item() == pytest.approx(math.exp(3) * 4 / 2)


def test_log_loss_over_known_entries_worked_by_hand():
    logits = torch.tensor([math.log(3), math.log(3), 50.0])
    targets, known = torch.tensor([1, 0, 0]), torch.tensor([0, 1])

    assert binary_loss(logits, targets, known).item() == pytest.approx((-math.log(0.75) - math.log(0.25)) / 2)


def test_unknown_entries_have_no_gradient():
    logits = torch.zeros(4, requires_grad=True)
    binary_loss(logits, torch.tensor([1, -1, 0, -1]), torch.tensor([0, 2])).backward()

    assert logits.grad is not None
    assert logits.grad.tolist() == [-0.25, 0, 0.25, 0]


def test_huber_loss_of_the_pointer_worked_by_hand():
    pointer = torch.tensor([[0.52, 0.30], [9.0, 9.0]])
    center, length = torch.tensor([0.50, 0.0]), torch.tensor([0.10, 0.0])

    # Residuals 0.02 and 0.2, delta 0.08: 0.02^2 / 2, and 0.08 * (0.2 - 0.08 / 2).
    expected = (0.0002 + 0.0128) / 2
    known = torch.tensor([0])
    assert pointer_loss(pointer, center, length, known).item() == pytest.approx(expected, rel=1e-5)


def test_the_pointer_loss_turns_linear_beyond_8_bars():
    pointer = torch.zeros(2, 2, requires_grad=True)
    bars = torch.tensor([8.3, 30.0]) / WINDOW_BARS
    pointer_loss(pointer, bars, torch.zeros(2), torch.tensor([0, 1])).backward()

    assert pointer.grad is not None
    assert pointer.grad[1, 0].item() == pytest.approx(-0.08 / 4)
    assert -0.08 / 4 < pointer.grad[0, 0].item() < -0.07 / 4


def test_a_batch_without_a_known_entry_has_zero_loss():
    logits, pointer = torch.ones(3, requires_grad=True), torch.ones(3, 2, requires_grad=True)
    none = torch.zeros(0, dtype=torch.int64)
    total = binary_loss(logits, torch.zeros(3), none) + pointer_loss(
        pointer, torch.zeros(3), torch.zeros(3), none
    )
    total.backward()

    assert total.item() == 0
    assert logits.grad is not None and not logits.grad.any()


def test_a_loss_that_is_not_finite_names_the_windows_of_the_first_such_batch():
    rows = [np.array([40, 92]), np.array([440, 492]), np.array([900])]
    with pytest.raises(FloatingPointError) as stop:
        require_finite(np.array([0.7, np.inf, np.nan]), rows)

    assert str(stop.value) == (
        "the loss must be finite, got inf for the windows at rows 440, 492. "
        "Check these bars (moola bars check), or lower the learning rate."
    )
    require_finite(np.array([0.7, 0.6, 0.5]), rows)


def test_task_weights_that_are_not_learned_stay_equal():
    weights = TaskWeights(learned=False)
    total, terms = weights({task: torch.tensor(2.0, requires_grad=True) for task in TASKS})
    total.backward()

    assert total.item() == pytest.approx(3 * 2 + 1)  # the pointer's is halved
    assert weights.log_variance.grad is None
    assert {task: term.item() for task, term in terms.items()} == {
        task: 1.0 if task == "pointer" else 2.0 for task in TASKS
    }


def test_smoothed_targets_worked_by_hand():
    targets = torch.tensor([0.0, 1.0, 0.3])

    assert smoothed(targets, 0.1).tolist() == pytest.approx([0.05, 0.95, 0.32])
    assert smoothed(targets, 0.0) is targets


def test_the_loss_on_ends_worked_by_hand():
    # Target 0.4 to 0.6 (center 0.5, length 0.2), predicted 0.45 to 0.59.
    pointer, center, length = torch.tensor([[0.52, 0.14]]), torch.tensor([0.5]), torch.tensor([0.2])
    known = torch.tensor([0])

    on_ends = pointer_loss(pointer, center, length, known, center_length=False)
    assert on_ends.item() == pytest.approx((0.05**2 + 0.01**2) / 4, rel=1e-4)
    assert pointer_loss(pointer, center, length, known).item() == pytest.approx(
        (0.02**2 + 0.06**2) / 4, rel=1e-4
    )
