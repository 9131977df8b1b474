"""Can a classifier tell real price paths from simulated ones?"""

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.features.relativity import compute_features

PATH_BARS = 60
N_PATHS = 4000
FOLDS = 5


def price_paths(bars: pd.DataFrame, tick_points: float, n_paths: int, rng: np.random.Generator) -> np.ndarray:
    """Closes of 60 bars of one segment each, drawn at random, over the ATR of the bar before them.

    Paths do not overlap: trees would know a bar of one fold again in another.

    Returns:
        (n_paths, 60) float64, each as the way from the close of the bar before.
    """
    prices = bars[list(PRICE_COLUMNS)].to_numpy()
    segment = bars["segment"].to_numpy()
    table = compute_features(prices, segment, tick_points)
    before = np.arange(0, len(segment) - PATH_BARS, PATH_BARS + 1)
    before = before[table.valid[before] & (segment[before] == segment[before + PATH_BARS])]
    chosen = np.sort(rng.choice(before, min(n_paths, len(before)), replace=False))
    closes = prices[chosen[:, None] + np.arange(PATH_BARS + 1), 3]
    return (closes[:, 1:] - closes[:, :1]) / table.atr[chosen, None]


def auc_of_telling_apart(one: np.ndarray, other: np.ndarray, seed: int = 0) -> float:
    """Area under the ROC curve, out of fold, of boosted trees that tell two sets of paths apart.

    The trees see the closes, the steps between them, and the steps' sizes in order.

    Args:
        one, other: (n, 60) paths as `price_paths` returns them.
        seed: Of the folds and the trees.

    Returns:
        0.5 where they cannot be told apart, 1 where they always can.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    paths = np.concatenate([one, other])
    steps = np.diff(paths, axis=1, prepend=0.0)
    seen = np.hstack([paths, steps, np.sort(np.abs(steps), axis=1)])
    which = np.repeat([0, 1], [len(one), len(other)])
    trees = HistGradientBoostingClassifier(max_iter=80, max_leaf_nodes=15, random_state=seed)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    shares = np.asarray(cross_val_predict(trees, seen, which, cv=folds, method="predict_proba"))
    return float(roc_auc_score(which, shares[:, 1]))
