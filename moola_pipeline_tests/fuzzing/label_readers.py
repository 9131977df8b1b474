"""Readers of labels: csv, parquet, and the older file that gives each window by its prices."""

import io
import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.bars.table import build_table
from moola_pipeline.labels.importing import build_ledger
from moola_pipeline.labels.schema import LABEL_COLUMNS, LABEL_DTYPES
from moola_pipeline.windows.window_geometry import WINDOW_BARS
from moola_pipeline_tests.bars import vendor_files as made
from moola_pipeline_tests.bars.examples import made_up_bars
from moola_pipeline_tests.fuzzing.bar_readers import damaged_parquet
from moola_pipeline_tests.fuzzing.damage import damaged_bytes, damaged_table, damaged_value
from moola_pipeline_tests.fuzzing.harness import Reader

BAR0 = (60, 90, 120, 200, 230)
SPANS = (("consolidation", 40, 49), ("retracement", 35, 44), ("none", None, None), ("retracement", 70, 78))


@cache
def bar_table() -> pd.DataFrame:
    """The labeled bars."""
    return build_table(made_up_bars(400), None)


def label_rows() -> pd.DataFrame:
    """A few valid labels on these bars."""
    times = bar_table()["timestamp"].iloc[list(BAR0)].dt.strftime("%Y-%m-%dT%H:%M:%SZ").tolist()
    rows = [
        {
            "window_id": f"w{i}",
            "window_start": time,
            "label": SPANS[i % 4][0],
            "expansion_start": SPANS[i % 4][1],
            "expansion_end": SPANS[i % 4][2],
            "grade": "ABCD"[i % 4],
            "batch": "one",
            "annotator": "me",
            "pass": 1,
        }
        for i, time in enumerate(times)
    ]
    return pd.DataFrame(rows).astype({"expansion_start": "Int64", "expansion_end": "Int64"})


def _csvs() -> list[bytes]:
    rows = label_rows()
    return [rows.to_csv(index=False).encode(), rows.iloc[:, :5].to_csv(index=False).encode()]


def _parquets() -> list[bytes]:
    rows = label_rows()
    typed = rows.assign(window_start=pd.to_datetime(rows["window_start"]).dt.as_unit("ns"))
    return [_as_parquet(rows), _as_parquet(typed)]


def _as_parquet(rows: pd.DataFrame) -> bytes:
    sink = io.BytesIO()
    rows.to_parquet(sink)
    return sink.getvalue()


def older_rows(as_text: bool) -> pd.DataFrame:
    """The same windows with prices instead of times."""
    prices = bar_table()[list(PRICE_COLUMNS)].to_numpy()
    windows = [prices[first : first + WINDOW_BARS].tolist() for first in BAR0]
    features = [json.dumps(window) for window in windows] if as_text else windows
    return label_rows()[["window_id", "label", "expansion_start", "expansion_end"]].assign(features=features)


def _older() -> list[bytes]:
    return [_as_parquet(older_rows(as_text=False)), older_rows(as_text=True).to_csv(index=False).encode()]


def _damaged_older(rng: np.random.Generator, content: bytes) -> bytes:
    if rng.random() < 0.3:
        return damaged_parquet(rng, content) if content.startswith(b"PAR1") else damaged_bytes(rng, content)
    as_text = not content.startswith(b"PAR1")
    rows = older_rows(as_text=True)
    cell = json.dumps(damaged_value(rng, json.loads(rows["features"].iloc[0])))
    rows.loc[0, "features"] = cell[: int(rng.integers(len(cell)))] if rng.random() < 0.2 else cell
    if as_text:
        return rows.to_csv(index=False).encode()
    try:
        return _as_parquet(rows.assign(features=rows["features"].map(json.loads)))
    except (ValueError, TypeError, OverflowError, pa.ArrowException):  # a cell that parquet cannot store
        return rows.to_csv(index=False).encode("utf-8", "replace")


def _accounted(content: bytes, folder: Path) -> None:
    """Read a file like `moola labels add`: every row must be kept, or dropped for a reason."""
    ledger, rows = build_ledger(made.saved(folder / "labels.csv", content), bar_table())
    if ledger.kept + sum(ledger.dropped.values()) != ledger.rows:
        raise ValueError(f"{ledger.rows} rows read, {ledger.kept} kept, dropped {ledger.dropped}")
    if list(rows.columns) != list(LABEL_COLUMNS) or rows.dtypes.astype(str).to_dict() != LABEL_DTYPES:
        raise ValueError("accepted, but the labels are invalid")


LABEL_READERS = (
    Reader("labels-csv", _csvs, damaged_table, _accounted),
    Reader("labels-parquet", _parquets, damaged_parquet, _accounted),
    Reader("labels-older", _older, _damaged_older, _accounted),
)
