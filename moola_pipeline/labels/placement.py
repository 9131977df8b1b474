"""Placement of labels on the bars: the row of each window, its split, or why it is refused."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import nanoseconds
from moola_pipeline.labels.schema import EXCLUDED_GRADE, FIRST_PASS, LABEL_COLUMNS, NONE
from moola_pipeline.labels.splits import SplitSettings, assign_splits
from moola_pipeline.windows.window_geometry import BARS_BEFORE, CORE_FIRST, CORE_LAST, WINDOW_BARS

GRADED_OUT = f"grade {EXCLUDED_GRADE}"
"""The only reason that is the annotator's choice and not a fault."""


@dataclass(frozen=True)
class Placement:
    """Labels found in the bars, and those that cannot be used there.

    Attributes:
        frame: LABEL_COLUMNS with bar0 (int64 row of the window's bar 0 in the bar table), session
            (datetime64[ns]), direction (int8, sign(close[end] - open[start]); 0 for an empty
            window) and in_core (bool: the expansion starts in bars 30..74).
        refused: LABEL_COLUMNS with `reason` (a category) and `detail`.
    """

    frame: pd.DataFrame
    refused: pd.DataFrame


def place_labels(labels: pd.DataFrame, bars: pd.DataFrame, pass_number: int = FIRST_PASS) -> Placement:
    """Find the windows of one pass in the bars, by the exact time of bar 0.

    A window is refused if no bar opens at its start, if its segment has fewer than 40 bars before
    it, or if it leaves its segment. One row of grade D refuses its whole window.

    Args:
        labels: LABEL_COLUMNS, without contradictions.
        bars: BAR_COLUMNS, timestamps strictly increasing.
        pass_number: Rows of other passes are neither placed nor refused.
    """
    chosen = labels.loc[labels["pass"] == pass_number, list(LABEL_COLUMNS)]
    bar0, has_bar = _rows_of(chosen["window_start"], bars)
    reason, detail = _reasons(chosen, bar0, has_bar, bars)
    refused = chosen.assign(reason=reason, detail=detail)[reason.notna()]
    usable = reason.isna().to_numpy()
    return Placement(_described(chosen[usable], bar0[usable], bars), refused)


def split_labels(labels: pd.DataFrame, bars: pd.DataFrame, settings: SplitSettings) -> Placement:
    """Find the windows of the first pass in the bars, and give each its split.

    Args:
        labels: LABEL_COLUMNS, every pass.
        bars: BAR_COLUMNS, timestamps strictly increasing.
        settings: Fixed or rolling.

    Returns:
        The placement; its frame has `split` as well, see `assign_splits`.

    Raises:
        UnsoundSplit: If there are too few labeled months for a rolling split.
    """
    placed = place_labels(labels, bars)
    return replace(placed, frame=assign_splits(placed.frame, bars, settings))


def _rows_of(moments: pd.Series, bars: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Row of each moment in the bar table, and whether the table has a bar at it."""
    opened = nanoseconds(bars)
    wanted = moments.astype("int64").to_numpy()
    rows = np.searchsorted(opened, wanted)
    has_bar = rows < len(opened)
    has_bar[has_bar] = opened[rows[has_bar]] == wanted[has_bar]
    return rows.astype(np.int64), has_bar


def _reasons(
    labels: pd.DataFrame, bar0: np.ndarray, has_bar: np.ndarray, bars: pd.DataFrame
) -> tuple[pd.Series, pd.Series]:
    segment = bars["segment"].to_numpy()
    warm = has_bar & (bar0 >= BARS_BEFORE)
    warm[warm] = segment[bar0[warm] - BARS_BEFORE] == segment[bar0[warm]]
    whole = has_bar & (bar0 + WINDOW_BARS <= len(segment))
    whole[whole] = segment[bar0[whole] + WINDOW_BARS - 1] == segment[bar0[whole]]
    graded_out = labels["grade"].eq(EXCLUDED_GRADE).groupby(labels["window_id"]).transform("any")
    windows = (
        "window " + labels["window_id"] + " at " + labels["window_start"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    )
    reason = pd.Series(None, index=labels.index, dtype="str")
    detail = reason.copy()
    for wrong, category, text in (
        (~has_bar, "window_start is no bar", " does not start at the open of a bar"),
        (~whole, "window leaves its segment", f" does not have {WINDOW_BARS} bars in one segment"),
        (~warm, "too early in its segment", f" has fewer than {BARS_BEFORE} bars of its segment before it"),
        (graded_out.to_numpy(bool), GRADED_OUT, f" has a row of grade {EXCLUDED_GRADE}"),
    ):
        new = wrong & reason.isna().to_numpy()
        reason[new] = category
        detail[new] = windows[new] + text
    return reason, detail


def _described(labels: pd.DataFrame, bar0: np.ndarray, bars: pd.DataFrame) -> pd.DataFrame:
    labels = labels.reset_index(drop=True)
    expansion = labels["label"].ne(NONE).to_numpy()
    start = labels["expansion_start"].fillna(0).to_numpy(np.int64)
    end = labels["expansion_end"].fillna(0).to_numpy(np.int64)
    move = bars["close"].to_numpy()[bar0 + end] - bars["open"].to_numpy()[bar0 + start]
    return labels.assign(
        bar0=bar0,
        session=bars["session"].to_numpy()[bar0],
        direction=np.where(expansion, np.sign(move), 0).astype(np.int8),
        in_core=expansion & (start >= CORE_FIRST) & (start <= CORE_LAST),
    )
