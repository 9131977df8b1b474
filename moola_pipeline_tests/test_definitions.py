"""The graph as the UI shows it: assets, what they need, what is checked, where they are kept."""

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
"""IO manager and upstream assets of each."""
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


def test_nine_assets_stand_in_this_graph(assets: dict[str, dg.AssetsDefinition]):
    found = {
        name: (
            asset.get_io_manager_key_for_asset_key(asset.key),
            {key.to_user_string() for key in asset.asset_deps[asset.key]},
        )
        for name, asset in assets.items()
    }
    assert found == GRAPH


def test_one_group_holds_all_so_that_the_lineage_opens_whole(assets: dict[str, dg.AssetsDefinition]):
    assert {group for asset in assets.values() for group in asset.group_names_by_key.values()} == {"moola"}


def test_integrity_checks_block_and_score_checks_only_warn(assets: dict[str, dg.AssetsDefinition]):
    assert _checks(assets, blocking=True) == BLOCKING
    assert _checks(assets, blocking=False) == WARNING


def test_a_skipped_asset_is_asked_for_each_of_its_blocking_checks(assets: dict[str, dg.AssetsDefinition]):
    asked = {name: set(checks) for name, checks in INTEGRITY_CHECKS.items() if checks}
    assert asked == _checks(assets, blocking=True)
    assert INTEGRITY_CHECKS.keys() == STAGES.keys() == assets.keys()


def test_no_asset_is_left_to_the_io_manager_that_pickles(assets: dict[str, dg.AssetsDefinition]):
    resources = defs.resources or {}
    keys = {asset.get_io_manager_key_for_asset_key(asset.key) for asset in assets.values()}
    assert keys < resources.keys()
    assert "io_manager" not in keys


def test_the_io_manager_whose_code_counts_is_the_one_that_writes(assets: dict[str, dg.AssetsDefinition]):
    resources = defs.resources or {}
    writes = {
        name: type(resources[asset.get_io_manager_key_for_asset_key(asset.key)]).__name__
        for name, asset in assets.items()
    }
    assert writes == {name: stage.kept_by for name, stage in STAGES.items()}


def test_assets_that_use_a_gpu_take_turns(assets: dict[str, dg.AssetsDefinition]):
    assert {name for name, asset in assets.items() if asset.op.pool == "gpu"} == ON_THE_GPU


def test_each_asset_says_what_it_holds_and_which_code_made_it(assets: dict[str, dg.AssetsDefinition]):
    assert all(asset.descriptions_by_key[asset.key] for asset in assets.values())
    assert len({asset.code_versions_by_key[asset.key] for asset in assets.values()}) == len(GRAPH)


def test_the_work_is_listed_in_an_order_in_which_it_can_be_done(assets: dict[str, dg.AssetsDefinition]):
    order = list(STAGES)
    for name, asset in assets.items():
        before = order[: order.index(name)]
        assert {key.to_user_string() for key in asset.asset_deps[asset.key]} <= set(before)


def test_an_asset_is_made_again_with_an_upstream_one_only_where_the_graph_says_so():
    def ancestors(name: str) -> set[str]:
        return {one for direct in GRAPH[name][1] for one in {direct, *ancestors(direct)}}

    for name, stage in STAGES.items():
        assert set(stage.upstream) - {"champion"} <= ancestors(name)


def test_train_job_makes_all_and_predict_job_trains_nothing():
    made = defs.resolve_job_def(train_job.name).asset_layer.executable_asset_keys
    assert {key.to_user_string() for key in made} == GRAPH.keys()
    marked = defs.resolve_job_def(predict_job.name).asset_layer.executable_asset_keys
    assert {key.to_user_string() for key in marked} == set(PREDICTING)


def test_loading_the_definitions_imports_no_training_and_no_tracking_library():
    code = "import sys, moola_pipeline.definitions; print(*sys.modules)"
    process = start(code)
    modules, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "dagster" in modules.split()
    assert not {"torch", "mlflow", "matplotlib", "sklearn"} & set(modules.split())


def test_the_launchpad_offers_no_setting_that_the_asset_would_ignore():
    config = launchpad_config(PretrainSettings, "Config", fixed=("stride",))
    assert set(PretrainSettings.model_fields) - set(config.model_fields) == {"stride"}
    encoder = defs.resolve_assets_def(dg.AssetKey("pretrained_encoder"))
    offered = set(encoder.op.config_schema.config_type.fields)  # pyright: ignore
    assert offered == set(config.model_fields)
