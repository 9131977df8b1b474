"""Teacher trees, fitted on labels; their probabilities are pseudo-labels. They are never served."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from moola_pipeline.features.schema import mirrored
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.span_inputs import N_BEFORE, N_INPUTS
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import WINDOW_BARS

N_TREES = 400
QUICK_TREES = 150
"""Randomized trees of a teacher that is fitted many times in one command."""
N_BOOSTED = 2
"""Boosted ensembles in each teacher; each draws other features."""
# Any: the stubs of scikit-learn allow fewer values than its documentation.
_JUDGING_TREES: dict[str, Any] = {"min_samples_leaf": 4, "max_features": 0.4}
_JUDGING_BOOSTS: dict[str, Any] = {
    "early_stopping": False,
    "max_iter": 100,
    "learning_rate": 0.05,
    "max_leaf_nodes": 6,
    "min_samples_leaf": 10,
    "l2_regularization": 5,
    "max_features": 0.4,
}
_LIVE_BOOSTS: dict[str, Any] = {
    "early_stopping": False,
    "max_iter": 150,
    "learning_rate": 0.05,
    "max_leaf_nodes": 12,
    "min_samples_leaf": 40,
    "l2_regularization": 5,
    "max_features": 0.4,
}
_TYPING_TREES: dict[str, Any] = {"min_samples_leaf": 2, "max_features": 0.4, "class_weight": "balanced"}
_TYPING_BOOSTS: dict[str, Any] = {
    "early_stopping": False,
    "max_iter": 60,
    "learning_rate": 0.06,
    "max_leaf_nodes": 5,
    "min_samples_leaf": 8,
    "l2_regularization": 3,
    "max_features": 0.3,
    "class_weight": "balanced",
}


class _Probabilistic(Protocol):
    classes_: np.ndarray

    def predict_proba(self, X: np.ndarray) -> np.ndarray: ...


class LabeledInputs(NamedTuple):
    """Training data of a teacher: span features (n, d) and targets 0 or 1 (n,)."""

    inputs: np.ndarray
    target: np.ndarray


@dataclass(frozen=True)
class Teacher:
    """Mean probability of randomized and boosted trees for one target.

    Live mode has many spans and uses boosted trees only: randomized ones take ten times as long and
    are no better there. A quick teacher has randomized trees only.
    """

    randomized: _Probabilistic | None
    boosted: tuple[_Probabilistic, ...]

    def probability(self, inputs: np.ndarray) -> np.ndarray:
        """P(1) of (n, d) inputs: (n,) float32; both kinds of trees have the same weight."""
        if self.randomized is not None and not self.boosted:
            return _positive(self.randomized, inputs).astype(np.float32)
        boosted = np.mean([_positive(trees, inputs) for trees in self.boosted], axis=0)
        if self.randomized is None:
            return boosted.astype(np.float32)
        return ((_positive(self.randomized, inputs) + boosted) / 2).astype(np.float32)


def fit_judge(known: LabeledInputs, seed: int, quick: bool = False) -> Teacher:
    """Fit the teacher of expansions among proposed spans; classes keep their frequencies.

    Args:
        known: Proposals in labeled windows; 1 if one matches a labeled expansion.
        seed: Seed of the trees.
        quick: Fit fewer trees, randomized ones only: a tenth of the time.

    Raises:
        ValueError: If all targets are the same.
    """
    return _fit_teacher(known, _JUDGING_TREES, None if quick else _JUDGING_BOOSTS, seed)


def fit_typer(known: LabeledInputs, seed: int, quick: bool = False) -> Teacher:
    """Fit the teacher of the type, retracement (1) or consolidation (0); both have the same weight.

    Args:
        known: Labeled expansions, features of the bars before them.
        seed: Seed of the trees.
        quick: Fit fewer trees, randomized ones only: a tenth of the time.

    Raises:
        ValueError: If all targets are the same.
    """
    return _fit_teacher(known, _TYPING_TREES, None if quick else _TYPING_BOOSTS, seed)


def fit_live_judge(known: LabeledInputs, seed: int) -> Teacher:
    """Fit the teacher of onsets in live windows; classes keep their frequencies.

    Args:
        known: Onset candidates; 1 if an expansion began there.
        seed: Seed of the trees.

    Raises:
        ValueError: If all targets are the same.
    """
    _require_both(known)
    return Teacher(None, _fit_boosted(known, _LIVE_BOOSTS, seed))


def _fit_teacher(
    known: LabeledInputs, trees: dict[str, Any], boosts: dict[str, Any] | None, seed: int
) -> Teacher:
    _require_both(known)
    n_trees = QUICK_TREES if boosts is None else N_TREES
    randomized = ExtraTreesClassifier(n_trees, n_jobs=1, random_state=seed, **trees)
    boosted = () if boosts is None else _fit_boosted(known, boosts, seed)
    return Teacher(randomized.fit(known.inputs, known.target), boosted)


def _fit_boosted(known: LabeledInputs, boosts: dict[str, Any], seed: int) -> tuple[_Probabilistic, ...]:
    models = (HistGradientBoostingClassifier(random_state=seed + i, **boosts) for i in range(N_BOOSTED))
    # Its threads wait actively: beside another training, two take twice as long as one.
    with threadpool_limits(1, user_api="openmp"):
        return tuple(model.fit(known.inputs, known.target) for model in models)


def _require_both(known: LabeledInputs) -> None:
    targets = np.unique(known.target).tolist()
    if len(targets) != 2:
        raise ValueError(f"a teacher needs spans with target 0 and with target 1, got {targets}")


def _positive(trees: _Probabilistic, inputs: np.ndarray) -> np.ndarray:
    with threadpool_limits(1, user_api="openmp"):
        return trees.predict_proba(inputs)[:, 1]


def teacher_features(
    market: MarketArrays, bar0: np.ndarray, proposals: Spans, bars: int = WINDOW_BARS
) -> np.ndarray:
    """Input matrix for the teacher trees: (n, 78 + F), 78 span features and F features of the bar before.

    Args:
        market: The bars and their features.
        bar0: (n_windows,) rows of bar 0.
        proposals: n spans in these windows.
        bars: Number of bars read of each window.
    """
    previous = market.features[bar0[proposals.window] + proposals.start - 1]
    previous = np.where((proposals.direction < 0)[:, None], mirrored(previous), previous)
    return np.column_stack([market.measure_inputs(bar0, proposals, bars), previous])


def before_start(features: np.ndarray) -> np.ndarray:
    """The columns that describe the bars before a span: (n, 53 + F) of `teacher_features`, or 53 of 78."""
    return np.column_stack([features[:, :N_BEFORE], features[:, N_INPUTS:]])
