"""Trees of scikit-learn, fitted and read by one thread at a time and on one core.

For each tree, scikit-learn empties the list of warning filters of the whole process for a moment; a second
thread that sees it empty prints a warning for each tree. Threads of OpenMP wait actively: beside another
training, two take twice as long as one.
"""

import threading
from typing import TypeVar

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

Trees = TypeVar("Trees", ExtraTreesClassifier, RandomForestClassifier, HistGradientBoostingClassifier)
Fitted = ExtraTreesClassifier | RandomForestClassifier | HistGradientBoostingClassifier | Pipeline
_ALONE = threading.Lock()


def fit_trees(trees: Trees, inputs: np.ndarray, target: np.ndarray) -> Trees:
    """Fit trees to (n, d) inputs and (n,) classes, and return them."""
    with _ALONE, threadpool_limits(1, user_api="openmp"):
        return trees.fit(inputs, target)


def probability(classifier: Fitted, inputs: np.ndarray) -> np.ndarray:
    """P(1) of (n, d) inputs: (n,) float64."""
    with _ALONE, threadpool_limits(1, user_api="openmp"):
        return np.asarray(classifier.predict_proba(inputs))[:, 1]
