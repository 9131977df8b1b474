"""Teacher trees, fitted on labels; their probabilities are pseudo-labels. They are never served."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier

from moola_pipeline.features.schema import mirrored
from moola_pipeline.training.trees import Fitted, fit_trees, probability
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.span_inputs import N_BEFORE, N_INPUTS
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import WINDOW_BARS

N_BOOSTED = 2
"""Boosted ensembles of a teacher; each draws other features."""
# Any: the stubs of scikit-learn allow fewer values than its documentation.
_TYPING_TREES: dict[str, Any] = {"min_samples_leaf": 2, "max_features": 0.4, "class_weight": "balanced"}
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


class LabeledInputs(NamedTuple):
    """Training data of a teacher: span features (n, d) and targets 0 or 1 (n,)."""

    inputs: np.ndarray
    target: np.ndarray


@dataclass(frozen=True)
class Teacher:
    """Trees for one target: boosted ones judge, two kinds of forests type (`docs/findings.md`)."""

    ensembles: tuple[Fitted, ...]

    def probability(self, inputs: np.ndarray) -> np.ndarray:
        """P(1) of (n, d) inputs, the mean of the ensembles: (n,) float32."""
        return np.mean([probability(trees, inputs) for trees in self.ensembles], axis=0).astype(np.float32)


def fit_judge(known: LabeledInputs, seed: int) -> Teacher:
    """Fit the teacher of expansions among proposed spans; classes keep their frequencies.

    Args:
        known: Proposals in labeled windows; 1 if one matches a labeled expansion.
        seed: Seed of the trees.

    Raises:
        ValueError: If all targets are the same.
    """
    return _fit_boosted(known, _JUDGING_BOOSTS, seed)


def fit_typer(known: LabeledInputs, seed: int, n_trees: int) -> Teacher:
    """Fit the teacher of the type, retracement (1) or consolidation (0); both have the same weight.

    Args:
        known: Labeled expansions, features of the bars before them.
        seed: Seed of the trees.
        n_trees: Trees of each forest: one draws its thresholds, the other searches the best ones.

    Raises:
        ValueError: If all targets are the same.
    """
    _require_both(known)
    drawn = ExtraTreesClassifier(n_trees, n_jobs=1, random_state=seed, **_TYPING_TREES)
    searched = RandomForestClassifier(n_trees, n_jobs=1, random_state=seed, **_TYPING_TREES)
    return Teacher((fit_trees(drawn, *known), fit_trees(searched, *known)))


def fit_live_judge(known: LabeledInputs, seed: int) -> Teacher:
    """Fit the teacher of onsets in live windows; classes keep their frequencies.

    Args:
        known: Onset candidates; 1 if an expansion began there.
        seed: Seed of the trees.

    Raises:
        ValueError: If all targets are the same.
    """
    return _fit_boosted(known, _LIVE_BOOSTS, seed)


def _fit_boosted(known: LabeledInputs, settings: dict[str, Any], seed: int) -> Teacher:
    _require_both(known)
    models = (HistGradientBoostingClassifier(random_state=seed + i, **settings) for i in range(N_BOOSTED))
    return Teacher(tuple(fit_trees(model, known.inputs, known.target) for model in models))


def _require_both(known: LabeledInputs) -> None:
    targets = np.unique(known.target).tolist()
    if len(targets) != 2:
        raise ValueError(f"a teacher needs spans with target 0 and with target 1, got {targets}")


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
