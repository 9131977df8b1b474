"""When quarterly index futures expire, and how their contracts are named."""

from datetime import date, timedelta

from moola_pipeline.bars.schema import Instrument

CHICAGO = "America/Chicago"
MONTH_CODES = {3: "H", 6: "M", 9: "U", 12: "Z"}
"""Months in which index futures expire."""


def third_friday(year: int, month: int) -> date:
    """The day on which the contract of a month expires."""
    middle = date(year, month, 15)
    return middle + timedelta(days=(4 - middle.weekday()) % 7)


def next_expiry(expiry: date) -> date:
    """The expiry a quarter later."""
    year, month = (expiry.year + 1, 3) if expiry.month == 12 else (expiry.year, expiry.month + 3)
    return third_friday(year, month)


def contract_code(instrument: Instrument, expiry: date) -> str:
    """The name of the contract that expires then, as NQH5 for March 2025."""
    return f"{instrument.name}{MONTH_CODES[expiry.month]}{expiry.year % 10}"
