"""Which windows to draw: those in which a model was most right, and those in which it was most wrong."""

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from moola_pipeline.labels.schema import TYPES
from moola_pipeline.metrics.matching import event_counts, match_events

Rank = Literal["best", "worst"]


class ChosenWindow(NamedTuple):
    """A window to draw, its place among the windows, and what became of its expansions."""

    place: int
    rank: Rank
    note: str


def choose_windows(
    truth: pd.DataFrame, predicted: pd.DataFrame, window_ids: np.ndarray, n_windows: int
) -> list[ChosenWindow]:
    """The windows with the most expansions found and no error, and those with the most errors.

    Args:
        truth: window_id, onset, offset, type of labeled expansions.
        predicted: The same columns and probability.
        window_ids: (n,) of every window judged.
        n_windows: At most so many, half of each rank; a window is drawn once.

    Returns:
        The best first, then the worst, each from the clearest on.
    """
    ids = pd.Series(window_ids)
    counts = event_counts(match_events(truth, predicted), ids, tuple(range(len(TYPES))))
    found, false, missed = counts.sum(axis=1).T  # (n,) each
    surest = np.zeros(len(ids))
    np.maximum.at(
        surest, pd.Index(ids).get_indexer(predicted["window_id"].to_numpy()), predicted["probability"]
    )
    wrong = false + missed
    flawless = np.lexsort((np.arange(len(wrong)), -surest, -found, wrong))
    worst = np.lexsort((np.arange(len(wrong)), -surest, -wrong))
    best = [int(place) for place in flawless[: n_windows - n_windows // 2] if found[place]]
    errors = [int(place) for place in worst[: n_windows // 2] if wrong[place] and place not in best]

    def note(place: int) -> str:
        return f"{found[place]} found, {missed[place]} missed, {false[place]} false"

    return [
        *(ChosenWindow(place, "best", note(place)) for place in best),
        *(ChosenWindow(place, "worst", note(place)) for place in errors),
    ]
