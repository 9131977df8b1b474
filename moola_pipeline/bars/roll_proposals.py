"""Rolls proposed from the expiry calendar and the jump of price where one contract gave way to the next."""

from datetime import date
from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from moola_pipeline.bars.rolls import CHICAGO, ROLL_COLUMNS, contract_code, next_expiry, third_friday
from moola_pipeline.bars.schema import Instrument, nanoseconds
from moola_pipeline.bars.sessions import session_of

PROPOSAL_COLUMNS = (*ROLL_COLUMNS, "boundary", "jump_points", "ordinary_points")
BOUNDARIES = ("session open", "open after a weekend or holiday", "00:01 Chicago")
"""Where vendors roll; each has gaps of its own size."""
_DAILY_PAUSE = pd.Timedelta(hours=2)
_COMPARED = 61
"""Boundaries of the same kind, half before and half after, that say what an ordinary gap is."""
_MIN_COMPARED = 20


class ProposalSettings(BaseModel):
    """Where a roll is looked for, and what counts as a jump."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    earliest: int = Field(default=8, ge=1, le=30, description="business days before expiry")
    latest: int = Field(default=3, ge=0, le=30, description="business days before expiry")
    min_jump: float = Field(default=10.0, gt=1, description="least jump, in ordinary gaps of its boundary")

    @model_validator(mode="after")
    def _in_order(self) -> "ProposalSettings":
        if self.earliest < self.latest:
            raise ValueError(f"earliest must be >= latest ({self.latest}), got {self.earliest}")
        return self


class MissingRoll(NamedTuple):
    """An expiry without a proposal: its date, the contract, and the largest jump in ordinary gaps."""

    expiry: date
    contract: str
    largest_jump: float


class RollProposal(NamedTuple):
    """What the bars say about rolls.

    Attributes:
        rolls: PROPOSAL_COLUMNS, one row per roll found, a chain as `read_rolls` wants it. Where a
            roll was not found, the contracts it parts share one name, as in NQZ1/NQH2.
        unfound: Expiries near which no boundary jumped enough.
    """

    rolls: pd.DataFrame
    unfound: tuple[MissingRoll, ...]


def propose_rolls(
    bars: pd.DataFrame, instrument: Instrument, settings: ProposalSettings | None = None
) -> RollProposal:
    """Find the rolls of an unadjusted series near each expiry that the bars cover.

    Near an expiry the boundary with the largest jump is the roll, if that jump is `min_jump`
    times the ordinary gap: the median gap of its kind of boundary in the sessions around it.

    Args:
        bars: timestamp, open and close of one-minute bars, in time order.
        instrument: What is traded; its contracts expire on third Fridays, quarter by quarter.
        settings: Where to look.

    Returns:
        The proposal, in time order; empty where no expiry is covered.
    """
    settings = settings or ProposalSettings()
    jumps = _boundary_jumps(bars, instrument)
    expiries = _covered_expiries(jumps, settings)
    found, unfound, groups = [], [], [[contract_code(instrument, day)] for day in expiries[:1]]
    for expiry in expiries:
        earliest, latest = (_business_days_before(expiry, n) for n in (settings.earliest, settings.latest))
        near = jumps.loc[jumps["session"].between(earliest, latest) & jumps["jump"].notna()]
        largest = 0.0 if near.empty else float(near["jump"].max())
        following = contract_code(instrument, next_expiry(expiry))
        if largest >= settings.min_jump:
            found.append(near.loc[near["jump"].idxmax()])
            groups.append([following])
        else:
            unfound.append(MissingRoll(expiry, contract_code(instrument, expiry), largest))
            groups[-1].append(following)
    names = ["/".join(group) for group in groups]
    rolls = pd.DataFrame(found, columns=jumps.columns).astype(jumps.dtypes.to_dict()).reset_index(drop=True)
    return RollProposal(
        rolls.assign(old=names[:-1], new=names[1:]).loc[:, list(PROPOSAL_COLUMNS)], tuple(unfound)
    )


def _boundary_jumps(bars: pd.DataFrame, instrument: Instrument) -> pd.DataFrame:
    """Every boundary with its gap from the close before, and that gap over the ordinary one."""
    opened_at = pd.DatetimeIndex(bars["timestamp"])
    session = session_of(opened_at).to_numpy()
    # A Chicago day that begins a minute late changes exactly at the 00:01 bar.
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


def _covered_expiries(jumps: pd.DataFrame, settings: ProposalSettings) -> list[date]:
    """Expiries whose whole search range lies between the first and the last boundary."""
    if jumps.empty:
        return []
    first, last = jumps["session"].iloc[0], jumps["session"].iloc[-1]
    expiry = third_friday(first.year, 3)
    expiries = []
    while _business_days_before(expiry, settings.latest) <= last:
        if _business_days_before(expiry, settings.earliest) >= first:
            expiries.append(expiry)
        expiry = next_expiry(expiry)
    return expiries


def _business_days_before(expiry: date, n_days: int) -> np.datetime64:
    return np.busday_offset(expiry, -n_days)
