"""Time and memory of the last whole run, from its records."""

from pathlib import Path

from moola_pipeline.staleness.stages import STAGES
from moola_pipeline.storage.home import Home
from moola_pipeline.tracking.run_records import last_whole_run


def test_a_home_without_runs_has_no_record(tmp_path: Path):
    assert last_whole_run(Home(tmp_path)) is None


def test_a_whole_run_is_reported_asset_by_asset(smoke_home: Home):
    result = last_whole_run(smoke_home)
    assert result is not None
    assert (result.profile, result.market) == ("smoke", "simulated")
    assert [one.asset for one in result.stages] == list(STAGES)
    assert all(one.seconds > 0 for one in result.stages)
    assert all(one.peak_mb is not None and one.peak_mb > 100 for one in result.stages)
    trained = next(one for one in result.stages if one.asset == "pretrained_encoder")
    assert trained.cpu_percent is not None and trained.cpu_percent > 5
