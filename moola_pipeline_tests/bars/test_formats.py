"""Vendor formats: recognition, required options, and the bars read."""

import io
import shlex
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from moola_pipeline.bars import decompress
from moola_pipeline.bars.table import build_table
from moola_pipeline.bars.vendor import read_vendor_file
from moola_pipeline.bars.vendor_options import VendorOptions
from moola_pipeline.errors import BadInput
from moola_pipeline_tests.bars import vendor_files as made
from moola_pipeline_tests.bars.examples import made_up_bars, session_bars, wall_clock

BARS = made_up_bars(40)
CLOSES = VendorOptions(stamp="close")
HISTDATA = VendorOptions(format="histdata")


def refusal(path: Path, options: VendorOptions | None = None) -> str:
    with pytest.raises(BadInput) as caught:
        read_vendor_file(path, options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_ninjatrader_close_times_are_read_as_utc_bar_opens(tmp_path: Path):
    lines = (
        b"20241206 143000;21500.75;21501;21488.5;21491.5;931\n"
        b"20241206 143100;21491.5;21508.75;21486;21493.75;3547\n"
    )
    bars = read_vendor_file(made.saved(tmp_path / "NQ 12-24.Last.txt", lines), CLOSES)
    assert bars.frame.iloc[0].tolist() == [
        pd.Timestamp("2024-12-06 14:29", tz="UTC"),
        *(21500.75, 21501.0, 21488.5, 21491.5, 931),
    ]
    assert (bars.facts.format, bars.facts.timezone, bars.facts.stamp) == ("ninjatrader", "UTC", "close")


def test_a_ninjatrader_file_needs_the_stamp_option(tmp_path: Path):
    path = made.saved(tmp_path / "nq.txt", made.ninjatrader(BARS))
    assert refusal(path).endswith(
        "with --format ninjatrader --stamp close (UTC) or --format histdata (Etc/GMT+5)."
    )
    assert refusal(path, VendorOptions(format="ninjatrader")).endswith("Give --stamp close or --stamp open.")
    pd.testing.assert_frame_equal(read_vendor_file(path, CLOSES).frame, BARS)


def test_histdata_times_are_est_in_winter_and_summer(tmp_path: Path):
    lines = (
        b"2026.02.01,18:00,25387.75,25418.25,25387.25,25405.25,0\n"
        b"2026.07.01,18:01,25387.75,25418.25,25387.25,25405.25,0\n"
        b"2026.07.01,18:02,25387.75,25418.25,25387.25,25405.25,0\n"
        b"2026.07.01,18:03,25387.75,25418.25,25387.25,25405.25,0\n"
    )
    bars = read_vendor_file(made.saved(tmp_path / "DAT_MT.csv", lines), HISTDATA)
    assert bars.frame["timestamp"].iloc[[0, 1]].tolist() == [
        pd.Timestamp("2026-02-01 23:00", tz="UTC"),
        pd.Timestamp("2026-07-01 23:01", tz="UTC"),
    ]
    assert (bars.facts.format, bars.facts.timezone) == ("histdata", "Etc/GMT+5")


@pytest.mark.parametrize("header", [True, False])
def test_firstrate_is_read_by_option_or_by_its_daily_breaks(tmp_path: Path, header: bool):
    short = made.saved(tmp_path / "short.csv", made.firstrate(BARS, header))
    assert "--format" in refusal(short)
    named = read_vendor_file(short, VendorOptions(format="firstrate"))
    pd.testing.assert_frame_equal(named.frame, BARS)
    assert (named.facts.timezone, named.facts.stamp) == ("America/New_York", "open")

    week = session_bars("2024-03-07", "2024-03-12")  # includes the start of daylight saving
    proven = read_vendor_file(made.saved(tmp_path / "week.csv", made.firstrate(week, header)))
    pd.testing.assert_frame_equal(proven.frame, week)
    assert (proven.facts.format, proven.zone_known_by) == ("firstrate", "its daily breaks")


@pytest.mark.parametrize(("zone", "late"), [("UTC", 0), ("America/Chicago", 0), ("America/New_York", 1)])
def test_the_firstrate_layout_in_another_zone_or_stamp_is_not_read_as_firstrate(
    tmp_path: Path, zone: str, late: int
):
    week = wall_clock(session_bars("2024-03-05", "2024-03-08"), zone, late)
    path = made.saved(tmp_path / "week.csv", week.to_csv(index=False).encode())
    assert "must prove their time zone" in refusal(path)


@pytest.mark.parametrize("pretty", [True, False])
def test_a_databento_csv_is_read_with_fixed_point_or_decimal_prices(tmp_path: Path, pretty: bool):
    bars = read_vendor_file(made.saved(tmp_path / "glbx.csv", made.databento_csv(BARS, pretty)))
    pd.testing.assert_frame_equal(bars.frame.drop(columns="contract"), BARS)
    assert set(bars.frame["contract"]) == {"NQH4"}
    assert (bars.facts.format, bars.facts.timezone, bars.facts.stamp) == ("databento", "UTC", "open")


@pytest.mark.parametrize("pack", [bytes, made.zstd])
def test_a_dbn_file_is_read_with_the_contract_of_each_bar(tmp_path: Path, pack: Callable[[bytes], bytes]):
    pytest.importorskip("databento_dbn")
    bars = read_vendor_file(made.saved(tmp_path / "glbx.dbn", pack(made.dbn(BARS))))
    pd.testing.assert_frame_equal(bars.frame.drop(columns="contract"), BARS)
    assert bars.frame["contract"].tolist() == ["NQH4"] * 20 + ["NQM4"] * 20
    assert bars.facts.format == "databento"


def test_with_a_continuous_symbol_the_instrument_id_is_the_contract_of_dbn_bars(tmp_path: Path):
    pytest.importorskip("databento_dbn")
    path = made.saved(tmp_path / "glbx.dbn", made.dbn(BARS, symbols=(("NQ.c.0", 1), ("NQ.c.0", 2))))
    bars = read_vendor_file(path)
    assert bars.frame["contract"].tolist() == ["1"] * 20 + ["2"] * 20
    assert bars.facts.columns["contract"] == "instrument_id"
    assert build_table(bars.frame, None)["segment"].tolist() == [0] * 20 + [1] * 20
    facts = bars.facts
    again = VendorOptions(facts.format, facts.timezone, facts.stamp, facts.columns, facts.instrument)
    pd.testing.assert_frame_equal(read_vendor_file(path, again).frame, bars.frame)


@pytest.mark.parametrize("save", ["csv", "parquet"])
def test_with_a_continuous_symbol_the_instrument_id_is_the_contract_of_table_bars(tmp_path: Path, save: str):
    path = made.saved(tmp_path / "glbx.csv", made.databento_csv(BARS, True, "NQ.c.0"))
    rows = pd.read_csv(path).assign(instrument_id=[5482] * 10 + [4916] * 30)
    path = tmp_path / f"rolled.{save}"
    rows.to_csv(path, index=False) if save == "csv" else rows.to_parquet(path, index=False)
    bars = read_vendor_file(path)
    assert bars.frame["contract"].tolist() == ["5482"] * 10 + ["4916"] * 30
    assert bars.facts.format == "databento"


def test_dbn_of_another_schema_or_cut_short_is_refused(tmp_path: Path):
    pytest.importorskip("databento_dbn")
    other = made.saved(tmp_path / "1s.dbn", made.dbn(BARS, "ohlcv-1s", 32))
    assert "must be of one minute, got schema ohlcv-1s. Request ohlcv-1m." in refusal(other)
    cut = made.saved(tmp_path / "cut.dbn", made.dbn(BARS)[:-10])
    assert "a DBN file must be whole" in refusal(cut)


def test_a_missing_extra_is_named_with_its_install_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "databento_dbn", None)
    path = made.saved(tmp_path / "glbx.dbn", b"DBN\3" + bytes(200))
    command = f"{shlex.quote(sys.executable)} -m pip install -c requirements.txt -e '.[databento]'"
    assert refusal(path).endswith(f"Run in the project root: {command}")


def test_contracts_of_another_instrument_are_refused_with_the_option_to_set(tmp_path: Path):
    path = made.saved(tmp_path / "es.csv", made.databento_csv(BARS, True, "ESH4"))
    assert "must be of instrument NQ, but column symbol names ESH4. Give --instrument ES" in refusal(path)
    assert read_vendor_file(path, VendorOptions(instrument="ES")).facts.instrument == "ES"


@pytest.mark.parametrize("zone", ["America/New_York", None])
def test_a_tradingview_parquet_without_a_zone_needs_the_timezone_option(tmp_path: Path, zone: str | None):
    local = BARS["timestamp"].dt.tz_convert(zone or "UTC")
    index = pd.DatetimeIndex(local if zone else local.dt.tz_localize(None), name="datetime")
    path = tmp_path / "NQ1.parquet"
    BARS.drop(columns=["timestamp", "volume"]).set_index(index).to_parquet(path)
    if zone is None:
        assert "must prove their time zone" in refusal(path, VendorOptions(format="tradingview"))
    bars = read_vendor_file(path, None if zone else VendorOptions(timezone="UTC"))
    assert bars.frame["timestamp"].tolist() == BARS["timestamp"].tolist()


def test_a_tradingview_csv_counts_seconds_in_utc(tmp_path: Path):
    counted = BARS.assign(timestamp=BARS["timestamp"].dt.as_unit("s").astype("int64"))
    path = made.saved(
        tmp_path / "nq.csv", counted.rename(columns={"timestamp": "time"}).to_csv(index=False).encode()
    )
    bars = read_vendor_file(path, VendorOptions(format="tradingview"))
    pd.testing.assert_frame_equal(bars.frame, BARS)


def test_a_ninjatrader_export_with_decimal_commas_is_read(tmp_path: Path):
    path = made.saved(tmp_path / "nq.txt", made.ninjatrader(BARS).replace(b".", b","))
    bars = read_vendor_file(path, CLOSES)
    pd.testing.assert_frame_equal(bars.frame, BARS)
    assert bars.facts.format == "ninjatrader"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("names", [("Date", "Time"), ("<DATE>", "<TIME>")])
@pytest.mark.parametrize("layout", ["%Y-%m-%d", "%Y.%m.%d", "%Y%m%d", "%Y/%m/%d"])
def test_a_date_and_a_time_of_day_make_one_time(
    tmp_path: Path, separator: str, names: tuple[str, str], layout: str
):
    times = BARS["timestamp"].dt
    dated = BARS.drop(columns="timestamp").assign(
        **{names[0]: times.strftime(layout), names[1]: times.strftime("%H:%M:%S")}
    )
    path = made.saved(tmp_path / "nq.csv", dated.to_csv(index=False, sep=separator).encode())
    bars = read_vendor_file(path, VendorOptions(timezone="UTC"))
    pd.testing.assert_frame_equal(bars.frame, BARS)
    assert (bars.facts.columns["date"], bars.facts.columns["time"]) == names
    facts = bars.facts
    again = VendorOptions(facts.format, facts.timezone, facts.stamp, facts.columns, facts.instrument)
    pd.testing.assert_frame_equal(read_vendor_file(path, again).frame, BARS)


def test_a_day_that_could_be_a_month_is_refused(tmp_path: Path):
    lines = b"time,open,high,low,close\n03/04/2024 14:30,200,200,200,200\n03/04/2024 14:31,200,200,200,200\n"
    path = made.saved(tmp_path / "nq.csv", lines)
    assert "03/04/2024 may be month/day/year or day/month/year" in refusal(
        path, VendorOptions(timezone="UTC")
    )
    clear = made.saved(tmp_path / "clear.csv", lines.replace(b"03/04", b"03/14"))
    first = read_vendor_file(clear, VendorOptions(timezone="UTC")).frame["timestamp"].iloc[0]
    assert first == pd.Timestamp("2024-03-14 14:30", tz="UTC")


def test_an_impossible_day_is_refused(tmp_path: Path):
    lines = b"2026.02.31,18:00,1,1,1,1,0\n2026.02.31,18:01,1,1,1,1,0\n"
    assert "must hold a date and a time" in refusal(made.saved(tmp_path / "mt.csv", lines))


def test_columns_without_a_header_are_named_by_number(tmp_path: Path):
    lines = BARS[["close", "low", "high", "open", "timestamp"]].to_csv(index=False, header=False).encode()
    path = made.saved(tmp_path / "nq.csv", lines)
    assert "with --columns time=5,open=1,high=2,low=3,close=4" in refusal(path)
    named = VendorOptions(columns={"time": "5", "open": "4", "high": "3", "low": "2", "close": "1"})
    assert read_vendor_file(path, named).frame["close"].tolist() == BARS["close"].tolist()


@pytest.mark.parametrize("pack", [made.gzipped, made.zstd, made.zipped])
def test_a_compressed_file_reads_as_its_content(tmp_path: Path, pack: Callable[[bytes], bytes]):
    plain = read_vendor_file(made.saved(tmp_path / "plain.csv", made.metatrader(BARS)), HISTDATA)
    packed = read_vendor_file(made.saved(tmp_path / "nq.csv", pack(made.metatrader(BARS))), HISTDATA)
    pd.testing.assert_frame_equal(packed.frame, plain.frame)


def test_extra_zip_members_of_macos_are_ignored(tmp_path: Path):
    sink = io.BytesIO(made.zipped(made.metatrader(BARS)))
    with zipfile.ZipFile(sink, "a") as archive:
        archive.writestr("__MACOSX/._0.csv", b"x")
        archive.writestr("exports/.DS_Store", b"x")
    bars = read_vendor_file(made.saved(tmp_path / "nq.zip", sink.getvalue()), HISTDATA)
    pd.testing.assert_frame_equal(bars.frame, BARS)


def test_an_excel_workbook_is_refused_by_name(tmp_path: Path):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("[Content_Types].xml", b"x")
    path = made.saved(tmp_path / "nq.xlsx", sink.getvalue())
    assert refusal(path).endswith("got an Excel workbook. Save it as csv.")


def test_a_zip_of_several_files_is_refused(tmp_path: Path):
    path = made.saved(tmp_path / "nq.zip", made.zipped(b"1", b"2"))
    assert "a zip must hold one data file, got 2" in refusal(path)


@pytest.mark.parametrize("pack", [made.gzipped, made.zstd, made.zipped])
def test_a_file_that_decompresses_to_too_many_bytes_is_refused(
    tmp_path: Path, pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(decompress, "MAX_CONTENT", 2**20)
    path = made.saved(tmp_path / "bomb", pack(bytes(2**21)))
    assert "must have at most 1 MiB of content" in refusal(path)


@pytest.mark.parametrize("pack", [made.gzipped, made.zstd, made.zipped])
def test_a_truncated_compressed_file_is_refused(tmp_path: Path, pack: Callable[[bytes], bytes]):
    path = made.saved(tmp_path / "cut", pack(made.metatrader(BARS))[:-30])
    assert "a compressed file must be whole" in refusal(path)


def test_a_format_option_that_contradicts_the_file_is_refused(tmp_path: Path):
    path = made.saved(tmp_path / "nq.csv", made.metatrader(BARS))
    assert "--format is ninjatrader, but the file is histdata or metatrader" in refusal(
        path, VendorOptions(format="ninjatrader", stamp="close")
    )
    assert read_vendor_file(path, HISTDATA).facts.format == "histdata"


FIRST_BARS = {
    "firstrate/NQ_1min_sample.csv": (VendorOptions(), "2023-11-19 23:00", "NQ"),
    "ninjatrader8/NQ_12-24.Last.excerpt.txt": (CLOSES, "2024-12-06 14:28", "NQ"),
    "ninjatrader8/NQ_03-25.Last.excerpt.txt": (CLOSES, "2025-01-23 21:55", "NQ"),
    "tradingview/ES_1m.parquet": (
        VendorOptions(timezone="UTC", instrument="ES"),
        "2025-11-27 04:56",
        "ES",
    ),
    "databento/GLBX.MDP3_test_data.ohlcv-1m.dbn.zst": (
        VendorOptions(instrument="ES"),
        "2020-12-28 00:00",
        "ES",
    ),
}
"""Worked by hand: 18:00 EST, 14:29 and 21:56 closes, 04:56 in the file, midnight UTC in the file."""
REFUSED = {
    "ninjatrader8/NQ_12-24.Last.excerpt.txt": (VendorOptions(), "--format ninjatrader --stamp close (UTC)"),
    "metatrader/DAT_MT_NSXUSD_M1_202602.csv": (VendorOptions(), "must have prices on the tick grid"),
    "tradingview/NQ1_5m.parquet": (VendorOptions(), "one every 0:05:00"),
    "tradingview/ES_1m.parquet": (VendorOptions(instrument="ES"), "must prove their time zone"),
    "databento/GLBX.MDP3_test_data.ohlcv-1m.dbn.zst": (VendorOptions(), "--instrument"),
    **{
        f"databento/GLBX.MDP3_test_data.ohlcv-{schema}.dbn.zst": (
            VendorOptions(instrument="ES"),
            f"must be of one minute, got schema ohlcv-{schema}",
        )
        for schema in ("1s", "1h", "1d")
    },
}


@pytest.mark.parametrize("name", FIRST_BARS)
def test_private_vendor_files_open_at_the_expected_time(private_data: Path, name: str):
    if name.startswith("databento"):
        pytest.importorskip("databento_dbn")
    options, first, instrument = FIRST_BARS[name]
    bars = read_vendor_file(private_data / "vendor_samples" / name, options)
    assert bars.frame["timestamp"].iloc[0] == pd.Timestamp(first, tz="UTC")
    assert bars.counts.kept == bars.counts.read
    assert bars.facts.instrument == instrument


@pytest.mark.parametrize("name", REFUSED)
def test_private_vendor_files_that_must_not_register_are_refused_with_the_reason(
    private_data: Path, name: str
):
    if name.startswith("databento"):
        pytest.importorskip("databento_dbn")
    options, words = REFUSED[name]
    assert words in refusal(private_data / "vendor_samples" / name, options)
