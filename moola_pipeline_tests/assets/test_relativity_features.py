"""Features and windows as assets: figures in the metadata, blocking checks, float32."""

import base64
from collections.abc import Iterator
from xml.etree import ElementTree

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from moola_pipeline.assets.densified_windows import MIN_CHECKED, _at_each_position
from moola_pipeline.features.gates import feature_table_figures, is_spread
from moola_pipeline.features.schema import FEATURE_NAMES, MIN_SPREAD, N_FEATURES
from moola_pipeline.resources.io_managers import (
    ClassifierIOManager,
    EncoderIOManager,
    FeatureIOManager,
    FrameIOManager,
    StoreIOManager,
)
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.storage.home import HOME_VARIABLE, Home
from moola_pipeline.windows.dense import crossing_segments
from moola_pipeline.windows.window_geometry import WINDOW_BARS
from moola_pipeline_tests.homes import instance_of, last_materialization

PIPELINE = Pipeline(profile="smoke", market="simulated", scenario="none")


@pytest.fixture(scope="module")
def instance(smoke_home: Home) -> Iterator[dg.DagsterInstance]:
    with instance_of(smoke_home) as opened:
        yield opened


def loaded(manager: type[StoreIOManager], asset: str) -> object:
    return manager(pipeline=PIPELINE).load_input(dg.build_input_context(asset_key=asset))


@pytest.fixture
def in_smoke_home(smoke_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(smoke_home.root))


def test_figures_are_a_table_with_a_row_for_each_feature(instance: dg.DagsterInstance, in_smoke_home: None):
    shown = last_materialization(instance, "relativity_features").metadata["figures"]
    assert isinstance(shown, dg.TableMetadataValue)
    assert [record.data["feature"] for record in shown.records] == list(FEATURE_NAMES)
    table = loaded(FeatureIOManager, "relativity_features")
    figures = feature_table_figures(table.values[table.structure_valid])  # pyright: ignore
    for name in figures.columns:
        assert [record.data[name] for record in shown.records] == pytest.approx(
            figures[name].to_numpy(), abs=6e-4
        )


def test_figures_are_also_a_plot_on_the_asset_s_page(instance: dg.DagsterInstance):
    shown = last_materialization(instance, "relativity_features").metadata["figures_plot"]
    assert isinstance(shown, dg.MarkdownMetadataValue)
    head, encoded = str(shown.value).removesuffix(")").split("base64,")
    assert head.endswith("(data:image/svg+xml;")
    assert len(encoded) < 100_000
    texts = [it.text for it in ElementTree.fromstring(base64.b64decode(encoded)).iter() if it.text]
    assert [text for text in texts if text in FEATURE_NAMES] == list(FEATURE_NAMES)


def test_a_feature_that_is_zero_at_one_bar_of_the_window_fails_its_check_and_is_named():
    shares = np.full((WINDOW_BARS, N_FEATURES), 0.6)
    shares[17, FEATURE_NAMES.index("range_z")] = 0.05
    result = _at_each_position("spread", shares, MIN_SPREAD, is_spread, 500)
    assert not result.passed
    assert result.severity == dg.AssetCheckSeverity.ERROR
    assert result.description == "lowest: range_z, over 500 windows"
    assert (result.metadata["value"].value, result.metadata["limit"].value) == (0.05, 0.2)


def test_a_check_with_few_windows_passes_with_a_note():
    shares = np.zeros((WINDOW_BARS, N_FEATURES))
    result = _at_each_position("spread", shares, MIN_SPREAD, is_spread, MIN_CHECKED - 1)
    assert result.passed
    assert str(result.description).endswith("over 99 windows: not checked below 100")


@pytest.mark.usefixtures("in_smoke_home")
def test_arrays_between_assets_are_float32():
    table = loaded(FeatureIOManager, "relativity_features")
    assert (table.values.dtype, table.atr.dtype) == (np.float32, np.float32)  # pyright: ignore
    for asset in ("densified_windows", "latest_expansions"):
        frame = loaded(FrameIOManager, asset)
        assert isinstance(frame, pd.DataFrame)
        floats = frame.select_dtypes("floating")
        assert set(floats.dtypes) <= {np.dtype(np.float32)}
    assert list(floats.columns) == ["probability", "p_retracement"]
    encoder = loaded(EncoderIOManager, "pretrained_encoder")
    classifiers = loaded(ClassifierIOManager, "finetuned_classifier")
    networks = [encoder.encoder, *(it.classifier for it in classifiers.models.values())]  # pyright: ignore
    for network in networks:
        kinds = {str(it.dtype) for it in network.state_dict().values() if it.is_floating_point()}
        assert kinds == {"torch.float32"}


@pytest.mark.usefixtures("in_smoke_home")
def test_windows_stay_inside_the_table_and_their_segment():
    windows = loaded(FrameIOManager, "densified_windows")
    bars = loaded(FrameIOManager, "raw_nq_bars")
    assert isinstance(windows, pd.DataFrame) and isinstance(bars, pd.DataFrame)
    assert list(windows.columns) == ["bar0", "purpose"]
    assert windows["bar0"].dtype == np.int64
    assert not crossing_segments(windows["bar0"].to_numpy(), bars["segment"].to_numpy()).any()
    assert set(windows["purpose"]) == {"pretraining", "train", "validation", "test"}
