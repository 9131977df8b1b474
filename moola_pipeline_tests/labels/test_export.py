import json
from pathlib import Path

import pandas as pd
import pytest

from moola_pipeline.labels.export import WRITERS
from moola_pipeline.labels.importing import inspect_labels
from moola_pipeline.labels.label_options import LabelOptions
from moola_pipeline.labels.label_rows import read_labels
from moola_pipeline_tests.labels.weekly_market import label_frame, label_row, weekly_bars, weekly_labels

BARS = weekly_bars(6)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_an_exported_table_reads_back_as_it_was(tmp_path: Path, suffix: str):
    rows = weekly_labels(BARS).assign(annotator="ann", chosen="random", definition=2)
    rows.loc[::2, "complete"] = "no"
    path = tmp_path / f"labels{suffix}"
    path.write_bytes(WRITERS[suffix](rows, BARS))
    pd.testing.assert_frame_equal(read_labels(path), rows, check_dtype=False)


def test_label_studio_gets_one_task_for_each_window_with_times():
    rows = label_frame([label_row(BARS, 360, "retracement", 40), label_row(BARS, 660, "none")])
    marked, empty = json.loads(WRITERS[".json"](rows, BARS))
    opened = BARS["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    (result,) = marked["annotations"][0]["result"]
    assert result["value"] == {
        "start": opened[400],
        "end": opened[405],
        "instant": False,
        "timeserieslabels": ["retracement"],
    }
    assert empty["annotations"][0]["result"] == []
    assert empty["data"]["window_start"] == opened[660]
    looked = [empty["data"][name] for name in ("looked_from", "looked_to")]
    assert looked == [opened[690], opened[735]]  # bars 30-74, end excluded


def marked_minutes(labels: pd.DataFrame) -> list[tuple]:
    """Time, label and completeness of each row: of its span, or of its window's bar 30."""
    start = labels["expansion_start"].fillna(30).astype(int)
    moments = labels["window_start"] + start * pd.Timedelta("1min")
    return sorted(zip(moments, labels["label"], labels["complete"], strict=True))


def test_tasks_for_label_studio_come_back_as_the_same_complete_and_incomplete_windows(tmp_path: Path):
    rows = label_frame(
        [
            label_row(BARS, 360, "retracement", 40),
            label_row(BARS, 660, "none"),
            label_row(BARS, 960, "consolidation", 50, complete="no"),
        ]
    )
    path = tmp_path / "tasks.json"
    path.write_bytes(WRITERS[".json"](rows, BARS))
    assert [task["data"]["complete"] for task in json.loads(path.read_bytes())] == ["yes", "yes", "no"]
    back = inspect_labels(path, BARS, options=LabelOptions(as_is=True))
    assert not len(back.refused)
    assert marked_minutes(back.labels) == marked_minutes(rows)
