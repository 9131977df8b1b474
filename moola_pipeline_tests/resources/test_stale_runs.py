"""Runs of killed processes release their slots; live runs keep them."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import RunFailureReason
from dagster._core.execution.retries import auto_reexecution_should_retry_run
from dagster._core.storage.tags import GRPC_INFO_TAG, PARENT_RUN_ID_TAG, ROOT_RUN_ID_TAG
from dagster._core.test_utils import create_run_for_test

from moola_pipeline.resources.instance import RUN_BY_TAG, await_slots, release_stale_runs, run_tags
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.homes import instance_of


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with instance_of(Home(tmp_path)) as opened:
        yield opened


def started(instance: dg.DagsterInstance, tags: dict[str, str]) -> str:
    """A started run that holds the GPU slot."""
    run = create_run_for_test(instance, "train", status=dg.DagsterRunStatus.STARTED, tags=tags)
    instance.event_log_storage.initialize_concurrency_limit_to_default("gpu")
    instance.event_log_storage.claim_concurrency_slot("gpu", run.run_id, "step")
    return run.run_id


def holders(instance: dg.DagsterInstance) -> list[str]:
    return [slot.run_id for slot in instance.event_log_storage.get_concurrency_info("gpu").claimed_slots]


def test_the_slot_of_a_killed_moola_run_is_freed_and_the_run_has_failed(instance: dg.DagsterInstance):
    killed = started(instance, run_tags())
    assert holders(instance) == [killed]
    assert release_stale_runs(instance) == [killed]
    assert holders(instance) == []
    run = instance.get_run_by_id(killed)
    assert run is not None and run.status == dg.DagsterRunStatus.FAILURE
    assert release_stale_runs(instance) == []


def test_a_run_of_another_machine_or_of_a_live_server_is_left_alone(instance: dg.DagsterInstance):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = json.dumps({"host": "127.0.0.1", "port": server.getsockname()[1]})
        working = [
            started(instance, {GRPC_INFO_TAG: address}),
            started(instance, {RUN_BY_TAG: "elsewhere"}),
        ]
        assert release_stale_runs(instance) == []
        assert holders(instance) == working[:1]


def test_a_run_whose_server_is_gone_is_dead(instance: dg.DagsterInstance, tmp_path: Path):
    killed = started(instance, {GRPC_INFO_TAG: json.dumps({"socket": str(tmp_path / "gone")})})
    assert release_stale_runs(instance) == [killed]
    assert holders(instance) == []


@pytest.mark.parametrize(
    ("tags", "why", "repeated"),
    [
        ({}, None, True),
        ({}, RunFailureReason.STEP_FAILURE, False),
        (run_tags(), None, False),
    ],
    ids=["killed", "a step failed", "moola run"],
)
def test_only_a_killed_run_that_dagster_started_is_repeated(
    instance: dg.DagsterInstance, tags: dict[str, str], why: RunFailureReason | None, repeated: bool
):
    run = create_run_for_test(instance, "train", status=dg.DagsterRunStatus.FAILURE, tags=tags)
    assert auto_reexecution_should_retry_run(instance, run, why) == repeated


def test_a_run_is_repeated_once(instance: dg.DagsterInstance):
    first = create_run_for_test(instance, "train", status=dg.DagsterRunStatus.FAILURE)
    second = create_run_for_test(
        instance,
        "train",
        status=dg.DagsterRunStatus.FAILURE,
        parent_run_id=first.run_id,
        root_run_id=first.run_id,
        tags={PARENT_RUN_ID_TAG: first.run_id, ROOT_RUN_ID_TAG: first.run_id},
    )
    assert not auto_reexecution_should_retry_run(instance, second, None)


def test_waiting_for_a_slot_is_reported_once_and_ends_with_it(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    holder, lines = started(instance, {RUN_BY_TAG: "elsewhere"}), []
    rests = []

    def rest(_: float) -> None:
        rests.append(1)
        if len(rests) == 3:
            instance.event_log_storage.free_concurrency_slots_for_run(holder)

    monkeypatch.setattr("moola_pipeline.resources.instance.time.sleep", rest)
    await_slots(instance, lines.append)
    assert len(lines) == 1 and "Waiting for it to finish" in lines[0]
    assert len(rests) == 3
