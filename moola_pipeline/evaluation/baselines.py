"""Baselines for the type: simple classifiers fitted on the 45 bars before an expansion.

Their inputs are the closes relative to the last one, in ATR; or 21 summaries of these closes; or the
features of the 45 bars. Falling expansions are mirrored, so that all of them point up.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, Protocol

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from moola_pipeline.evaluation.minirocket import MiniRocket
from moola_pipeline.metrics.definitions import N_TYPES, aucpr_retracement
from moola_pipeline.training.trees import Fitted, fit_trees, probability
from moola_pipeline.windows.context import summaries

TYPE_BASELINES = (
    "logistic_45_closes",
    "extra_trees_45_closes",
    "minirocket_45_closes",
    "logistic_21_summaries",
    "extra_trees_21_summaries",
    "minirocket_bar_features",
)
SEEDED = "extra_trees_"
"""Beginning of the names of baselines that depend on a seed."""
N_TREES = 200
"""Twice as many are no better: type F1 +.0005 ± .001 on a simulated market."""
N_FOLDS = 5
STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Candidate inverse penalties of logistic regression."""
DEFAULT_STRENGTH = 0.1
NEWTON_INPUTS = 100
"""Most inputs for which Newton steps are faster than lbfgs."""
PENALTIES = np.logspace(-3, 3, 10)
"""Penalties of the ridge classifier after MiniRocket, as in its paper."""


class BaselineInputs(NamedTuple):
    """Inputs of the baselines for n expansions.

    Attributes:
        paths: (n, 45) closes from `paths_before`.
        features: (n, 45, F) features of the same bars, mirrored in the same way.
    """

    paths: np.ndarray
    features: np.ndarray

    def select(self, chosen: np.ndarray) -> "BaselineInputs":
        """Those of the expansions marked True."""
        return BaselineInputs(self.paths[chosen], self.features[chosen])


class _Classifier(Protocol):
    def probabilities(self, inputs: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class TypeBaseline:
    """A fitted baseline: its name decides the inputs of its classifier."""

    name: str
    classifier: _Classifier

    def predict_proba(self, inputs: BaselineInputs) -> np.ndarray:
        """P(retracement): (n,) float64; for MiniRocket a score in [0, 1] that is no probability."""
        matrix = _matrix(self.name, inputs)
        return self.classifier.probabilities(matrix) if len(matrix) else np.empty(0)


@dataclass(frozen=True)
class _SklearnClassifier:
    classifier: Fitted

    def probabilities(self, inputs: np.ndarray) -> np.ndarray:
        return probability(self.classifier, inputs.reshape(len(inputs), -1))


@dataclass(frozen=True)
class _MiniRocketRidge:
    transform: MiniRocket
    ridge: Pipeline

    def probabilities(self, inputs: np.ndarray) -> np.ndarray:
        margin = self.ridge.decision_function(self.transform(inputs))  # 1 where certain of class 1
        return np.clip((1 + np.asarray(margin)) / 2, 0, 1)


def fit_type_baseline(name: str, inputs: BaselineInputs, y: np.ndarray, seed: int) -> TypeBaseline:
    """Fit a baseline on training expansions; penalties are chosen by blocked cross-validation.

    Args:
        name: One of TYPE_BASELINES.
        inputs: Of n expansions in time order.
        y: (n,) class numbers.
        seed: Seed of the trees.

    Raises:
        ValueError: If the name is unknown or there is only one class.
    """
    if name not in TYPE_BASELINES:
        raise ValueError(f"a type baseline must be one of {', '.join(TYPE_BASELINES)}, got {name}")
    need_both_classes(y)
    matrix = _matrix(name, inputs)
    if name.startswith("minirocket_"):
        transform = MiniRocket.fit(matrix)
        ridge = make_pipeline(StandardScaler(with_mean=False), RidgeClassifierCV(alphas=PENALTIES))
        return TypeBaseline(name, _MiniRocketRidge(transform, ridge.fit(transform(matrix), y)))
    flat = matrix.reshape(len(matrix), -1)
    if name.startswith("logistic_"):
        return TypeBaseline(name, _SklearnClassifier(tuned_logistic(flat, y)))
    trees = ExtraTreesClassifier(n_estimators=N_TREES, n_jobs=1, random_state=seed)
    return TypeBaseline(name, _SklearnClassifier(fit_trees(trees, flat, y)))


def need_both_classes(y: np.ndarray) -> None:
    """Check that both types are there.

    Raises:
        ValueError: If a type is missing.
    """
    if len(np.unique(y)) != N_TYPES:
        raise ValueError(f"training needs expansions of both types, got classes {np.unique(y).tolist()}")


def _matrix(name: str, inputs: BaselineInputs) -> np.ndarray:
    """(n, d), or (n, 45, channels) for series."""
    if name.endswith("_bar_features"):
        return inputs.features
    if name.endswith("_summaries"):
        return summaries(inputs.paths)
    return inputs.paths[:, :, None] if name.startswith("minirocket_") else inputs.paths


def tuned_logistic(inputs: np.ndarray, y: np.ndarray) -> Pipeline:
    """Logistic regression with the penalty of the best AUCPR in blocked cross-validation."""
    folds = KFold(min(N_FOLDS, len(y)))
    few = inputs.shape[1] <= NEWTON_INPUTS
    fit = partial(scaled_logistic, solver="newton-cholesky" if few else "lbfgs")
    if any(len(np.unique(y[train])) != N_TYPES for train, _ in folds.split(inputs)):
        return fit(DEFAULT_STRENGTH).fit(inputs, y)

    def validation_aucpr(strength: float) -> float:
        p = np.empty(len(y))  # cross_val_predict would empty the warning filters, as trees do
        for train, scored in folds.split(inputs):
            p[scored] = fit(strength).fit(inputs[train], y[train]).predict_proba(inputs[scored])[:, 1]
        return float(aucpr_retracement(y, p))

    return fit(max(STRENGTHS, key=validation_aucpr)).fit(inputs, y)


def scaled_logistic(strength: float, solver: Literal["lbfgs", "newton-cholesky"] = "lbfgs") -> Pipeline:
    """Logistic regression on standardized inputs, with balanced class weights."""
    # balanced as in macro F1; otherwise 0.5 is the wrong threshold
    return make_pipeline(
        StandardScaler(),
        LogisticRegression(C=strength, class_weight="balanced", max_iter=2000, solver=solver),
    )
