"""The one fault that many rows of a label file share, in place of a list of rows."""

import numpy as np
import pandas as pd

from moola_pipeline.errors import BadInput
from moola_pipeline.labels.label_options import ENDS, LabelOptions, written_clock
from moola_pipeline.labels.plausibility import BarMoves, MarkedSpans, find_misfit, fitting_zone
from moola_pipeline.labels.schema import NONE

KEEP = "or keep them with --as-is"
_LEAST_ROWS = 3
_MINUTE_NS = 60 * 10**9
WITHOUT_ZONE, ENDS_FIRST = "window_start without time zone", "span ends before it starts"
"""Reasons that most rows of a file can share."""


def refuse_shared_faults(
    source: str,
    cells: pd.DataFrame,
    labels: pd.DataFrame,
    faults: pd.DataFrame,
    bars: pd.DataFrame,
    options: LabelOptions,
) -> None:
    """Refuse a file whose rows share one fault: their clock, their ends, a shift, or other bars.

    Args:
        source: Name of the file, for errors.
        cells: Its cells, with window_start as it is written.
        labels: LABEL_COLUMNS of the same rows, as the options make them.
        faults: `reason` of each row, null where it has none.
        bars: BAR_COLUMNS that the labels must lie on.
        options: Of the user; with `as_is` nothing is refused here.

    Raises:
        BadInput: If there is such a fault; the text names the option that mends it.
    """
    if options.as_is:
        return
    clock, moves = written_clock(cells.loc[:, "window_start"]), BarMoves.of_bars(bars)
    _refuse_without_zone(source, clock, labels, faults, moves)
    refuse_swapped_ends(source, labels, faults)
    sound = labels.loc[faults["reason"].isna() & clock.notna()]
    _refuse_uncovered(source, sound, moves.opened)
    if misfit := find_misfit(MarkedSpans.of_labels(sound, clock), moves):
        raise BadInput(
            f"{source}: spans must lie on moves of the registered bars, but {misfit.looks}: "
            f"{misfit.remedy}, {KEEP}."
        )


def _most(n: int, of: int) -> bool:
    return n >= _LEAST_ROWS and 2 * n > of


def _refuse_without_zone(
    source: str, clock: pd.Series, labels: pd.DataFrame, faults: pd.DataFrame, bars: BarMoves
) -> None:
    without = faults["reason"].eq(WITHOUT_ZONE).to_numpy()
    if not _most(int(without.sum()), len(labels)):
        return
    rows = labels.loc[without & clock.notna().to_numpy()]
    rows = rows.loc[rows["expansion_start"].le(rows["expansion_end"]) | rows["label"].eq(NONE)]
    zone = fitting_zone(MarkedSpans.of_labels(rows, clock), bars)
    fits = f"the spans fit {zone}: give --timezone {zone}" if zone else "give --timezone ZONE"
    raise BadInput(
        f"{source}: window_start must have a time zone (like 2024-05-06T14:30:00Z), but {without.sum():,} of "
        f"{len(labels):,} rows have none; {fits}."
    )


def refuse_swapped_ends(source: str, labels: pd.DataFrame, faults: pd.DataFrame) -> None:
    """Refuse labels whose spans mostly end before they start; `faults` has the reason of each row.

    Raises:
        BadInput: If most do.
    """
    swapped = int(faults["reason"].eq(ENDS_FIRST).to_numpy().sum())
    n_spans = int(labels["expansion_start"].notna().to_numpy().sum())
    if _most(swapped, n_spans):
        raise BadInput(
            f"{source}: a span must not end before it starts, but {swapped:,} of {n_spans:,} do: "
            f"start and end look exchanged: give --ends {ENDS[-1]}."
        )


def _refuse_uncovered(source: str, labels: pd.DataFrame, opened: np.ndarray) -> None:
    """Refuse windows that all lie outside the bars, or mostly between the minutes."""
    moments = labels["window_start"].astype("int64").to_numpy()
    if len(moments) < _LEAST_ROWS:
        return
    if ((moments < opened[0]) | (moments > opened[-1])).all():
        days = [
            f"{pd.Timestamp(ns):%Y-%m-%d}" for ns in (moments.min(), moments.max(), opened[0], opened[-1])
        ]
        raise BadInput(
            f"{source}: windows must lie on the registered bars, but they start {days[0]} to {days[1]} and "
            f"the bars cover {days[2]} to {days[3]}: register the bars that were labeled."
        )
    between = int(np.count_nonzero(moments % _MINUTE_NS))
    if _most(between, len(moments)):
        raise BadInput(
            f"{source}: window_start must be the open of a one-minute bar, but {between:,} of "
            f"{len(moments):,} do not lie on a minute: round them down to it."
        )
