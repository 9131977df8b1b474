"""IO managers: stored values are read back unchanged; missing ones give a one-line error."""

import dataclasses
import json
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from moola_pipeline.errors import ChecksumMismatch, IntegrityError, MissingArtifact
from moola_pipeline.features.relativity import FeatureTable, compute_features
from moola_pipeline.resources import io_managers
from moola_pipeline.resources.io_managers import (
    ClassifierIOManager,
    EncoderIOManager,
    FeatureIOManager,
    FrameIOManager,
    JsonIOManager,
    ReportIOManager,
    StoreIOManager,
    TrainedClassifiers,
    WrittenReport,
)
from moola_pipeline.storage.asset_checksums import write_checksums
from moola_pipeline.storage.home import HOME_VARIABLE, Home
from moola_pipeline_tests.asset_readers import PIPELINE
from moola_pipeline_tests.labels.weekly_market import weekly_bars

FEATURES = "relativity_features"


def kept(manager: StoreIOManager, asset: str, value: object) -> object:
    """The value after it was stored and read."""
    manager.handle_output(dg.build_output_context(asset_key=asset), value)
    return manager.load_input(dg.build_input_context(asset_key=asset))


def weights(module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def test_a_bar_table_keeps_values_types_and_nulls():
    bars = weekly_bars(2)
    bars.loc[3, "volume"] = pd.NA
    result = kept(FrameIOManager(pipeline=PIPELINE), "raw_nq_bars", bars)
    assert isinstance(result, pd.DataFrame)
    pd.testing.assert_frame_equal(result, bars)


def kept_features() -> tuple[FeatureTable, FeatureIOManager]:
    """Features of some bars, and an IO manager that has stored the bars."""
    bars = weekly_bars(2)
    kept(FrameIOManager(pipeline=PIPELINE), "raw_nq_bars", bars)
    prices = bars[["open", "high", "low", "close"]].to_numpy(float)
    return compute_features(prices, bars["segment"].to_numpy(np.int64), 0.25), FeatureIOManager(
        pipeline=PIPELINE
    )


def test_a_feature_table_is_recomputed_bit_for_bit():
    table, manager = kept_features()
    result = kept(manager, FEATURES, table)
    for name, values in vars(table).items():
        np.testing.assert_array_equal(getattr(result, name), values, strict=True)
    written = list(PIPELINE.folder.glob(f"{FEATURES}*"))
    assert sorted(path.name for path in written) == [f"{FEATURES}.checksums.json", f"{FEATURES}.json"]
    assert sum(path.stat().st_size for path in written) < table.values.nbytes / 10


def test_a_process_computes_the_features_of_the_stored_bars_once(monkeypatch: pytest.MonkeyPatch):
    computed: list[float] = []

    def counted(prices: np.ndarray, segment: np.ndarray, tick_points: float) -> FeatureTable:
        computed.append(tick_points)
        return compute_features(prices, segment, tick_points)

    table, manager = kept_features()
    monkeypatch.setattr(io_managers, "compute_features", counted)
    first = kept(manager, FEATURES, table)
    again = manager.load_input(dg.build_input_context(asset_key=FEATURES))
    assert again is first and computed == [0.25]

    other = weekly_bars(1)
    kept(FrameIOManager(pipeline=PIPELINE), "raw_nq_bars", other)
    prices = other[["open", "high", "low", "close"]].to_numpy(float)
    changed = compute_features(prices, other["segment"].to_numpy(np.int64), 0.25)
    result = kept(manager, FEATURES, changed)
    assert isinstance(result, FeatureTable) and np.array_equal(result.values, changed.values)
    assert computed == [0.25, 0.25]


def test_features_of_changed_bars_are_refused():
    table, manager = kept_features()
    kept(manager, FEATURES, table)
    other = weekly_bars(2)
    other.loc[5, "high"] += 0.25
    kept(FrameIOManager(pipeline=PIPELINE), "raw_nq_bars", other)
    with pytest.raises(
        IntegrityError, match=r"^relativity_features was built from bars .{12}, got .{12}\. Re"
    ):
        manager.load_input(dg.build_input_context(asset_key=FEATURES))


def test_features_made_by_other_code_are_refused(monkeypatch: pytest.MonkeyPatch):
    table, manager = kept_features()
    kept(manager, FEATURES, table)
    monkeypatch.setattr(io_managers, "code_version", lambda asset: "0123456789ab")
    with pytest.raises(
        IntegrityError, match="^relativity_features was built from code .{12}, got 0123456789ab"
    ):
        manager.load_input(dg.build_input_context(asset_key=FEATURES))


def test_features_of_fewer_bars_than_are_stored_are_refused():
    table, manager = kept_features()
    short = FeatureTable(**{name: column[:-1] for name, column in vars(table).items()})
    with pytest.raises(IntegrityError, match="^relativity_features must have a row for each of the"):
        kept(manager, FEATURES, short)


def test_a_feature_table_that_is_not_float32_is_refused():
    table, manager = kept_features()
    wide = dataclasses.replace(table, values=table.values.astype(np.float64))
    with pytest.raises(IntegrityError) as refused:
        kept(manager, FEATURES, wide)
    assert str(refused.value) == (
        "relativity_features: values must be float32 between assets, got float64. Cast it in the asset."
    )
    assert not list(PIPELINE.folder.glob(f"{FEATURES}*"))


@pytest.mark.parametrize("asset", ["densified_windows", "latest_expansions"])
def test_a_frame_with_a_float64_column_is_refused_except_for_bars_and_labels(asset: str):
    frame = pd.DataFrame({"bar0": np.arange(3), "probability": np.linspace(0, 1, 3)})
    manager = FrameIOManager(pipeline=PIPELINE)
    with pytest.raises(IntegrityError, match=f"^{asset}: probability must be float32 .* got float64"):
        kept(manager, asset, frame)
    narrow = frame.astype({"probability": np.float32})
    assert kept(manager, asset, narrow).dtypes.to_dict() == narrow.dtypes.to_dict()  # pyright: ignore
    for exact in io_managers.EXACT:
        assert kept(manager, exact, frame).equals(frame)  # pyright: ignore


def test_a_frame_stored_as_float64_is_refused_when_it_is_read():
    manager = FrameIOManager(pipeline=PIPELINE)
    manager.write(PIPELINE.artifact_path("latest_expansions"), pd.DataFrame({"probability": [0.5]}))
    write_checksums(PIPELINE.artifact_path("latest_expansions"))
    with pytest.raises(IntegrityError, match="^latest_expansions: probability must be float32"):
        manager.load_input(dg.build_input_context(asset_key="latest_expansions"))


def test_weights_that_are_not_float32_are_refused(
    smoke_home: Home, isolated_home: Path, monkeypatch: pytest.MonkeyPatch
):
    encoders, classifiers = EncoderIOManager(pipeline=PIPELINE), ClassifierIOManager(pipeline=PIPELINE)
    monkeypatch.setenv(HOME_VARIABLE, str(smoke_home.root))
    encoder = encoders.load_input(dg.build_input_context(asset_key="pretrained_encoder"))
    trained = classifiers.load_input(dg.build_input_context(asset_key="finetuned_classifier"))
    monkeypatch.setenv(HOME_VARIABLE, str(isolated_home))
    encoder.encoder.double()
    trained.served.classifier.double()
    with pytest.raises(IntegrityError, match="^pretrained_encoder: .* must be float32 .* got torch.float64"):
        kept(encoders, "pretrained_encoder", encoder)
    with pytest.raises(IntegrityError, match="^finetuned_classifier: seed-0 .* must be float32"):
        kept(classifiers, "finetuned_classifier", trained)


def test_facts_are_stored_as_json():
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
    assert (second.served.proposer, second.served.thresholds) == (
        trained.served.proposer,
        trained.served.thresholds,
    )
    np.testing.assert_equal(weights(second.untrained.classifier), weights(trained.untrained.classifier))
    assert second.facts == trained.facts
    written = kept(reports, "bootstrap_ci_report", report)
    assert isinstance(written, WrittenReport)
    assert written == report


def test_seeds_of_an_earlier_training_are_removed(
    smoke_home: Home, isolated_home: Path, monkeypatch: pytest.MonkeyPatch
):
    manager = ClassifierIOManager(pipeline=PIPELINE)
    monkeypatch.setenv(HOME_VARIABLE, str(smoke_home.root))
    trained = manager.load_input(dg.build_input_context(asset_key="finetuned_classifier"))
    monkeypatch.setenv(HOME_VARIABLE, str(isolated_home))
    facts = {**trained.facts, "seeds": [3, 4], "scratch_seeds": [3], "served": 3}
    both = TrainedClassifiers(
        {3: trained.served, 4: trained.served}, {3: trained.untrained}, trained.untrained, facts
    )
    kept(manager, "finetuned_classifier", both)
    folders = PIPELINE.folder / "finetuned_classifier"
    assert {path.name for path in folders.iterdir() if path.is_dir()} == {
        "scratch-3",
        "seed-3",
        "seed-4",
        "untrained",
    }
    second = kept(manager, "finetuned_classifier", trained)
    assert isinstance(second, TrainedClassifiers)
    assert (list(second.models), second.scratch) == ([0], {})
    assert {path.name for path in folders.iterdir() if path.is_dir()} == {"seed-0", "untrained"}


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
def test_a_missing_asset_is_reported_in_one_line_with_the_command(kind: type[StoreIOManager], asset: str):
    with pytest.raises(MissingArtifact) as fault:
        kind(pipeline=PIPELINE).load_input(dg.build_input_context(asset_key=asset))
    assert str(fault.value) == (
        f"{asset} must be materialized first for simulated-smoke, but it does not exist. "
        "Materialize it, or run: moola run"
    )


def test_a_changed_file_is_refused_by_the_next_asset():
    manager = FrameIOManager(pipeline=PIPELINE)
    kept(manager, "raw_nq_bars", weekly_bars(2))
    path = PIPELINE.folder / "raw_nq_bars.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ChecksumMismatch, match="raw_nq_bars.parquet: SHA256 is .* Rebuild it: moola run"):
        manager.load_input(dg.build_input_context(asset_key="raw_nq_bars"))
