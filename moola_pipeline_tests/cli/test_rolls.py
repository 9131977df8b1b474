"""`moola bars rolls`: proposals are printed and written, but not registered; rolls are removed."""

from pathlib import Path

import pandas as pd
import pytest

from moola_pipeline_tests.bars.examples import write_parquet
from moola_pipeline_tests.bars.test_roll_proposals import TWO_ROLLS, two_quarters
from moola_pipeline_tests.cli.calls import call, complaint, facts


@pytest.fixture
def with_bars(tmp_path: Path, isolated_home: Path) -> Path:
    bars = two_quarters({"2024-03-12 05:01Z": TWO_ROLLS["2024-03-12 05:01Z"]})
    low, high = bars[["open", "close"]].min(axis=1), bars[["open", "close"]].max(axis=1)
    path = write_parquet(tmp_path / "nq.parquet", bars.assign(low=low, high=high))
    assert call("bars", "add", path).exit_code == 0
    return isolated_home


def test_a_proposal_is_printed_and_nothing_is_registered(with_bars: Path):
    lines = call("bars", "rolls", "propose").stdout.splitlines()
    assert lines[0].startswith("2024-03-12 05:01 UTC  NQH4 to NQM4/NQU4  +201.50 points at 00:01 Chicago")
    assert lines[1].startswith("not found  NQM4, expiry 2024-06-21: largest jump ")
    assert lines[2] == "1 rolls proposed, 1 not found"
    assert not (with_bars / "data" / "rolls.csv").exists()


def test_a_written_proposal_can_be_registered(with_bars: Path, tmp_path: Path):
    out = tmp_path / "rolls.csv"
    shown = facts(call("bars", "rolls", "propose", "--out", out, "--json"))
    assert shown["next"][0]["command"] == f"moola bars rolls add {out}"
    assert shown["rolls"][0]["time"] == "2024-03-12T05:01:00Z"
    assert [missed["contract"] for missed in shown["unfound"]] == ["NQM4"]
    assert pd.read_csv(out)["new"].tolist() == ["NQM4/NQU4"]

    assert facts(call("bars", "rolls", "add", out, "--json"))["rolls"] == 1


@pytest.mark.usefixtures("with_bars")
def test_a_proposal_is_compared_with_the_registered_rolls_within_the_bars(tmp_path: Path):
    """One registered roll is proposed, one is not, one is before the first bar."""
    assert facts(call("bars", "rolls", "propose", "--json"))["registered"] is None
    registered = tmp_path / "known.csv"
    registered.write_text(
        "time,old,new\n2023-12-12T06:01:00Z,NQZ3,NQH4\n2024-03-12T05:01:00Z,NQH4,NQM4\n"
        "2024-06-11T05:01:00Z,NQM4,NQU4\n"
    )
    call("bars", "rolls", "add", registered)
    shown = facts(call("bars", "rolls", "propose", "--json"))["registered"]
    assert shown == {
        "within_bars": 2,
        "proposed": 1,
        "not_proposed": ["2024-06-11T05:01:00Z"],
        "proposed_in_error": [],
    }
    line = "registered rolls within the bars: 2, of which 1 are proposed and 1 are not; "
    assert line in call("bars", "rolls", "propose").stdout
    registered.write_text("time,old,new\n2024-06-11T05:01:00Z,NQM4,NQU4\n")
    call("bars", "rolls", "add", registered)
    shown = facts(call("bars", "rolls", "propose", "--json"))["registered"]
    assert shown["proposed_in_error"] == ["2024-03-12T05:01:00Z"]


@pytest.mark.usefixtures("with_bars")
def test_a_high_least_jump_finds_no_rolls_and_writes_no_file(tmp_path: Path):
    out = tmp_path / "rolls.csv"
    shown = facts(call("bars", "rolls", "propose", "--min-jump", "5000", "--out", out, "--json"))
    assert (shown["rolls"], shown["next"], shown["out"]) == ([], [], None)
    assert not out.exists()


def test_bad_input_is_one_line(isolated_home: Path):
    no_bars = call("bars", "rolls", "propose")
    assert no_bars.exit_code == 2
    assert complaint(no_bars).startswith("Bars must be registered, but none are.")
    wrong_name = call("bars", "rolls", "propose", "--out", "rolls.txt")
    assert wrong_name.exit_code == 2
    assert complaint(wrong_name) == "--out must end in .csv, got rolls.txt. Choose one of them."
    assert not (isolated_home / "data" / "raw").exists()


@pytest.mark.usefixtures("with_bars")
def test_registered_rolls_can_be_removed(tmp_path: Path):
    assert call("bars", "rolls", "remove").stdout.startswith("no rolls were registered")
    (tmp_path / "known.csv").write_text("time,old,new\n2024-03-12T05:01:00Z,NQH4,NQM4\n")
    call("bars", "rolls", "add", tmp_path / "known.csv")
    assert facts(call("bars", "rolls", "remove", "--json"))["rolls_before"] == 1
    assert facts(call("bars", "list", "--json"))["rolls"] == 0
