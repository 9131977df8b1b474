"""Code shared by all assets: launchpad settings and check results."""

import dagster as dg
import pytest
from pydantic import ValidationError

from moola_pipeline.assets.stage import (
    active_settings,
    integrity,
    launchpad_config,
    plain_value,
    score,
    verdict,
)
from moola_pipeline.definitions import defs
from moola_pipeline.training.settings import FinetuneSettings, PretrainSettings

Config = launchpad_config(FinetuneSettings, "Config")
PROFILE = FinetuneSettings(seeds=(3,), epochs=7)


def test_an_empty_launchpad_leaves_the_profile_unchanged():
    assert active_settings(Config(), PROFILE) == PROFILE


def test_launchpad_values_override_the_profile_and_nothing_else():
    chosen = active_settings(Config(epochs=2, seeds=[0, 1], balanced=False), PROFILE)
    assert chosen == PROFILE.model_copy(update={"epochs": 2, "seeds": (0, 1), "balanced": False})


def test_zero_is_a_choice_and_not_an_empty_field():
    assert active_settings(Config(dropout=0.0, frozen_epochs=0), PROFILE).dropout == 0
    assert active_settings(Config(dropout=0.0, frozen_epochs=0), PROFILE).frozen_epochs == 0


def test_a_launchpad_value_out_of_bounds_is_refused():
    with pytest.raises(ValidationError, match="epochs\n.*greater than or equal to 0"):
        active_settings(Config(epochs=-1), PROFILE)


def test_the_launchpad_refuses_a_setting_that_does_not_exist():
    job = defs.resolve_job_def("train_job")
    assert dg.validate_run_config(job, {"ops": {"pretrained_encoder": {"config": {"epochs": 3}}}})
    with pytest.raises(dg.DagsterInvalidConfigError, match='unexpected config entry "epoch"'):
        dg.validate_run_config(job, {"ops": {"pretrained_encoder": {"config": {"epoch": 3}}}})


def test_every_setting_is_offered_with_its_description():
    config = launchpad_config(PretrainSettings, "PretrainConfig")
    for name, field in PretrainSettings.model_fields.items():
        assert config.model_fields[name].description == field.description


def test_a_check_result_holds_value_and_limit():
    result = verdict("no_collapse", False, 0.01, 0.05, "least share")
    assert not result.passed
    assert result.severity == dg.AssetCheckSeverity.ERROR
    assert result.description == "least share"
    assert {name: plain_value(entry) for name, entry in result.metadata.items()} == {
        "value": 0.01,
        "limit": 0.05,
    }


def test_a_bad_score_warns():
    assert verdict("target_f1", False, 0.5, 0.75, warn=True).severity == dg.AssetCheckSeverity.WARN
    assert score("report", "target_f1", "why").blocking is False
    assert integrity("bars", "valid", "why").blocking is True
