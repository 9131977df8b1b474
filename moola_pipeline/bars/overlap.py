"""Bars of one minute, from one file or several: which agree, which repeat, and which give way."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import PRICE_COLUMNS, nanoseconds

LISTED_MINUTES = 5


@dataclass(frozen=True)
class BarConflict:
    """Minutes of which two bars disagree, and in what the first of them does.

    Attributes:
        minutes: All of them, in order.
        column: In which the bars of the first minute differ.
        values: What the two say there.
    """

    minutes: pd.DatetimeIndex
    column: str
    values: tuple[object, object]

    def __str__(self) -> str:
        one, other = self.values
        first, *more = self.minutes[:LISTED_MINUTES]
        listed = "".join(f", {minute:%Y-%m-%d %H:%M}" for minute in more)
        rest = f" (then{listed[1:]}{', ...' if len(self.minutes) > LISTED_MINUTES else ''})" if more else ""
        return f"{len(self.minutes):,} disagree, first {first}: {self.column} {one} and {other}{rest}"


def in_order(*bars: pd.DataFrame) -> pd.DataFrame:
    """The rows of all frames by time; of one minute, those that know more come first."""
    joined = bars[0] if len(bars) == 1 else pd.concat(bars, ignore_index=True)
    moments = nanoseconds(joined)
    if (np.diff(moments) > 0).all():
        return joined
    unknown = [joined[name].isna().to_numpy() for name in ("contract", "volume") if name in joined]
    return joined.iloc[np.lexsort([*unknown, moments])].reset_index(drop=True)


def find_conflict(ordered: pd.DataFrame) -> BarConflict | None:
    """The first minute for which `in_order` frames hold bars that disagree; None if all agree.

    An unknown volume or contract agrees with any.
    """
    moments = nanoseconds(ordered)
    later = np.flatnonzero(np.diff(moments) == 0) + 1
    if not len(later):
        return None
    columns = [name for name in (*PRICE_COLUMNS, "volume", "contract") if name in ordered]
    one = ordered.iloc[later - 1][columns].reset_index(drop=True)
    other = ordered.iloc[later][columns].reset_index(drop=True)
    differs = pd.DataFrame({name: _disagree(one[name], other[name]) for name in columns})
    rows = np.flatnonzero(differs.any(axis=1))
    if not len(rows):
        return None
    first = rows[0]
    column = differs.columns[int(differs.iloc[first].to_numpy().argmax())]
    values = (one[column].iloc[first], other[column].iloc[first])
    minutes = pd.DatetimeIndex(np.unique(moments[later[rows]]), tz="UTC")
    return BarConflict(minutes, column, values)


def without_repeats(ordered: pd.DataFrame) -> pd.DataFrame:
    """The first row of each minute of `in_order` frames, numbered from 0."""
    moments = nanoseconds(ordered)
    first = np.concatenate([[True], np.diff(moments) > 0])
    return ordered if first.all() else ordered.loc[first].reset_index(drop=True)


def confirmed(frames: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """The frames, without a last bar that a frame which goes on beyond it holds otherwise.

    A file may end in the middle of a minute, so its last bar is provisional: where a later file
    disagrees, the later file is right. Any other disagreement is a conflict, and stays.

    Args:
        frames: Bars of one file each, strictly increasing in time, none of them empty.
    """
    ends = np.array([nanoseconds(frame)[[0, -1]] for frame in frames])  # (n_frames, 2)
    kept = []
    for frame, (_, last) in zip(frames, ends, strict=True):
        beyond = np.flatnonzero((ends[:, 0] <= last) & (ends[:, 1] > last)).tolist()
        kept.append(frame.iloc[:-1] if any(_overrules(frames[one], frame) for one in beyond) else frame)
    return kept


def _overrules(later: pd.DataFrame, frame: pd.DataFrame) -> bool:
    last = nanoseconds(frame)[-1]
    row = int(np.searchsorted(nanoseconds(later), last))
    if nanoseconds(later)[row] != last:
        return False
    return find_conflict(pd.concat([frame.iloc[[-1]], later.iloc[[row]]], ignore_index=True)) is not None


def _disagree(one: pd.Series, other: pd.Series) -> np.ndarray:
    known = (one.notna() & other.notna()).to_numpy()
    return known & (one != other).fillna(False).to_numpy(bool)
