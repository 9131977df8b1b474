"""Folds of labeled windows, blocked by session."""

import numpy as np

N_FOLDS = 5


def session_folds(session: np.ndarray, n_folds: int = N_FOLDS) -> np.ndarray:
    """Fold of each window: (n_windows,) int64, 0 for the earliest block of sessions.

    Blocks are in order of time and hold equally many labeled sessions. A window never leaves its session,
    and features start afresh in each, so no bar is on both sides.

    Args:
        session: (n_windows,) session of each window.
        n_folds: Number of blocks, >= 2.

    Raises:
        ValueError: If there are fewer sessions than folds.
    """
    names, number = np.unique(session, return_inverse=True)
    if not 2 <= n_folds <= len(names):
        raise ValueError(f"folds must number 2 to {len(names)}, one session each at least, got {n_folds}")
    block = np.concatenate([np.full(len(part), i) for i, part in enumerate(np.array_split(names, n_folds))])
    return block[number].astype(np.int64)
