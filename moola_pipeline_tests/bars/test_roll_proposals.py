"""Rolls proposed from bars: made-up jumps, ordinary gaps, contract names, and real bars."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from moola_pipeline.bars.instruments import INSTRUMENTS, NQ, contract_code, third_friday
from moola_pipeline.bars.roll_proposals import (
    BOUNDARIES,
    ProposalSettings,
    RollProposal,
    propose_rolls,
)
from moola_pipeline.bars.rolls import read_rolls
from moola_pipeline.bars.sessions import session_minutes

LISTED_IN_SPAN = 18
"""Number of private rolls within the private bars."""
PERHAPS_A_SESSION_OFF = ("2024-12-16 23:00Z", "2025-03-17 22:00Z")


def two_quarters(jumps: dict[str, float]) -> pd.DataFrame:
    """A quiet half year with price jumps of given points at given bars."""
    minutes = session_minutes(date(2024, 1, 2), date(2024, 6, 28))
    rng = np.random.default_rng(4)
    step = 0.25 * rng.integers(-3, 4, len(minutes)).astype(float)
    opens_late = np.diff(minutes.asi8, prepend=minutes.asi8[0]) > 60e9
    gap = np.where(opens_late, 0.25 * rng.integers(-20, 21, len(minutes)), 0.0)
    for moment, points in jumps.items():
        gap[minutes.get_indexer([pd.Timestamp(moment)])] += points
    close = 18_000 + np.cumsum(step + gap)
    return pd.DataFrame({"timestamp": minutes, "open": close - step, "close": close})


TWO_ROLLS = {"2024-03-12 05:01Z": 201.5, "2024-06-10 22:00Z": -150.0}


def test_a_jump_at_a_boundary_before_an_expiry_is_a_roll():
    found = propose_rolls(two_quarters(TWO_ROLLS), NQ)

    assert found.unfound == ()
    assert list(found.rolls["time"]) == [pd.Timestamp(moment) for moment in TWO_ROLLS]
    assert found.rolls[["old", "new"]].to_numpy().tolist() == [["NQH4", "NQM4"], ["NQM4", "NQU4"]]
    assert found.rolls["boundary"].tolist() == ["00:01 Chicago", "session open"]
    assert found.rolls["jump_points"].tolist() == pytest.approx(list(TWO_ROLLS.values()), abs=6)


@pytest.mark.parametrize("moment", ["2024-03-12 06:00Z", "2024-02-13 06:01Z", "2024-03-14 05:01Z"])
def test_a_jump_at_another_time_is_not_a_roll(moment: str):
    bars = two_quarters({moment: 200.0, "2024-06-10 22:00Z": -150.0})
    found = propose_rolls(bars, NQ)

    assert [missed.contract for missed in found.unfound] == ["NQH4"]
    assert found.rolls[["old", "new"]].to_numpy().tolist() == [["NQH4/NQM4", "NQU4"]]


def test_a_jump_is_measured_against_the_ordinary_gap_of_its_boundary():
    """6 points are a roll at 00:01, where gaps are small, but not at an open after a weekend."""
    at_night = propose_rolls(two_quarters({"2024-03-12 05:01Z": 6.0}), NQ)
    at_open = propose_rolls(two_quarters({"2024-03-10 22:00Z": 6.0}), NQ)

    assert len(at_night.rolls) == 1 and len(at_open.rolls) == 0
    assert [missed.expiry for missed in at_open.unfound] == [date(2024, 3, 15), date(2024, 6, 21)]


def test_the_least_jump_is_a_setting():
    bars = two_quarters({"2024-03-12 05:01Z": 6.0})
    assert len(propose_rolls(bars, NQ, ProposalSettings(min_jump=50)).rolls) == 0
    with pytest.raises(ValidationError, match=r"earliest must be >= latest \(3\), got 2"):
        ProposalSettings(earliest=2)


def test_a_proposal_is_a_valid_roll_file(tmp_path: Path):
    found = propose_rolls(two_quarters(TWO_ROLLS), NQ)
    path = tmp_path / "rolls.csv"
    found.rolls.to_csv(path, index=False)

    pd.testing.assert_frame_equal(read_rolls(path), found.rolls.loc[:, ["time", "old", "new"]])


@pytest.mark.parametrize("rows", [slice(0), slice(1), slice(2000)])
def test_bars_that_cover_no_expiry_give_no_proposal(rows: slice):
    found = propose_rolls(two_quarters({}).iloc[rows], NQ)
    assert (len(found.rolls), found.unfound) == (0, ())


def test_contract_codes_consist_of_instrument_month_and_year():
    assert third_friday(2025, 3) == date(2025, 3, 21)
    assert contract_code(NQ, date(2025, 3, 21)) == "NQH5"
    assert contract_code(INSTRUMENTS["ES"], date(2030, 12, 20)) == "ESZ0"


@pytest.fixture(scope="module")
def real_bars(private_data: Path) -> pd.DataFrame:
    path = private_data / "real" / "nq_1m_2020-09_2025-06.parquet"
    return pd.read_parquet(path, columns=["ts_utc", "open", "close"]).rename(columns={"ts_utc": "timestamp"})


@pytest.fixture(scope="module")
def real_proposal(real_bars: pd.DataFrame) -> RollProposal:
    return propose_rolls(real_bars, NQ)


def test_on_real_bars_17_of_18_listed_rolls_are_found_and_no_false_one(
    private_data: Path, real_bars: pd.DataFrame, real_proposal: RollProposal
):
    listed = read_rolls(private_data / "real" / "nq_rolls.csv")
    listed = listed.loc[
        listed["time"].between(real_bars["timestamp"].iloc[0], real_bars["timestamp"].iloc[-1])
    ]
    found = set(real_proposal.rolls["time"])

    assert len(listed) == LISTED_IN_SPAN
    assert len(found & set(listed["time"])) >= 17
    assert not found - set(listed["time"])
    assert {pd.Timestamp(moment) for moment in PERHAPS_A_SESSION_OFF} <= found


def test_on_real_bars_rolls_without_a_known_minute_are_listed_as_not_found(real_proposal: RollProposal):
    missed = {missed.contract for missed in real_proposal.unfound}
    assert {"NQZ1", "NQH2"} <= missed
    assert "NQZ1/NQH2/NQM2" in set(real_proposal.rolls["old"])
    assert set(real_proposal.rolls["boundary"]) <= set(BOUNDARIES)


def test_on_real_bars_nothing_looks_like_a_roll_a_month_from_each_expiry(
    real_bars: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
):
    """Without a contract change there is a false alarm in at most one of nineteen spans."""

    def four_weeks_early(year: int, month: int) -> date:
        return third_friday(year, month) - timedelta(weeks=4)

    monkeypatch.setattr("moola_pipeline.bars.roll_proposals.contract_code", lambda *_: "NQ")
    monkeypatch.setattr(
        "moola_pipeline.bars.roll_proposals.next_expiry",
        lambda day, _: four_weeks_early(day.year + (day.month > 10), {2: 6, 5: 9, 8: 12, 11: 3}[day.month]),
    )
    monkeypatch.setattr("moola_pipeline.bars.roll_proposals.third_friday", four_weeks_early)
    assert len(propose_rolls(real_bars, NQ).rolls) <= 1
