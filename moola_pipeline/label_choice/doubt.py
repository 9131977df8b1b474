"""Windows to label next: how uncertain the trees are about each, drawn with spread over sessions."""

import numpy as np

from moola_pipeline.label_choice.trees import ScoredProposals
from moola_pipeline.windows.dense import pretraining_windows
from moola_pipeline.windows.window_geometry import WINDOW_BARS

SHARPNESS = 8.0
"""Power of the doubt that weighs a draw: 0 draws at random, infinity takes the most doubtful."""
PER_SESSION = 2
"""Most windows drawn from one session."""


def entropy(probability: np.ndarray) -> np.ndarray:
    """Entropy of events with these probabilities, bits: 0 for 0 and 1, 1 for 0.5."""
    p = np.clip(np.asarray(probability, float), 1e-12, 1 - 1e-12)
    return -(p * np.log2(p) + (1 - p) * np.log2(1 - p))


def window_doubt(proposals: ScoredProposals, n_windows: int) -> np.ndarray:
    """Doubt about each window, bits: (n_windows,) float64; 0 where nothing is proposed.

    Summed over the proposals of a window: the entropy of whether it is an expansion, plus its probability
    times the entropy of its type.
    """
    expansion, retracement = proposals.probabilities
    doubt = entropy(expansion) + np.asarray(expansion, float) * entropy(retracement)
    return np.bincount(proposals.spans.window, weights=doubt, minlength=n_windows)


def unlabeled_windows(segment: np.ndarray, end_row: int, labeled_bar0: np.ndarray) -> np.ndarray:
    """Windows side by side before a row, without those that share a bar with a labeled window.

    Args:
        segment: (n_bars,) int, non-decreasing.
        end_row: First row that no window may use: the end of the training period.
        labeled_bar0: (n_labeled,) rows of bar 0 of labeled windows, of every split.

    Returns:
        (n_windows,) int64 rows of bar 0, increasing; they share no bar.
    """
    tiled = pretraining_windows(segment, end_row, WINDOW_BARS)
    labeled = np.sort(np.asarray(labeled_bar0, np.int64))
    first = np.searchsorted(labeled, tiled - WINDOW_BARS, side="right")
    after = np.searchsorted(labeled, tiled + WINDOW_BARS)
    return tiled[first == after]


def draw_spread(
    doubt: np.ndarray,
    session: np.ndarray,
    n: int,
    rng: np.random.Generator,
    per_session: int = PER_SESSION,
    sharpness: float = SHARPNESS,
) -> np.ndarray:
    """Draw windows without replacement, in proportion to a power of their doubt.

    Args:
        doubt: (n_windows,) >= 0.
        session: (n_windows,) session of each window.
        n: Windows to draw; fewer come if the sessions hold fewer.
        rng: Source of the draws.
        per_session: Most windows from one session.
        sharpness: The power; 0 makes all windows equally likely.

    Returns:
        Indices in the order drawn, at most n. Windows of doubt 0 come last unless sharpness is 0.

    Raises:
        ValueError: If a number is negative, or the shapes differ.

    Source:
        Efraimidis and Spirakis (2006), Information Processing Letters 97(5): the greatest
        log(u) / weight.
    """
    doubt, session = np.asarray(doubt, float), np.asarray(session)
    if doubt.shape != session.shape:
        raise ValueError(f"doubt and session must have one shape, got {doubt.shape} and {session.shape}")
    if n < 0 or per_session < 1 or sharpness < 0 or (doubt < 0).any():
        raise ValueError("n, sharpness and doubt must be >= 0 and per_session >= 1")
    with np.errstate(divide="ignore"):
        log_weight = sharpness * np.log(doubt) if sharpness else np.zeros(len(doubt))
    # the smallest -log(u) / weight, in logarithms
    key = np.log(-np.log(rng.random(len(doubt)))) - log_weight
    drawn, used = [], {}
    for i in np.argsort(key, kind="stable").tolist():
        if len(drawn) == n:
            break
        if used.get(session[i], 0) < per_session:
            drawn.append(i)
            used[session[i]] = used.get(session[i], 0) + 1
    return np.array(drawn, np.int64)
