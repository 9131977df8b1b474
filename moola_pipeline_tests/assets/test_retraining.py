"""The assets that new bars, labels and settings rebuild, and those they leave alone."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from moola_pipeline.bars.manifest import read_bars
from moola_pipeline.bars.store import registered_store
from moola_pipeline.cli.exit_codes import FAILED
from moola_pipeline.inference.hindsight import EXPANSION_COLUMNS, predict_expansions
from moola_pipeline.inference.live import predict_live
from moola_pipeline.models.expansion_model import load_expansion_model
from moola_pipeline.settings import PROFILES
from moola_pipeline.storage.home import Home
from moola_pipeline.tracking.registry import load_version, version_of
from moola_pipeline.tracking.runs import open_store
from moola_pipeline.training import ablations
from moola_pipeline.training.expansion_models import TrainedModel
from moola_pipeline.training.finetune import FinetuneResult
from moola_pipeline_tests.cli.calls import call, complaint
from moola_pipeline_tests.homes import (
    LABELS,
    LATER_BARS,
    LATER_SESSION,
    SMOKE,
    copied,
    instance_of,
    last_materialization,
    moola,
    outcome,
)

FIRST_UNUSED = pd.Timestamp("2025-07-01T01:44Z")
"""A test window may start up to midnight UTC and reads 105 bars."""
WEIGHTS = "finetuned_classifier/seed-0/weights.safetensors"


def weights(home: Home) -> bytes:
    [path] = home.store.glob(f"*/{WEIGHTS}")
    return path.read_bytes()


def run(home: Home) -> dict:
    return json.loads(moola(home, *SMOKE, "--json"))


def marks_of(home: Home, mode: str) -> pd.DataFrame:
    marks = pd.read_parquet(home.store / "nq-smoke" / "latest_expansions.parquet")
    assert marks["started_at"].is_monotonic_increasing
    return marks.loc[marks["mode"] == mode].reset_index(drop=True)


def later_day(home: Home) -> pd.DataFrame:
    bars = read_bars(registered_store(home))
    return bars.loc[bars["session"] == pd.Timestamp(LATER_SESSION)].reset_index(drop=True)


def narrow(marks: pd.DataFrame) -> pd.DataFrame:
    return marks.astype(dict.fromkeys(("probability", "p_retracement"), "float32"))


def change_finetuning(monkeypatch: pytest.MonkeyPatch, **settings: object) -> None:
    smoke = PROFILES["smoke"]
    finetune = smoke.finetune.model_copy(update=settings)
    monkeypatch.setitem(PROFILES, "smoke", smoke.model_copy(update={"finetune": finetune}))


@pytest.fixture(scope="module")
def with_another_day(
    registered_home: Home, registered_files: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Home, dict]:
    """The registered home with one more day of bars after the test period, and the run's output."""
    home = copied(registered_home, tmp_path_factory.mktemp("another") / "day")
    moola(home, "bars", "add", registered_files / LATER_BARS)
    return home, run(home)


def test_a_day_of_bars_rebuilds_tables_and_latest_expansions_and_retrains_nothing(
    with_another_day: tuple[Home, dict],
):
    home, output = with_another_day
    assert output["made"] == [
        "raw_nq_bars",
        "labeled_expansions",
        "relativity_features",
        "densified_windows",
        "latest_expansions",
    ]
    assert version_of(open_store(home), "moola-nq", "challenger") == "1"


def test_a_day_of_bars_leaves_weights_and_scores_unchanged(
    with_another_day: tuple[Home, dict], registered_home: Home
):
    home, output = with_another_day
    assert weights(home) == weights(registered_home)
    assert output["metrics"] == outcome(registered_home)["metrics"]


def test_the_new_day_is_marked_by_the_champion_as_predict_would(with_another_day: tuple[Home, dict]):
    home, _ = with_another_day
    marks, day = marks_of(home, "hindsight"), later_day(home)
    model, facts = load_version(home, "models:/moola-nq@champion")
    expected = predict_expansions(model, day, 0.25, facts["model_version"]).expansions
    unused = expected.loc[expected["window_start"] >= FIRST_UNUSED].reset_index(drop=True)
    assert len(marks) > 0
    assert list(marks.columns) == list(EXPANSION_COLUMNS)
    pd.testing.assert_frame_equal(marks, narrow(unused), check_exact=False, rtol=1e-5)
    with instance_of(home) as instance:
        metadata = last_materialization(instance, "latest_expansions").metadata
    assert metadata["new_bars"].value == (day["timestamp"] >= FIRST_UNUSED).sum()
    assert str(metadata["note"].value).endswith(" windows read")


def test_latest_expansions_holds_the_alarms_of_live_predict(with_another_day: tuple[Home, dict]):
    home, _ = with_another_day
    marks, day = marks_of(home, "live"), later_day(home)
    model, facts = load_version(home, "models:/moola-nq@champion")
    alarms = predict_live(model, day, 0.25, facts["model_version"]).expansions
    unused = alarms.loc[alarms["decided_at"] >= FIRST_UNUSED].reset_index(drop=True)
    assert len(marks) > 0
    in_order = marks.sort_values("decided_at", ignore_index=True)
    pd.testing.assert_frame_equal(in_order, narrow(unused), check_exact=False, rtol=1e-5)
    with instance_of(home) as instance:
        metadata = last_materialization(instance, "latest_expansions").metadata
    assert metadata["live_alarms"].value == len(marks)
    assert metadata["modes"].value == "hindsight, live"


def test_alarms_of_the_new_day_s_first_hours_are_those_of_the_whole_day(with_another_day: tuple[Home, dict]):
    home, _ = with_another_day
    marks, day = marks_of(home, "live"), later_day(home)
    model, facts = load_version(home, "models:/moola-nq@champion")
    for n_bars in (300, 700):
        early = predict_live(model, day.head(n_bars), 0.25, facts["model_version"]).expansions
        early = early.loc[early["decided_at"] >= FIRST_UNUSED].reset_index(drop=True)
        known = marks.loc[marks["decided_at"] <= day["timestamp"].iloc[n_bars - 1]]
        in_order = known.sort_values("decided_at", ignore_index=True)
        pd.testing.assert_frame_equal(in_order, narrow(early), check_exact=False, rtol=1e-5)


def test_after_the_new_day_all_assets_are_up_to_date(with_another_day: tuple[Home, dict]):
    home, _ = with_another_day
    assert "Nothing has changed since the last run" in moola(home, *SMOKE)


def test_fewer_test_labels_leave_encoder_and_classifier_alone(
    registered_copy: Home, registered_files: Path, tmp_path: Path
):
    labels = pd.read_csv(registered_files / LABELS)
    last_window = labels["window_id"].iloc[-1]
    fewer = labels.loc[labels["window_id"] != last_window]
    fewer.to_csv(tmp_path / LABELS, index=False)
    (registered_store(registered_copy).labels).rename(tmp_path / "before")
    moola(registered_copy, "labels", "add", tmp_path / LABELS)
    output = run(registered_copy)
    assert output["made"] == [
        "labeled_expansions",
        "densified_windows",
        "bootstrap_ci_report",
        "registered_model",
        "latest_expansions",
    ]
    assert output["data"]["looks_at_test"] == 1
    assert output["metrics"]["event_f1_macro"]["n"] == 49


def test_another_training_is_another_version_and_another_evaluation_of_the_test_rows(
    smoke_copy: Home, smoke_home: Home, monkeypatch: pytest.MonkeyPatch
):
    assert outcome(smoke_home)["data"]["looks_at_test"] == 1
    change_finetuning(monkeypatch, distill_epochs=3)
    output = run(smoke_copy)
    assert output["made"] == ["finetuned_classifier", "bootstrap_ci_report", "registered_model"]
    assert output["data"]["looks_at_test"] == 2
    assert weights(smoke_copy) != weights(smoke_home)
    client = open_store(smoke_copy)
    assert version_of(client, "moola-simulated", "challenger") == "2"
    assert version_of(client, "moola-simulated", "champion") == "1"
    decision = json.loads((smoke_copy.store / "simulated-smoke" / "registered_model.json").read_bytes())
    assert decision == {
        "name": "moola-simulated",
        "version": "2",
        "is_new": True,
        "aliases": ["challenger"],
        "reason": "version 1 stays champion: after 2025-06-13 there are only 32 consolidation and 8 "
        "retracement expansions in 11 sessions that neither version was trained on; at least 10 of each "
        "type in 20 sessions are needed",
    }


def _versions(home: Home) -> int:
    client: MlflowClient = open_store(home)
    return len(client.search_model_versions("name = 'moola-simulated'"))


@pytest.fixture
def answering(smoke_copy: Home, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make training return the earlier weights with the given facts about their predictions."""
    [folder] = smoke_copy.store.glob("*/finetuned_classifier")
    model, untrained = (load_expansion_model(folder / name)[0] for name in ("seed-0", "untrained"))
    training = json.loads((folder / "training.json").read_bytes())
    change_finetuning(monkeypatch, patience=9)

    def answer(shares: dict[str, float], spread: float) -> None:
        result = FinetuneResult(model.classifier, training["histories"]["0"], 0)
        trained = TrainedModel(model, result, shares, spread)
        networks = ablations.TrainedNetworks({0: trained}, {}, untrained)
        monkeypatch.setattr(ablations, "train_with_ablations", lambda *given: networks)

    return answer


def test_a_collapsed_classifier_fails_the_run_and_registers_nothing(
    smoke_copy: Home, answering: Callable[..., None]
):
    answering({"consolidation": 1.0, "retracement": 0.0}, spread=0.2)
    result = call(*SMOKE, home=smoke_copy.root)
    assert result.exit_code == FAILED
    assert complaint(result) == (
        "finetuned_classifier: check no_collapse failed (value 0.0, limit 0.05). "
        "lowest share of a type among validation predictions (seed 0); lowest spread of P(retracement) 0.200"
    )
    assert _versions(smoke_copy) == 1
    answering({"consolidation": 0.6, "retracement": 0.4}, spread=0.2)
    cured = moola(smoke_copy, *SMOKE)
    assert "rebuilding finetuned_classifier: check no_collapse did not pass" in cured
    assert _versions(smoke_copy) == 1  # the weights given back are those of version 1
    decision = json.loads((smoke_copy.store / "simulated-smoke" / "registered_model.json").read_bytes())
    assert decision == {
        "name": "moola-simulated",
        "version": "1",
        "is_new": False,
        "aliases": ["challenger", "champion"],
        "reason": "the same weights as version 1; version 1 is already champion",
    }


def test_a_constant_prediction_is_a_collapse_too(smoke_copy: Home, answering: Callable[..., None]):
    answering({"consolidation": 0.6, "retracement": 0.4}, spread=0.001)
    result = call(*SMOKE, home=smoke_copy.root)
    assert result.exit_code == FAILED
    assert "lowest spread of P(retracement) 0.001" in complaint(result)
    assert _versions(smoke_copy) == 1
