"""What asset pages show: columns from the tables' one definition, and small pictures."""

import base64
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from moola_pipeline.assets.metadata import (
    COLUMN_SCHEMA,
    ROW_COUNT,
    bars_picture,
    marks_picture,
    svg_picture,
    windows_picture,
)
from moola_pipeline.bars.schema import BAR_TABLE, Column
from moola_pipeline.definitions import defs
from moola_pipeline.features.schema import FEATURES
from moola_pipeline.inference.expansion_table import EXPANSION_DTYPES, EXPANSION_TABLE
from moola_pipeline.labels.schema import PLACED_TABLE
from moola_pipeline.storage.home import Home
from moola_pipeline.windows.dense import WINDOW_TABLE
from moola_pipeline_tests.homes import instance_of, last_materialization

TABLES: dict[str, Sequence[Column]] = {
    "raw_nq_bars": BAR_TABLE,
    "labeled_expansions": PLACED_TABLE,
    "densified_windows": WINDOW_TABLE,
    "latest_expansions": EXPANSION_TABLE,
}
PLOTS = {
    "raw_nq_bars": ["bars_plot"],
    "labeled_expansions": ["labels_plot"],
    "relativity_features": ["figures_plot"],
    "densified_windows": ["windows_plot"],
    "pretrained_encoder": ["loss_plot"],
    "finetuned_classifier": ["loss_plot"],
    "bootstrap_ci_report": ["scores_plot", "reliability_plot"],
}
MOST_BYTES = 100_000


@pytest.fixture(scope="module")
def instance(smoke_home: Home) -> Iterator[dg.DagsterInstance]:
    with instance_of(smoke_home) as opened:
        yield opened


def schema_of(asset: str) -> dg.TableSchema:
    shown = defs.resolve_assets_def(dg.AssetKey(asset)).metadata_by_key[dg.AssetKey(asset)][COLUMN_SCHEMA]
    return getattr(shown, "schema", shown)


def drawn(value: dg.MetadataValue) -> list[str]:
    """Texts of a picture in markdown; it must be a small SVG file."""
    assert isinstance(value, dg.MarkdownMetadataValue)
    text = str(value.value)
    assert len(text) < MOST_BYTES
    head, encoded = text.removesuffix(")").split("base64,")
    assert head.endswith("(data:image/svg+xml;")
    return [it.text for it in ElementTree.fromstring(base64.b64decode(encoded)).iter() if it.text]


@pytest.mark.parametrize("asset", TABLES)
def test_the_columns_shown_are_those_of_the_table(asset: str):
    shown = [(it.name, it.type, it.description, it.constraints.nullable) for it in schema_of(asset).columns]
    assert shown == [tuple(column) for column in TABLES[asset]]
    assert all(column.meaning for column in TABLES[asset])


def test_the_columns_of_the_features_have_formula_and_range():
    first = schema_of("relativity_features").columns[0]
    assert (first.name, first.type, first.description) == ("open_norm", "float32", FEATURES[0].formula)
    assert first.constraints.other == ["0 to 1"]
    assert [it.name for it in schema_of("relativity_features").columns] == [it.name for it in FEATURES]


@pytest.mark.parametrize("asset", TABLES)
def test_the_stored_table_has_the_columns_and_dtypes_shown(
    asset: str, smoke_home: Home, instance: dg.DagsterInstance
):
    [path] = smoke_home.store.rglob(f"{asset}.parquet")
    stored = pd.read_parquet(path)
    assert list(stored.columns) == [column.name for column in TABLES[asset]]
    expected = {column.name: pd.api.types.pandas_dtype(column.dtype) for column in TABLES[asset]}
    assert stored.dtypes.to_dict() == expected
    missing = set(stored.columns[stored.isna().any()])
    assert missing <= {column.name for column in TABLES[asset] if column.nullable}
    shown = last_materialization(instance, asset).metadata[ROW_COUNT]
    assert shown.value == len(stored)


@pytest.mark.parametrize(("asset", "name"), [(asset, name) for asset in PLOTS for name in PLOTS[asset]])
def test_each_picture_is_on_the_page_and_small(asset: str, name: str, instance: dg.DagsterInstance):
    assert len(drawn(last_materialization(instance, asset).metadata[name])) > 3


def made_bars(n_bars: int) -> pd.DataFrame:
    minutes = pd.date_range("2024-01-31 20:00", periods=n_bars, freq="min", tz="UTC").as_unit("ns")
    close = 18_000 + np.arange(n_bars, dtype=float)
    prices = {"open": close - 1, "high": close + 1, "low": close - 2, "close": close}
    session = np.where(np.arange(n_bars) < 120, np.datetime64("2024-01-31"), np.datetime64("2024-02-01"))
    return pd.DataFrame({"timestamp": minutes, **prices, "session": session.astype("datetime64[ns]")})


def test_bars_are_counted_by_the_month_of_their_session():
    shown = bars_picture(made_bars(300))
    assert str(shown.value).startswith("300 bars in 2 months")
    texts = drawn(shown)
    assert {"2024-01", "2024-02", "2024-01-31", "2024-02-01"} <= set(texts)


def test_windows_are_counted_by_purpose():
    index = pd.DataFrame({"bar0": [0, 10, 250], "purpose": ["pretraining", "pretraining", "test"]})
    assert {"pretraining", "test", "2024-01", "2024-02"} <= set(drawn(windows_picture(index, made_bars(300))))


def test_the_newest_window_with_expansions_is_drawn_with_all_expansions_in_it():
    bars = made_bars(300)
    times = bars["timestamp"]
    rows = [(40, 75, 80), (40, 90, 95), (10, 30, 35)]
    found = {
        name: [times[row[place]] for row in rows]
        for place, name in enumerate(("window_start", "started_at", "ended_at"))
    }
    marks = pd.DataFrame(
        {
            **found,
            "decided_at": times[144],
            "direction": ["up", "down", "up"],
            "probability": [0.91, 0.82, 0.73],
            "label": ["retracement", "consolidation", "retracement"],
            "p_retracement": 0.5,
            "mode": "hindsight",
            "model_version": "1",
        }
    )
    shown = marks_picture(bars, marks)
    assert "2024-01-31 20:40 UTC" in str(shown.value)
    texts = drawn(shown)
    assert "retracement ↑ 0.91" in texts
    assert "consolidation ↓ 0.82" in texts
    assert not [text for text in texts if "0.73" in text]


def test_without_expansions_the_page_says_so():
    marks = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in EXPANSION_DTYPES.items()})
    assert marks_picture(made_bars(300), marks).value == "no new expansion to draw"
    assert svg_picture("nothing to compare", b"").value == "nothing to compare"
