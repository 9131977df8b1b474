"""Label files of other programs, with spans in time: Label Studio, Audacity, and csv of start, end, label."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from moola_pipeline.bars.csv_tables import HeaderNames, csv_table
from moola_pipeline.bars.decompress import file_content
from moola_pipeline.errors import BadInput
from moola_pipeline.labels.audacity import label_track_spans
from moola_pipeline.labels.label_options import LabelOptions
from moola_pipeline.labels.label_studio import LABELS_KEY, studio_csv_spans, studio_json_spans
from moola_pipeline.labels.spans_in_time import SPAN_COLUMNS, windows_of_spans
from moola_pipeline.labels.tables import MAX_FILE, PARQUET_MAGIC, LabelTable, csv_cells

_ROLES = {
    "start": ("start", "started_at", "start_time", "begin", "from", "starttime"),
    "end": ("end", "ended_at", "end_time", "stop", "to", "endtime"),
    "label": ("label", "type", "class", "setup"),
    "annotator": ("annotator",),
    "looked_from": ("looked_from",),
    "looked_to": ("looked_to",),
}
_ROLE_OF = {name: role for role, names in _ROLES.items() for name in names}
_MARKS = {"window_id", "window_start", "features"}
"""Columns of a file with windows: it has no spans in time."""


@dataclass(frozen=True)
class PlatformFile:
    """The windows of a file with spans in time.

    Attributes:
        table: Its cells, as of a file with windows; the index is the row of each span.
        faults: `reason` and `detail` of each row that lies in no window; else null.
        notes: How it was read, one sentence each.
    """

    table: LabelTable
    faults: pd.DataFrame
    notes: list[str]


def read_platform_file(path: Path, bars: pd.DataFrame, options: LabelOptions) -> PlatformFile | None:
    """Read a file of another program, and cut the time that it covers into windows; None for other files.

    Raises:
        BadInput: As `windows_of_spans`, and if it cannot be read.
    """
    spans = platform_spans(path, options)
    if spans is None:
        return None
    windows = windows_of_spans(spans, bars, options, path.name)
    table = LabelTable(path.name, windows.cut.cells, hashlib.sha256(path.read_bytes()).hexdigest())
    return PlatformFile(table, windows.cut.faults, windows.notes)


def platform_spans(path: Path, options: LabelOptions) -> pd.DataFrame | None:
    """The spans in time of a file of another program, SPAN_COLUMNS as text; None for any other file.

    Raises:
        BadInput: If it is such a file, but cannot be read as one.
    """
    content = file_content(path, path.name, MAX_FILE)
    if content.startswith(PARQUET_MAGIC) or b"\0" in content:
        return None
    if content.lstrip()[:1] == b"[" and LABELS_KEY.encode() in content:
        return studio_json_spans(content, path.name)
    track = label_track_spans(content, options, path.name)
    return track if track is not None else _csv_spans(path, content)


def _role_of(name: str) -> str | None:
    title, _, place = str(name).rpartition("#")
    return _ROLE_OF.get((title if place.isdecimal() else str(name)).strip().lower())


_HEADER = HeaderNames(_role_of, {"start", "end", "label"}, "start, end and label", levels=False)


def _csv_spans(path: Path, content: bytes) -> pd.DataFrame | None:
    try:
        table = csv_table(content, path.name, _HEADER)
    except BadInput:
        return None  # the reader of files with windows says what is wrong
    names = {str(name).strip().lower() for name in table.names}
    studio = LABELS_KEY.encode() in content
    if names & _MARKS or not (studio or _HEADER.is_header(table.names)):
        return None
    cells = csv_cells(path, content, _HEADER)
    if studio and (spans := studio_csv_spans(cells, path.name)) is not None:
        return spans
    chosen = {role: [name for name in cells.columns if _role_of(name) == role] for role in SPAN_COLUMNS}
    empty = pd.Series(None, cells.index, dtype="str")
    return pd.DataFrame({role: cells[found[0]] if found else empty for role, found in chosen.items()})
