"""Windows cut from time that an annotator looked at whole, and windows around the spans elsewhere."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import nanoseconds
from moola_pipeline.labels.schema import COMPLETE, INCOMPLETE, LABEL_COLUMNS, NONE
from moola_pipeline.labels.span_windows import windows_around
from moola_pipeline.windows.window_geometry import BARS_BEFORE, CORE_BARS, CORE_FIRST, CORE_LAST, WINDOW_BARS

_AFTER_CORE = WINDOW_BARS - 1 - CORE_LAST
_SUFFIX = "-spans"
"""Ends the id of a window of which only the spans are known: another may start with the same bar."""


@dataclass(frozen=True)
class CutWindows:
    """Rows of a label file made of spans in time.

    Attributes:
        cells: LABEL_COLUMNS but `pass`; the index is the row of each span, and numbers after them for
            empty windows.
        faults: `reason` and `detail` of each span without a window; else null.
        n_windows, n_empty: Windows of covered time, and those without a span that starts in bars 30-74.
        n_incomplete: Windows around spans without covered time.
    """

    cells: pd.DataFrame
    faults: pd.DataFrame
    n_windows: int
    n_empty: int
    n_incomplete: int


def cut_windows(
    spans: pd.DataFrame, covered: list[tuple[pd.Timestamp, pd.Timestamp]], bars: pd.DataFrame
) -> CutWindows:
    """Cut covered time into windows whose bars 30-74 follow each other, and place the spans in them.

    Up to 44 bars of a stretch are in no window's bars 30-74; the windows are moved so that few spans start
    there. Such spans are kept outside bars 30-74 of a neighboring window. A span without covered time that
    starts in no window's bars 30-74 gets an incomplete window, see `windows_around`.

    Args:
        spans: started_at and ended_at (UTC opens of first and last bar), label, annotator, and is_covered:
            whether the time around it is said to be covered.
        covered: UTC stretches, end excluded.
        bars: BAR_COLUMNS, timestamps strictly increasing.
    """
    opened = nanoseconds(bars)
    first = np.searchsorted(opened, spans["started_at"].astype("int64").to_numpy())
    last = np.searchsorted(opened, spans["ended_at"].astype("int64").to_numpy(), side="right") - 1
    segment = bars["segment"].to_numpy()
    bar0 = _covering_windows(first, covered, opened, segment)
    own = np.array([_window_of(a, b, bar0) for a, b in zip(first, last, strict=True)], np.int64)
    in_core = (own >= 0) & (first - own >= CORE_FIRST) & (first - own <= CORE_LAST)
    alone = ~in_core & ~spans["is_covered"].to_numpy(bool)
    filled, empty = np.unique(own[in_core]), np.setdiff1d(bar0, own[~alone])
    own[alone] = windows_around(first[alone], last[alone], opened, segment)
    placed = own >= 0
    cells = _cells(
        np.append(own, empty),
        opened,
        {
            "complete": [*np.where(alone, INCOMPLETE, COMPLETE), *[COMPLETE] * len(empty)],
            "label": [*spans["label"], *[NONE] * len(empty)],
            "expansion_start": [*(first - own), *[None] * len(empty)],
            "expansion_end": [*(last - own), *[None] * len(empty)],
            "annotator": [*spans["annotator"], *[_only(spans["annotator"].tolist())] * len(empty)],
        },
        [*spans.index, *range(max(spans.index, default=0) + 1, max(spans.index, default=0) + 1 + len(empty))],
    )
    faults = pd.DataFrame({"reason": None, "detail": None}, index=cells.index, dtype="str")
    _add_faults(
        faults,
        spans.loc[~placed & ~alone, "started_at"],
        "span outside the covered windows",
        f"lies in no window of the covered time; the first {BARS_BEFORE} bars of a segment are in none",
    )
    _add_faults(
        faults,
        spans.loc[~placed & alone, "started_at"],
        "span fits no window",
        f"must have {BARS_BEFORE + CORE_FIRST} bars of its segment before it, {_AFTER_CORE} after its first "
        f"bar, and at most {WINDOW_BARS - CORE_FIRST} in all",
    )
    n_incomplete = len(np.unique(own[placed & alone]))
    return CutWindows(cells, faults, len(bar0), len(bar0) - len(filled), n_incomplete)


def _add_faults(faults: pd.DataFrame, starts: pd.Series, reason: str, detail: str) -> None:
    faults.loc[starts.index, "reason"] = reason
    named = starts.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    faults.loc[starts.index, "detail"] = [f"the span at {start} {detail}" for start in named]


def _covering_windows(
    onsets: np.ndarray,
    covered: list[tuple[pd.Timestamp, pd.Timestamp]],
    opened: np.ndarray,
    segment: np.ndarray,
) -> np.ndarray:
    """Rows of bar 0 of all windows, increasing."""
    bar0, onsets = [np.empty(0, np.int64)], np.sort(onsets)
    for start, end in _merged(covered):
        low, high = np.searchsorted(opened, [start.value, end.value]).tolist()
        for number in np.unique(segment[low:high]):
            whole = np.searchsorted(segment, [number, number + 1]).tolist()
            bar0.append(_tiles(max(low, whole[0]), min(high, whole[1]), whole, onsets))
    return np.concatenate(bar0)


def _merged(covered: list[tuple[pd.Timestamp, pd.Timestamp]]) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    merged: list[tuple[pd.Timestamp, pd.Timestamp]] = []
    for start, end in sorted(covered):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _tiles(low: int, high: int, whole: list[int], onsets: np.ndarray) -> np.ndarray:
    """Rows of bar 0 of the windows whose bars 30-74 lie in rows low..high-1 of one segment."""
    low = max(low, whole[0] + BARS_BEFORE + CORE_FIRST)
    high = min(high, whole[1] - _AFTER_CORE)
    n_windows = max(high - low, 0) // CORE_BARS
    if not n_windows:
        return np.empty(0, np.int64)
    spare = high - low - n_windows * CORE_BARS
    starts = low + np.arange(spare + 1)
    inside = np.searchsorted(onsets, starts + n_windows * CORE_BARS) - np.searchsorted(onsets, starts)
    return low + int(np.argmax(inside)) - CORE_FIRST + CORE_BARS * np.arange(n_windows)


def _window_of(first: int, last: int, bar0: np.ndarray) -> int:
    """Row of bar 0 of the window in whose bars 30-74 a span starts, else of one that holds it; -1 for none.

    A span that leaves the former is a fault of it: without the span it would seem empty.
    """
    low, high = np.searchsorted(bar0, [first - WINDOW_BARS, first], side="right")
    holds = bar0[low:high]
    own = holds[(first - holds >= CORE_FIRST) & (first - holds <= CORE_LAST)]
    if len(own):
        return int(own[0])
    holds = holds[last < holds + WINDOW_BARS]
    if not len(holds):
        return -1
    middle = (CORE_FIRST + CORE_LAST) // 2
    return int(holds[np.argmin(np.abs(holds + middle - first))])


def _cells(own: np.ndarray, opened: np.ndarray, columns: dict[str, list], index: list[int]) -> pd.DataFrame:
    starts = pd.Series(pd.to_datetime(opened[np.maximum(own, 0)], utc=True), index=index).dt.as_unit("ns")
    cells = pd.DataFrame(columns, index=index)
    names = starts.dt.strftime("%Y%m%dT%H%M")
    names = names.mask(cells["complete"] == INCOMPLETE, names + _SUFFIX)
    cells = cells.assign(window_id=names, window_start=starts)
    cells.loc[own < 0, ["expansion_start", "expansion_end"]] = 0
    cells.loc[own < 0, "window_id"] = [f"outside-{row}" for row in cells.index[own < 0]]
    return cells.loc[:, [name for name in LABEL_COLUMNS if name in cells]]


def _only(annotators: list) -> str | None:
    return next((str(name) for name in annotators if pd.notna(name)), None)
