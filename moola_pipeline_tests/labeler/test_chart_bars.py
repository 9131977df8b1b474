import numpy as np
import pandas as pd
import pytest

from moola_pipeline.bars.simulated import SMOKE_SETTINGS, simulate
from moola_pipeline.bars.table import build_table
from moola_pipeline.labeler.chart_bars import ChartBars


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    market = simulate(SMOKE_SETTINGS)
    return build_table(market.bars, market.rolls)


def rows_of_time(table: pd.DataFrame, time: str) -> np.ndarray:
    local = table["timestamp"].dt.tz_convert("America/New_York")
    return np.flatnonzero((local.dt.strftime("%H:%M") == time).to_numpy())


def test_levels_are_those_of_the_session_before_and_of_the_night(table: pd.DataFrame):
    row = int(rows_of_time(table, "10:00")[8])
    view = ChartBars(table).view(row)
    day = table["session"].iloc[row]
    today = table.loc[(table["session"] == day) & (table.index < row + 105)]
    before = table.loc[table["session"] == table.loc[table["session"] < day, "session"].max()]
    minutes = today["timestamp"].dt.tz_convert("America/New_York").dt.strftime("%H:%M")
    night = today.loc[(minutes >= "18:00") | (minutes < "09:30")]
    assert view["levels"] == {
        "prior day high": before["high"].max(),
        "prior day low": before["low"].min(),
        "overnight high": night["high"].max(),
        "overnight low": night["low"].min(),
    }
    assert view["session"] == str(day.date())


@pytest.mark.parametrize("minutes", [5, 15])
def test_the_second_pane_ends_with_the_last_bar_that_is_shown(table: pd.DataFrame, minutes: int):
    row = int(rows_of_time(table, "10:02")[8])
    context = ChartBars(table).view(row)["context"][str(minutes)]
    shown = table.iloc[: row + 105].set_index("timestamp")
    frame = shown.resample(f"{minutes}min").agg(
        {"open": "first", "high": "max", "low": "min", "close": "last"}
    )
    expected = frame.dropna().iloc[-len(context["bars"]) :].to_numpy()
    np.testing.assert_array_equal(np.array(context["bars"])[:, 1:], expected)


def test_nothing_drawn_depends_on_later_bars(table: pd.DataFrame):
    row = int(rows_of_time(table, "10:02")[8])
    later = table.copy()
    later.loc[row + 105 :, ["open", "high", "low", "close"]] += 500.0
    assert ChartBars(later).view(row) == ChartBars(table).view(row)


def test_prices_of_another_contract_are_no_levels(table: pd.DataFrame):
    row = int(rows_of_time(table, "10:00")[8])
    rolled = table.copy()
    day = table["session"].iloc[row]
    rolled.loc[rolled["session"] < day, "contract"] = "NQH5"
    assert set(ChartBars(rolled).view(row)["levels"]) == {"overnight high", "overnight low"}


def test_without_volume_there_is_no_weighted_price(table: pd.DataFrame):
    row = int(rows_of_time(table, "10:00")[8])
    silent = table.assign(volume=pd.array([pd.NA] * len(table), "Int64"))
    assert ChartBars(silent).view(row)["context"]["5"]["vwap"] is None
