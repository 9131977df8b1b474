"""`moola bench`: figures, the page it writes, and no access to remote stores."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import moola_pipeline.benchmarks.speed as speed
from moola_pipeline.benchmarks import job
from moola_pipeline.benchmarks.batch_speed import BatchSpeed
from moola_pipeline.benchmarks.feature_speed import Timing
from moola_pipeline.benchmarks.measured_process import Memory
from moola_pipeline.benchmarks.speed_page import speed_page
from moola_pipeline.benchmarks.step_memory import StepMemory
from moola_pipeline.benchmarks.training_speed import TrainingSpeed
from moola_pipeline.cli.bench import REMOTE_VARIABLES, _measured_job, without_remote_stores
from moola_pipeline.errors import MoolaError
from moola_pipeline.staleness.stages import STAGES
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.cli.calls import call, complaint, facts
from moola_pipeline_tests.month import rehearsal


@pytest.mark.parametrize("words", [("bench",), ("bench", "market"), ("bench", "features")])
def test_a_page_must_be_markdown(words: tuple[str, ...], tmp_path: Path):
    result = call(*words, "--out", tmp_path / "page.txt")
    assert result.exit_code == 2
    assert complaint(result) == "--out must end in .md, got page.txt. Name a Markdown file."
    assert list(tmp_path.iterdir()) == []


def test_a_drawing_must_be_svg(tmp_path: Path):
    result = call("bench", "scaling", "--out", tmp_path / "page.png")
    assert result.exit_code == 2
    assert complaint(result) == "--out must end in .svg, got page.png. Name an SVG file."


MADE = speed.SpeedReport(
    timings={
        "csv_import": Timing(1.2, 5, floor=5, goal=1.5),
        "features": Timing(0.1, 7, floor=0.3, goal=0.1),
        "scan": Timing(38.0, 1),
    },
    ratios={"loading a stored table over computing it from bars": 1.2, "pandas over features": 25.0},
    microseconds_a_bar=dict.fromkeys(["features", *speed.PLAIN_WAYS.values()], 1.0),
    windows_a_second=300_000.0,
    scanned_a_second=1000.0,
    training=[TrainingSpeed("labels", "cpu", [BatchSpeed(64, 64, 0.06, 0.07, {})])],
    steps=[
        StepMemory("cpu", recomputed=False, windows=64, seconds=0.04, peak_mb=60.0),
        StepMemory("cpu", recomputed=True, windows=64, seconds=0.07, peak_mb=58.0),
    ],
    memory=Memory(before=230.0, peak=480.0),
    machine="a machine",
    gpu=None,
    measured_at="2026-11-22 22:00 UTC",
    n_bars=1_800_000,
)


def test_a_run_prints_every_figure_with_its_floor_and_writes_the_page(
    tmp_path: Path, isolated_home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(speed, "measure_speed", lambda: MADE)
    page = tmp_path / "benchmarks.md"
    shown = facts(call("bench", "--out", page, "--json"))
    assert shown["timings"]["csv_import"] == {"seconds": 1.2, "repeats": 5, "floor": 5, "goal": 1.5}
    assert shown["ratios"] == MADE.ratios and shown["gpu"] is None
    assert (shown["memory"]["rise"], shown["memory"]["floor"], shown["memory"]["goal"]) == (250, 1000, 500)
    assert shown["training"][0]["largest_that_pays"] == 64
    assert shown["training"][0]["sizes"][0]["windows_a_second"] == pytest.approx(64 / 0.07)
    assert shown["job"] is None
    assert page.read_text() == speed_page(MADE)


def test_times_of_the_last_complete_run_are_read_from_the_home(
    smoke_home: Home, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(speed, "measure_speed", lambda: MADE)
    job = facts(call("--home", smoke_home.root, "bench", "--json"))["job"]
    assert (job["profile"], job["market"], job["looks"]) == ("smoke", "simulated", {})
    assert list(job["stages"]) == list(STAGES)
    assert job["stages"]["bootstrap_ci_report"]["seconds"] > 0


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
    return {name: os.environ[name] for name in REMOTE_VARIABLES if name in os.environ}


def test_remote_stores_are_unset_in_the_block_and_restored_after_it(shared: dict[str, str]):
    with pytest.raises(KeyError), without_remote_stores():
        assert named_now() == {}
        raise KeyError
    assert named_now() == shared


def play_month(environments: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "rehearse", lambda *_: environments.append(named_now()) or [])
    rehearsal.rehearse_in_a_temporary_home(lambda _: None)


def measure_job(environments: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def fresh_job(_: str) -> Iterator[job.FreshJob]:
        environments.append(named_now())
        yield job.FreshJob(Path("no such home"), 1.0, {})

    monkeypatch.setattr(job, "fresh_job", fresh_job)
    with pytest.raises(MoolaError, match="must log all nine assets"):  # the home has logged no asset
        _measured_job()


@pytest.mark.parametrize("play", [play_month, measure_job])
def test_a_month_and_a_timed_job_use_no_remote_store(
    play: Callable[[list[dict[str, str]], pytest.MonkeyPatch], None],
    shared: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
):
    environments: list[dict[str, str]] = []
    play(environments, monkeypatch)
    assert environments == [{}]
    assert named_now() == shared
