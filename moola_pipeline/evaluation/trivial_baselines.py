"""Trivial baselines: constant types, the position in the window, one span for all windows."""

import numpy as np

from moola_pipeline.evaluation.baselines import DEFAULT_STRENGTH, need_both_classes, scaled_logistic
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.metrics.matching import may_match
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST, WINDOW_BARS


def trivial_type_baselines(y: np.ndarray, onset: np.ndarray, test_onset: np.ndarray) -> dict[str, np.ndarray]:
    """P(retracement) of the type baselines that use no price.

    Args:
        y: (n_train,) class numbers.
        onset: (n_train,) start bars 0..104 of the training expansions.
        test_onset: (n,) start bars of the expansions to predict.

    Returns:
        (n,) per name of TRIVIAL_TYPE_BASELINES; `majority` is 0 or 1, the majority class of training.

    Raises:
        ValueError: If the training data has only one class.
    """
    need_both_classes(y)
    n = len(test_onset)
    position = scaled_logistic(DEFAULT_STRENGTH).fit(_as_share(onset), y)
    return {
        "majority": np.full(n, float(np.mean(y) > 0.5)),
        "always_consolidation": np.zeros(n),
        "always_retracement": np.ones(n),
        "position_only": position.predict_proba(_as_share(test_onset))[:, 1],
    }


def _as_share(onset: np.ndarray) -> np.ndarray:
    return np.asarray(onset, float)[:, None] / WINDOW_BARS


def constant_span(windows: LabeledWindows) -> tuple[int, int]:
    """The span that finds most training expansions if it is predicted in every window.

    Candidates start in bars 30-74 and are at most as long as the longest labeled one; the first best
    wins.
    """
    spans = windows.spans
    labeled = np.column_stack([spans.start, spans.end])
    lengths = range(1, int((spans.end - spans.start + 1).max()) + 1)
    candidates = np.array([(o, o + n - 1) for o in range(CORE_FIRST, CORE_LAST + 1) for n in lengths])
    found = may_match(labeled, candidates)
    first_of_window = np.flatnonzero(np.diff(spans.window, prepend=-1))
    hits = np.logical_or.reduceat(found, first_of_window, axis=0).sum(axis=0)
    start, end = candidates[int(hits.argmax())]
    return int(start), int(end)
