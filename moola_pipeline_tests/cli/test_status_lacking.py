"""`moola status` with bars but no labels: the missing data, and no error."""

from pathlib import Path

from moola_pipeline.bars.manifest import add_bars
from moola_pipeline.bars.store import registered_store
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.bars.examples import session_bars, write_csv
from moola_pipeline_tests.cli.calls import call, facts


def test_bars_without_labels_show_the_missing_labels_and_the_command(isolated_home: Path, tmp_path: Path):
    bars = write_csv(tmp_path / "bars.csv", session_bars("2024-03-04", "2024-03-05"))
    add_bars(registered_store(Home(isolated_home)), bars)
    result = call("status")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1:] == [
        "market    bars are registered, labels are not: nothing can be built yet",
        "Next:",
        "  moola labels add FILE          no labels are registered",
    ]
    output = facts(call("status", "--json"))
    assert output["lacks"] == "labels"
    assert [step["command"] for step in output["next"]] == ["moola labels add FILE"]
