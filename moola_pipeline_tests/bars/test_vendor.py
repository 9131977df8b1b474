"""Reading of vendor files: detection, options and refusals."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moola_pipeline.bars.schema import PRICE_COLUMNS, RAW_COLUMNS
from moola_pipeline.bars.session_clock import session_clock
from moola_pipeline.bars.vendor import read_recorded_file, read_vendor_file
from moola_pipeline.bars.vendor_options import VendorOptions, column_mapping
from moola_pipeline.errors import BadInput
from moola_pipeline_tests.bars.examples import made_up_bars, write_csv, write_parquet

NEW_YORK = VendorOptions(timezone="America/New_York")


def refusal(path: Path, options: VendorOptions | None = None) -> str:
    with pytest.raises(BadInput) as caught:
        read_vendor_file(path, options)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(path.name)
    return text


def text_file(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_csv_in_new_york_time_becomes_utc_bars(tmp_path: Path):
    path = text_file(
        tmp_path / "bars.csv",
        "timestamp,open,high,low,close,volume",
        "2023-11-19 18:00:00,15895.00,15903.75,15888.00,15893.25,571",
        "2023-11-19 18:01:00,15893.00,15893.50,15877.75,15883.75,",
    )

    bars = read_vendor_file(path, NEW_YORK)

    assert tuple(bars.frame.columns) == RAW_COLUMNS
    assert list(bars.frame["timestamp"]) == [
        pd.Timestamp("2023-11-19 23:00", tz="UTC"),
        pd.Timestamp("2023-11-19 23:01", tz="UTC"),
    ]
    assert bars.frame["close"].tolist() == [15893.25, 15883.75]
    assert bars.frame["volume"].tolist() == [571, pd.NA]
    assert bars.frame.dtypes.astype(str).to_dict() == {
        "timestamp": "datetime64[ns, UTC]",
        **dict.fromkeys(("open", "high", "low", "close"), "float64"),
        "volume": "Int64",
    }
    assert (bars.facts.format, bars.facts.timezone, bars.facts.stamp) == ("csv", "America/New_York", "open")


def test_a_close_stamp_names_the_bar_that_opened_a_minute_earlier(tmp_path: Path):
    made_up = made_up_bars()
    path = write_parquet(tmp_path / "bars.parquet", made_up)

    bars = read_vendor_file(path, VendorOptions(stamp="close"))

    earlier = made_up.assign(timestamp=made_up["timestamp"] - pd.Timedelta(minutes=1))
    pd.testing.assert_frame_equal(bars.frame, earlier)


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("name", ["timestamp", "Time", "DATETIME", "date_time", "ts", "ts_utc", "ts_event"])
def test_known_time_names_are_recognized_in_any_case(tmp_path: Path, name: str, separator: str):
    made_up = made_up_bars()
    path = write_csv(
        tmp_path / "bars.csv", made_up.rename(columns={"timestamp": name, "open": "Open"}), separator
    )

    bars = read_vendor_file(path)

    pd.testing.assert_frame_equal(bars.frame, made_up)
    assert bars.facts.columns["time"] == name


def test_parquet_and_csv_of_the_same_bars_give_equal_bars(tmp_path: Path):
    made_up = made_up_bars(400)

    from_csv = read_vendor_file(write_csv(tmp_path / "bars.csv", made_up)).frame
    from_parquet = read_vendor_file(write_parquet(tmp_path / "bars.parquet", made_up)).frame

    pd.testing.assert_frame_equal(from_csv, from_parquet)
    pd.testing.assert_frame_equal(from_parquet, made_up)


@pytest.mark.parametrize("index_name", [None, "Date"])
def test_a_pandas_time_index_is_the_time_column(tmp_path: Path, index_name: str | None):
    made_up = made_up_bars()
    path = tmp_path / "bars.parquet"
    made_up.set_index("timestamp").rename_axis(index_name).to_parquet(path)

    pd.testing.assert_frame_equal(read_vendor_file(path).frame, made_up)


def test_times_with_a_zone_need_no_option_and_refuse_another_zone(tmp_path: Path):
    made_up = made_up_bars()
    local = made_up.assign(timestamp=made_up["timestamp"].dt.tz_convert("America/Chicago"))
    path = write_parquet(tmp_path / "bars.parquet", local)

    bars = read_vendor_file(path)
    pd.testing.assert_frame_equal(bars.frame, made_up)
    assert bars.facts.timezone == "America/Chicago"
    assert "Leave --timezone out" in refusal(path, VendorOptions(timezone="UTC"))


def test_an_unknown_zone_of_a_parquet_column_does_not_change_the_instants(tmp_path: Path):
    made_up = made_up_bars()
    odd = pq.read_table(write_parquet(tmp_path / "known.parquet", made_up))
    odd = odd.set_column(0, "timestamp", odd["timestamp"].cast(pa.timestamp("ns", "Mars/Olympus")))
    pq.write_table(odd, tmp_path / "bars.parquet")

    bars = read_vendor_file(tmp_path / "bars.parquet")

    pd.testing.assert_frame_equal(bars.frame, made_up)
    assert bars.facts.timezone == "UTC"


def test_each_text_offset_applies_to_its_row(tmp_path: Path):
    path = text_file(
        tmp_path / "bars.csv",
        "time,open,high,low,close",
        "2024-03-08T14:59:00-04:00,100,100,100,100",
        "2024-03-08T14:00:00-05:00,100,100,100,100",
    )

    assert read_vendor_file(path).frame["timestamp"].diff().iloc[1] == pd.Timedelta(minutes=1)


def test_an_ambiguous_local_time_is_refused(tmp_path: Path):
    path = text_file(
        tmp_path / "bars.csv",
        "time,open,high,low,close",
        "2024-11-03 00:59:00,100,100,100,100",
        "2024-11-03 01:00:00,100,100,100,100",
    )

    text = refusal(path, NEW_YORK)
    assert "1 fall on a clock change, the first in row 2 (2024-11-03 01:00:00)" in text


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_counts_since_1970_are_in_utc(tmp_path: Path, unit: str):
    made_up = made_up_bars()
    counts = made_up["timestamp"].dt.as_unit(unit).astype("int64")

    named_utc = write_csv(
        tmp_path / "utc.csv", made_up.assign(timestamp=counts).rename(columns={"timestamp": "ts_utc"})
    )
    unnamed = write_csv(tmp_path / "unnamed.csv", made_up.assign(timestamp=counts))

    pd.testing.assert_frame_equal(read_vendor_file(named_utc).frame, made_up)
    pd.testing.assert_frame_equal(read_vendor_file(unnamed).frame, made_up)
    assert "counts since 1970 are in UTC" in refusal(unnamed, VendorOptions(timezone="America/Chicago"))


@pytest.mark.parametrize("layout", ["%Y%m%d%H%M%S", "%Y%m%d%H%M"])
def test_a_numeric_date_is_not_read_as_a_count_since_1970(tmp_path: Path, layout: str):
    made_up = made_up_bars()
    numbers = made_up["timestamp"].dt.strftime(layout).astype("int64")
    path = write_csv(tmp_path / "bars.csv", made_up.assign(timestamp=numbers))

    assert "must prove their time zone" in refusal(path)
    pd.testing.assert_frame_equal(read_vendor_file(path, VendorOptions(timezone="UTC")).frame, made_up)


def test_a_date_without_a_clock_is_not_a_time(tmp_path: Path):
    path = text_file(tmp_path / "bars.csv", "time,open,high,low,close", "20240308,100,100,100,100")

    assert "must hold a date and a time" in refusal(path, VendorOptions(timezone="UTC"))


def test_times_without_a_zone_are_refused_with_the_option_to_set(tmp_path: Path):
    naive = made_up_bars().assign(timestamp=lambda bars: bars["timestamp"].dt.tz_localize(None))
    path = write_csv(tmp_path / "bars.csv", naive)

    assert refusal(path) == (
        "bars.csv: the times in timestamp must prove their time zone, got none. "
        "Name it with --timezone, for example --timezone America/New_York, "
        "or the vendor with --format firstrate."
    )


def test_a_missing_column_is_refused_with_the_columns_and_the_option_to_set(tmp_path: Path):
    path = write_csv(
        tmp_path / "bars.csv", made_up_bars().rename(columns={"timestamp": "when", "close": "Last"})
    )

    assert refusal(path) == (
        "bars.csv: columns must hold time, open, high, low, close, got when, open, high, low, Last, volume. "
        "Name the missing ones with --columns time=NAME."
    )
    named = VendorOptions(columns=column_mapping("time=when, close=Last"))
    pd.testing.assert_frame_equal(read_vendor_file(path, named).frame, made_up_bars())


def test_two_columns_for_one_role_are_refused(tmp_path: Path):
    path = write_csv(tmp_path / "bars.csv", made_up_bars().assign(Close=1.0))

    assert "one column must hold the close, got close, Close. Choose with --columns close=close." in refusal(
        path
    )
    assert len(read_vendor_file(path, VendorOptions(columns={"close": "close"})).frame) == 6


def test_a_missing_named_column_is_refused(tmp_path: Path):
    path = write_csv(tmp_path / "bars.csv", made_up_bars())

    assert "got Last. It has timestamp, open" in refusal(path, VendorOptions(columns={"close": "Last"}))


def test_without_volume_every_volume_is_unknown(tmp_path: Path):
    path = write_csv(tmp_path / "bars.csv", made_up_bars().drop(columns="volume"))

    assert read_vendor_file(path).frame["volume"].isna().tolist() == [True] * 6


def test_contract_codes_are_kept_and_a_continuous_symbol_is_dropped(tmp_path: Path):
    coded = write_csv(tmp_path / "coded.csv", made_up_bars().assign(symbol=["NQH4"] * 3 + ["NQM4"] * 3))
    continuous = write_csv(tmp_path / "continuous.csv", made_up_bars().assign(symbol="NQ1!"))

    assert read_vendor_file(coded).frame["contract"].tolist() == ["NQH4"] * 3 + ["NQM4"] * 3
    assert "contract" not in read_vendor_file(continuous).frame
    assert "contract" not in read_vendor_file(continuous).facts.columns
    named = read_vendor_file(continuous, VendorOptions(columns={"contract": "symbol"}))
    assert named.frame["contract"].tolist() == ["NQ1!"] * 6


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "but it is empty"),
        (b"\n\n", "but it is empty"),
        (b"timestamp,open,high,low,close\n", "got no rows"),
        (b"PAR1 and then nothing of use", "must be whole"),
        (b"\x28\xb5\x2f\xfd\x00\x58DBN", "a compressed file must be whole"),
        ("Uhrzeit;Schluß\n".encode("latin-1"), "must be UTF-8 text"),
        (
            b"timestamp,open,high,low,close\n2024-03-08T14:30Z,200,200,200,200\n2024-03-08T14:31Z,1,1,x,1\n",
            "numbers as prices and volume, but 1 of 2 do not, first in row 2 "
            "(2024-03-08 14:31:00 UTC, low is 'x'). Correct those cells",
        ),
        (
            b"timestamp,open,high,low,close\n2024-03-08T14:30Z,1,1,1\n",
            "each row must have 5 cells, but 1 of 1 do not, first in row 1 (the line is '2024-03-08T14:30Z,",
        ),
        (b"time,open,high,low,close\n18:00,1,1,1,1\n", "must hold a date and a time"),
        (b"time,open,high,low,close\nyesterday,1,1,1,1\n", "got 'yesterday'"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path: Path, content: bytes, words: str):
    path = tmp_path / "bars.csv"
    path.write_bytes(content)

    assert words in refusal(path)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize(("decimal", "group"), [(",", ""), (",", "."), (".", ","), (",", " "), (".", "'")])
def test_prices_are_read_in_every_number_style(tmp_path: Path, separator: str, decimal: str, group: str):
    made_up = made_up_bars(300)
    signs = str.maketrans({",": group, ".": decimal})
    written = made_up.assign(
        **{name: made_up[name].map(lambda price: f"{price:,.2f}".translate(signs)) for name in PRICE_COLUMNS},
        volume=made_up["volume"].map(lambda volume: f"{volume:,}".translate(signs)),
    )

    bars = read_vendor_file(write_csv(tmp_path / "bars.csv", written, separator))

    pd.testing.assert_frame_equal(bars.frame, made_up)


def test_an_invalid_number_or_a_short_line_rejects_only_its_row(tmp_path: Path):
    made_up = made_up_bars(400)
    lines = write_csv(tmp_path / "bars.csv", made_up).read_text().splitlines()
    lines[6] = lines[6].replace("18", "x18", 1).replace("2024", "never", 1)
    lines[10] = ",".join([*lines[10].split(",")[:4], "--", "7"])
    lines[20] = lines[20].rpartition(",")[0]
    path = text_file(tmp_path / "odd.csv", *lines)

    bars = read_vendor_file(path)

    kept = made_up.drop(index=[5, 9, 19]).reset_index(drop=True)
    pd.testing.assert_frame_equal(bars.frame, kept)
    assert bars.rejected[["row", "reason", "found"]].to_numpy().tolist() == [
        [6, "a bar must have numbers as prices and volume", f"open is '{lines[6].split(',')[1]}'"],
        [10, "a bar must have numbers as prices and volume", "close is '--'"],
        [20, "a bar must have a cell for each column", f"the line is {lines[20]!r}"],
    ]


def test_a_few_invalid_times_reject_only_their_rows_and_are_quoted(tmp_path: Path):
    made_up = made_up_bars(400)
    times = made_up["timestamp"].astype(str)
    times[[7, 8, 9]] = ["soon", "9999-12-31 23:59:00+00:00", "2024-03-08 14:39:00"]

    bars = read_vendor_file(write_csv(tmp_path / "bars.csv", made_up.assign(timestamp=times)))

    assert bars.rejected[["row", "found"]].to_numpy().tolist() == [
        [8, "timestamp is 'soon'"],
        [9, "timestamp is '9999-12-31 23:59:00+00:00'"],
        [10, "timestamp is '2024-03-08 14:39:00'"],
    ]
    pd.testing.assert_frame_equal(bars.frame, made_up.drop(index=[7, 8, 9]).reset_index(drop=True))


def test_many_truncated_times_are_not_reported_as_another_interval(tmp_path: Path):
    lines = write_csv(tmp_path / "bars.csv", made_up_bars(20)).read_text().splitlines()
    lines[2::2] = [line.rpartition(",")[0] for line in lines[2::2]]

    assert "have a cell for each column, but 10 of 20 do not, first in row 2 (the line is '2024" in refusal(
        text_file(tmp_path / "odd.csv", *lines)
    )


def test_counts_outside_the_range_of_times_are_refused(tmp_path: Path):
    huge = made_up_bars().assign(timestamp=np.full(6, 2**64 - 1, np.uint64))

    assert "must hold a date and a time" in refusal(write_parquet(tmp_path / "bars.parquet", huge))


def test_prices_stored_as_text_or_dictionary_text_are_read(tmp_path: Path):
    made_up = made_up_bars()
    coded = made_up.assign(close=pd.Categorical(made_up["close"].astype(str)), low=made_up["low"].astype(str))

    bars = read_vendor_file(write_parquet(tmp_path / "bars.parquet", coded))
    pd.testing.assert_frame_equal(bars.frame, made_up)


def test_many_invalid_times_are_refused_with_the_first_quoted(tmp_path: Path):
    made_up = made_up_bars(20)
    times = made_up["timestamp"].astype(str)
    times[[3, 5]] = "2024-03-08 14:33:00"

    assert refusal(write_csv(tmp_path / "bars.csv", made_up.assign(timestamp=times))) == (
        "bars.csv: every bar must have a time, written as in most rows, but 2 of 20 do not, first in row 4 "
        "(timestamp is '2024-03-08 14:33:00'). Correct those cells, or export it again."
    )


def test_a_future_bar_refuses_a_new_file_but_not_a_registered_file(tmp_path: Path):
    later = pd.Timestamp.now("UTC").floor("min") + pd.Timedelta(days=400)
    made_up = made_up_bars(300)
    made_up.loc[4, "timestamp"] = later
    path = write_csv(tmp_path / "bars.csv", made_up)

    text = refusal(path)
    assert "a bar must open before now (" in text
    assert f"but 1 of 300 do not, read as UTC, first in row 5 ({later:%Y-%m-%d %H:%M} UTC). Correct" in text
    if not session_clock(made_up).shut.any():
        assert read_recorded_file(path, VendorOptions()).counts.kept == 300


def test_two_columns_of_the_same_name_can_be_selected_by_number(tmp_path: Path):
    path = write_csv(tmp_path / "bars.csv", made_up_bars().assign(other=20_000.0))
    path.write_text(path.read_text().replace("other", "close", 1))

    assert refusal(path) == (
        "bars.csv: one column must hold the close, got close#5, close#7. Choose with --columns close=close#5."
    )
    chosen = read_vendor_file(path, VendorOptions(columns={"close": "close#5"}))
    pd.testing.assert_frame_equal(chosen.frame, made_up_bars())
    assert "got close. It has timestamp, open" in refusal(path, VendorOptions(columns={"close": "close"}))


def test_utf_16_text_of_metatrader_5_is_read(tmp_path: Path):
    path = write_csv(tmp_path / "bars.csv", made_up_bars())
    (tmp_path / "wide.csv").write_bytes(path.read_text().encode("utf-16"))

    pd.testing.assert_frame_equal(read_vendor_file(tmp_path / "wide.csv").frame, made_up_bars())
    (tmp_path / "cut.csv").write_bytes(path.read_text().encode("utf-16")[:-1])
    assert "a csv file in UTF-16 must be whole" in refusal(tmp_path / "cut.csv")


def test_an_invalid_byte_rejects_only_its_row(tmp_path: Path):
    content = write_csv(tmp_path / "bars.csv", made_up_bars(300)).read_bytes()
    (tmp_path / "odd.csv").write_bytes(content + b"\xe9\n")

    bars = read_vendor_file(tmp_path / "odd.csv")
    pd.testing.assert_frame_equal(bars.frame, made_up_bars(300))
    assert bars.rejected["found"].tolist() == ["the line is '\ufffd'"]


def test_a_missing_file_is_refused(tmp_path: Path):
    assert "No such file" in refusal(tmp_path / "none.csv")
    assert "directory" in refusal(tmp_path)


def test_a_format_option_must_match_the_file(tmp_path: Path):
    path = write_csv(tmp_path / "bars.parquet", made_up_bars())

    assert "--format is parquet, but the file is csv" in refusal(path, VendorOptions(format="parquet"))
    assert read_vendor_file(path).facts.format == "csv"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"timezone": "America/Gotham"},
            "--timezone must name a zone of the IANA database, got 'America/Gotham'",
        ),
        ({"timezone": "../../etc/passwd"}, "--timezone must name a zone"),
        ({"stamp": "middle"}, "--stamp must be open or close, got 'middle'"),
        ({"format": "xls"}, "--format must be parquet or csv or json or databento or"),
        ({"columns": {"price": "Last"}}, "--columns must name roles among time, open"),
        ({"columns": {"open": "Last", "close": "Last"}}, "a different column"),
        ({"instrument": "CL"}, "must be one of NQ, MNQ, ES, MES, YM, MYM, RTY, M2K, got 'CL'"),
    ],
)
def test_an_invalid_option_value_is_refused(options: dict, words: str):
    with pytest.raises(BadInput, match=None) as caught:
        VendorOptions(**options)
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["", "close", "close=", "=Last", "close=Last,close=Close", "close=Last,"])
def test_an_invalid_column_mapping_is_refused(text: str):
    with pytest.raises(BadInput, match="role=NAME"):
        column_mapping(text)


@settings(max_examples=40, deadline=None)
@given(
    ticks=st.lists(st.tuples(*[st.integers(60_000, 80_000)] * 4), min_size=2, max_size=20),
    zone=st.sampled_from(["UTC", "America/New_York", "Asia/Tokyo", "Europe/London"]),
)
def test_valid_bars_survive_a_csv_round_trip(tmp_path_factory: pytest.TempPathFactory, ticks, zone: str):
    prices = np.array(ticks) * 0.25
    made_up = made_up_bars(len(ticks), start="2024-06-03 22:00").assign(
        open=prices[:, 0], high=prices.max(axis=1), low=prices.min(axis=1), close=prices[:, 1]
    )
    local = made_up.assign(timestamp=made_up["timestamp"].dt.tz_convert(zone).dt.tz_localize(None))
    path = write_csv(tmp_path_factory.mktemp("bars") / "bars.csv", local)

    pd.testing.assert_frame_equal(read_vendor_file(path, VendorOptions(timezone=zone)).frame, made_up)


def test_recorded_facts_read_the_same_bars_again(tmp_path: Path):
    local = made_up_bars().assign(
        timestamp=lambda bars: bars["timestamp"].dt.tz_convert("America/Chicago"), symbol="NQ"
    )
    path = write_parquet(tmp_path / "bars.parquet", local)
    first = read_vendor_file(path, VendorOptions(stamp="close"))
    facts = first.facts

    again = read_vendor_file(
        path, VendorOptions(facts.format, facts.timezone, facts.stamp, facts.columns, facts.instrument)
    )

    pd.testing.assert_frame_equal(again.frame, first.frame)
    assert again.facts == facts


def test_a_private_firstrate_file_is_read_with_its_zone(private_data: Path):
    path = private_data / "vendor_samples" / "firstrate" / "NQ_1min_sample.csv"

    bars = read_vendor_file(path)
    assert bars.counts.kept == bars.counts.read == len(bars.frame)
    assert bars.frame["timestamp"].iloc[0] == pd.Timestamp("2023-11-19 23:00", tz="UTC")


def test_private_tradingview_files_are_read_or_refused_by_their_interval(private_data: Path):
    folder = private_data / "vendor_samples" / "tradingview"
    utc_es = VendorOptions(timezone="UTC", instrument="ES")

    assert "bars must be of one minute, got one every 0:05:00" in refusal(folder / "NQ1_5m.parquet")
    assert "must prove their time zone" in refusal(folder / "ES_1m.parquet", VendorOptions(instrument="ES"))
    assert set(read_vendor_file(folder / "ES_1m.parquet", utc_es).frame["volume"]) == {pd.NA}


@pytest.mark.parametrize("moment", ["1677-09-21 00:13:00", "2262-04-11 23:47:00"])
@pytest.mark.parametrize("stamp", ["open", "close"])
def test_a_time_at_the_limit_of_nanoseconds_is_not_a_time(tmp_path: Path, moment: str, stamp: str):
    text = str(made_up_bars(301, start="2024-03-08 14:41").to_csv(index=False)).splitlines()
    row = text[150].partition(",")[2]
    path = tmp_path / "nq.csv"
    path.write_text("\n".join([*text, f"{moment}+00:00,{row}", ""]))
    bars = read_vendor_file(path, VendorOptions(stamp=stamp))
    assert bars.rejected["reason"].tolist() == ["a bar must have a time, written as in most rows"]
