"""Nested draws of labels: what a model would be worth with fewer of them, or with others."""

import numpy as np

from moola_pipeline.labels.schema import TYPES
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.windows.window_geometry import UNTYPED


def nested_subset(windows: LabeledWindows, n_labels: int, seed: int) -> LabeledWindows:
    """Draw whole windows with at least `n_labels` expansions; a smaller subset is part of a larger one.

    Types, unknown ones and empty windows have the proportions of the data. A window with several
    expansions may add a few more than `n_labels`.

    Args:
        windows: All training windows.
        n_labels: Number of expansions, >= 1.
        seed: Of the order in which windows are drawn.

    Raises:
        ValueError: If there are fewer expansions.
    """
    spans = windows.spans
    if not 1 <= n_labels <= len(spans.window):
        raise ValueError(f"a subset must hold 1 to {len(spans.window)} expansions, got {n_labels}")
    order = _order(windows, seed)
    n_drawn = np.bincount(spans.window, minlength=len(windows.bar0))[order].cumsum()
    stop = int(np.searchsorted(n_drawn, n_labels)) + 1
    if n_drawn[stop - 1] == n_drawn[-1]:
        stop = len(order)  # with all labels, take all empty windows too
    return windows.select(np.sort(order[:stop]))


def _order(windows: LabeledWindows, seed: int) -> np.ndarray:
    """Order all windows so that every prefix has each kind in its proportion."""
    rng = np.random.default_rng(seed)
    spans, empty = windows.spans, len(TYPES)
    kind = np.full(len(windows.bar0), empty)
    kind[spans.window[::-1]] = spans.type[::-1]  # the kind of a window is that of its first expansion
    rank = np.empty(len(kind))
    for number in (*range(empty + 1), UNTYPED):
        rows = rng.permutation(np.flatnonzero(kind == number))
        rank[rows] = (np.arange(len(rows)) + rng.random(len(rows))) / max(len(rows), 1)
    return np.argsort(rank, kind="stable")
