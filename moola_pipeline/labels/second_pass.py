"""Windows that the annotator labeled twice: both passes over the same windows."""

from typing import NamedTuple

import pandas as pd

from moola_pipeline.labels.placement import place_labels
from moola_pipeline.labels.schema import SECOND_PASS, is_complete
from moola_pipeline.labels.spans import LabeledWindows, labeled_windows


class TwiceLabeled(NamedTuple):
    """Windows of one split that the annotator labeled twice, with the labels of each pass.

    Both sides hold the same windows in the same order, so that a window has one index in both.
    """

    first: LabeledWindows
    second: LabeledWindows


def twice_labeled(
    labeled: pd.DataFrame, labels: pd.DataFrame, bars: pd.DataFrame, split: str
) -> TwiceLabeled:
    """Collect the windows of one split that have a second pass, to measure the annotator's agreement.

    A window graded D or incomplete in either pass, or whose second pass lies on other bars, is left out.

    Args:
        labeled: The frame of `assign_splits`: the first pass, with its splits.
        labels: All labels, LABEL_COLUMNS, every pass.
        bars: BAR_COLUMNS that `labeled` was placed on.
        split: One of SPLITS.

    Returns:
        Both passes over the same windows; no windows where there is no second pass.
    """
    first = labeled.loc[(labeled["split"] == split) & is_complete(labeled)]
    second = place_labels(labels, bars, SECOND_PASS).frame
    second = second.loc[is_complete(second)]
    place = ["window_id", "bar0"]
    both = pd.merge(first[place].drop_duplicates(), second[place].drop_duplicates())["window_id"]
    return TwiceLabeled(
        labeled_windows(first.loc[first["window_id"].isin(both)], split),
        labeled_windows(second.loc[second["window_id"].isin(both)].assign(split=split), split),
    )
