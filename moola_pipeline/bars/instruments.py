"""Instruments in one table: tick, sessions, opening and contract months; expiry dates and contract codes."""

from dataclasses import dataclass
from datetime import date, timedelta

from moola_pipeline.errors import BadInput

MONTH_LETTERS = "FGHJKMNQUVXZ"
"""Contract letter of each month, from January."""


@dataclass(frozen=True)
class Instrument:
    """A family of futures contracts on one index; to add one, add a line to INSTRUMENTS.

    Attributes:
        name: Root of its contract codes.
        tick_points: Smallest price step, index points.
        listed: Its first session: no bar is older.
        other_roots: Roots that other vendors give it.
        calendar: Its sessions, in pandas_market_calendars.
        opening: Minute of the New York day at which bar ranges rise: the stock market opens.
        expiry_months: Months in which contracts expire, on the third Friday.
    """

    name: str
    tick_points: float
    listed: date
    other_roots: tuple[str, ...] = ()
    calendar: str = "CME Globex Equity"
    opening: int = 9 * 60 + 30
    expiry_months: tuple[int, ...] = (3, 6, 9, 12)


NQ = Instrument("NQ", 0.25, date(1999, 6, 21), ("ENQ",))
INSTRUMENTS = {
    instrument.name: instrument
    for instrument in (
        NQ,
        Instrument("MNQ", 0.25, date(2019, 5, 6)),
        Instrument("ES", 0.25, date(1997, 9, 9), ("EP",)),
        Instrument("MES", 0.25, date(2019, 5, 6)),
        Instrument("YM", 1.0, date(2002, 4, 5)),
        Instrument("MYM", 1.0, date(2019, 5, 6)),
        Instrument("RTY", 0.1, date(2017, 7, 10)),
        Instrument("M2K", 0.1, date(2019, 5, 6)),
    )
}
"""By name. A micro (MNQ, MES, MYM, M2K) has the prices of its mini: only a symbol tells them apart."""


def instrument_named(name: str) -> Instrument:
    """The instrument with a name.

    Raises:
        BadInput: If no instrument has this name.
    """
    if name not in INSTRUMENTS:
        raise BadInput(
            f"The instrument must be one of {', '.join(INSTRUMENTS)}, got {name!r}. Choose one of them."
        )
    return INSTRUMENTS[name]


def third_friday(year: int, month: int) -> date:
    """Expiry date of the contract of a month."""
    middle = date(year, month, 15)
    return middle + timedelta(days=(4 - middle.weekday()) % 7)


def next_expiry(expiry: date, instrument: Instrument = NQ) -> date:
    """The expiry after this one."""
    later = [month for month in instrument.expiry_months if month > expiry.month]
    year, month = (expiry.year, later[0]) if later else (expiry.year + 1, instrument.expiry_months[0])
    return third_friday(year, month)


def contract_code(instrument: Instrument, expiry: date) -> str:
    """Code of the contract with this expiry, as NQH5 for March 2025."""
    return f"{instrument.name}{MONTH_LETTERS[expiry.month - 1]}{expiry.year % 10}"
