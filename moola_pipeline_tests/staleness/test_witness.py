"""Independent check of the closures: every file that an asset executes is in its closure."""

import pytest

from moola_pipeline.code_digests import is_carrier
from moola_pipeline.staleness.stages import STAGES
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.staleness.witness import beyond, witnessed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    return witnessed(Home(tmp_path_factory.mktemp("witness")))


@pytest.mark.parametrize("asset", STAGES)
def test_every_file_that_an_asset_executes_is_in_its_closure(executed: dict[str, set[str]], asset: str):
    assert f"assets/{asset}.py" in executed[asset]
    assert beyond(executed[asset], asset) == set()


@pytest.mark.parametrize(
    ("asset", "path"),
    [
        ("raw_nq_bars", "bars/manifest.py"),
        ("labeled_expansions", "labels/placement.py"),
        ("pretrained_encoder", "training/pretrain.py"),
        ("finetuned_classifier", "training/teachers.py"),
        ("bootstrap_ci_report", "evaluation/simulated_truth.py"),
        ("registered_model", "evaluation/drift.py"),
        ("latest_expansions", "evaluation/drift.py"),
    ],
)
def test_the_witness_records_the_files_that_an_asset_executes(
    executed: dict[str, set[str]], asset: str, path: str
):
    assert path in executed[asset]


def test_work_in_threads_is_recorded(executed: dict[str, set[str]]):
    assert "training/prefetch.py" in executed["pretrained_encoder"]
    assert any(is_carrier(path) for path in executed["pretrained_encoder"])
