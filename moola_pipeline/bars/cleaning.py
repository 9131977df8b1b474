"""Which bars of a file are kept: order, duplicates, prices and the interval, counted and judged."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import (
    BAR_INTERVAL,
    BAR_RULES,
    INSTRUMENTS,
    PRICE_COLUMNS,
    Instrument,
    broken_rule,
    nanoseconds,
)
from moola_pipeline.errors import BadInput

MINUTE_NS = BAR_INTERVAL // timedelta(microseconds=1) * 1000


@dataclass(frozen=True)
class RowCounts:
    """What became of a file's rows: `read` = `kept` + `duplicates`; `out_of_order` were sorted in."""

    read: int
    kept: int
    duplicates: int
    out_of_order: int


@dataclass(frozen=True)
class Conflict:
    """Two bars of one minute that disagree: the first of `n_minutes` such minutes."""

    timestamp: pd.Timestamp
    column: str
    values: tuple[object, object]
    n_minutes: int

    def __str__(self) -> str:
        one, other = self.values
        return f"{self.n_minutes:,} disagree, first {self.timestamp}: {self.column} {one} and {other}"


def known_instrument(name: str) -> Instrument:
    """The instrument of that name.

    Raises:
        BadInput: If there is none.
    """
    if name not in INSTRUMENTS:
        raise BadInput(
            f"The instrument must be one of {', '.join(INSTRUMENTS)}, got {name!r}. Choose one of them."
        )
    return INSTRUMENTS[name]


def clean_bars(bars: pd.DataFrame, instrument: Instrument, source: str) -> tuple[pd.DataFrame, RowCounts]:
    """Sort a vendor's bars, drop repeated rows, and refuse what would have to be guessed.

    Args:
        bars: RAW_COLUMNS and optionally `contract`, as they stand in the file.
        instrument: Whose tick grid the prices must lie on.
        source: Name of the file, for errors.

    Returns:
        The bars kept, strictly increasing in time, and what became of the rows.

    Raises:
        BadInput: If a time is missing, the bars are not of one minute or too few to prove it, a
            bar breaks one of BAR_RULES, or two bars of one minute disagree.
    """
    _refuse_missing_times(bars, source)
    moments = nanoseconds(bars)
    _refuse_other_interval(bars, moments, source)
    for rule in BAR_RULES:
        if fault := broken_rule(rule, bars, instrument):
            raise BadInput(f"{source} ({instrument.name}): {fault}. {rule.remedy}")
    out_of_order = int((np.diff(moments) < 0).sum())
    merged = in_order(bars)
    if conflict := find_conflict(merged):
        raise BadInput(
            f"{source}: bars of one minute must agree, but {conflict}. Keep the right ones, or export again."
        )
    kept = without_repeats(merged)
    return kept, RowCounts(len(bars), len(kept), len(bars) - len(kept), out_of_order)


def in_order(*bars: pd.DataFrame) -> pd.DataFrame:
    """The rows of all frames by time; of one minute, those that know more come first."""
    joined = bars[0] if len(bars) == 1 else pd.concat(bars, ignore_index=True)
    moments = nanoseconds(joined)
    if (np.diff(moments) > 0).all():
        return joined
    unknown = [joined[name].isna().to_numpy() for name in ("contract", "volume") if name in joined]
    return joined.iloc[np.lexsort([*unknown, moments])].reset_index(drop=True)


def find_conflict(ordered: pd.DataFrame) -> Conflict | None:
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
    n_minutes = len(np.unique(moments[later[rows]]))
    return Conflict(ordered["timestamp"].iloc[later[first]], column, values, n_minutes)


def without_repeats(ordered: pd.DataFrame) -> pd.DataFrame:
    """The first row of each minute of `in_order` frames, numbered from 0."""
    moments = nanoseconds(ordered)
    first = np.concatenate([[True], np.diff(moments) > 0])
    return ordered if first.all() else ordered.loc[first].reset_index(drop=True)


def _disagree(one: pd.Series, other: pd.Series) -> np.ndarray:
    known = (one.notna() & other.notna()).to_numpy()
    return known & (one != other).fillna(False).to_numpy(bool)


def _refuse_missing_times(bars: pd.DataFrame, source: str) -> None:
    missing = np.flatnonzero(bars["timestamp"].isna())
    if len(missing):
        raise BadInput(
            f"{source}: every bar must have a time, but {len(missing):,} of {len(bars):,} have none, "
            f"first in row {missing[0] + 1:,}. Export it again."
        )


def _refuse_other_interval(bars: pd.DataFrame, moments: np.ndarray, source: str) -> None:
    ordered = moments if (np.diff(moments) > 0).all() else np.sort(moments)
    steps = np.diff(ordered)
    steps = steps[steps > 0]
    if not len(steps):
        raise BadInput(f"{source}: at least 2 minutes must prove the interval, got fewer. Export more bars.")
    if np.mean(steps == MINUTE_NS) < 0.5:
        interval = timedelta(microseconds=float(np.median(steps)) / 1000)
        raise BadInput(
            f"{source}: bars must be of one minute, got one every {interval} (median), "
            f"first {bars['timestamp'].min()}. Export one-minute bars."
        )
    odd = np.flatnonzero(moments % MINUTE_NS)
    if len(odd):
        raise BadInput(
            f"{source}: bars must open on a whole minute, but {len(odd):,} of {len(bars):,} do not, "
            f"first {bars['timestamp'].iloc[odd[0]]}. Export one-minute bars."
        )
