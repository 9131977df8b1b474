"""Labels as files for other programs: csv, parquet, and the JSON of Label Studio."""

import io
import json
from collections.abc import Callable
from typing import Any

import pandas as pd

from moola_pipeline.bars.schema import BAR_INTERVAL, nanoseconds
from moola_pipeline.labels.schema import COMPLETE, INCOMPLETE, NONE
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST


def label_studio(rows: pd.DataFrame, bars: pd.DataFrame) -> bytes:
    """One task for each window and annotator, with the time of each span in UTC.

    looked_from and looked_to (excluded) of a complete window are its bars 30-74, all that was judged whole.

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
        task = tasks.setdefault(key, _task(record, name, opened[row0 + CORE_FIRST : row0 + CORE_LAST + 1]))
        if record["label"] == NONE:
            continue
        ends = [opened[row0 + int(record[name])] for name in ("expansion_start", "expansion_end")]
        start, end = (_stamp(moment) for moment in ends)
        value = {"start": start, "end": end, "instant": False, "timeserieslabels": [record["label"]]}
        result = {"from_name": "label", "to_name": "ts", "type": "timeserieslabels", "value": value}
        task["annotations"][0]["result"].append(result)
    return (json.dumps([*tasks.values()], indent=2, ensure_ascii=False) + "\n").encode()


def _task(record: dict[str, Any], annotator: str | None, judged: pd.DatetimeIndex) -> dict[str, Any]:
    complete = record["complete"] != INCOMPLETE
    data = {
        "window_id": record["window_id"],
        "window_start": _stamp(record["window_start"]),
        "definition": record["definition"],
        "pass": record["pass"],
        "complete": COMPLETE if complete else INCOMPLETE,
    }
    if complete:
        data |= {"looked_from": _stamp(judged[0]), "looked_to": _stamp(judged[-1] + BAR_INTERVAL)}
    return {"data": data, "annotations": [{"completed_by": annotator, "result": []}]}


def _stamp(moment: Any) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


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
