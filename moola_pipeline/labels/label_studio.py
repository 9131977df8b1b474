"""Spans in time from exports of Label Studio: JSON, JSON-MIN and csv of a time series."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from moola_pipeline.errors import BadInput
from moola_pipeline.labels.schema import NONE
from moola_pipeline.labels.spans_in_time import SPAN_COLUMNS

LABELS_KEY = "timeserieslabels"
_LOOKED = ("looked_from", "looked_to")


def studio_json_spans(content: bytes, source: str) -> pd.DataFrame:
    """The spans of a JSON or JSON-MIN export, SPAN_COLUMNS as text; the index counts the spans from 1.

    Canceled annotations and predictions are left out. `looked_from` and `looked_to` come from a task's data;
    an annotation without spans in a task that has them is a span labeled `none` there.

    Raises:
        BadInput: If it is no such export, a span has more than one label, or none has any.
    """
    try:
        tasks = json.loads(content)
    except (ValueError, RecursionError):
        tasks = None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise _no_export(source)
    rows = [row for task in tasks for row in _task_rows(task, source)]
    return _framed(rows, source)


def studio_csv_spans(cells: pd.DataFrame, source: str) -> pd.DataFrame | None:
    """The spans of a csv export, as `studio_json_spans`; None if no cell holds such spans.

    Args:
        cells: Text, any columns.
        source: Name of the file, for errors.
    """
    names = {str(name).lower(): name for name in cells.columns}
    texts = cells.astype("str")
    held = [name for name in cells.columns if texts[name].str.contains(LABELS_KEY, regex=False).any()]
    if not held:
        return None
    rows = []
    for row in cells.index:
        shared = {
            name: texts.loc[row, names[name]]
            if name in names and pd.notna(cells.loc[row, names[name]])
            else None
            for name in ("annotator", *_LOOKED)
        }
        for name in held:
            try:
                regions = json.loads(str(texts.loc[row, name])) if pd.notna(cells.loc[row, name]) else []
            except (ValueError, RecursionError):
                raise _no_export(source) from None
            rows += [
                shared | values for values in _regions(regions if isinstance(regions, list) else [], source)
            ]
    return _framed(rows, source)


def _task_rows(task: Mapping[str, Any], source: str) -> Iterator[dict[str, Any]]:
    data = task["data"] if isinstance(task.get("data"), dict) else task
    looked = {name: data.get(name) for name in _LOOKED}
    annotations = task.get("annotations")
    if not isinstance(annotations, list):  # JSON-MIN: regions stand beside the data
        for regions in task.values():
            if isinstance(regions, list):
                for values in _regions(regions, source):
                    yield {"annotator": task.get("annotator"), **looked, **values}
        return
    for annotation in annotations:
        if not isinstance(annotation, dict) or annotation.get("was_cancelled"):
            continue
        by = annotation.get("completed_by")
        by = by.get("email") or by.get("id") if isinstance(by, dict) else by
        regions = annotation.get("result")
        found = [{"annotator": by, **looked, **values} for values in _regions(regions or [], source)]
        if not found and None not in looked.values():
            start = looked[_LOOKED[0]]
            found = [{"annotator": by, **looked, "start": start, "end": start, "label": NONE}]
        yield from found


def _regions(regions: Any, source: str) -> Iterator[dict[str, Any]]:
    """Start, end and label of each labeled region."""
    for region in regions if isinstance(regions, list) else []:
        value = region.get("value", region) if isinstance(region, dict) else None
        if not isinstance(value, dict) or LABELS_KEY not in value:
            continue
        names = value[LABELS_KEY]
        if not isinstance(names, list) or len(names) != 1 or "start" not in value:
            raise BadInput(
                f"{source}: a span must have a start and one label, got {str(value)[:120]}. Correct it in "
                "Label Studio, and export again."
            )
        yield {"start": value["start"], "end": value.get("end", value["start"]), "label": names[0]}


def _framed(rows: list[dict[str, Any]], source: str) -> pd.DataFrame:
    if not rows:
        raise _no_export(source)
    try:
        frame = pd.DataFrame(rows, columns=list(SPAN_COLUMNS), index=range(1, len(rows) + 1))
        return pd.DataFrame({name: _texts(frame.loc[:, name]) for name in SPAN_COLUMNS})
    except UnicodeEncodeError as fault:
        raise BadInput(
            f"{source}: labels must be text, got {str(fault.object)[:40]!r}, half of a character. Correct it "
            "in Label Studio, and export again."
        ) from None


def _texts(column: pd.Series) -> pd.Series:
    """Text of each value, null where there is none; a whole number has no decimal point."""
    whole = [
        str(int(value)) if isinstance(value, float) and value.is_integer() else value
        for value in column.tolist()
    ]
    texts = [None if value is None or value != value else str(value) for value in whole]
    return pd.Series(texts, column.index, dtype="str")


def _no_export(source: str) -> BadInput:
    return BadInput(
        f"{source}: JSON labels must be an export of Label Studio with {LABELS_KEY} (start, end), got none. "
        "Export a time series project as JSON or csv."
    )
