"""The older label file: windows given as prices and no time, found in the bars by exact match."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import PRICE_COLUMNS, nanoseconds
from moola_pipeline.labels.lookalikes import nearest_causes, shown_moment
from moola_pipeline.labels.price_search import UNIT_POINTS, find_stretches
from moola_pipeline.labels.tables import cut_short
from moola_pipeline.windows.frame import WINDOW_BARS

FEATURES, START = "features", "window_start"
FOUND, AMBIGUOUS, NOT_FOUND = "found", "ambiguous", "not found"
FATES = (FOUND, AMBIGUOUS, NOT_FOUND)
_LARGEST_POINTS = 1e9
_SHAPE = (WINDOW_BARS, len(PRICE_COLUMNS))


@dataclass(frozen=True)
class TimedCells:
    """The cells of an older file with the time of each window, as far as it was found.

    Attributes:
        cells: The file's cells, `window_start` (UTC) in place of `features`, `label` in small letters.
        faults: `reason` and `detail` of each row whose window was not found, or not once; else null.
        windows: How many windows were found, ambiguous and not found.
    """

    cells: pd.DataFrame
    faults: pd.DataFrame
    windows: dict[str, int]


def is_older(cells: pd.DataFrame) -> bool:
    """Whether windows are given by their prices and not by their time."""
    return FEATURES in cells.columns and START not in cells.columns


def find_windows(cells: pd.DataFrame, bars: pd.DataFrame) -> TimedCells:
    """Give each window the time of the only place in the bars that has its 420 prices.

    Args:
        cells: window_id, label, expansion_start, expansion_end, and features: 105 rows of open, high,
            low and close (nested lists or arrays, or JSON text).
        bars: BAR_COLUMNS. A place that leaves its segment is a place; `place_labels` refuses it.
    """
    series = _units(bars[list(PRICE_COLUMNS)].to_numpy())
    opened = nanoseconds(bars)
    windows = [_window(value) for value in cells[FEATURES]]
    whole = [window for window in windows if window is not None]
    patterns = np.array(whole, np.int64).reshape(-1, *_SHAPE)
    places = find_stretches(series, patterns)
    causes = iter(
        nearest_causes([p for p, rows in zip(patterns, places, strict=True) if not len(rows)], series, opened)
    )
    found = iter(places)
    fates, starts, reasons, details = [], [], [], []
    for window, value in zip(windows, cells[FEATURES], strict=True):
        rows = next(found) if window is not None else np.empty(0, np.int64)
        fates.append(FATES[min(len(rows), 2) - 1])
        starts.append(opened[rows[0]] if len(rows) == 1 else None)
        reason, detail = None, None
        if window is None:
            reason, detail = "features are no window", _no_window(value)
        elif len(rows) > 1:
            reason, detail = "window in several places", _several(opened[rows])
        elif not len(rows):
            reason, detail = next(causes)
        reasons.append(reason)
        details.append(detail)
    return _timed(cells, starts, pd.DataFrame({"reason": reasons, "detail": details}, cells.index), fates)


def _timed(
    cells: pd.DataFrame, starts: list[int | None], faults: pd.DataFrame, fates: list[str]
) -> TimedCells:
    names = cells["window_id"].astype("str").fillna("without id")
    wrong = faults["reason"].notna()
    faults.loc[wrong, "detail"] = "window " + names[wrong] + " " + faults.loc[wrong, "detail"]
    counted = pd.Series(fates, cells.index)[~names.duplicated()].tolist()
    timed = cells.drop(columns=FEATURES)
    if "label" in timed:
        timed["label"] = timed["label"].astype("str").str.lower()
    moments = pd.to_datetime(pd.Series(starts, cells.index, dtype="Int64"), utc=True).dt.as_unit("ns")
    return TimedCells(
        timed.assign(**{START: moments}), faults.astype("str"), {fate: counted.count(fate) for fate in FATES}
    )


def _window(value: Any) -> np.ndarray | None:
    """(105, 4) int64 prices in UNIT_POINTS; None if the cell holds no window."""
    try:
        rows = json.loads(value) if isinstance(value, str) else value
        prices = np.array([list(row) for row in rows], np.float64)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
    if prices.shape != _SHAPE or not (np.abs(prices) < _LARGEST_POINTS).all():
        return None
    return _units(prices)


def _units(points: np.ndarray) -> np.ndarray:
    return np.rint(points / UNIT_POINTS).astype(np.int64)


def _no_window(value: Any) -> str:
    shown = cut_short(" ".join(str(value).split()))[:40]
    return f"must give features as {WINDOW_BARS} rows of {', '.join(PRICE_COLUMNS)}, got {shown}"


def _several(moments: np.ndarray) -> str:
    first = " and ".join(shown_moment(int(moment)) for moment in moments[:2])
    more = f" and {len(moments) - 2} more" if len(moments) > 2 else ""
    return f"stands in these bars {len(moments)} times, at {first}{more}: give its window_start"
