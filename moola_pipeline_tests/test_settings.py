"""The choice of profile and market; two markets never share folders or models."""

import shutil
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from dagster import Shape
from pydantic import ValidationError

from moola_pipeline.bars.instruments import INSTRUMENTS
from moola_pipeline.bars.manifest import add_bars
from moola_pipeline.bars.simulated import SCENARIOS
from moola_pipeline.bars.store import registered_store
from moola_pipeline.errors import BadInput
from moola_pipeline.instrument_data import (
    InstrumentData,
    ScenarioChoice,
    choose_instrument_data,
    choose_profile,
)
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.settings import PROFILES, Profile, ProfileName
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.homes import BARS

EVERY_PROFILE: tuple[ProfileName, ...] = ("smoke", "demo", "full", "study")
EVERY_SCENARIO: tuple[ScenarioChoice, ...] = get_args(ScenarioChoice)


@pytest.fixture
def empty_home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def _register_bars(home: Home) -> None:
    times = pd.date_range("2025-05-01 14:00", periods=30, freq="1min", tz="UTC").as_unit("ns")
    close = 20_000 + 0.25 * np.arange(30)
    frame = pd.DataFrame({"timestamp": times, "open": close, "high": close, "low": close, "close": close})
    frame.to_csv(home.root / "bars.csv", index=False)
    add_bars(registered_store(home), home.root / "bars.csv")


def test_auto_is_demo_without_bars_and_full_with_them(empty_home: Home):
    assert choose_profile(empty_home, "auto", "auto").name == "demo"
    _register_bars(empty_home)
    assert choose_profile(empty_home, "auto", "auto").name == "full"
    assert choose_profile(empty_home, "auto", "simulated").name == "demo"
    assert choose_profile(empty_home, "smoke", "auto").name == "smoke"


def test_auto_takes_registered_bars_where_there_are_any(registered_home: Home, empty_home: Home):
    smoke = PROFILES["smoke"]
    assert not choose_instrument_data(registered_home, "auto", smoke).simulated
    assert choose_instrument_data(registered_home, "simulated", smoke).simulated
    assert choose_instrument_data(empty_home, "auto", smoke).simulated


def _places(market: InstrumentData) -> tuple[str, Path, str]:
    return market.name, market.store.root, market.model_name


@pytest.mark.parametrize("name", PROFILES)
def test_simulated_and_registered_share_no_folder_and_no_model(name: str, registered_home: Home):
    profile = PROFILES[name]
    real = choose_instrument_data(registered_home, "registered", profile)
    made = choose_instrument_data(registered_home, "simulated", profile)
    assert real.model_name == "moola-nq"
    assert made.model_name == "moola-simulated"
    assert not set(_places(real)) & set(_places(made))
    assert made.store.simulated
    assert not real.store.simulated


def test_each_market_and_profile_keeps_its_assets_and_its_report_apart(
    registered_home: Home, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MOOLA_HOME", str(registered_home.root))
    choices = [
        *(Pipeline(profile=profile, market="registered", scenario="none") for profile in EVERY_PROFILE),
        *(
            Pipeline(profile=profile, market="simulated", scenario=scenario)
            for profile in EVERY_PROFILE
            for scenario in EVERY_SCENARIO
        ),
    ]
    assert len({choice.folder for choice in choices}) == len(choices)
    assert len({choice.report_folder for choice in choices}) == len(choices)


def test_the_smoke_market_and_the_demo_market_have_separate_folders(empty_home: Home):
    short, long = (
        choose_instrument_data(empty_home, "simulated", PROFILES[name]) for name in ("smoke", "demo")
    )
    assert short.store.root != long.store.root
    assert long.store.root == choose_instrument_data(empty_home, "simulated", PROFILES["full"]).store.root


@pytest.mark.parametrize("name", PROFILES)
def test_a_scenario_shares_no_folder_and_no_model_with_any_other_market(name: str, registered_home: Home):
    profile = PROFILES[name]
    markets = [
        choose_instrument_data(registered_home, wanted, profile) for wanted in ("registered", "simulated")
    ]
    markets += [choose_instrument_data(registered_home, "auto", profile, scenario) for scenario in SCENARIOS]
    for places in zip(*map(_places, markets), strict=True):
        assert len(set(places)) == len(markets)
    assert all(market.simulated and market.store.simulated for market in markets[1:])
    assert [market.model_name for market in markets[2:]] == [f"moola-simulated-{it}" for it in SCENARIOS]


def test_the_second_instrument_is_another_with_its_own_tick(empty_home: Home):
    market = choose_instrument_data(empty_home, "auto", PROFILES["smoke"], "second_instrument")
    assert (market.instrument, market.instrument.tick_points) == (INSTRUMENTS["ES"], 0.25)
    assert (
        choose_instrument_data(empty_home, "auto", PROFILES["smoke"], "no_signal").instrument
        == INSTRUMENTS["NQ"]
    )


def test_a_scenario_needs_no_market_option_even_where_bars_are_registered(registered_home: Home):
    market = choose_instrument_data(registered_home, "auto", PROFILES["smoke"], "no_signal")
    assert market.name == "simulated-no_signal"
    assert choose_profile(registered_home, "auto", "auto", "no_signal").name == "demo"
    assert choose_profile(registered_home, "auto", "auto").name == "full"


def test_a_scenario_of_registered_bars_is_refused(registered_home: Home):
    with pytest.raises(BadInput) as fault:
        choose_instrument_data(registered_home, "registered", PROFILES["smoke"], "drifting_mix")
    assert str(fault.value) == (
        "A scenario must use simulated bars, got drifting_mix with registered ones. "
        "Leave out the scenario, or choose the simulated market."
    )


def test_the_launchpad_offers_every_scenario():
    schema = Pipeline.to_config_schema().as_field().config_type
    assert isinstance(schema, Shape)
    assert set(EVERY_SCENARIO) == {"none", *SCENARIOS}
    assert all(name in str(schema.fields["scenario"].config_type.key) for name in SCENARIOS)
    assert Pipeline(scenario="no_signal", profile="smoke", market="auto").label == "simulated-no_signal-smoke"


def test_bars_without_labels_name_the_missing_command(empty_home: Home):
    _register_bars(empty_home)
    with pytest.raises(BadInput) as fault:
        choose_instrument_data(empty_home, "auto", PROFILES["smoke"])
    assert str(fault.value) == (
        "Labels must be registered beside the bars, but none are. Run: moola labels add FILE"
    )


@pytest.mark.parametrize("wanted", ["auto", "registered"])
def test_labels_without_bars_name_the_missing_command(wanted, registered_home: Home, empty_home: Home):
    shutil.copytree(registered_store(registered_home).labels, registered_store(empty_home).labels)
    with pytest.raises(BadInput, match=r"^Bars must be registered, but none are\. Run: moola bars add FILE "):
        choose_instrument_data(empty_home, wanted, PROFILES["smoke"])


def test_bars_without_labels_leave_the_simulated_market_open(empty_home: Home):
    _register_bars(empty_home)
    assert choose_instrument_data(empty_home, "simulated", PROFILES["smoke"]).simulated


@pytest.mark.parametrize("name", PROFILES)
def test_the_labels_of_a_simulated_market_fall_into_one_split_each(name: str):
    profile = PROFILES[name]
    ends = profile.simulated_splits.ends
    periods = profile.simulation.label_periods
    assert [period.last_session for period in periods] == list(ends)
    assert all(period.first_session > end for period, end in zip(periods[1:], ends, strict=False))


def test_profiles_grow_from_smoke_to_full():
    smoke, demo, full = (PROFILES[name] for name in ("smoke", "demo", "full"))
    assert smoke.pretrain.hidden_units < demo.pretrain.hidden_units == full.pretrain.hidden_units
    assert demo.pretrain.epochs < full.pretrain.epochs
    assert smoke.finetune.distill_windows < demo.finetune.distill_windows < full.finetune.distill_windows
    assert smoke.finetune.epochs < demo.finetune.epochs == full.finetune.epochs
    assert len(smoke.finetune.seeds) == len(demo.finetune.seeds) == 1
    assert len(full.finetune.seeds) == 5
    assert full.pretrain.max_windows is None


def test_an_unknown_setting_is_refused_by_name():
    with pytest.raises(ValidationError, match="epoch\n.*Extra inputs"):
        Profile.model_validate({"name": "mine", "epoch": 3})


def test_a_market_reads_the_bars_and_labels_it_names(registered_home: Home, registered_files: Path):
    market = choose_instrument_data(registered_home, "auto", PROFILES["smoke"])
    came = pd.read_parquet(registered_files / BARS)
    bars, labels = market.bars(), market.labels()
    np.testing.assert_array_equal(bars["close"], came["close"])
    assert len(set(labels["window_id"])) == 150
    digests = market.bars_digest(), market.labels_digest()
    assert all(len(digest) == 64 for digest in digests)
    assert digests == (market.bars_digest(), market.labels_digest())
