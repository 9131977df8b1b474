"""Rules for rows: time and prices, each at its limit."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moola_pipeline.bars.instruments import INSTRUMENTS, NQ
from moola_pipeline.bars.row_rules import MAX_RATIO, ROW_RULES, CellFault
from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline_tests.bars.examples import made_up_bars

RULES = {rule.requirement: rule for rule in ROW_RULES}
BOUNDS = "have prices from 100 to 1,000,000 points"
SESSION = "have prices within 2 times the median close of its session"
LISTED = "open after its instrument was listed"


def broken_rows(requirement: str, bars: pd.DataFrame, name: str = "NQ") -> list[int]:
    return np.flatnonzero(RULES[requirement].broken(bars, INSTRUMENTS[name])).tolist()


@pytest.mark.parametrize(
    ("price", "broken"), [(99.75, True), (100.0, False), (1e6, False), (1_000_000.25, True), (1e300, True)]
)
@pytest.mark.parametrize("column", PRICE_COLUMNS)
def test_an_implausible_price_is_out_of_bounds(column: str, price: float, broken: bool):
    bars = made_up_bars(5)
    bars.loc[3, column] = price
    assert broken_rows(BOUNDS, bars) == ([3] if broken else [])


def test_a_price_over_twice_or_under_half_its_session_median_is_invalid():
    bars = made_up_bars(9).assign(open=18_000.0, high=18_000.0, low=18_000.0, close=18_000.0)
    for row, price in enumerate((36_000.0, 36_000.25, 9_000.0, 8_999.75)):
        bars.loc[row, "high"] = price
    assert broken_rows(SESSION, bars) == [1, 3]


def test_each_session_has_its_own_median():
    """NQ rose from 795 to over 25,000 points in the years covered: that must not be an error."""
    old, new = made_up_bars(5, "2002-10-07 15:00"), made_up_bars(5, "2024-10-07 15:00")
    for name in PRICE_COLUMNS:
        old[name] -= 17_200
    assert broken_rows(SESSION, pd.concat([old, new], ignore_index=True)) == []


def test_invalid_and_missing_prices_do_not_change_the_median():
    bars = made_up_bars(5)
    bars.loc[[0, 1], list(PRICE_COLUMNS)] = 1e300
    bars.loc[2, "close"] = np.nan
    assert broken_rows(SESSION, bars) == []
    assert broken_rows(BOUNDS, bars) == [0, 1]


@settings(max_examples=30, deadline=None)
@given(
    prices=st.lists(st.floats(100, 1e6), min_size=1, max_size=30),
    days=st.lists(st.integers(0, 2), min_size=30, max_size=30),
)
def test_the_session_rule_agrees_with_a_plain_loop(prices: list[float], days: list[int]):
    n = len(prices)
    times = pd.Timestamp("2024-03-05 15:00", tz="UTC") + pd.to_timedelta(days[:n], unit="D")
    bars = pd.DataFrame({"timestamp": times.as_unit("ns")})
    for name in PRICE_COLUMNS:
        bars[name] = prices
    expected = []
    for row in range(n):
        median = np.median([price for price, day in zip(prices, days, strict=False) if day == days[row]])
        if prices[row] > MAX_RATIO * median or prices[row] < median / MAX_RATIO:
            expected.append(row)
    assert broken_rows(SESSION, bars) == expected


@pytest.mark.parametrize(
    ("name", "time", "broken"),
    [
        ("NQ", "1999-06-20 22:00", False),  # the evening on which the first session opened
        ("NQ", "1999-06-18 15:00", True),
        ("NQ", "1700-01-01 15:00", True),
        ("ES", "1999-06-18 15:00", False),
        ("ES", "1997-09-05 15:00", True),
    ],
)
def test_no_bar_is_older_than_its_instrument(name: str, time: str, broken: bool):
    bars = made_up_bars(1).assign(timestamp=pd.DatetimeIndex([time], tz="UTC").as_unit("ns"))
    assert broken_rows(LISTED, bars, name) == ([0] if broken else [])


def test_valid_bars_break_no_rule():
    bars = made_up_bars(500)
    assert not any(rule.broken(bars, NQ).any() for rule in ROW_RULES)


def test_a_cell_is_quoted_unchanged_and_a_long_cell_is_shortened():
    cells = pa.chunked_array([pa.array(["x", "y" * 100])])
    fault = CellFault("have numbers", np.ones(2, bool), "Last", cells)
    assert fault.quote(0) == "Last is 'x'"
    assert fault.quote(1) == f"Last is '{'y' * 60}...'"
    assert CellFault("have cells", np.ones(2, bool), "", cells).quote(0) == "the line is 'x'"
