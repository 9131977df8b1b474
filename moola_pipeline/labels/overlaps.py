"""Windows of different ids on the same bars: what they share, and where they contradict each other."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pandas as pd

from moola_pipeline.labels.schema import expansions
from moola_pipeline.windows.frame import WINDOW_BARS


def near_duplicates(placed: pd.DataFrame) -> pd.DataFrame:
    """Pairs of windows of different ids that share more than half their bars.

    Args:
        placed: The frame of `place_labels`.

    Returns:
        window_a, window_b (str, the earlier first), shared_bars (int64, 105 for equal windows), and
        shared_expansions (int64): expansions that both have marked on the same bars, so that they
        count twice.
    """
    windows = placed.drop_duplicates("window_id").sort_values(["bar0", "window_id"], ignore_index=True)
    bar0, names = windows["bar0"].to_numpy(np.int64), windows["window_id"].to_numpy(object)
    twice = Counter(frozenset(pair) for pair, _ in _pairs_on_same_bars(placed))
    rows = [
        (names[a], names[b], int(WINDOW_BARS - (bar0[b] - bar0[a])))
        for a, b in _within(bar0, WINDOW_BARS)
        if (bar0[b] - bar0[a]) * 2 < WINDOW_BARS
    ]
    pairs = pd.DataFrame(rows, columns=["window_a", "window_b", "shared_bars"])
    both = [twice[frozenset(pair)] for pair in zip(pairs["window_a"], pairs["window_b"], strict=True)]
    return pairs.assign(shared_expansions=np.array(both, np.int64))


def clashing_windows(placed: pd.DataFrame) -> dict[str, str]:
    """Windows (id to the other's id) that label bars they share with different types."""
    found = {}
    for (one, other), agree in _pairs_on_same_bars(placed):
        if not agree:
            found.setdefault(one, other)
            found.setdefault(other, one)
    return found


def _pairs_on_same_bars(placed: pd.DataFrame) -> Iterator[tuple[tuple[str, str], bool]]:
    """Expansions of two windows that share more than half the bars of the shorter one.

    Yields both window ids, and whether the expansions have one type.
    """
    marked = expansions(placed)
    first = (marked["bar0"] + marked["expansion_start"].astype("int64")).to_numpy(np.int64)
    order = np.argsort(first, kind="stable")
    last = (marked["bar0"] + marked["expansion_end"].astype("int64")).to_numpy(np.int64)[order]
    names, labels = (marked[name].to_numpy(object)[order] for name in ("window_id", "label"))
    first = first[order]
    for a, b in _within(first, WINDOW_BARS):
        shared = min(last[a], last[b]) - first[b] + 1
        shorter = min(last[a] - first[a], last[b] - first[b]) + 1
        if shared * 2 > shorter and names[a] != names[b]:
            yield (names[a], names[b]), labels[a] == labels[b]


def _within(ordered: np.ndarray, reach: int) -> Iterator[tuple[int, int]]:
    """Pairs of places, the smaller first, whose values lie less than `reach` apart."""
    for a, after in enumerate(np.searchsorted(ordered, ordered + reach)):
        for b in range(a + 1, int(after)):
            yield a, b
