"""Spans in time from an Audacity label track: start, end and label, in seconds."""

import re

import pandas as pd

from moola_pipeline.bars.file_times import EPOCH_SECONDS
from moola_pipeline.errors import BadInput
from moola_pipeline.labels.label_options import LabelOptions
from moola_pipeline.labels.spans_in_time import SPAN_COLUMNS, covered_stretch

_LINE = re.compile(r"(-?\d+(?:[.,]\d+)?)\t(-?\d+(?:[.,]\d+)?)\t?(.*)")
_FIRST_LINE = 1_000
"""Bytes that show whether a file is a label track."""
_FREQUENCIES = "\\\t"
"""Begins a line with the frequencies of the label above it."""


def label_track_spans(content: bytes, options: LabelOptions, source: str) -> pd.DataFrame | None:
    """The spans of a label track, SPAN_COLUMNS as text, by line; None if it is none.

    Seconds count from 1970, or from the start of the only --covers, if they lie inside it.

    Raises:
        BadInput: If it is unknown from where the seconds count.
    """
    if not _LINE.match(content[:_FIRST_LINE].decode("utf-8-sig", "replace").lstrip()):
        return None
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        return None
    rows = {n: _LINE.fullmatch(line) for n, line in enumerate(lines, 1) if not line.startswith(_FREQUENCIES)}
    rows = {n: match for n, match in rows.items() if match or lines[n - 1].strip()}
    if not rows or not all(rows.values()):
        return None
    cells = {n: match.groups() for n, match in rows.items() if match}
    seconds = pd.DataFrame(
        {n: [float(text.replace(",", ".")) for text in texts[:2]] for n, texts in cells.items()},
        index=["start", "end"],
    ).T
    moments = _moments(seconds, options, source)
    stamps = {name: moments[name].dt.strftime("%Y-%m-%dT%H:%M:%S") for name in ("start", "end")}
    label = pd.Series({n: texts[2].strip() for n, texts in cells.items()}, dtype="str")
    return pd.DataFrame({**stamps, "label": label}).reindex(columns=list(SPAN_COLUMNS)).astype("str")


def _moments(seconds: pd.DataFrame, options: LabelOptions, source: str) -> pd.DataFrame:
    """UTC times that end in Z, or on the user's clock for counts from 1970."""
    low, high = float(seconds.min().min()), float(seconds.max().max())
    if low >= EPOCH_SECONDS[0] and high < EPOCH_SECONDS[1]:
        return pd.DataFrame({name: pd.to_datetime(seconds[name], unit="s") for name in seconds})
    start, end = (
        covered_stretch(options.covers[0], options.timezone) if len(options.covers) == 1 else (None, None)
    )
    if start is None or end is None or low < 0 or high > (end - start).total_seconds():
        raise BadInput(
            f"{source}: the seconds of a label track must count from 1970, or from the start of one "
            f"--covers, got {low:g} to {high:g}. Give the stretch that the track shows: --covers START/END."
        )
    local = start.tz_convert(options.timezone or "UTC")
    clock = local.tz_localize(None)
    times = {name: clock + pd.to_timedelta(seconds[name].to_numpy(), unit="s") for name in seconds}
    return pd.DataFrame(times, seconds.index)
