"""Label files whose spans are given in time: their clock, their ends, and the windows they are put in."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from moola_pipeline.bars.file_times import in_utc, read_times
from moola_pipeline.bars.schema import BAR_INTERVAL
from moola_pipeline.errors import BadInput
from moola_pipeline.labels.covered_windows import CutWindows, cut_windows
from moola_pipeline.labels.label_options import ENDS, LabelOptions
from moola_pipeline.labels.plausibility import BarMoves, MarkedSpans, find_misfit
from moola_pipeline.labels.schema import NONE
from moola_pipeline.windows.window_geometry import ONSET_COLLAR_BARS

SPAN_COLUMNS = ("start", "end", "label", "annotator", "looked_from", "looked_to")
"""Columns of spans in time: as text, empty or null where a file lacks them."""
COARSE_MINUTES = 5
_MIN_COARSE = 3
"""Spans from which times on a coarser grid are no chance."""
_OFFSET = r"\d[+-]\d{2}:?\d{2}$"
_EXAMPLE = "--covers 2024-05-06T13:30Z/2024-05-06T20:00Z"


@dataclass(frozen=True)
class SpansInTime:
    """Windows made of spans in time.

    Attributes:
        cut: The rows.
        notes: How the file was read, one sentence each.
    """

    cut: CutWindows
    notes: list[str]


def windows_of_spans(
    spans: pd.DataFrame, bars: pd.DataFrame, options: LabelOptions, source: str
) -> SpansInTime:
    """Read spans in time, cut the covered time into windows, and place windows around the other spans.

    --covers covers the time around all spans, looked_from and looked_to that around the span of their row,
    and a row labeled `none` its own time. Spans on 5-minute bars are read as their minutes.

    Args:
        spans: SPAN_COLUMNS as text; the index is the row in the file.
        bars: BAR_COLUMNS.
        options: Of the user.
        source: Name of the file, for errors.

    Raises:
        BadInput: If a time cannot be read or has no zone, the covered time holds no window, the file has
            several annotators, or the spans do not fit the bars.
    """
    _refuse_annotators(spans["annotator"].dropna().tolist(), source)
    notes = []
    started, ended = (
        utc_times(spans.loc[:, name], name, source, options.timezone) for name in ("start", "end")
    )
    unread = spans.index[(started.isna() | ended.isna()).to_numpy()]
    if len(unread):
        raise BadInput(
            f"{source}: a span must have a start and an end in time, but row {unread[0]} has "
            f"{spans['start'][unread[0]]!r} and {spans['end'][unread[0]]!r}. Correct it."
        )
    label = spans["label"].astype("str").str.strip().str.lower()
    step = _interval(started, ended, source)
    if step > 1:
        notes.append(
            f"marks lie on {step}-minute bars and are read as their minutes: a start may be {step - 1} bars "
            f"early, an end {step - 1} bars late; scores match starts within {ONSET_COLLAR_BARS} bars"
        )
    started, ended = _with_options(started, ended, step, options, source)
    marked = label != NONE
    has_looked = spans["looked_from"].notna() & spans["looked_to"].notna()
    typed = pd.DataFrame(
        {
            "started_at": started,
            "ended_at": ended,
            "label": label,
            "annotator": spans["annotator"],
            "is_covered": has_looked | bool(options.covers),
        }
    )
    if not options.as_is:
        _refuse_misfit(typed.loc[marked], bars, options, step, source)
    covered = [stretch for text in options.covers for stretch in [covered_stretch(text, options.timezone)]]
    covered += _looked_at(spans.loc[has_looked], options, source)
    empty = typed.loc[~marked]
    covered += list(zip(empty["started_at"], empty["ended_at"] + BAR_INTERVAL, strict=True))
    cut = cut_windows(typed.loc[marked], covered, bars)
    if covered and not cut.n_windows:
        raise BadInput(
            f"{source}: covered time must hold 45 bars that lie 70 bars after the start of their segment and "
            "30 before its end, but none does. Cover more time, or register its bars."
        )
    if covered:
        notes.append(
            f"{cut.n_windows:,} windows are cut from the covered time, {cut.n_empty:,} of them empty"
        )
    if cut.n_incomplete:
        notes.append(
            f"{cut.n_incomplete:,} windows are placed around spans without covered time; name the time that "
            f"was looked at whole to learn where no expansion is: {_EXAMPLE}"
        )
    return SpansInTime(cut, notes)


def utc_times(column: pd.Series, name: str, source: str, zone: str | None) -> pd.Series:
    """A column of times as datetime64[ns, UTC] on its index, NaT where a cell is none.

    Args:
        column: Text, in any notation of bar files, or counts since 1970.
        name: Its name, for errors.
        source: Name of the file, for errors.
        zone: Zone of the clock, also where the times say Z or count from 1970; None if they name it.

    Raises:
        BadInput: If most are no times, or have no zone and none is given.
    """
    texts = column.astype("str").str.strip()
    times = read_times(pa.chunked_array([pa.array(texts, pa.string(), from_pandas=True)]), name, source)
    stated = "UTC" if times.counted else times.zone
    if zone is None and stated is None:
        raise BadInput(
            f"{source}: the times in {name} must name their time zone, got none. "
            "Give it, for example --timezone America/New_York."
        )
    if zone is not None and stated is not None and texts.str.contains(_OFFSET, regex=True).any():
        raise BadInput(
            f"{source}: the times in {name} state their offset from UTC, and --timezone is {zone}. "
            "Leave --timezone out."
        )
    values = times.values
    if zone is not None and isinstance(values.dtype, pd.DatetimeTZDtype):
        values = values.dt.tz_localize(None)
    clock = type(times)(values, None)
    return in_utc(clock, str(zone or stated), name, source).set_axis(column.index)


def covered_stretch(text: str, zone: str | None) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Start and end (excluded) of a stretch written START/END, in UTC.

    Raises:
        BadInput: If it is no such stretch, or its times have no zone and none is given.
    """
    start, slash, end = text.partition("/")
    if not (slash and start.strip() and end.strip()):
        raise BadInput(f"--covers must be START/END, got {text!r}. Write it like {_EXAMPLE}.")
    first, last = utc_times(pd.Series([start, end]), "--covers", f"--covers {text}", zone)
    if not first < last:
        raise BadInput(f"--covers must end after it starts, got {text!r}. Write it like {_EXAMPLE}.")
    return first, last


def _refuse_annotators(annotators: list, source: str) -> None:
    names = sorted({str(name) for name in annotators})
    if len(names) > 1:
        raise BadInput(
            f"{source}: a file with spans in time must hold the labels of one annotator, got "
            f"{len(names)} ({', '.join(names[:3])}). Export each one's labels apart."
        )


def _interval(started: pd.Series, ended: pd.Series, source: str) -> int:
    """Minutes of the bars on which the marks were made: 1 or 5."""
    minutes = pd.concat([started, ended]).astype("int64").to_numpy() // (60 * 10**9)
    if len(started) < _MIN_COARSE:
        return 1
    for coarse in (60, 30, 15):
        if not (minutes % coarse).any():
            raise BadInput(
                f"{source}: marks must lie on one- or five-minute bars, but all are multiples of {coarse} "
                "minutes. Mark finer bars."
            )
    return 1 if (minutes % COARSE_MINUTES).any() else COARSE_MINUTES


def _with_options(
    started: pd.Series, ended: pd.Series, step: int, options: LabelOptions, source: str
) -> tuple[pd.Series, pd.Series]:
    """UTC opens of the first and the last one-minute bar of each span."""
    started, ended = started.dt.floor("min"), ended.dt.floor("min")
    reversed_ends = ended < started
    if options.ends == "swapped":
        started, ended = started.where(~reversed_ends, ended), ended.where(~reversed_ends, started)
    elif n_reversed := int(reversed_ends.sum()):
        mended = f"Give --ends {ENDS[-1]}" if 2 * n_reversed > len(started) else "Correct them"
        raise BadInput(
            f"{source}: a span must not end before it starts, but {n_reversed:,} of {len(started):,} do, "
            f"first in row {reversed_ends.idxmax()}. {mended}."
        )
    if options.ends == "exclusive":
        ended = ended.where(ended == started, ended - step * BAR_INTERVAL)
    shift = options.shift_bars * BAR_INTERVAL
    return started + shift, ended + (step - 1) * BAR_INTERVAL + shift


def _looked_at(
    given: pd.DataFrame, options: LabelOptions, source: str
) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    """The stretches of the rows that name one."""
    if given.empty:
        return []
    ends = [
        utc_times(given.loc[:, name], name, source, options.timezone) for name in ("looked_from", "looked_to")
    ]
    return [(start, end) for start, end in zip(*ends, strict=True) if start < end]


def _refuse_misfit(
    typed: pd.DataFrame, bars: pd.DataFrame, options: LabelOptions, step: int, source: str
) -> None:
    moments = typed["started_at"].astype("int64").to_numpy()
    local = typed["started_at"].dt.tz_convert(options.timezone or "UTC").dt.tz_localize(None)
    length = (typed["ended_at"] - typed["started_at"]) // BAR_INTERVAL
    zero = np.zeros(len(typed), np.int64)
    days = pd.factorize(local.dt.floor("D"))[0]
    spans = MarkedSpans(days, moments, local.astype("int64").to_numpy(), zero, length.to_numpy(np.int64))
    if misfit := find_misfit(spans, BarMoves.of_bars(bars), by_bars=step == 1):
        raise BadInput(
            f"{source}: spans must lie on moves of the registered bars, but {misfit.looks}: "
            f"{misfit.remedy}, or keep them with --as-is."
        )
