"""Bars of the same minute, in one file or several: conflicts, repeats and incomplete last bars."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import PRICE_COLUMNS, nanoseconds

LISTED_MINUTES = 5


@dataclass(frozen=True)
class BarConflict:
    """Minutes in which two bars differ, and the first difference.

    Attributes:
        minutes: All these minutes, in order.
        column: A column in which the bars of the first minute differ.
        values: The two values in this column.
    """

    minutes: pd.DatetimeIndex
    column: str
    values: tuple[object, object]

    def __str__(self) -> str:
        earlier, later = self.values
        first, *more = self.minutes[:LISTED_MINUTES]
        differ = "minutes differ" if len(self.minutes) > 1 else "minute differs"
        listed = "".join(f", {minute:%Y-%m-%d %H:%M}" for minute in more)
        rest = f" (then{listed[1:]}{', ...' if len(self.minutes) > LISTED_MINUTES else ''})" if more else ""
        return f"{len(self.minutes):,} {differ}, first {first}: {self.column} {earlier} and {later}{rest}"


def in_order(*bars: pd.DataFrame) -> pd.DataFrame:
    """The rows of all frames by time; within a minute, rows with contract and volume come first."""
    joined = bars[0] if len(bars) == 1 else pd.concat(bars, ignore_index=True)
    moments = nanoseconds(joined)
    if (np.diff(moments) > 0).all():
        return joined
    unknown = [joined[name].isna().to_numpy() for name in ("contract", "volume") if name in joined]
    return joined.iloc[np.lexsort([*unknown, moments])].reset_index(drop=True)


def find_conflict(ordered: pd.DataFrame) -> BarConflict | None:
    """The minutes in which bars of an `in_order` frame differ; None if all agree.

    An unknown volume or contract agrees with any value.
    """
    moments = nanoseconds(ordered)
    later = np.flatnonzero(np.diff(moments) == 0) + 1
    if not len(later):
        return None
    columns = [name for name in (*PRICE_COLUMNS, "volume", "contract") if name in ordered]
    before = ordered.iloc[later - 1][columns].reset_index(drop=True)
    after = ordered.iloc[later][columns].reset_index(drop=True)
    differs = pd.DataFrame({name: _disagree(before[name], after[name]) for name in columns})
    rows = np.flatnonzero(differs.any(axis=1))
    if not len(rows):
        return None
    first = rows[0]
    column = differs.columns[int(differs.iloc[first].to_numpy().argmax())]
    values = (before[column].iloc[first], after[column].iloc[first])
    minutes = pd.DatetimeIndex(np.unique(moments[later[rows]]), tz="UTC")
    return BarConflict(minutes, column, values)


def without_repeats(ordered: pd.DataFrame) -> pd.DataFrame:
    """The first row of each minute of an `in_order` frame, numbered from 0."""
    moments = nanoseconds(ordered)
    first = np.concatenate([[True], np.diff(moments) > 0])
    return ordered if first.all() else ordered.loc[first].reset_index(drop=True)


def confirmed(frames: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Drop the last bar of a frame if a frame that continues beyond it has a different bar.

    A file may end in the middle of a minute, so its last bar is provisional: the later file is
    right. Any other difference is a conflict and stays.

    Args:
        frames: Bars of one file each, strictly increasing in time, not empty.
    """
    ends = np.array([nanoseconds(frame)[[0, -1]] for frame in frames])  # (n_frames, 2)
    trimmed = []
    for frame, (_, last) in zip(frames, ends, strict=True):
        beyond = np.flatnonzero((ends[:, 0] <= last) & (ends[:, 1] > last)).tolist()
        trimmed.append(
            frame.iloc[:-1] if any(_overrules(frames[later], frame) for later in beyond) else frame
        )
    return trimmed


def _overrules(later: pd.DataFrame, frame: pd.DataFrame) -> bool:
    last = nanoseconds(frame)[-1]
    row = int(np.searchsorted(nanoseconds(later), last))
    if nanoseconds(later)[row] != last:
        return False
    return find_conflict(pd.concat([frame.iloc[[-1]], later.iloc[[row]]], ignore_index=True)) is not None


def _disagree(before: pd.Series, after: pd.Series) -> np.ndarray:
    known = (before.notna() & after.notna()).to_numpy()
    return known & (before != after).fillna(False).to_numpy(bool)
