"""What is played in a home of its own reaches no store that machines share."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from moola_pipeline.benchmarks import job
from moola_pipeline.cli import month
from moola_pipeline.cli.bench import _measured_job
from moola_pipeline.cli.own_stores import ELSEWHERE, nothing_elsewhere
from moola_pipeline.errors import MoolaError


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a machine whose stores are shared."""
    named = {
        "MOOLA_TRACKING_URI": "postgresql+psycopg2://moola:x@127.0.0.1:9/mlflow",
        "MOOLA_ARTIFACTS_URI": "s3://moola/mlflow",
        "MOOLA_STORE_URI": "s3://moola/store",
    }
    for name, uri in named.items():
        monkeypatch.setenv(name, uri)
    return named


def named_now() -> dict[str, str]:
    return {name: os.environ[name] for name in ELSEWHERE if name in os.environ}


def test_stores_elsewhere_are_forgotten_in_the_block_and_named_again_after_it(shared: dict[str, str]):
    with pytest.raises(KeyError), nothing_elsewhere():
        assert named_now() == {}
        raise KeyError
    assert named_now() == shared


def play_month(seen: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(month, "rehearse", lambda *_: seen.append(named_now()) or [])
    month.rehearse_in_a_temporary_home(lambda _: None)


def measure_job(seen: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def fresh_job(_: str) -> Iterator[job.FreshJob]:
        seen.append(named_now())
        yield job.FreshJob(Path("no such home"), 1.0, {})

    monkeypatch.setattr(job, "fresh_job", fresh_job)
    with pytest.raises(MoolaError, match="must log all nine assets"):  # of the home's own store: none
        _measured_job()


@pytest.mark.parametrize("play", [play_month, measure_job])
def test_a_month_and_a_measured_job_are_played_without_them(
    play: Callable[[list[dict[str, str]], pytest.MonkeyPatch], None],
    shared: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
):
    seen: list[dict[str, str]] = []
    play(seen, monkeypatch)
    assert seen == [{}]
    assert named_now() == shared
