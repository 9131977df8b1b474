"""The asset graph: dependencies, checks, IO managers and jobs."""

import dagster as dg
import pytest

from moola_pipeline.assets.stage import launchpad_config
from moola_pipeline.automation.jobs import PREDICTING, predict_job, train_job
from moola_pipeline.definitions import defs
from moola_pipeline.staleness.stages import INTEGRITY_CHECKS, STAGES
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline_tests.cli.calls import start

GRAPH = {
    "raw_nq_bars": ("frames", set()),
    "labeled_expansions": ("frames", {"raw_nq_bars"}),
    "relativity_features": ("features", {"raw_nq_bars"}),
    "densified_windows": ("frames", {"raw_nq_bars", "labeled_expansions", "relativity_features"}),
    "pretrained_encoder": (
        "encoders",
        {"raw_nq_bars", "labeled_expansions", "relativity_features", "densified_windows"},
    ),
    "finetuned_classifier": (
        "classifiers",
        {"raw_nq_bars", "labeled_expansions", "relativity_features", "pretrained_encoder"},
    ),
    "bootstrap_ci_report": (
        "reports",
        {
            "raw_nq_bars",
            "labeled_expansions",
            "relativity_features",
            "densified_windows",
            "pretrained_encoder",
            "finetuned_classifier",
        },
    ),
    "registered_model": (
        "facts",
        {
            "raw_nq_bars",
            "labeled_expansions",
            "relativity_features",
            "finetuned_classifier",
            "bootstrap_ci_report",
        },
    ),
    "latest_expansions": (
        "frames",
        {"raw_nq_bars", "labeled_expansions", "relativity_features", "registered_model"},
    ),
}
"""IO manager and upstream assets of each asset."""
BLOCKING = {
    "raw_nq_bars": {"bars_match_manifest", "bars_valid"},
    "labeled_expansions": {"labels_on_bars", "splits_sound", "no_leakage"},
    "relativity_features": {"non_zero_density", "feature_spread"},
    "densified_windows": {"no_window_straddles", "dense_at_each_position", "spread_at_each_position"},
    "pretrained_encoder": {"beats_imputation", "training_period_only"},
    "finetuned_classifier": {"no_collapse"},
    "bootstrap_ci_report": {"baselines_present"},
}
WARNING = {
    "bootstrap_ci_report": {"beats_baselines", "target_f1", "calibrated"},
    "latest_expansions": {"feature_drift", "expansion_rate", "class_mix", "new_label_calibration"},
}
ON_THE_GPU = {"pretrained_encoder", "finetuned_classifier", "bootstrap_ci_report", "latest_expansions"}


@pytest.fixture(scope="module")
def assets() -> dict[str, dg.AssetsDefinition]:
    made = [asset for asset in defs.assets or () if isinstance(asset, dg.AssetsDefinition)]
    return {asset.key.to_user_string(): asset for asset in made}


def _checks(assets: dict[str, dg.AssetsDefinition], blocking: bool) -> dict[str, set[str]]:
    found = {
        name: {spec.name for spec in asset.check_specs if spec.blocking == blocking}
        for name, asset in assets.items()
    }
    return {name: checks for name, checks in found.items() if checks}


def test_the_graph_has_these_nine_assets(assets: dict[str, dg.AssetsDefinition]):
    found = {
        name: (
            asset.get_io_manager_key_for_asset_key(asset.key),
            {key.to_user_string() for key in asset.asset_deps[asset.key]},
        )
        for name, asset in assets.items()
    }
    assert found == GRAPH


def test_all_assets_are_in_one_group_so_that_the_lineage_opens_whole(assets: dict[str, dg.AssetsDefinition]):
    assert {group for asset in assets.values() for group in asset.group_names_by_key.values()} == {"moola"}


def test_integrity_checks_block_and_score_checks_warn(assets: dict[str, dg.AssetsDefinition]):
    assert _checks(assets, blocking=True) == BLOCKING
    assert _checks(assets, blocking=False) == WARNING


def test_the_integrity_checks_of_skipped_assets_are_the_blocking_ones(
    assets: dict[str, dg.AssetsDefinition],
):
    listed = {name: set(checks) for name, checks in INTEGRITY_CHECKS.items() if checks}
    assert listed == _checks(assets, blocking=True)
    assert INTEGRITY_CHECKS.keys() == STAGES.keys() == assets.keys()


def test_no_asset_uses_the_io_manager_that_pickles(assets: dict[str, dg.AssetsDefinition]):
    resources = defs.resources or {}
    keys = {asset.get_io_manager_key_for_asset_key(asset.key) for asset in assets.values()}
    assert keys < resources.keys()
    assert "io_manager" not in keys


def test_the_io_manager_in_the_code_version_is_the_one_that_writes(assets: dict[str, dg.AssetsDefinition]):
    resources = defs.resources or {}
    writes = {
        name: type(resources[asset.get_io_manager_key_for_asset_key(asset.key)]).__name__
        for name, asset in assets.items()
    }
    assert writes == {name: stage.kept_by for name, stage in STAGES.items()}


def test_assets_that_use_a_gpu_share_one_pool(assets: dict[str, dg.AssetsDefinition]):
    assert {name for name, asset in assets.items() if asset.op.pool == "gpu"} == ON_THE_GPU


def test_each_asset_has_a_description_and_a_code_version(assets: dict[str, dg.AssetsDefinition]):
    assert all(asset.descriptions_by_key[asset.key] for asset in assets.values())
    assert len({asset.code_versions_by_key[asset.key] for asset in assets.values()}) == len(GRAPH)


def test_stages_are_listed_after_their_dependencies(assets: dict[str, dg.AssetsDefinition]):
    order = list(STAGES)
    for name, asset in assets.items():
        before = order[: order.index(name)]
        assert {key.to_user_string() for key in asset.asset_deps[asset.key]} <= set(before)


def test_upstream_stages_are_ancestors_in_the_graph():
    def ancestors(name: str) -> set[str]:
        return {asset for parent in GRAPH[name][1] for asset in {parent, *ancestors(parent)}}

    for name, stage in STAGES.items():
        assert set(stage.upstream) - {"champion"} <= ancestors(name)


def test_train_job_has_all_assets_and_predict_job_trains_nothing():
    made = defs.resolve_job_def(train_job.name).asset_layer.executable_asset_keys
    assert {key.to_user_string() for key in made} == GRAPH.keys()
    predicted = defs.resolve_job_def(predict_job.name).asset_layer.executable_asset_keys
    assert {key.to_user_string() for key in predicted} == set(PREDICTING)


def test_loading_the_definitions_imports_no_training_and_no_tracking_library():
    code = "import sys, moola_pipeline.definitions; print(*sys.modules)"
    process = start(code)
    modules, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "dagster" in modules.split()
    assert not {"torch", "mlflow", "matplotlib", "sklearn"} & set(modules.split())


def test_the_launchpad_has_no_setting_that_the_asset_ignores():
    config = launchpad_config(PretrainSettings, "Config", fixed=("stride",))
    assert set(PretrainSettings.model_fields) - set(config.model_fields) == {"stride"}
    encoder = defs.resolve_assets_def(dg.AssetKey("pretrained_encoder"))
    offered = set(encoder.op.config_schema.config_type.fields)  # pyright: ignore
    assert offered == set(config.model_fields)
