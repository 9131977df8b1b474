"""Expected duration of a run: from earlier runs of the home, else an estimate that says so."""

import re

import pytest

from moola_pipeline.bars.store import read_manifest, registered_store
from moola_pipeline.cli.durations import (
    ESTIMATES,
    MEASURED_BARS,
    ExpectedSeconds,
    expected_seconds,
    rounded_duration,
)
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.staleness.stages import STAGES
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.homes import SMOKE, instance_of, moola

LAST = "latest_expansions"


def expected_in(home: Home, profile: str, assets: tuple[str, ...] = tuple(STAGES)) -> ExpectedSeconds:
    with instance_of(home) as instance:
        pipeline = Pipeline.model_validate({"profile": profile, "market": "auto", "scenario": "none"})
        return expected_seconds(instance, pipeline, assets)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(1, "5 s"), (83, "85 s"), (119, "120 s"), (125, "2 min"), (1500, "25 min")]
)
def test_durations_are_rounded_to_what_an_estimate_can_tell(seconds: float, shown: str):
    assert rounded_duration(seconds) == shown


def test_every_stage_has_an_estimate_for_every_profile():
    assert list(ESTIMATES) == list(STAGES)
    assert all(seconds.keys() == MEASURED_BARS.keys() for seconds in ESTIMATES.values())


def test_a_new_home_shows_an_estimate_and_says_so(isolated_home):
    expected = expected_in(Home(isolated_home), "demo")
    assert expected.by_asset == {asset: seconds["demo"] for asset, seconds in ESTIMATES.items()}
    total = rounded_duration(sum(expected.by_asset.values()))
    assert expected.shown == (
        f"expected  about {total}, an estimate for two CPU cores: this home has no such run yet"
    )


def test_a_home_with_a_run_expects_what_its_steps_took(smoke_copy: Home):
    expected = expected_in(smoke_copy, "smoke")
    assert not expected.estimated
    assert expected.shown.endswith(", as long as it took in this home before")
    with instance_of(smoke_copy) as instance:
        (run,) = instance.get_runs()
        steps = instance.get_run_step_stats(run.run_id)
    took = {step.step_key: (step.end_time or 0) - (step.start_time or 0) for step in steps}
    assert expected.by_asset == took


def test_another_profile_of_the_home_is_an_estimate(smoke_copy: Home):
    assert len(expected_in(smoke_copy, "demo").estimated) == len(STAGES)


def test_estimates_grow_with_the_registered_bars_where_the_work_does(registered_copy: Home):
    scale = sum(file.rows for file in read_manifest(registered_store(registered_copy)).files)
    expected = expected_in(registered_copy, "full").by_asset
    for asset in ("relativity_features", "pretrained_encoder"):
        assert expected[asset] == pytest.approx(ESTIMATES[asset]["full"] * scale / MEASURED_BARS["full"])
    assert expected["finetuned_classifier"] == ESTIMATES["finetuned_classifier"]["full"]


def test_a_partly_known_duration_names_what_is_estimated():
    expected = ExpectedSeconds({"raw_nq_bars": 40.0, LAST: 80.0}, (LAST,))
    assert expected.shown == (
        "expected  about 2 min, partly an estimate: latest_expansions not built here before"
    )


def test_a_run_shows_the_expected_duration_and_the_seconds_of_each_stage(smoke_copy: Home):
    (smoke_copy.store / "simulated-smoke" / f"{LAST}.parquet").unlink()
    lines = moola(smoke_copy, *SMOKE).splitlines()
    shown = lines.index(f"rebuilding {LAST}: its files are gone") + 1
    assert re.fullmatch(r"expected  about \d+ (s|min), as long as it took in this home before", lines[shown])
    assert re.fullmatch(rf"{LAST:<20}  \d+\.\d s", lines[shown + 1])
