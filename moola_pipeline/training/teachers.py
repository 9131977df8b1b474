"""Teachers: trees fitted on the labels, whose soft answers a network learns from; never served."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier

from moola_pipeline.features.schema import mirrored
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.span_inputs import N_BEFORE, N_INPUTS
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import WINDOW_BARS

N_TREES = 400
N_BOOSTED = 2
"""Boosted ensembles of each question; each draws other features."""
# typed loosely: scikit-learn's stubs know fewer values than its documentation
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
    """Spans whose answer is known: what is measured of them (n, d), and 0 or 1 (n,)."""

    inputs: np.ndarray
    answer: np.ndarray


@dataclass(frozen=True)
class Teacher:
    """Randomized and boosted trees that answer one question; their mean is the answer.

    Boosted ones alone where there are many spans: randomized ones then take ten times as long and
    know no more.
    """

    randomized: _Probabilistic | None
    boosted: tuple[_Probabilistic, ...]

    def probability(self, inputs: np.ndarray) -> np.ndarray:
        """P(1) of (n, d) inputs: (n,) float32, both kinds of trees weighing the same."""
        boosted = np.mean([_positive(trees, inputs) for trees in self.boosted], axis=0)
        if self.randomized is None:
            return boosted.astype(np.float32)
        return ((_positive(self.randomized, inputs) + boosted) / 2).astype(np.float32)


def fit_judge(known: LabeledInputs, seed: int) -> Teacher:
    """Fit the teacher that knows an expansion among proposed spans, in the mix that it is shown.

    Args:
        known: Proposals of labeled windows; 1 where they find a labeled expansion.
        seed: Of the trees.

    Raises:
        ValueError: If all answers are alike.
    """
    return _fitted(known, _JUDGING_TREES, _JUDGING_BOOSTS, seed)


def fit_typer(known: LabeledInputs, seed: int) -> Teacher:
    """Fit the teacher that tells a retracement (1) from a consolidation, both weighing the same.

    Args:
        known: Labeled expansions, by what stood before them.
        seed: Of the trees.

    Raises:
        ValueError: If all answers are alike.
    """
    return _fitted(known, _TYPING_TREES, _TYPING_BOOSTS, seed)


def fit_live_judge(known: LabeledInputs, seed: int) -> Teacher:
    """Fit the teacher that knows the beginning of an expansion, in the mix that it is shown.

    Args:
        known: Moves in live windows; 1 where an expansion began with them.
        seed: Of the trees.

    Raises:
        ValueError: If all answers are alike.
    """
    _require_both(known)
    return Teacher(None, _boosted(known, _LIVE_BOOSTS, seed))


def _fitted(known: LabeledInputs, trees: dict[str, Any], boosts: dict[str, Any], seed: int) -> Teacher:
    _require_both(known)
    randomized = ExtraTreesClassifier(N_TREES, n_jobs=1, random_state=seed, **trees)
    return Teacher(randomized.fit(known.inputs, known.answer), _boosted(known, boosts, seed))


def _boosted(known: LabeledInputs, boosts: dict[str, Any], seed: int) -> tuple[_Probabilistic, ...]:
    each = (HistGradientBoostingClassifier(random_state=seed + i, **boosts) for i in range(N_BOOSTED))
    return tuple(one.fit(known.inputs, known.answer) for one in each)


def _require_both(known: LabeledInputs) -> None:
    answers = np.unique(known.answer).tolist()
    if len(answers) != 2:
        raise ValueError(f"a teacher needs spans of both answers, got {answers}")


def _positive(trees: _Probabilistic, inputs: np.ndarray) -> np.ndarray:
    return trees.predict_proba(inputs)[:, 1]


def teacher_features(
    market: MarketArrays, bar0: np.ndarray, proposals: Spans, bars: int = WINDOW_BARS
) -> np.ndarray:
    """Input matrix for the teacher trees: (n, 78 + F), 78 span features and F features of the bar before.

    Args:
        market: The table that the windows lie in.
        bar0: (n_windows,) rows of bar 0.
        proposals: n spans in these windows.
        bars: Of each window; no later one is read.
    """
    eve = market.features[bar0[proposals.window] + proposals.start - 1]
    eve = np.where((proposals.direction < 0)[:, None], mirrored(eve), eve)
    return np.column_stack([market.measure_inputs(bar0, proposals, bars), eve])


def before_start(seen: np.ndarray) -> np.ndarray:
    """The columns that describe the bars before a span: (n, 53 + F)."""
    return np.column_stack([seen[:, :N_BEFORE], seen[:, N_INPUTS:]])
