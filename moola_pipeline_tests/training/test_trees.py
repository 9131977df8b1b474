"""Trees are fitted and read by one thread at a time: no warning of scikit-learn reaches the terminal."""

import threading
import time
from functools import partial
from typing import Any

import numpy as np
import pytest

from moola_pipeline.training.parallel import all_in_parallel
from moola_pipeline.training.trees import fit_trees, probability


class Counted:
    """In place of trees: counts the threads that are in it at once."""

    def __init__(self) -> None:
        self.n_inside, self.most, self.lock = 0, 0, threading.Lock()

    def fit(self, inputs: np.ndarray, target: np.ndarray) -> "Counted":
        self.predict_proba(inputs)
        return self

    def predict_proba(self, inputs: np.ndarray) -> np.ndarray:
        with self.lock:
            self.n_inside += 1
            self.most = max(self.most, self.n_inside)
        time.sleep(0.01)
        with self.lock:
            self.n_inside -= 1
        return np.column_stack([1 - inputs[:, 0], inputs[:, 0]])


@pytest.mark.parametrize("as_now", [True, False])
def test_one_thread_at_a_time_fits_or_reads_trees(as_now: bool):
    trees: Any = Counted()
    inputs, target = np.full((3, 1), 0.25), np.array([0, 1, 0])
    uses = (fit_trees, lambda it, inputs, target: probability(it, inputs))
    if not as_now:  # planted fault: without the lock
        uses = (Counted.fit, lambda it, inputs, target: it.predict_proba(inputs))
    all_in_parallel([partial(use, trees, inputs, target) for use in 4 * uses], workers=4)
    assert (trees.most == 1) == as_now


def test_the_probability_is_that_of_class_1():
    trees: Any = Counted()
    assert probability(trees, np.array([[0.25], [0.75]])).tolist() == [0.25, 0.75]
