"""An open run: settings, numbers, data and files logged to it, children, and its page."""

import json
from pathlib import Path

import pytest

from moola_pipeline.tracking.tracked_run import DataInput, TrackedRun


def test_more_settings_than_one_call_takes_are_all_logged(tracked: TrackedRun):
    tracked.log_params({f"file.{number}": number for number in range(250)})
    assert len(tracked.client.get_run(tracked.id).data.params) == 250


def test_a_metric_that_is_not_a_number_is_left_out(tracked: TrackedRun):
    tracked.log_metrics({"loss": 0.5, "undefined": float("nan")})
    assert tracked.client.get_run(tracked.id).data.metrics == {"loss": 0.5}


def test_epochs_are_steps(tracked: TrackedRun):
    for epoch in range(3):
        tracked.log_epoch({"epoch": epoch, "val_loss": 1 / (1 + epoch)})
    history = tracked.client.get_metric_history(tracked.id, "val_loss")
    assert [(one.step, one.value) for one in history] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]


def test_points_keep_their_times_and_may_exceed_one_call(tracked: TrackedRun):
    tracked.log_lines({"system/memory": [(1_700_000_000_000 + at, at / 2) for at in range(1200)]})
    history = tracked.client.get_metric_history(tracked.id, "system/memory")
    assert [(one.step, one.timestamp, one.value) for one in history[-2:]] == [
        (1198, 1_700_000_001_198, 599.0),
        (1199, 1_700_000_001_199, 599.5),
    ]


def test_data_are_logged_with_digest_source_and_use(tracked: TrackedRun):
    digest = "0123456789abcdef" * 4
    tracked.log_inputs(
        [
            DataInput("bars", digest, "data/manifest.json", {"rows": 3}),
            DataInput("labels", digest[::-1], "labels.csv", {"rows": 2}, "testing"),
        ]
    )
    run = tracked.client.get_run(tracked.id)
    assert run.inputs is not None
    by_name = {one.dataset.name: one for one in run.inputs.dataset_inputs}
    assert {name: one.dataset.digest for name, one in by_name.items()} == {
        "bars": digest[:36],
        "labels": digest[::-1][:36],
    }
    assert json.loads(str(by_name["bars"].dataset.profile)) == {"rows": 3, "sha256": digest}
    assert json.loads(by_name["bars"].dataset.source) == {"uri": "data/manifest.json"}
    assert [(tag.key, tag.value) for tag in by_name["labels"].tags] == [("mlflow.data.context", "testing")]
    assert by_name["bars"].tags == []


def test_a_child_has_its_parent_s_market_and_the_commit(tracked: TrackedRun):
    tracked.set_tags({"market": "simulated", "dagster.run_id": "0123", "device": "cpu"})
    with tracked.child("seed 1", {"seed": 1}) as child:
        child.log_epoch({"epoch": 0, "val_loss": 0.5})
        assert tracked.client.get_run(child.id).info.status == "RUNNING"
    run = tracked.client.get_run(child.id)
    assert (run.info.run_name, run.info.status) == ("seed 1", "FINISHED")
    assert (run.data.params, run.data.metrics) == ({"seed": "1"}, {"val_loss": 0.5})
    own_tags = {name: run.data.tags.get(name) for name in ("mlflow.parentRunId", "market", "dagster.run_id")}
    assert own_tags == {"mlflow.parentRunId": tracked.id, "market": "simulated", "dagster.run_id": "0123"}
    assert run.data.tags["mlflow.source.git.commit"] and "device" not in run.data.tags


def test_a_child_that_is_interrupted_has_failed(tracked: TrackedRun):
    with pytest.raises(KeyboardInterrupt), tracked.child("seed 1", {}) as child:
        raise KeyboardInterrupt
    assert tracked.client.get_run(child.id).info.status == "FAILED"


def test_files_and_folders_are_copied_into_the_run(tracked: TrackedRun, tmp_path: Path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    tracked.log_artifact(tmp_path / "model", "model")
    tracked.log_artifact(tmp_path / "model" / "config.json")
    tracked.log_text("words", "note.txt")
    listed = {one.path for one in tracked.client.list_artifacts(tracked.id)}
    assert listed == {"model", "config.json", "note.txt"}
    assert [one.path for one in tracked.client.list_artifacts(tracked.id, "model")] == ["model/config.json"]


def test_the_link_leads_to_the_server_in_use(tracked: TrackedRun, monkeypatch: pytest.MonkeyPatch):
    page = f"/#/experiments/{tracked.experiment}/runs/{tracked.id}?workflowType=machine_learning"
    assert tracked.url == f"http://127.0.0.1:5000{page}"
    monkeypatch.setenv("MOOLA_MLFLOW_URL", "http://127.0.0.1:5007")
    assert tracked.url == f"http://127.0.0.1:5007{page}"
    monkeypatch.setenv("MOOLA_MLFLOW_URL", "https://ann:hush@tracking.example")
    assert tracked.url == f"https://ann:***@tracking.example{page}", "it is kept in metadata"
