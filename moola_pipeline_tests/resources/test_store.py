"""Where assets are kept: what was put in comes out, and what is not there is said in one line."""

import json
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from moola_pipeline.errors import ChecksumMismatch, MissingArtifact
from moola_pipeline.features.relativity import compute_features
from moola_pipeline.home import HOME_VARIABLE, Home
from moola_pipeline.resources.artifacts import TrainedClassifiers, WrittenReport
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.resources.store import (
    ClassifierIOManager,
    EncoderIOManager,
    FeatureIOManager,
    FrameIOManager,
    JsonIOManager,
    ReportIOManager,
    StoreIOManager,
)
from moola_pipeline_tests.labels.weekly_market import weekly_bars

PIPELINE = Pipeline(profile="smoke", market="simulated")


def kept(manager: StoreIOManager, asset: str, value: object) -> object:
    """The value after it was handed out and taken in again."""
    manager.handle_output(dg.build_output_context(asset_key=asset), value)
    return manager.load_input(dg.build_input_context(asset_key=asset))


def weights(module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def test_a_bar_table_keeps_values_types_and_nulls():
    bars = weekly_bars(2)
    bars.loc[3, "volume"] = pd.NA
    found = kept(FrameIOManager(pipeline=PIPELINE), "raw_nq_bars", bars)
    assert isinstance(found, pd.DataFrame)
    pd.testing.assert_frame_equal(found, bars)


def test_a_feature_table_keeps_every_column_bit_for_bit():
    bars = weekly_bars(2)
    prices = bars[["open", "high", "low", "close"]].to_numpy(float)
    table = compute_features(prices, bars["segment"].to_numpy(np.int64), 0.25)
    found = kept(FeatureIOManager(pipeline=PIPELINE), "relativity_features", table)
    for name, values in vars(table).items():
        np.testing.assert_array_equal(getattr(found, name), values, strict=True)


def test_facts_are_kept_as_json():
    facts = {"name": "moola-nq", "aliases": ["challenger"], "version": "3"}
    assert kept(JsonIOManager(pipeline=PIPELINE), "registered_model", facts) == facts
    assert json.loads((PIPELINE.folder / "registered_model.json").read_bytes()) == facts


def test_trained_parts_and_the_report_are_read_as_they_were_written(
    smoke_home: Home, isolated_home: Path, monkeypatch: pytest.MonkeyPatch
):
    encoders, classifiers, reports = (
        kind(pipeline=PIPELINE) for kind in (EncoderIOManager, ClassifierIOManager, ReportIOManager)
    )
    monkeypatch.setenv(HOME_VARIABLE, str(smoke_home.root))
    encoder = encoders.load_input(dg.build_input_context(asset_key="pretrained_encoder"))
    trained = classifiers.load_input(dg.build_input_context(asset_key="finetuned_classifier"))
    report = reports.load_input(dg.build_input_context(asset_key="bootstrap_ci_report"))
    monkeypatch.setenv(HOME_VARIABLE, str(isolated_home))
    again = kept(encoders, "pretrained_encoder", encoder)
    assert again.facts == encoder.facts  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_equal(weights(again.encoder), weights(encoder.encoder))  # pyright: ignore
    second = kept(classifiers, "finetuned_classifier", trained)
    assert isinstance(second, TrainedClassifiers)
    np.testing.assert_equal(weights(second.served.classifier), weights(trained.served.classifier))
    assert (second.served.rule, second.served.decisions) == (trained.served.rule, trained.served.decisions)
    assert second.facts == trained.facts
    written = kept(reports, "bootstrap_ci_report", report)
    assert isinstance(written, WrittenReport)
    assert written == report


def test_seeds_of_an_earlier_training_do_not_linger(
    smoke_home: Home, isolated_home: Path, monkeypatch: pytest.MonkeyPatch
):
    manager = ClassifierIOManager(pipeline=PIPELINE)
    monkeypatch.setenv(HOME_VARIABLE, str(smoke_home.root))
    trained = manager.load_input(dg.build_input_context(asset_key="finetuned_classifier"))
    monkeypatch.setenv(HOME_VARIABLE, str(isolated_home))
    both = TrainedClassifiers(
        {3: trained.served, 4: trained.served}, {**trained.facts, "seeds": [3, 4], "served": 3}
    )
    kept(manager, "finetuned_classifier", both)
    second = kept(manager, "finetuned_classifier", trained)
    assert isinstance(second, TrainedClassifiers)
    assert list(second.annotators) == [0]
    assert [path.name for path in PIPELINE.folder.glob("finetuned_classifier/seed-*")] == ["seed-0"]


@pytest.mark.parametrize(
    ("kind", "asset"),
    [
        (FrameIOManager, "raw_nq_bars"),
        (FeatureIOManager, "relativity_features"),
        (JsonIOManager, "registered_model"),
        (EncoderIOManager, "pretrained_encoder"),
        (ClassifierIOManager, "finetuned_classifier"),
        (ReportIOManager, "bootstrap_ci_report"),
    ],
)
def test_what_was_never_made_is_said_in_one_line_that_names_the_command(
    kind: type[StoreIOManager], asset: str
):
    with pytest.raises(MissingArtifact) as fault:
        kind(pipeline=PIPELINE).load_input(dg.build_input_context(asset_key=asset))
    assert str(fault.value) == (
        f"{asset} must be materialized first for simulated-smoke, but it is not there. "
        "Materialize it, or run: moola run"
    )


def test_a_changed_byte_is_not_handed_to_the_next_asset():
    manager = FrameIOManager(pipeline=PIPELINE)
    kept(manager, "raw_nq_bars", weekly_bars(2))
    path = PIPELINE.folder / "raw_nq_bars.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ChecksumMismatch, match="raw_nq_bars.parquet: SHA256 is .* Make it again: moola run"):
        manager.load_input(dg.build_input_context(asset_key="raw_nq_bars"))
