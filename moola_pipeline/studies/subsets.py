"""Nested subsets of labeled windows: what an annotator would have marked who had stopped earlier."""

import numpy as np

from moola_pipeline.labels.schema import TYPES
from moola_pipeline.labels.spans import LabeledWindows


def nested_subset(windows: LabeledWindows, n_labels: int, seed: int) -> LabeledWindows:
    """Windows with at least `n_labels` expansions, drawn whole; those of fewer labels are among them.

    Types and empty windows come in the proportion that the data has. A window with several
    expansions may bring a few more than asked for.

    Args:
        windows: All training windows.
        n_labels: Expansions wanted, >= 1.
        seed: Of the order in which windows are drawn.

    Raises:
        ValueError: If there are fewer expansions than that.
    """
    spans = windows.spans
    if not 1 <= n_labels <= len(spans.window):
        raise ValueError(f"a subset must hold 1 to {len(spans.window)} expansions, got {n_labels}")
    order = _order(windows, seed)
    held = np.bincount(spans.window, minlength=len(windows.bar0))[order].cumsum()
    stop = int(np.searchsorted(held, n_labels)) + 1
    if held[stop - 1] == held[-1]:
        stop = len(order)  # all labels are in: so are all empty windows
    return windows.select(np.sort(order[:stop]))


def _order(windows: LabeledWindows, seed: int) -> np.ndarray:
    """All windows in an order whose every beginning has each kind in its proportion."""
    rng = np.random.default_rng(seed)
    spans, empty = windows.spans, len(TYPES)
    kind = np.full(len(windows.bar0), empty)
    kind[spans.window[::-1]] = spans.type[::-1]  # the first expansion of a window names its kind
    place = np.empty(len(kind))
    for one in range(empty + 1):
        mine = rng.permutation(np.flatnonzero(kind == one))
        place[mine] = (np.arange(len(mine)) + rng.random(len(mine))) / max(len(mine), 1)
    return np.argsort(place, kind="stable")
