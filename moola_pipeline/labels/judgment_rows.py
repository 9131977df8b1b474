"""Judgments as rows of label files, and rows as judgments."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import nanoseconds
from moola_pipeline.errors import IntegrityError
from moola_pipeline.labels.judgments import Judgment, MarkedSpan
from moola_pipeline.labels.schema import (
    COMPLETE,
    DRAWN,
    INCOMPLETE,
    LABEL_COLUMNS,
    LABEL_DTYPES,
    NONE,
    REVIEW,
)
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST, WINDOW_BARS

ONE_JUDGMENT = ["window_id", "pass", "annotator", "definition"]
"""The newest judgment of these holds."""


def rows_of(judgments: Iterable[Judgment], bars: pd.DataFrame) -> pd.DataFrame:
    """Judgments as rows of label files: windows of 105 bars whose bars 30-74 were judged.

    Args:
        judgments: Those that hold.
        bars: BAR_COLUMNS.

    Returns:
        LABEL_COLUMNS, in the order of label files.

    Raises:
        IntegrityError: If a bar of a judgment is not registered.
    """
    opened = nanoseconds(bars)
    return frame_of(sorted(row for one in judgments for row in label_rows(one, opened)))


class LabelRow(NamedTuple):
    """A row of LABEL_COLUMNS as plain values, sorted as in label files.

    Attributes:
        order: What rows are sorted by: UTC open of bar 0 in ns, window, pass, span, label, annotator and
            definition.
        bar0: Row of bar 0 in the bars.
        key: That of its judgment.
        values: As in labels.csv, in the order of LABEL_COLUMNS; missing ones are None.
    """

    order: tuple
    bar0: int
    key: tuple
    values: tuple

    @property
    def label(self) -> str:
        """The type of the expansion, or none."""
        return self.values[_LABEL]

    @property
    def start(self) -> int | None:
        """First bar of the expansion in the window."""
        return self.values[_START]

    @property
    def grade(self) -> str | None:
        """A to D, or None."""
        return self.values[_GRADE]

    @property
    def first_bar(self) -> int:
        """Row of the first bar of the expansion."""
        return self.bar0 + self.values[_START]

    @property
    def last_bar(self) -> int:
        """Row of the last bar of the expansion."""
        return self.bar0 + self.values[_END]


_LABEL, _START, _END, _GRADE = map(
    LABEL_COLUMNS.index, ("label", "expansion_start", "expansion_end", "grade")
)


def label_rows(judgment: Judgment, opened: np.ndarray) -> list[LabelRow]:
    """The rows of one judgment: one for each span, or one for an empty window.

    Minutes that were missing when the window was judged, and are bars now, move what lies behind them: of a
    span that reaches over the window's end since, the row holds the part inside.

    Args:
        judgment: Of a window on these bars.
        opened: (n_bars,) int64, UTC opens, ns.

    Raises:
        IntegrityError: If a bar of the judgment is not registered.
    """
    moments = [judgment.looked_from]
    for mark in judgment.spans:
        moments += [mark.started_at, mark.ended_at]
    wanted = np.array([_nanosecond(moment) for moment in moments], np.int64)
    places = np.searchsorted(opened, wanted)
    missing = np.flatnonzero(opened[np.minimum(places, len(opened) - 1)] != wanted)
    if len(missing):
        raise IntegrityError(
            f"Registered labels must lie on the registered bars, but no bar opens at {moments[missing[0]]} "
            '(UTC). Restore their bars with "moola bars add FILE".'
        )
    bar0 = int(places[0]) - CORE_FIRST
    ends = (places[1:] - bar0).tolist()
    spans = [
        (mark, max(start, 0), min(end, WINDOW_BARS - 1))
        for mark, start, end in zip(judgment.spans, ends[::2], ends[1::2], strict=True)
        if end >= 0 and start < WINDOW_BARS
    ]
    return [_label_row(judgment, int(opened[bar0]), bar0, *span) for span in spans or [(None, None, None)]]


def _label_row(
    judgment: Judgment,
    opened_at: int,
    bar0: int,
    mark: MarkedSpan | None,
    start: int | None,
    end: int | None,
) -> LabelRow:
    label = mark.type if mark else NONE
    values = {
        "window_id": judgment.window_id,
        "window_start": f"{np.datetime64(opened_at, 'ns').astype('M8[us]')}Z",
        "label": label,
        "expansion_start": start,
        "expansion_end": end,
        "grade": mark.grade if mark else judgment.grade,
        "batch": mark.batch if mark else judgment.batch,
        "annotator": judgment.annotator,
        "pass": judgment.pass_number,
        "definition": judgment.definition,
        "chosen": REVIEW if judgment.saw_model and judgment.chosen in DRAWN else judgment.chosen,
        "complete": COMPLETE if judgment.complete else INCOMPLETE,
    }
    span = (math.inf if start is None else start, math.inf if end is None else end)
    annotator = (judgment.annotator is None, judgment.annotator or "")
    order = (opened_at, judgment.window_id, judgment.pass_number, *span, label, annotator)
    row = tuple(values[name] for name in LABEL_COLUMNS)
    return LabelRow((*order, judgment.definition), bar0, judgment.key, row)


def frame_of(rows: Sequence[LabelRow]) -> pd.DataFrame:
    """Rows as a table: LABEL_COLUMNS."""
    frame = pd.DataFrame([row.values for row in rows], columns=list(LABEL_COLUMNS))
    starts = np.array([row.order[0] for row in rows], "M8[ns]")
    return frame.assign(window_start=pd.DatetimeIndex(starts, tz="UTC")).astype(LABEL_DTYPES)


def csv_of(rows: Iterable[LabelRow]) -> bytes:
    """Rows as labels.csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(LABEL_COLUMNS)
    writer.writerows(row.values for row in rows)
    return text.getvalue().encode()


def judgments_of(rows: pd.DataFrame, bars: pd.DataFrame, instrument: str, made_at: str) -> list[Judgment]:
    """The judgments that rows of label files hold, one for each window, pass, annotator and definition.

    Args:
        rows: LABEL_COLUMNS, placed on the bars.
        bars: BAR_COLUMNS.
        instrument: Of the bars.
        made_at: UTC, ISO 8601.
    """
    opened = nanoseconds(bars)
    starts = pd.DatetimeIndex(rows["window_start"]).as_unit("ns").asi8
    bar0 = np.searchsorted(opened, starts)
    made: dict[tuple, list[int]] = {}
    for place, key in enumerate(rows[ONE_JUDGMENT].itertuples(index=False)):
        made.setdefault(tuple(map(_plain, key)), []).append(place)
    records = rows.to_dict("records")
    judgments = []
    for places in made.values():
        first, row0 = records[places[0]], int(bar0[places[0]])
        spans = tuple(
            MarkedSpan(
                _stamp(opened[row0 + int(records[place]["expansion_start"])]),
                _stamp(opened[row0 + int(records[place]["expansion_end"])]),
                records[place]["label"],
                _plain(records[place]["grade"]),
                _plain(records[place]["batch"]),
            )
            for place in places
            if records[place]["label"] != NONE
        )
        judgments.append(
            Judgment(
                instrument=instrument,
                window_id=first["window_id"],
                looked_from=_stamp(opened[row0 + CORE_FIRST]),
                looked_to=_stamp(opened[row0 + CORE_LAST]),
                spans=spans,
                annotator=_plain(first["annotator"]),
                definition=int(first["definition"]),
                pass_number=int(first["pass"]),
                batch=None if spans else _plain(first["batch"]),
                grade=None if spans else _plain(first["grade"]),
                chosen=_least_drawn([records[place]["chosen"] for place in places]),
                made_at=made_at,
                complete=first["complete"] != INCOMPLETE,
            )
        )
    return judgments


def in_file_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows by time, window, pass and span."""
    order = ["window_start", "window_id", "pass", "expansion_start", "expansion_end", "label"]
    return rows.sort_values([*order, "annotator", "definition"], ignore_index=True)


def _nanosecond(moment: str) -> int:
    return int(np.datetime64(moment.removesuffix("Z"), "ns").astype(np.int64))


def _least_drawn(chosen: Sequence[str]) -> str:
    """How a window was chosen whose rows say this: drawn only if all of them say so."""
    return next((how for how in chosen if how not in DRAWN), chosen[0])


def _stamp(nanosecond: np.integer | int) -> str:
    return f"{np.datetime64(int(nanosecond), 'ns').astype('M8[s]')}Z"


def _plain(value: Any) -> Any:
    return None if pd.isna(value) else value.item() if isinstance(value, np.generic) else value
