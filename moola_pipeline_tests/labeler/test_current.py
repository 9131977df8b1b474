"""The labeler beside other commands: bars that are added while it is open."""

import json
from pathlib import Path

import pandas as pd
import pytest

from moola_pipeline.bars.manifest import add_bars, read_bars
from moola_pipeline.bars.schema import RAW_COLUMNS
from moola_pipeline.bars.store import registered_store
from moola_pipeline.bars.vendor_options import VendorOptions
from moola_pipeline.labeler.opening import LabelRequest
from moola_pipeline.labels.importing import add_labels
from moola_pipeline.labels.registry import registered_labels
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.cli.calls import call, complaint
from moola_pipeline_tests.labeler.conftest import ANN, BARS
from moola_pipeline_tests.labeler.served import TAB, serving
from moola_pipeline_tests.labels.weekly_market import SESSION_BARS, weekly_labels

NOTHING = {"spans": [], "verdict": "nothing"}
MISSING = SESSION_BARS + 95
"""A minute of the second session, between bar 0 of its labeled window and the surge."""


def home_of(folder: Path, bars: pd.DataFrame) -> Home:
    home = Home(folder / "home")
    add_bars(registered_store(home), written(folder / "first.parquet", bars), VendorOptions(instrument="NQ"))
    return home


def written(path: Path, bars: pd.DataFrame) -> Path:
    bars.loc[:, list(RAW_COLUMNS)].to_parquet(path, index=False)
    return path


def label_file(folder: Path, bars: pd.DataFrame) -> Path:
    path = folder / "labels.csv"
    weekly_labels(bars).to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    return path


def surges(home: Home) -> list[pd.Timestamp]:
    """When each labeled expansion begins, by the bars that are registered."""
    store = registered_store(home)
    opened = pd.DatetimeIndex(read_bars(store)["timestamp"])
    rows = registered_labels(store.labels).dropna(subset=["expansion_start"])
    bar0 = opened.get_indexer(pd.DatetimeIndex(rows["window_start"]))
    return list(opened[bar0 + rows["expansion_start"].to_numpy(int)])


def test_bars_and_labels_that_come_later_do_not_stop_the_labeler(tmp_path: Path):
    half = len(BARS) // SESSION_BARS // 2 * SESSION_BARS
    home = home_of(tmp_path, BARS.iloc[:half])
    store = registered_store(home)
    with serving(home, LabelRequest("ann", split="train")) as served:
        served.act("open")
        served.act("mark", marks=NOTHING)
        add_bars(store, written(tmp_path / "later.parquet", BARS.iloc[half:]), VendorOptions(instrument="NQ"))
        bars = read_bars(store)
        add_labels(store.labels, label_file(tmp_path, BARS), bars, drop_bad=True)
        assert registered_labels(store.labels)["window_start"].max() > BARS["timestamp"].iloc[half]
        answer = served.act("save", seconds=1.0, context=[])
        assert sum(answer["progress"]["counts"].values()) == 1
        assert len(served.opened.session.bars) == len(BARS)
    assert {"ann"} < set(registered_labels(store.labels)["annotator"])


@pytest.mark.parametrize("then", ["save", "nothing"])
def test_a_minute_that_comes_while_the_labeler_is_open_moves_no_label(tmp_path: Path, then: str):
    home = home_of(tmp_path, BARS.drop(index=MISSING))
    store = registered_store(home)
    add_labels(store.labels, label_file(tmp_path, BARS), read_bars(store), drop_bad=True)
    before = surges(home)
    with serving(home, ANN) as served:
        served.act("open")
        served.act("mark", marks=NOTHING)
        hour = written(tmp_path / "later.parquet", BARS.iloc[MISSING - 30 : MISSING + 30])
        assert call("bars", "add", hour, home=home.root).exit_code == 0
        assert surges(home) == before
        if then == "save":
            served.act("save", seconds=1.0, context=[])
    assert len(read_bars(store)) == len(BARS)
    assert surges(home) == before


def test_a_session_with_a_limit_keeps_it_when_bars_are_added(tmp_path: Path):
    home = home_of(tmp_path, BARS.drop(index=MISSING))
    with serving(home, LabelRequest("ann", windows=2)) as served:
        served.act("open")
        for path in ("first", "second"):
            served.act("mark", marks=NOTHING)
            answer = served.act("save", seconds=1.0, context=[])
            if path == "first":
                later = written(tmp_path / "later.parquet", BARS.iloc[MISSING - 30 : MISSING + 30])
                add_bars(registered_store(home), later, VendorOptions(instrument="NQ"))
        assert answer["window"] is None


def test_an_annotator_has_one_labeler_at_a_time(home: Home):
    with serving(home, ANN) as served, serving(home, LabelRequest("bob")):
        refused = call("label", "--no-open", "--annotator", "ann", home=home.root)
        assert complaint(refused) == (
            "An annotator must have one labeler at a time, but that of ann is open in this home. "
            "Use its page, or end it with Ctrl-C first."
        )
        served.act("open")
        served.act("mark", marks=NOTHING)
        served.act("save", seconds=1.0, context=[])
    with serving(home, ANN) as served:
        assert sum(served.act("open")["progress"]["counts"].values()) == 1


def test_bars_that_are_damaged_meanwhile_are_named_on_the_page_and_work_goes_on_once_restored(home: Home):
    manifest = registered_store(home).manifest
    with serving(home, ANN) as served:
        served.act("open")
        served.act("mark", marks=NOTHING)
        whole = manifest.read_bytes()
        manifest.write_bytes(whole.replace(b"bars.parquet", b"cars.parquet"))
        status, text, _ = served.get(f"/{served.token}/state")
        assert (status, json.loads(text)["error"][:17]) == (500, "nq/manifest.json ")
        session = served.opened.session
        save = {"kind": "save", "tab": TAB, "revision": session.revision, "window": session.current}
        status, answer = served.send(save | {"seconds": 1.0, "context": []})
        assert status == 500 and answer["error"].startswith("nq/manifest.json ")
        manifest.write_bytes(whole)
        assert sum(served.act("save", seconds=1.0, context=[])["progress"]["counts"].values()) == 1
