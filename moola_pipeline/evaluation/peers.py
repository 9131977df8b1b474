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

from moola_pipeline.evaluation.metrics import N_TYPES, aucpr_retracement
from moola_pipeline.evaluation.minirocket import MiniRocket

BARS_BEFORE_START = 45
SUMMARY_BARS = 20
N_SUMMARIES = 21
TYPE_PEERS = (
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


class Seen(NamedTuple):
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
class TypePeer:
    """A fitted peer: what it sees of an expansion, and the classifier that judges it."""

    name: str
    judge: _Judge

    def predict_proba(self, seen: Seen) -> np.ndarray:
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


def paths_before(close: np.ndarray, atr: np.ndarray, rows: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """The 45 closes before each start, relative to the last one, in ATR, mirrored to point up.

    Args:
        close: (n_bars,) index points.
        atr: (n_bars,) index points, ATR(10) of the segment.
        rows: (n,) bar-table row of each expansion's first bar; bars from it on are not read.
        directions: (n,) +1 or -1; 0 (the expansion closed where it opened) is not mirrored.

    Returns:
        (n, 45) float64; the last column is 0.

    Raises:
        ValueError: If a start has fewer than 45 bars before it, or no positive ATR.
    """
    rows = np.asarray(rows, np.int64)
    if len(rows) and rows.min() < BARS_BEFORE_START:
        raise ValueError(f"a start must have {BARS_BEFORE_START} bars before it, got one at row {rows.min()}")
    scale = np.asarray(atr)[rows - 1]
    if not (scale > 0).all():
        raise ValueError(f"ATR before a start must be > 0 points, got {scale[~(scale > 0)][0]}")
    seen = np.asarray(close)[rows[:, None] + np.arange(-BARS_BEFORE_START, 0)]  # (n, 45)
    sign = np.where(np.asarray(directions) < 0, -1.0, 1.0)
    return sign[:, None] * (seen - seen[:, -1:]) / scale[:, None]


def summaries(paths: np.ndarray) -> np.ndarray:
    """21 summaries of (n, 45) paths: (n, 21) float64.

    Every third close (15), the highest and lowest, the range and the path length of the last 20
    closes, the close 20 bars before the last, and where the highest stands (0 oldest, 1 newest).
    """
    recent = paths[:, -SUMMARY_BARS:]
    return np.column_stack(
        [
            paths[:, ::3],
            paths.max(axis=1),
            paths.min(axis=1),
            np.ptp(recent, axis=1),
            np.abs(np.diff(recent, axis=1)).sum(axis=1),
            paths[:, -SUMMARY_BARS - 1],
            paths.argmax(axis=1) / (BARS_BEFORE_START - 1),
        ]
    )


def fit_type_peer(name: str, seen: Seen, y: np.ndarray, rng: np.random.Generator) -> TypePeer:
    """Fit a peer on training expansions; its choices are made on blocks of time inside them.

    Args:
        name: One of TYPE_PEERS.
        seen: Of n expansions in order of time.
        y: (n,) class numbers.
        rng: Seeds the trees.

    Raises:
        ValueError: If the name is unknown or there is only one class.
    """
    if name not in TYPE_PEERS:
        raise ValueError(f"a peer must be one of {', '.join(TYPE_PEERS)}, got {name}")
    need_both_classes(y)
    inputs = _inputs(name, seen)
    if name.startswith("minirocket_"):
        transform = MiniRocket.fit(inputs)
        ridge = make_pipeline(StandardScaler(with_mean=False), RidgeClassifierCV(alphas=PENALTIES))
        return TypePeer(name, _Convolved(transform, ridge.fit(transform(inputs), y)))
    flat = inputs.reshape(len(inputs), -1)
    if name.startswith("logistic_"):
        return TypePeer(name, _Fitted(_logistic(flat, y)))
    seed = int(rng.integers(2**31))
    trees = ExtraTreesClassifier(n_estimators=N_TREES, n_jobs=1, random_state=seed)
    return TypePeer(name, _Fitted(trees.fit(flat, y)))


def need_both_classes(y: np.ndarray) -> None:
    """Refuse to fit on expansions of one type.

    Raises:
        ValueError: If one is missing.
    """
    if len(np.unique(y)) != N_TYPES:
        raise ValueError(f"training needs expansions of both types, got classes {np.unique(y).tolist()}")


def _inputs(name: str, seen: Seen) -> np.ndarray:
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
