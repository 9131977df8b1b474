"""DataFrames and files of raw bars, turned into the canonical table or refused in one line."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moola_pipeline.bars.schema import BAR_COLUMNS
from moola_pipeline.bars.vendor import read_vendor_file
from moola_pipeline.bars.vendor_options import VendorOptions
from moola_pipeline.errors import BadInput
from moola_pipeline.inference.bar_tables import NEEDED_BARS, table_from_bars, table_from_frame

N_BARS = 150


@pytest.fixture
def frame() -> pd.DataFrame:
    """150 bars of one session from 14:00 UTC (10:00 in New York): enough for one window."""
    times = pd.date_range("2025-05-05 14:00", periods=N_BARS, freq="1min", tz="UTC").as_unit("ns")
    close = 20_000 + 0.25 * np.arange(N_BARS)
    prices = {"open": close, "high": close + 1, "low": close - 1, "close": close + 0.25}
    return pd.DataFrame({"timestamp": times, **prices, "volume": np.arange(N_BARS)})


def refused(frame: pd.DataFrame, timezone: str | None = None) -> str:
    with pytest.raises(BadInput) as error:
        table_from_frame(frame, VendorOptions(timezone=timezone))
    return str(error.value)


def test_a_frame_becomes_the_canonical_table(frame: pd.DataFrame):
    table = table_from_frame(frame)
    assert list(table.columns) == list(BAR_COLUMNS)
    assert str(table["timestamp"].dtype) == "datetime64[ns, UTC]"
    assert table["volume"].tolist() == list(range(N_BARS))
    assert set(table["session"]) == {pd.Timestamp("2025-05-05")}
    assert set(table["segment"]) == {0}
    assert table["contract"].isna().tolist() == [True] * N_BARS
    np.testing.assert_array_equal(table["close"], frame["close"])


def test_column_names_match_in_any_case_and_with_spaces(frame: pd.DataFrame):
    named = frame.rename(columns={"timestamp": " Time ", "open": "OPEN", "volume": "Volume"})
    pd.testing.assert_frame_equal(table_from_frame(named), table_from_frame(frame))


def test_prices_as_text_are_parsed(frame: pd.DataFrame):
    as_text = frame.assign(close=frame["close"].astype(str))
    pd.testing.assert_frame_equal(table_from_frame(as_text), table_from_frame(frame))


def test_naive_times_are_read_in_the_named_zone(frame: pd.DataFrame):
    local = frame["timestamp"].dt.tz_convert("America/Chicago").dt.tz_localize(None)
    table = table_from_frame(frame.assign(timestamp=local), VendorOptions(timezone="America/Chicago"))
    pd.testing.assert_frame_equal(table, table_from_frame(frame))


def test_a_change_of_contract_begins_a_segment(frame: pd.DataFrame):
    codes = np.where(np.arange(N_BARS) < 2, "NQH5", "NQM5")
    table = table_from_frame(frame.assign(symbol=codes))
    assert table["segment"].tolist() == [0] * 2 + [1] * (N_BARS - 2)
    assert table["contract"].tolist() == codes.tolist()


def test_missing_volume_is_unknown_and_not_zero(frame: pd.DataFrame):
    assert table_from_frame(frame.drop(columns="volume"))["volume"].isna().tolist() == [True] * N_BARS


def test_the_bars_of_one_window_are_enough(frame: pd.DataFrame):
    assert NEEDED_BARS == 145
    assert len(table_from_frame(frame.iloc[:145])) == 145
    assert refused(frame.iloc[:144]) == (
        "bars: one window needs 145 bars of one segment (40 before it, 105 in it, no gap over 10 minutes), "
        "got 144. Give more bars."
    )


def test_a_gap_leaves_too_few_bars_on_either_side(frame: pd.DataFrame):
    assert "got 80." in refused(frame.drop(index=range(80, 95)))


@pytest.mark.parametrize(
    ("column", "values", "text"),
    [
        (
            "close",
            "a lot",
            "bars (NQ): every bar must have numbers as prices and volume, but 150 of 150 do not",
        ),
        ("close", 20_000.1, "bars (NQ): "),
        ("high", 1.0, "bars (NQ): "),
        ("close", np.nan, "bars (NQ): "),
        ("timestamp", "tomorrow", "bars: timestamp must hold a date and a time, got "),
        ("timestamp", pd.NaT, "bars: "),
    ],
)
def test_an_invalid_bar_is_refused_in_one_line(frame: pd.DataFrame, column: str, values, text: str):
    message = refused(frame.assign(**{column: values}))
    assert message.startswith(text)
    assert "\n" not in message


def test_the_message_names_the_missing_columns(frame: pd.DataFrame):
    assert refused(frame.loc[:, ["timestamp", "open"]]) == (
        "bars: columns must hold time, open, high, low, close, got timestamp, open. "
        "Name the missing ones with --columns high=NAME,low=NAME,close=NAME."
    )
    assert "got none. Name the missing ones" in refused(pd.DataFrame())


def test_a_frame_without_rows_is_refused(frame: pd.DataFrame):
    assert refused(frame.iloc[:0]).startswith("bars: ")


def test_naive_times_without_a_zone_are_refused(frame: pd.DataFrame):
    naive = frame.assign(timestamp=frame["timestamp"].dt.tz_localize(None))
    assert refused(naive) == (
        "bars: the times in timestamp must prove their time zone, got none. "
        "Name it with --timezone, for example --timezone America/New_York."
    )
    assert "Mars/Olympus" in refused(naive, "Mars/Olympus")


def test_a_file_and_its_frame_give_the_same_table(frame: pd.DataFrame, tmp_path: Path):
    path = tmp_path / "bars.csv"
    frame.to_csv(path, index=False)
    pd.testing.assert_frame_equal(table_from_bars(read_vendor_file(path), path.name), table_from_frame(frame))
    frame.iloc[:100].to_csv(path, index=False)
    with pytest.raises(BadInput, match=r"^bars\.csv: one window needs 145 bars .*, got 100\. Give more"):
        table_from_bars(read_vendor_file(path), path.name)


def test_a_repeated_column_is_refused_in_any_case(frame: pd.DataFrame):
    assert refused(frame.assign(CLOSE=frame["close"])) == (
        "bars: one column must hold the close, got close, CLOSE. Choose with --columns close=close."
    )


def test_times_of_mixed_kinds_are_refused_and_fractional_volumes_left_out(frame: pd.DataFrame):
    mixed = frame.assign(timestamp=frame["timestamp"].dt.strftime("%Y-%m-%dT%H:%MZ").astype(object))
    mixed.loc[3, "timestamp"] = 17.5
    assert "timestamp must hold values of one kind" in refused(mixed)
    for volume in (0.5, 1e300):
        assert table_from_frame(frame.assign(volume=volume))["volume"].isna().to_numpy().all()


def test_a_frame_with_few_invalid_rows_is_read_as_a_file_is(
    frame: pd.DataFrame, caplog: pytest.LogCaptureFixture
):
    frame.loc[149, "close"] = np.nan
    assert len(table_from_frame(frame)) == 149
    assert "bars: 1 of 150 rows are left out" in caplog.text
