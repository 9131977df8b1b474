"""Labels as files for other programs: csv, parquet, and the JSON of Label Studio."""

import io
import json
from collections.abc import Callable
from typing import Any

import pandas as pd

from moola_pipeline.bars.schema import nanoseconds
from moola_pipeline.labels.schema import NONE


def label_studio(rows: pd.DataFrame, bars: pd.DataFrame) -> bytes:
    """One task for each window and annotator, with the time of each span in UTC.

    Args:
        rows: LABEL_COLUMNS on the bars.
        bars: BAR_COLUMNS.
    """
    opened = pd.DatetimeIndex(bars["timestamp"])
    starts = pd.DatetimeIndex(rows["window_start"]).as_unit("ns").asi8
    bar0 = nanoseconds(bars).searchsorted(starts)
    tasks: dict[tuple, dict[str, Any]] = {}
    for record, row0 in zip(rows.to_dict("records"), bar0.tolist(), strict=True):
        name = None if pd.isna(record["annotator"]) else record["annotator"]
        key = (record["window_id"], record["pass"], name, record["definition"])
        task = tasks.setdefault(key, _task(record, name))
        if record["label"] == NONE:
            continue
        ends = [opened[row0 + int(record[name])] for name in ("expansion_start", "expansion_end")]
        start, end = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in ends)
        value = {"start": start, "end": end, "instant": False, "timeserieslabels": [record["label"]]}
        result = {"from_name": "label", "to_name": "ts", "type": "timeserieslabels", "value": value}
        task["annotations"][0]["result"].append(result)
    return (json.dumps([*tasks.values()], indent=2, ensure_ascii=False) + "\n").encode()


def _task(record: dict[str, Any], annotator: str | None) -> dict[str, Any]:
    data = {
        "window_id": record["window_id"],
        "window_start": f"{record['window_start']:%Y-%m-%dT%H:%M:%SZ}",
        "definition": record["definition"],
        "pass": record["pass"],
    }
    return {"data": data, "annotations": [{"completed_by": annotator, "result": []}]}


def _csv(rows: pd.DataFrame, _: pd.DataFrame) -> bytes:
    stamps = rows["window_start"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return rows.assign(window_start=stamps).to_csv(index=False).encode()


def _parquet(rows: pd.DataFrame, _: pd.DataFrame) -> bytes:
    sink = io.BytesIO()
    rows.to_parquet(sink, index=False)
    return sink.getvalue()


WRITERS: dict[str, Callable[[pd.DataFrame, pd.DataFrame], bytes]] = {
    ".csv": _csv,
    ".parquet": _parquet,
    ".json": label_studio,
}
"""By suffix of the file: rows and bars in, its bytes out."""
