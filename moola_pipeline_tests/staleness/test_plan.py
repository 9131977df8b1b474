"""The plan of a run: exactly the assets that depend on a change."""

from collections.abc import Callable
from datetime import date

import dagster as dg
import pytest
from pydantic import BaseModel

from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.settings import PROFILES, Profile, ProfileName
from moola_pipeline.staleness import fingerprints
from moola_pipeline.staleness.data_digests import read_data_digests
from moola_pipeline.staleness.fingerprints import FINGERPRINT, MADE_FROM
from moola_pipeline.staleness.plan import Step, everything, plan
from moola_pipeline.staleness.records import MARKET, PAGE, recorded
from moola_pipeline.staleness.stages import STAGES
from moola_pipeline.storage.home import HOME_VARIABLE, Home
from moola_pipeline_tests.homes import instance_of
from moola_pipeline_tests.staleness.edits import code, edited

ALL = list(STAGES)
JUDGED = {"bootstrap_ci_report", "registered_model"}
TRAINED = {"pretrained_encoder", "finetuned_classifier", *JUDGED}


def planned(home: Home, profile: ProfileName = "smoke") -> list[Step]:
    with instance_of(home) as instance:
        return plan(instance, Pipeline(profile=profile, market="auto", scenario="none").planned())


def stale(steps: list[Step]) -> set[str]:
    return {step.asset for step in steps if step.stale}


def reasons(steps: list[Step]) -> dict[str, str]:
    return {step.asset: step.reason for step in steps}


@pytest.fixture
def change(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give a part of the smoke profile other settings."""

    def set_part(part: str, **settings: object) -> None:
        smoke = PROFILES["smoke"]
        before: BaseModel = getattr(smoke, part)
        after = type(before).model_validate({**before.model_dump(), **settings})
        changed = Profile.model_validate({**dict(smoke), part: after})
        monkeypatch.setitem(PROFILES, "smoke", changed)

    return set_part


def test_in_an_empty_home_nothing_is_built_yet(isolated_home, smoke_home: Home, smoke_copy: Home):
    for database in smoke_copy.dagster.rglob("*.db"):
        database.unlink()
    steps = planned(smoke_copy)
    assert [step.asset for step in steps] == ALL
    assert set(reasons(steps).values()) == {"not built yet"}


def test_after_a_run_nothing_would_change(smoke_home: Home):
    steps = planned(smoke_home)
    assert [(step.asset, step.state, step.reason) for step in steps] == [
        (asset, "up to date", "unchanged") for asset in ALL
    ]


def test_a_forced_run_rebuilds_everything():
    assert everything("asked for") == [Step(asset, "stale", "asked for") for asset in ALL]


@pytest.mark.parametrize(
    ("part", "settings", "expected"),
    [
        ("report", {"resamples": 600}, JUDGED),
        ("finetune", {"epochs": 9}, {"finetuned_classifier", *JUDGED}),
        ("pretrain", {"epochs": 2}, TRAINED),
        ("pretrain", {"stride": 60}, {"densified_windows", *TRAINED}),
        (
            "simulated_splits",
            {"test_end": date(2025, 6, 27)},
            {"labeled_expansions", "densified_windows", "latest_expansions", *JUDGED},
        ),
        (
            "simulated_splits",
            {"train_end": date(2025, 5, 29)},
            {"labeled_expansions", "densified_windows", "latest_expansions", *TRAINED},
        ),
    ],
)
def test_a_changed_setting_makes_what_depends_on_it_stale(
    smoke_home: Home, change: Callable[..., None], part: str, settings: dict, expected: set[str]
):
    change(part, **settings)
    assert stale(planned(smoke_home)) == expected


def test_another_market_makes_everything_stale(smoke_copy: Home, change: Callable[..., None]):
    change("simulation", seed=13)
    assert stale(planned(smoke_copy)) == set(ALL)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("bars/formats.py", {"raw_nq_bars"}),
        ("features/zigzag.py", {"relativity_features", "densified_windows", "latest_expansions", *TRAINED}),
        ("training/pretrain.py", TRAINED),
        ("evaluation/sections.py", JUDGED),
        ("labels/tables.py", {"labeled_expansions"}),
        ("inference/live.py", {*JUDGED, "latest_expansions"}),
    ],
)
def test_edited_code_makes_its_assets_stale(
    smoke_home: Home, monkeypatch: pytest.MonkeyPatch, path: str, expected: set[str]
):
    installed = fingerprints.package_code().installed.__getitem__
    monkeypatch.setattr(fingerprints, "package_code", lambda: edited(path, code, installed))
    steps = planned(smoke_home)
    assert stale(steps) == expected
    assert f"code changed in {path}" in {step.reason for step in steps}


def test_a_stale_asset_has_a_reason(smoke_home: Home, change: Callable[..., None]):
    change("finetune", epochs=9)
    why = reasons(planned(smoke_home))
    assert why["finetuned_classifier"] == "settings: finetune.epochs 8 -> 9"
    assert why["bootstrap_ci_report"] == "finetuned_classifier will be rebuilt"
    assert why["registered_model"] == "bootstrap_ci_report will be rebuilt"
    assert why["pretrained_encoder"] == "unchanged"


@pytest.mark.parametrize(
    ("lost", "asset", "after"),
    [
        ("data/store/simulated-smoke/raw_nq_bars.parquet", "raw_nq_bars", {"raw_nq_bars"}),
        (
            "data/store/simulated-smoke/relativity_features.json",
            "relativity_features",
            {"relativity_features", "densified_windows", "latest_expansions"},
        ),
        ("data/reports/simulated-smoke/report.json", "bootstrap_ci_report", JUDGED),
        ("data/store/simulated-smoke/latest_expansions.parquet", "latest_expansions", {"latest_expansions"}),
    ],
)
def test_a_missing_asset_is_rebuilt(smoke_copy: Home, lost: str, asset: str, after: set[str]):
    (smoke_copy.root / lost).unlink()
    steps = planned(smoke_copy)
    assert reasons(steps)[asset] == "its files are gone"
    assert stale(steps) == after


def test_an_asset_with_a_failed_check_is_rebuilt(smoke_copy: Home):
    failed = dg.AssetCheckEvaluation(dg.AssetKey("finetuned_classifier"), "no_collapse", passed=False)
    with instance_of(smoke_copy) as instance:
        instance.report_runless_asset_event(failed)
    steps = planned(smoke_copy)
    assert reasons(steps)["finetuned_classifier"] == "check no_collapse did not pass"
    assert stale(steps) == {"finetuned_classifier", *JUDGED}


def test_assets_of_one_profile_do_not_count_for_another(registered_home: Home):
    assert not stale(planned(registered_home))
    assert stale(planned(registered_home, "full")) == set(ALL)


def test_bars_built_for_another_profile_are_stale_in_this_one(registered_copy: Home):
    with instance_of(registered_copy) as instance:
        pipeline = Pipeline(profile="full", market="auto", scenario="none")
        market, profile = pipeline.chosen_market(), pipeline.chosen_profile()
        settings = fingerprints.stage_settings(market, profile)
        made = fingerprints.ingredients("raw_nq_bars", read_data_digests(market), settings, {})
        metadata = {fingerprints.FINGERPRINT: made.fingerprint, MARKET: market.name}
        event = dg.AssetMaterialization("raw_nq_bars", metadata=metadata)
        instance.report_runless_asset_event(event)
    assert stale(planned(registered_copy)) == {"raw_nq_bars"}


def test_later_builds_for_another_market_change_nothing(smoke_copy: Home):
    assets = (dg.AssetKey("raw_nq_bars"), dg.AssetKey("finetuned_classifier"))
    with instance_of(smoke_copy) as instance:
        for _ in range(PAGE + 1):
            for key in assets:
                made = dg.AssetMaterialization(key, metadata={FINGERPRINT: "another", MARKET: "another"})
                instance.report_runless_asset_event(made)
        assert recorded(instance, "raw_nq_bars", "no such market") is None
    steps = planned(smoke_copy)
    assert [step for step in steps if step.stale] == []


def test_bars_that_differ_make_their_readers_stale(smoke_copy: Home):
    with instance_of(smoke_copy) as instance:
        pipeline = Pipeline(profile="smoke", market="auto", scenario="none")
        market = pipeline.chosen_market()
        before = recorded(instance, "relativity_features", market.name)
        assert before is not None and before.made_from is not None
        read = before.made_from.model_copy(update={"upstream": {"raw_nq_bars": "other rows"}})
        metadata = {
            FINGERPRINT: read.fingerprint,
            MADE_FROM: dg.MetadataValue.json(read.model_dump(mode="json")),
            MARKET: market.name,
        }
        instance.report_runless_asset_event(dg.AssetMaterialization("relativity_features", metadata=metadata))
    assert reasons(planned(smoke_copy))["relativity_features"].endswith("raw_nq_bars was rebuilt since")


def test_a_new_champion_makes_latest_expansions_stale(smoke_home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("moola_pipeline.resources.pipeline.champion_version", lambda home, name: "7")
    assert stale(planned(smoke_home)) == {"latest_expansions"}


def test_planning_writes_nothing_into_the_store(smoke_home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(HOME_VARIABLE, str(smoke_home.root))
    times = {path: path.stat().st_mtime_ns for path in smoke_home.store.rglob("*")}
    planned(smoke_home)
    assert {path: path.stat().st_mtime_ns for path in smoke_home.store.rglob("*")} == times


@pytest.mark.parametrize(
    ("name", "asset"),
    [
        ("store/simulated-smoke/relativity_features.json", "relativity_features"),
        ("store/simulated-smoke/pretrained_encoder/weights.safetensors", "pretrained_encoder"),
        ("store/simulated-smoke/finetuned_classifier/training.json", "finetuned_classifier"),
        ("reports/simulated-smoke/report.html", "bootstrap_ci_report"),
    ],
)
def test_an_asset_with_a_changed_or_missing_file_is_rebuilt(smoke_copy: Home, name: str, asset: str):
    path = smoke_copy.data / name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert reasons(planned(smoke_copy))[asset] == "its files were changed"
    path.unlink()
    assert reasons(planned(smoke_copy))[asset] == "its files are gone"


def test_a_registry_without_the_model_registers_it_again(smoke_copy: Home):
    (smoke_copy.tracking / "mlflow.db").unlink()
    steps = planned(smoke_copy)
    assert stale(steps) == {"registered_model", "latest_expansions"}
    assert reasons(steps)["registered_model"] == "the registry has no version of it"
