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


def test_the_groups_are_the_stages_of_the_work(assets: dict[str, dg.AssetsDefinition]):
    groups = {name: asset.group_names_by_key[asset.key] for name, asset in assets.items()}
    assert list(dict.fromkeys(groups.values())) == ["data", "training", "results"]
    assert {group: [name for name in groups if groups[name] == group] for group in groups.values()} == {
        "data": ["raw_nq_bars", "labeled_expansions", "relativity_features", "densified_windows"],
        "training": ["pretrained_encoder", "finetuned_classifier"],
        "results": ["bootstrap_ci_report", "registered_model", "latest_expansions"],
    }


def test_each_asset_has_an_owner_and_kinds(assets: dict[str, dg.AssetsDefinition]):
    specs = [spec for asset in assets.values() for spec in asset.specs]
    assert {tuple(spec.owners) for spec in specs} == {("team:moola",)}
    assert all(spec.kinds for spec in specs)


def test_every_edge_carries_data(assets: dict[str, dg.AssetsDefinition]):
    """Each upstream asset is an argument; only the champion comes from the registry."""
    passed = {
        name: {
            asset.keys_by_input_name[argument].to_user_string()
            for argument, given in asset.op.ins.items()
            if not given.dagster_type.is_nothing  # pyright: ignore[reportAttributeAccessIssue]
        }
        for name, asset in assets.items()
    }
    without = {(upstream, name) for name, (_, before) in GRAPH.items() for upstream in before - passed[name]}
    assert without == {("registered_model", "latest_expansions")}


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


def test_no_api_of_dagster_that_may_change_is_used():
    code = (
        "import warnings, dagster\n"
        "for kind in (dagster.BetaWarning, dagster.PreviewWarning, dagster.SupersessionWarning):\n"
        "    warnings.simplefilter('error', kind)\n"
        "from moola_pipeline.definitions import defs\n"
        "jobs = [defs.resolve_job_def(name) for name in ('train_job', 'predict_job')]\n"
        "print(*(job.name for job in jobs))"
    )
    process = start(code)
    shown, errors = process.communicate()
    assert process.returncode == 0, errors
    assert shown.split() == ["train_job", "predict_job"]


def test_loading_the_definitions_imports_no_training_and_no_tracking_library():
    code = "import sys, moola_pipeline.definitions; print(*sys.modules)"
    process = start(code)
    modules, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "dagster" in modules.split()
    assert not {"torch", "mlflow", "matplotlib", "sklearn", "scipy.stats"} & set(modules.split())


def test_the_launchpad_has_no_setting_that_the_asset_ignores():
    config = launchpad_config(PretrainSettings, "Config", fixed=("stride",))
    assert set(PretrainSettings.model_fields) - set(config.model_fields) == {"stride"}
    encoder = defs.resolve_assets_def(dg.AssetKey("pretrained_encoder"))
    offered = set(encoder.op.config_schema.config_type.fields)  # pyright: ignore
    assert offered == set(config.model_fields)
