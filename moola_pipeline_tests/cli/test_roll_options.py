"""A file that spans a roll: segments from its contracts, --rolls or the registered rolls."""

from pathlib import Path

import pandas as pd
import pytest

from moola_pipeline.bars.rolls import add_rolls
from moola_pipeline.bars.store import registered_store
from moola_pipeline.cli.exit_codes import BAD_INPUT
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.bars.examples import made_up_bars, write_csv
from moola_pipeline_tests.cli.calls import call, complaint, facts

ROLL = "2024-03-08T15:30:00Z"
LINES = "time,old,new\n2024-03-08T15:30:00Z,NQH4,NQM4\n2024-06-14T15:30:00Z,NQM4,NQU4\n"


@pytest.fixture
def bar_file(tmp_path: Path) -> Path:
    """300 minutes with a jump of 200 points at the roll."""
    bars = made_up_bars(300)
    later = bars["timestamp"] >= pd.Timestamp(ROLL)
    prices = ["open", "high", "low", "close"]
    bars.loc[later, prices] += 200.0
    return write_csv(tmp_path / "bars.csv", bars)


@pytest.fixture
def roll_file(tmp_path: Path) -> Path:
    path = tmp_path / "rolls.csv"
    path.write_text(LINES)
    return path


def zigzag(file: Path, *words: str | Path) -> dict:
    return facts(call("zigzag", file, *words, "--json"))


def spans_roll(shown: dict) -> bool:
    return any(it["time"] < ROLL <= it["confirmed_at"] for it in shown["swings"])


def test_without_rolls_the_output_warns_that_a_roll_looks_like_a_move(bar_file: Path):
    shown = zigzag(bar_file)
    assert shown["segments"] == 1
    assert shown["rolls"] == {"source": "none", "file": None, "within_bars": 0}
    assert "would look like a price move (--rolls FILE)" in call("zigzag", bar_file).stdout


def test_rolls_of_a_file_begin_new_segments(bar_file: Path, roll_file: Path):
    shown = zigzag(bar_file, "--rolls", roll_file)
    assert shown["segments"] == 2
    assert not spans_roll(shown)
    assert shown["rolls"] == {"source": "file", "file": "rolls.csv", "within_bars": 1}
    lines = call("zigzag", bar_file, "--rolls", roll_file).stdout.splitlines()
    assert lines[1] == "rolls: 1 within these bars (rolls.csv); each begins a new segment"


def test_registered_rolls_apply_to_bars_of_their_instrument(
    isolated_home: Path, bar_file: Path, roll_file: Path
):
    add_rolls(registered_store(Home(isolated_home)), roll_file)
    shown = zigzag(bar_file)
    assert (shown["segments"], shown["rolls"]["source"], shown["rolls"]["within_bars"]) == (
        2,
        "registered",
        1,
    )
    other = zigzag(bar_file, "--instrument", "ES")
    assert (other["segments"], other["rolls"]["source"]) == (1, "none")


def test_contracts_of_the_file_take_precedence(bar_file: Path, roll_file: Path, tmp_path: Path):
    named = write_csv(tmp_path / "named.csv", pd.read_csv(bar_file).assign(contract="NQH4"))
    shown = zigzag(named, "--rolls", roll_file)
    assert (shown["segments"], shown["rolls"]["source"]) == (1, "contracts")


def test_a_file_without_rolls_is_refused_in_one_line(bar_file: Path):
    result = call("zigzag", bar_file, "--rolls", bar_file)
    assert result.exit_code == BAD_INPUT
    assert complaint(result).startswith("bars.csv: rolls must have one column named old, got timestamp")


def test_predict_breaks_its_windows_at_a_roll(smoke_home: Home, bar_file: Path, roll_file: Path):
    words = ("predict", bar_file, "--model", "models:/moola-simulated@champion", "--json")
    plain = facts(call(*words, home=smoke_home.root))
    broken = facts(call(*words, "--rolls", roll_file, home=smoke_home.root))
    assert plain["rolls"]["source"] == "none"
    assert broken["rolls"] == {"source": "file", "file": "rolls.csv", "within_bars": 1}
    # the 60 bars before the roll hold no window, so all expansions lie after it
    assert broken["not_covered"][0]["bars"] == 60
    assert all(one["window_start"] >= ROLL for one in broken["expansions"])
    assert broken["windows"] < plain["windows"]
