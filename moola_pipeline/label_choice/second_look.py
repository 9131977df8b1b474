"""Windows to judge again after the definition changed: the borderline ones first."""

import numpy as np
import pandas as pd

from moola_pipeline.label_choice.doubt import window_doubt
from moola_pipeline.label_choice.trees import fit_trees, score_proposals
from moola_pipeline.labels.annotators import annotators_of
from moola_pipeline.labels.folds import N_FOLDS, session_folds
from moola_pipeline.labels.schema import FIRST_PASS
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.windows.market_arrays import MarketArrays


def waiting_windows(rows: pd.DataFrame, annotator: str, newest: int) -> pd.DataFrame:
    """Windows that an annotator judged under earlier definitions and not under the newest.

    Args:
        rows: LABEL_COLUMNS of all annotators and definitions.
        annotator: His name.
        newest: Number of the newest definition.

    Returns:
        window_id, window_start, definition (the last one under which he judged it), chosen; by time.
    """
    own = rows.loc[(annotators_of(rows) == annotator) & (rows["pass"] == FIRST_PASS)]
    done = set(own.loc[own["definition"] >= newest, "window_id"])
    earlier = own.loc[~own["window_id"].isin(done)].sort_values(["window_start", "window_id", "definition"])
    last = earlier.drop_duplicates("window_id", keep="last")
    return last[["window_id", "window_start", "definition", "chosen"]].reset_index(drop=True)


def labeled_doubt(
    market: MarketArrays, train: LabeledWindows, bar0: np.ndarray, n_folds: int = N_FOLDS, seed: int = 0
) -> np.ndarray:
    """Doubt about labeled windows, bits: a changed definition affects first what is near its border.

    Windows of the training period are read by trees of the other blocks of sessions, all others by trees
    of the whole period, so no window is read by trees that learned from it.

    Args:
        market: The bars and their features.
        train: Labeled windows of the training period, under the earlier definition.
        bar0: (n,) rows of bar 0 of the windows.
        n_folds: Blocks of sessions.
        seed: Of the trees.

    Returns:
        (n,) float64; see `window_doubt`.

    Raises:
        ValueError: If there are too few sessions, or too few labels outside a block.
    """
    fold = session_folds(train.session, n_folds)
    parts = [(fold != number, np.isin(bar0, train.bar0[fold == number])) for number in range(n_folds)]
    parts.append((np.ones(len(fold), bool), ~np.isin(bar0, train.bar0)))
    doubt = np.zeros(len(bar0))
    for learned, read in parts:
        if read.any():
            trees = fit_trees(market, train.select(learned), seed)
            doubt[read] = window_doubt(score_proposals(market, trees, bar0[read]), int(read.sum()))
    return doubt
