"""What a model of the type must beat: constants, position, and peers fitted on the bars before.

Peers see the 45 closes before an expansion, relative to the last of them, in ATR, and mirrored
so that the expansion points up; or 21 summaries of those closes.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from moola_pipeline.evaluation.metrics import N_TYPES, aucpr_retracement
from moola_pipeline.windows.frame import WINDOW_BARS

BARS_BEFORE_START = 45
SUMMARY_BARS = 20
N_SUMMARIES = 21
TYPE_PEERS = (
    "logistic_45_closes",
    "extra_trees_45_closes",
    "logistic_21_summaries",
    "extra_trees_21_summaries",
)
TYPE_BASELINES = ("majority", "always_consolidation", "always_retracement", "position_only")
N_TREES = 400
N_FOLDS = 5
STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Inverse penalties of the logistic peers to choose from."""
DEFAULT_STRENGTH = 0.1


@dataclass(frozen=True)
class TypePeer:
    """A fitted peer: what it sees of the paths, and the classifier that judges it."""

    name: str
    classifier: Pipeline | ExtraTreesClassifier

    def predict_proba(self, paths: np.ndarray) -> np.ndarray:
        """P(retracement) of (n, 45) paths: (n,) float64."""
        return np.asarray(self.classifier.predict_proba(_inputs(self.name, paths)))[:, 1]


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


def fit_type_peer(name: str, paths: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> TypePeer:
    """Fit a peer on training expansions; its choices are made on blocks of time inside them.

    Args:
        name: One of TYPE_PEERS.
        paths: (n, 45) from `paths_before`, in order of time.
        y: (n,) class numbers.
        rng: Seeds the trees.

    Raises:
        ValueError: If the name is unknown or there is only one class.
    """
    if name not in TYPE_PEERS:
        raise ValueError(f"a peer must be one of {', '.join(TYPE_PEERS)}, got {name}")
    _need_both_classes(y)
    if name.startswith("logistic_"):
        return TypePeer(name, _logistic(_inputs(name, paths), y))
    seed = int(rng.integers(2**31))
    trees = ExtraTreesClassifier(n_estimators=N_TREES, n_jobs=1, random_state=seed)
    return TypePeer(name, trees.fit(_inputs(name, paths), y))


def type_baselines(y: np.ndarray, onset: np.ndarray, onset_asked: np.ndarray) -> dict[str, np.ndarray]:
    """P(retracement) of every baseline that cannot see a price.

    Args:
        y: (n_train,) class numbers.
        onset: (n_train,) bars 0..104 at which the training expansions start.
        onset_asked: (n,) the same of the expansions to judge.

    Returns:
        (n,) per name of TYPE_BASELINES; `majority` is certain of training's larger class.

    Raises:
        ValueError: If training holds only one class.
    """
    _need_both_classes(y)
    n = len(onset_asked)
    position = _scaled_logistic(DEFAULT_STRENGTH).fit(_as_share(onset), y)
    return {
        "majority": np.full(n, float(np.mean(y) > 0.5)),
        "always_consolidation": np.zeros(n),
        "always_retracement": np.ones(n),
        "position_only": position.predict_proba(_as_share(onset_asked))[:, 1],
    }


def _as_share(onset: np.ndarray) -> np.ndarray:
    return np.asarray(onset, float)[:, None] / WINDOW_BARS


def _inputs(name: str, paths: np.ndarray) -> np.ndarray:
    return summaries(paths) if name.endswith("_summaries") else paths


def _need_both_classes(y: np.ndarray) -> None:
    if len(np.unique(y)) != N_TYPES:
        raise ValueError(f"training needs expansions of both types, got classes {np.unique(y).tolist()}")


def _logistic(inputs: np.ndarray, y: np.ndarray) -> Pipeline:
    """Logistic regression whose penalty ranks left-out blocks of time best."""
    folds = KFold(min(N_FOLDS, len(y)))
    if any(len(np.unique(y[kept])) != N_TYPES for kept, _ in folds.split(inputs)):
        return _scaled_logistic(DEFAULT_STRENGTH).fit(inputs, y)

    def left_out_precision(strength: float) -> float:
        model = _scaled_logistic(strength)
        p = np.asarray(cross_val_predict(model, inputs, y, cv=folds, method="predict_proba"))
        return float(aucpr_retracement(y, p[:, 1]))

    return _scaled_logistic(max(STRENGTHS, key=left_out_precision)).fit(inputs, y)


def _scaled_logistic(strength: float) -> Pipeline:
    # classes weigh the same, as they do in macro F1; without that, 0.5 is the wrong threshold for it
    return make_pipeline(
        StandardScaler(), LogisticRegression(C=strength, class_weight="balanced", max_iter=2000)
    )
