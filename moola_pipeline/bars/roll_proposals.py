"""Contract rolls proposed from the expiry calendar and price jumps."""

from datetime import date
from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from moola_pipeline.bars.instruments import Instrument, contract_code, next_expiry, third_friday
from moola_pipeline.bars.rolls import CHICAGO, ROLL_COLUMNS
from moola_pipeline.bars.schema import nanoseconds
from moola_pipeline.bars.sessions import session_of

PROPOSAL_COLUMNS = (*ROLL_COLUMNS, "boundary", "jump_points", "ordinary_points")
BOUNDARIES = ("session open", "open after a weekend or holiday", "00:01 Chicago")
"""Boundaries at which vendors roll; the usual gap depends on the kind."""
_DAILY_PAUSE = pd.Timedelta(hours=2)
_COMPARED = 61
"""Boundaries of the same kind, half before and half after, to take the ordinary gap from."""
_MIN_COMPARED = 20


class ProposalSettings(BaseModel):
    """Search range of a roll, and its least jump."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    earliest: int = Field(default=8, ge=1, le=30, description="business days before expiry")
    latest: int = Field(default=3, ge=0, le=30, description="business days before expiry")
    min_jump: float = Field(default=10.0, gt=1, description="least jump, as a multiple of the ordinary gap")

    @model_validator(mode="after")
    def _in_order(self) -> "ProposalSettings":
        if self.earliest < self.latest:
            raise ValueError(f"earliest must be >= latest ({self.latest}), got {self.earliest}")
        return self


class MissingRoll(NamedTuple):
    """An expiry without a proposal: date, contract, and largest jump over the ordinary gap."""

    expiry: date
    contract: str
    largest_jump: float


class RollProposal(NamedTuple):
    """Rolls proposed from bars.

    Attributes:
        rolls: PROPOSAL_COLUMNS, one row per roll, a chain as `read_rolls` requires. Contracts with
            no roll found between them share one name, as in NQZ1/NQH2.
        unfound: Expiries without a sufficient jump.
    """

    rolls: pd.DataFrame
    unfound: tuple[MissingRoll, ...]


def propose_rolls(
    bars: pd.DataFrame, instrument: Instrument, settings: ProposalSettings | None = None
) -> RollProposal:
    """Find the rolls of an unadjusted series near each expiry within the bars.

    The boundary with the largest jump near an expiry is the roll, if the jump is at least
    `min_jump` times the ordinary gap: the median gap at the same kind of boundary in the sessions
    around it.

    Args:
        bars: timestamp, open and close of one-minute bars, in time order.
        instrument: Its contracts expire on the third Friday of its expiry months.
        settings: Search range and least jump.

    Returns:
        The proposal, in time order; empty if no expiry is covered.
    """
    settings = settings or ProposalSettings()
    jumps = _boundary_jumps(bars, instrument)
    expiries = _covered_expiries(jumps, settings, instrument)
    proposed, unfound, groups = [], [], [[contract_code(instrument, day)] for day in expiries[:1]]
    for expiry in expiries:
        earliest, latest = (_business_days_before(expiry, n) for n in (settings.earliest, settings.latest))
        near = jumps.loc[jumps["session"].between(earliest, latest) & jumps["jump"].notna()]
        largest = 0.0 if near.empty else float(near["jump"].max())
        following = contract_code(instrument, next_expiry(expiry, instrument))
        if largest >= settings.min_jump:
            proposed.append(near.loc[near["jump"].idxmax()])
            groups.append([following])
        else:
            unfound.append(MissingRoll(expiry, contract_code(instrument, expiry), largest))
            groups[-1].append(following)
    names = ["/".join(group) for group in groups]
    rolls = (
        pd.DataFrame(proposed, columns=jumps.columns).astype(jumps.dtypes.to_dict()).reset_index(drop=True)
    )
    return RollProposal(
        rolls.assign(old=names[:-1], new=names[1:]).loc[:, list(PROPOSAL_COLUMNS)], tuple(unfound)
    )


def _boundary_jumps(bars: pd.DataFrame, instrument: Instrument) -> pd.DataFrame:
    """Every boundary with its gap from the previous close, and the gap over the ordinary gap."""
    opened_at = pd.DatetimeIndex(bars["timestamp"])
    session = session_of(opened_at).to_numpy()
    # Shifted by a minute, the Chicago day changes exactly at the 00:01 bar.
    chicago_day = (opened_at.tz_convert(CHICAGO).tz_localize(None) - pd.Timedelta(minutes=1)).normalize()
    opens_session = session[1:] != session[:-1]
    rows = 1 + np.flatnonzero(opens_session | (chicago_day[1:] != chicago_day[:-1]))
    long_pause = np.diff(nanoseconds(bars))[rows - 1] > _DAILY_PAUSE.value
    kind = np.where(opens_session[rows - 1], long_pause.astype(int), 2)
    opens, close = bars["open"].to_numpy(), bars["close"].to_numpy()
    gap = opens[rows] - close[rows - 1]
    jumps = pd.DataFrame(
        {
            "time": opened_at[rows],
            "session": session[rows],
            "boundary": pd.Series(np.array(BOUNDARIES)[kind], dtype="str"),
            "jump_points": gap,
        }
    )
    ordinary = (
        jumps["jump_points"].abs().groupby(jumps["boundary"]).transform(
            lambda gaps: gaps.rolling(_COMPARED, center=True, min_periods=_MIN_COMPARED).median()
        )
    )  # fmt: skip
    jumps["ordinary_points"] = ordinary.clip(lower=instrument.tick_points)
    return jumps.assign(jump=jumps["jump_points"].abs() / jumps["ordinary_points"])


def _covered_expiries(jumps: pd.DataFrame, settings: ProposalSettings, instrument: Instrument) -> list[date]:
    """Expiries whose whole search range lies between the first and the last boundary."""
    if jumps.empty:
        return []
    first, last = jumps["session"].iloc[0], jumps["session"].iloc[-1]
    expiry = third_friday(first.year, instrument.expiry_months[0])
    expiries = []
    while _business_days_before(expiry, settings.latest) <= last:
        if _business_days_before(expiry, settings.earliest) >= first:
            expiries.append(expiry)
        expiry = next_expiry(expiry, instrument)
    return expiries


def _business_days_before(expiry: date, n_days: int) -> np.datetime64:
    return np.busday_offset(expiry, -n_days)
