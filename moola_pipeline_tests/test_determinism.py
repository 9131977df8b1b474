"""The same bars, labels and settings give the same outputs, bit for bit, in any environment.

This holds for one code version, one machine and one number of threads, on the CPU. `crashes.py`
compares resumed runs. GPU results are not bit for bit reproducible: cuDNN's LSTM adds in no fixed order.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from moola_pipeline.staleness.stages import STAGES
from moola_pipeline.storage.home import PROJECT_ROOT, Home
from moola_pipeline_tests.counts import record
from moola_pipeline_tests.outputs import disorder, outputs

STAGE_BY_STAGE = """
import sys
from pathlib import Path
import dagster as dg
from moola_pipeline.definitions import defs
from moola_pipeline.storage.home import Home
from moola_pipeline.resources.instance import open_instance, prepare_instance
home = Home(Path(sys.argv[1]))
prepare_instance(home)
chosen = {"profile": "smoke", "market": "simulated", "scenario": "none"}
config = {"resources": {"pipeline": {"config": chosen}}}
job = defs.resolve_implicit_global_asset_job_def()
with open_instance(home) as instance:
    for asset in sys.argv[2:]:
        chosen = [dg.AssetKey(asset)]
        done = job.execute_in_process(instance=instance, asset_selection=chosen, run_config=config)
        assert done.success, asset
"""
RUN = """
import sys
from moola_pipeline.cli import main
main(["--home", sys.argv[1], "run", "--profile", "smoke"])
"""
ANOTHER_ORDER = (
    "raw_nq_bars",
    "relativity_features",
    "labeled_expansions",
    *(name for name in STAGES if name not in ("raw_nq_bars", "relativity_features", "labeled_expansions")),
)
"""Features before labels, each asset in a separate Dagster run."""
AGAIN = ("pretrained_encoder", "finetuned_classifier")
"""Trained a second time by the same process."""
SURROUNDINGS = {"PYTHONHASHSEED": "4711", "TZ": "Asia/Kathmandu", "LC_ALL": "C", "LANG": "C"}


def carried_out(code: str, home: Path, *words: str, **variables: str) -> Home:
    done = subprocess.run(
        [sys.executable, "-c", code, str(home), *words],
        env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT), "OMP_NUM_THREADS": "1", **variables},
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return Home(home)


@pytest.mark.slow
def test_process_hash_seed_time_zone_locale_and_folder_do_not_change_the_bits(
    smoke_home: Home, tmp_path: Path
):
    began = time.monotonic()
    second = carried_out(RUN, tmp_path / "elsewhere, ü" / "home", **SURROUNDINGS)
    assert outputs(second) == outputs(smoke_home)
    assert disorder(second) == []
    record("runs compared bit for bit: surroundings", runs=2, differing=0, seconds=time.monotonic() - began)


@pytest.mark.slow
def test_order_and_repeated_training_in_one_process_do_not_change_the_bits(smoke_home: Home, tmp_path: Path):
    began = time.monotonic()
    second = carried_out(STAGE_BY_STAGE, tmp_path / "home", *ANOTHER_ORDER, *AGAIN)
    found, expected = outputs(second), outputs(smoke_home)
    assert {name for name in expected if found.get(name) != expected[name]} == set()
    record("runs compared bit for bit: order", runs=2, differing=0, seconds=time.monotonic() - began)
