"""What a model must be measured against: simple classifiers fitted on the bars before an expansion.

Each sees, of the 45 bars before the start: the closes relative to the last of them, in ATR; or 21
summaries of these closes; or the features that the model itself reads. All are mirrored so that
the expansion points up.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from moola_pipeline.evaluation.minirocket import MiniRocket
from moola_pipeline.metrics.definitions import N_TYPES, aucpr_retracement
from moola_pipeline.windows.context import summaries

TYPE_BASELINES = (
    "logistic_45_closes",
    "extra_trees_45_closes",
    "minirocket_45_closes",
    "logistic_21_summaries",
    "extra_trees_21_summaries",
    "logistic_own_inputs",
    "extra_trees_own_inputs",
    "minirocket_own_inputs",
)
N_TREES = 400
N_FOLDS = 5
STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Inverse penalties of the logistic peers to choose from."""
DEFAULT_STRENGTH = 0.1
PENALTIES = np.logspace(-3, 3, 10)
"""Of the ridge behind MiniRocket, as its authors choose them."""


class BaselineInputs(NamedTuple):
    """What peers see of n expansions.

    Attributes:
        paths: (n, 45) closes from `paths_before`.
        features: (n, 45, F) the model's features of the same bars, mirrored alike.
    """

    paths: np.ndarray
    features: np.ndarray


class _Judge(Protocol):
    def probabilities(self, inputs: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class TypeBaseline:
    """A fitted peer: what it sees of an expansion, and the classifier that judges it."""

    name: str
    judge: _Judge

    def predict_proba(self, seen: BaselineInputs) -> np.ndarray:
        """P(retracement): (n,) float64; of MiniRocket's ridge a score in [0, 1], no probability."""
        inputs = _inputs(self.name, seen)
        return self.judge.probabilities(inputs) if len(inputs) else np.empty(0)


@dataclass(frozen=True)
class _Fitted:
    classifier: Pipeline | ExtraTreesClassifier

    def probabilities(self, inputs: np.ndarray) -> np.ndarray:
        return np.asarray(self.classifier.predict_proba(inputs.reshape(len(inputs), -1)))[:, 1]


@dataclass(frozen=True)
class _Convolved:
    transform: MiniRocket
    ridge: Pipeline

    def probabilities(self, inputs: np.ndarray) -> np.ndarray:
        margin = self.ridge.decision_function(self.transform(inputs))  # 1 where certain of class 1
        return np.clip((1 + np.asarray(margin)) / 2, 0, 1)


def fit_type_baseline(
    name: str, seen: BaselineInputs, y: np.ndarray, rng: np.random.Generator
) -> TypeBaseline:
    """Fit a peer on training expansions; its choices are made on blocks of time inside them.

    Args:
        name: One of TYPE_BASELINES.
        seen: Of n expansions in order of time.
        y: (n,) class numbers.
        rng: Seeds the trees.

    Raises:
        ValueError: If the name is unknown or there is only one class.
    """
    if name not in TYPE_BASELINES:
        raise ValueError(f"a peer must be one of {', '.join(TYPE_BASELINES)}, got {name}")
    need_both_classes(y)
    inputs = _inputs(name, seen)
    if name.startswith("minirocket_"):
        transform = MiniRocket.fit(inputs)
        ridge = make_pipeline(StandardScaler(with_mean=False), RidgeClassifierCV(alphas=PENALTIES))
        return TypeBaseline(name, _Convolved(transform, ridge.fit(transform(inputs), y)))
    flat = inputs.reshape(len(inputs), -1)
    if name.startswith("logistic_"):
        return TypeBaseline(name, _Fitted(_logistic(flat, y)))
    seed = int(rng.integers(2**31))
    trees = ExtraTreesClassifier(n_estimators=N_TREES, n_jobs=1, random_state=seed)
    return TypeBaseline(name, _Fitted(trees.fit(flat, y)))


def need_both_classes(y: np.ndarray) -> None:
    """Refuse to fit on expansions of one type.

    Raises:
        ValueError: If one is missing.
    """
    if len(np.unique(y)) != N_TYPES:
        raise ValueError(f"training needs expansions of both types, got classes {np.unique(y).tolist()}")


def _inputs(name: str, seen: BaselineInputs) -> np.ndarray:
    """(n, d), or (n, 45, channels) where a peer reads series."""
    if name.endswith("_own_inputs"):
        return seen.features
    if name.endswith("_summaries"):
        return summaries(seen.paths)
    return seen.paths[:, :, None] if name.startswith("minirocket_") else seen.paths


def _logistic(inputs: np.ndarray, y: np.ndarray) -> Pipeline:
    """Logistic regression whose penalty ranks left-out blocks of time best."""
    folds = KFold(min(N_FOLDS, len(y)))
    if any(len(np.unique(y[kept])) != N_TYPES for kept, _ in folds.split(inputs)):
        return scaled_logistic(DEFAULT_STRENGTH).fit(inputs, y)

    def left_out_precision(strength: float) -> float:
        model = scaled_logistic(strength)
        p = np.asarray(cross_val_predict(model, inputs, y, cv=folds, method="predict_proba"))
        return float(aucpr_retracement(y, p[:, 1]))

    return scaled_logistic(max(STRENGTHS, key=left_out_precision)).fit(inputs, y)


def scaled_logistic(strength: float) -> Pipeline:
    """Logistic regression on standardized inputs, both classes weighing the same."""
    # classes weigh the same, as they do in macro F1; without that, 0.5 is the wrong threshold for it
    return make_pipeline(
        StandardScaler(), LogisticRegression(C=strength, class_weight="balanced", max_iter=2000)
    )
