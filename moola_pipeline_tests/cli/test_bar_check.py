"""`moola bars check`: hand counts on made-up bars, and measured counts on real bars."""

from pathlib import Path

import numpy as np
import pytest

from moola_pipeline_tests.bars.examples import session_bars, write_parquet
from moola_pipeline_tests.cli.calls import call, complaint, facts

HEADINGS = (
    "year        sessions     minutes  missing  outside             halts      early closes          holidays"
)
COUNTED = "        8 of 8      10,770        5        0       2 of 2 kept       1 of 1 kept       0 of 0 kept"


@pytest.fixture
def with_bars(tmp_path: Path) -> None:
    """Eight sessions around the end of the halts, the last until 13:00; five minutes are missing."""
    bars = session_bars("2021-06-24", "2021-07-05").drop(index=[100, 101, 102, 103, 2000])
    assert call("bars", "add", write_parquet(tmp_path / "nq.parquet", bars)).exit_code == 0


@pytest.mark.usefixtures("with_bars")
def test_years_segments_and_windows_equal_hand_counts():
    """Two sessions of 1,365 minutes, five of 1,380 and one of 1,140; a segment of n bars holds
    (n - 145) // 52 + 1 pretraining windows, and one scanning window per 45 bars plus one."""
    result = call("bars", "check")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "NQ  10,765 bars  2021-06-23 22:00 to 2021-07-05 16:59 UTC",
        HEADINGS,
        f"2021  {COUNTED}",
        f"all   {COUNTED}",
        "missing   5 minutes in 2 sessions; per session: median 0, maximum 4 (2021-06-24)",
        "segments  10: 8 begin with a session, 0 at a roll inside one, 2 after a halt, "
        "0 after another gap of more than 10 minutes",
        "rolls     no contract rolls are known: a roll would look like a price move. "
        "Run: moola bars rolls add FILE",
        "windows   186 to pretrain on, 225 to scan; 0 cross the end of their segment",
    ]


@pytest.mark.usefixtures("with_bars")
def test_only_rolls_within_the_bars_are_counted(tmp_path: Path):
    rolls = tmp_path / "rolls.csv"
    rolls.write_text(
        "time,old,new\n2021-06-14T05:01:00Z,NQM1,NQU1\n2021-06-30T05:01:00Z,NQU1,NQZ1\n"
        "2021-09-13T05:01:00Z,NQZ1,NQH2\n"
    )
    call("bars", "rolls", "add", rolls)

    shown = facts(call("bars", "check", "--json"))

    assert shown["rolls"] == {
        "lacking": False,
        "contract_changes": 1,
        "registered": 3,
        "within_bars": 1,
        "applied": 1,
    }
    assert shown["segments"] == {"session": 8, "roll": 1, "halt": 2, "other_gap": 0}
    line = "rolls     3 registered, 1 of them between the first bar and the last, 1 applied; "
    assert f"{line}the contract changes 1 times" in call("bars", "check").stdout


@pytest.mark.usefixtures("with_bars")
def test_json_has_the_facts_of_the_text_and_each_session_with_missing_minutes():
    shown = facts(call("bars", "check", "--json"))

    (year,) = shown["years"]
    assert year == {
        "year": 2021,
        "sessions": 8,
        "without_bars": 0,
        "minutes": 10_770,
        "missing": 5,
        "outside": 0,
        "halts": 2,
        "halts_kept": 2,
        "early_closes": 1,
        "early_closes_kept": 1,
        "holidays": 0,
        "holidays_kept": 0,
    }
    assert shown["total"] == {
        **{name: count for name, count in year.items() if name != "year"},
        "median_missing": 0.0,
        "most_missing": 4,
        "missing_by_session": {"2021-06-24": 4, "2021-06-25": 1},
    }
    assert shown["windows"] == {"pretraining": 186, "scanning": 225, "leaving_a_segment": 0}


@pytest.mark.usefixtures("with_bars")
def test_exit_code_is_1_if_windows_cross_the_end_of_their_segment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "moola_pipeline.cli.bar_check.pretraining_windows", lambda segment, end: np.arange(1300, 1400)
    )
    result = call("bars", "check")
    assert result.exit_code == 1
    assert complaint(result).startswith("No window may cross the end of its segment, but 100 do.")
    assert "100 to pretrain on, 225 to scan; 100 cross the end of their segment" in result.stdout


def test_without_bars_the_error_names_the_command_to_add_them():
    result = call("bars", "check")
    assert result.exit_code == 2
    assert complaint(result).startswith("Bars must be registered, but none are.")


def test_the_real_bars_are_reported_year_by_year(private_data: Path):
    real = private_data / "real"
    assert call("bars", "add", real / "nq_1m_2020-09_2025-06.parquet").exit_code == 0
    assert call("bars", "rolls", "add", real / "nq_rolls.csv").exit_code == 0

    shown = facts(call("bars", "check", "--json"))
    proposed = facts(call("bars", "rolls", "propose", "--json"))["registered"]

    by_year = {
        year["year"]: (year["sessions"], year["missing"], year["halts_kept"]) for year in shown["years"]
    }
    assert by_year == {
        2020: (87, 4, 83),
        2021: (259, 77, 121),
        2022: (258, 20, 0),
        2023: (258, 54, 0),
        2024: (259, 138, 0),
        2025: (128, 8, 0),
    }
    total = shown["total"]
    assert (total["minutes"], total["missing"], total["outside"]) == (1_707_975, 301, 0)
    assert (total["median_missing"], total["most_missing"], len(total["missing_by_session"])) == (0, 35, 130)
    assert total["halts"] == total["halts_kept"] == 204
    assert total["early_closes"] == total["early_closes_kept"] == 45
    assert total["holidays"] == total["holidays_kept"] == 12
    assert (shown["rolls"]["within_bars"], shown["rolls"]["applied"]) == (18, 18)
    assert sum(shown["segments"].values()) == 1470
    assert shown["windows"] == {"pretraining": 29_519, "scanning": 35_724, "leaving_a_segment": 0}
    assert (proposed["within_bars"], proposed["proposed"], len(proposed["proposed_in_error"])) == (18, 17, 0)
    assert proposed["not_proposed"] == ["2025-06-15T22:00:00Z"]
