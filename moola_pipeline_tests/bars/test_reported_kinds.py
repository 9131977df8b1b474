"""The kinds of trouble that users reported with their bar files, each with a file made here."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from moola_pipeline.bars.bar_reader import VendorBars
from moola_pipeline.bars.manifest import add_bars
from moola_pipeline.bars.store import BarStore
from moola_pipeline.bars.vendor import read_vendor_file
from moola_pipeline.bars.vendor_options import VendorOptions, column_mapping
from moola_pipeline.errors import BadInput
from moola_pipeline_tests.bars.examples import session_bars, write_csv
from moola_pipeline_tests.bars.made_up_market import market, part, written

WEEK = market(date(2025, 1, 13), date(2025, 1, 17), np.random.default_rng(1))
MONTH = market(date(2025, 1, 13), date(2025, 2, 7), np.random.default_rng(2))
DAYS = part(MONTH, 9 * 60 + 30, 16 * 60)
NEW_YORK = VendorOptions(timezone="America/New_York")
FRAME_ORDER = ["timestamp", "open", "high", "low", "close", "volume"]


def saved(path: Path, frame: pd.DataFrame, **how: object) -> Path:
    frame.to_csv(path, index=False, **how)  # pyright: ignore[reportArgumentType, reportCallIssue]
    return path


def refusal(path: Path, options: VendorOptions | None = None) -> str:
    with pytest.raises(BadInput) as caught:
        read_vendor_file(path, options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same_bars(read: VendorBars, bars: pd.DataFrame, but: tuple[str, ...] = ()) -> None:
    wanted = bars.drop(columns=list(but)).reset_index(drop=True)
    pd.testing.assert_frame_equal(read.frame.reindex(columns=list(wanted)), wanted)


def text_times(bars: pd.DataFrame, layout: str, zone: str = "America/New_York") -> pd.DataFrame:
    return bars.assign(timestamp=bars["timestamp"].dt.tz_convert(zone).dt.strftime(layout))


# K01: the zone is wrong for part of the file


def test_a_session_in_another_zone_is_named(tmp_path: Path):
    third = WEEK["timestamp"].between("2025-01-14T23:00Z", "2025-01-15T22:00Z")
    times = written(WEEK, "America/New_York")["timestamp"]
    mixed = WEEK.assign(timestamp=times.where(~third, written(WEEK, "America/Chicago")["timestamp"]))
    text = refusal(saved(tmp_path / "nq.csv", mixed), NEW_YORK)
    assert "whole hours on 2025-01-14" in text
    assert text.endswith("Those sessions look like America/Chicago: export the file again in one zone.")


def test_a_session_in_another_zone_on_a_day_that_closes_early_is_named(tmp_path: Path):
    bars = part(market(date(2025, 2, 10), date(2025, 2, 21), np.random.default_rng(9)), 570, 960)
    holiday = bars["timestamp"].between("2025-02-17T00:00Z", "2025-02-17T23:00Z")
    assert 0 < holiday.sum() < 390
    times = written(bars, "America/New_York")["timestamp"]
    mixed = bars.assign(timestamp=times.where(~holiday, written(bars, "America/Chicago")["timestamp"]))
    text = refusal(saved(tmp_path / "nq.csv", mixed), NEW_YORK)
    assert "the sessions of 2025-02-17 begin and end at other hours than the others" in text


@pytest.mark.parametrize("sessions", ["all", "day"])
def test_standard_time_all_year_is_refused_as_new_york(tmp_path: Path, sessions: str):
    bars = market(date(2025, 2, 24), date(2025, 3, 21), np.random.default_rng(3))
    bars = bars if sessions == "all" else part(bars, 570, 960)
    path = saved(tmp_path / "nq.csv", written(bars, "Etc/GMT+5"))
    text = refusal(path, NEW_YORK)
    assert "2025-03-09, 2025-03-10" in text if sessions == "all" else "2025-03-10, 2025-03-11" in text
    same_bars(read_vendor_file(path, VendorOptions(timezone="Etc/GMT+5")), bars)


# K02: day sessions in a wrong zone


@pytest.mark.parametrize("days", [1, 3, 20])
@pytest.mark.parametrize(
    ("true", "stated"),
    [
        ("America/Chicago", "America/New_York"),
        ("America/New_York", "America/Chicago"),
        ("America/New_York", "UTC"),
        ("UTC", "America/New_York"),
        ("Asia/Tokyo", "America/New_York"),
    ],
)
def test_day_sessions_in_a_wrong_zone_are_refused_with_the_right_one(
    tmp_path: Path, true: str, stated: str, days: int
):
    bars = DAYS.iloc[: 390 * days]
    path = saved(tmp_path / "nq.csv", written(bars, true))
    assert f"give --timezone {true}." in refusal(path, VendorOptions(timezone=stated))
    same_bars(read_vendor_file(path, VendorOptions(timezone=true)), bars)


# K03: closes read as opens, and the reverse


@pytest.mark.parametrize(
    "bars",
    [WEEK, WEEK.iloc[:1200], DAYS, DAYS.iloc[:390], DAYS.iloc[390:690], part(MONTH, 480, 720)],
    ids=["week", "session in progress", "days", "day", "day in progress", "mornings"],
)
def test_closes_are_not_read_as_opens(tmp_path: Path, bars: pd.DataFrame):
    path = saved(tmp_path / "nq.csv", written(bars, "America/New_York", late=1))
    assert refusal(path, NEW_YORK).endswith("They look like bar closes: give --stamp close.")
    same_bars(read_vendor_file(path, VendorOptions(timezone="America/New_York", stamp="close")), bars)


@pytest.mark.parametrize(
    ("first", "last", "days", "proven"),
    [
        (480, 719, 6, True),
        (480, 719, 1, False),
        (600, 959, 2, False),
        (570, 959, 5, True),
        (570, 960, 5, True),
    ],
)
def test_closes_in_a_file_cut_by_its_stamps_are_read_if_the_user_says_so(
    tmp_path: Path, first: int, last: int, days: int, proven: bool
):
    late = written(MONTH, "America/New_York", late=1)
    minute = late["timestamp"].dt.hour * 60 + late["timestamp"].dt.minute
    chosen = minute.between(first, last) & (late["timestamp"] < f"2025-01-{13 + days}")
    path = saved(tmp_path / "nq.csv", late.loc[chosen])
    same_bars(
        read_vendor_file(path, VendorOptions(timezone="America/New_York", stamp="close")), MONTH.loc[chosen]
    )
    if proven:
        assert "give --stamp close" in refusal(path, NEW_YORK)


@pytest.mark.parametrize("bars", [WEEK, DAYS, DAYS.iloc[:390], DAYS.iloc[:270], part(MONTH, 480, 720)])
def test_opens_are_not_read_as_closes_even_if_the_user_says_so(tmp_path: Path, bars: pd.DataFrame):
    path = saved(tmp_path / "nq.csv", written(bars, "America/New_York"))
    text = refusal(path, VendorOptions(timezone="America/New_York", stamp="close"))
    assert text.endswith("They look like bar opens: give --stamp open.")


def test_a_session_whose_first_bar_is_set_aside_does_not_begin_a_minute_later(tmp_path: Path):
    bars = WEEK.iloc[:1200].reset_index(drop=True)
    damaged = bars.assign(low=bars["low"].where(bars.index > 0, bars["low"] - 0.1))  # off the tick grid
    read = read_vendor_file(saved(tmp_path / "nq.csv", written(damaged, "America/New_York")), NEW_YORK)
    same_bars(read, bars.iloc[1:])


def test_one_session_of_closes_among_opens_is_named(tmp_path: Path):
    third = WEEK["timestamp"].between("2025-01-14T23:00Z", "2025-01-15T22:00Z")
    late = WEEK["timestamp"] + pd.to_timedelta(third.astype(int), "min")
    text = refusal(saved(tmp_path / "nq.csv", WEEK.assign(timestamp=late)))
    assert "those of 2025-01-15 run from 18:01 to 17:00" in text


@pytest.mark.parametrize(("first", "begin"), [(540, "09:01"), (570, "09:31")])
def test_one_day_of_closes_among_day_sessions_of_opens_is_named(tmp_path: Path, first: int, begin: str):
    bars = part(MONTH, first, 960)
    third = bars["timestamp"].between("2025-01-15T00:00Z", "2025-01-15T23:00Z")
    late = bars["timestamp"] + pd.to_timedelta(third.astype(int), "min")
    text = refusal(saved(tmp_path / "nq.csv", bars.assign(timestamp=late)))
    assert f"those of 2025-01-15 run from {begin} to 16:00" in text


# K04: another instrument


@pytest.mark.parametrize("column", ["symbol", "ticker", "Instrument", "contract"])
@pytest.mark.parametrize("symbol", ["ES1!", "@ES", "ES=F", "/ES", "MNQ", "ES.c.0", "CME_MINI:ES1!", "ESH5"])
def test_a_symbol_of_another_instrument_is_refused(tmp_path: Path, column: str, symbol: str):
    path = saved(tmp_path / "bars.csv", WEEK.assign(**{column: symbol}))
    root = "MNQ" if symbol == "MNQ" else "ES"
    assert f"{column} names {symbol}. Give --instrument {root}" in refusal(path)
    assert read_vendor_file(path, VendorOptions(instrument=root)).facts.instrument == root
    same_bars(read_vendor_file(path, VendorOptions(columns={"contract": ""})), WEEK)


@pytest.mark.parametrize(
    "symbol",
    ["E-mini S&P 500", "ES*0", "$ES", "@ES#", "ES-H5", "ES_H25", "ES Z4", "FUT ES MAR 2025", "CME/ES"],
)
def test_other_notations_of_another_instrument_are_refused(tmp_path: Path, symbol: str):
    path = saved(tmp_path / "bars.csv", WEEK.assign(symbol=symbol))
    assert f"names {symbol}. Give --instrument ES" in refusal(path)


@pytest.mark.parametrize("column", ["code", "name", "root", "RIC", "underlying", "whatever"])
def test_another_instrument_is_seen_in_any_column(tmp_path: Path, column: str):
    assert f"column {column} names ESH5" in refusal(
        saved(tmp_path / "a.csv", WEEK.assign(**{column: "ESH5"}))
    )
    path = saved(
        tmp_path / "b.csv", WEEK.assign(**{column: "ESH5"}), columns=[column, *FRAME_ORDER], header=False
    )
    named = column_mapping("time=2,open=3,high=4,low=5,close=6,volume=7")
    assert "column 1 names ESH5" in refusal(path, VendorOptions(columns=named))


@pytest.mark.parametrize("symbol", ["^GSPC", "QQQ.US", "NQZ4-NQH5"])
def test_a_symbol_that_is_not_known_is_asked_about(tmp_path: Path, symbol: str):
    path = saved(tmp_path / "bars.csv", WEEK.assign(symbol=symbol))
    assert f"names {symbol!r}, which is not known. If they are, give --instrument NQ" in refusal(path)
    same_bars(read_vendor_file(path, VendorOptions(instrument="NQ")), WEEK)


def test_two_instruments_in_one_file_are_refused_with_and_without_symbols(tmp_path: Path):
    es = market(date(2025, 1, 20), date(2025, 1, 24), np.random.default_rng(4), "ES")
    both = pd.concat([WEEK.assign(symbol="NQ"), es.assign(symbol="ES")])
    assert "symbol names ES. Export one of NQ, MNQ, ES" in refusal(saved(tmp_path / "a.csv", both))
    text = refusal(saved(tmp_path / "b.csv", both.drop(columns="symbol")))
    assert "prices must be of one instrument in one unit" in text
    assert "--instrument" in text


@pytest.mark.parametrize(
    "name", ["ES 03-25.Last.csv", "ES_1min.csv", "CME_MINI_ES1!, 1.csv", "esh5.csv", "ES1m.csv", "ES0325.csv"]
)
def test_the_name_of_a_file_asks_for_its_instrument(tmp_path: Path, name: str):
    path = saved(tmp_path / name, WEEK)
    assert refusal(path).endswith("the file's name says ES. Give --instrument ES or --instrument NQ.")
    for instrument in ("NQ", "ES"):
        same_bars(read_vendor_file(path, VendorOptions(instrument=instrument)), WEEK)


def test_a_price_level_far_from_registered_neighbors_is_refused(tmp_path: Path):
    store = BarStore(tmp_path / "nq", simulated=False)
    add_bars(store, saved(tmp_path / "first.csv", WEEK))
    es = market(date(2025, 1, 21), date(2025, 1, 24), np.random.default_rng(4), "ES")
    with pytest.raises(BadInput, match="prices must continue those of first.csv .* with --instrument"):
        add_bars(store, saved(tmp_path / "second.csv", es))
    nq = market(date(2025, 1, 21), date(2025, 1, 24), np.random.default_rng(4))
    assert add_bars(store, saved(tmp_path / "third.csv", nq)).outcome == "registered"


# K05: contracts


@pytest.mark.parametrize("column", ["ticker", "instrument", "symbol", "contract", "expiry", "Contract Month"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("NQ 12-24", "NQ 03-25"),
        ("NQZ4 ", "NQH5 "),
        ("nqz4", "nqh5"),
        ("NQZ24.CME", "NQH25.CME"),
        ("/NQZ24", "/NQH25"),
        ("202412", "202503"),
        ("20241220", "20250321"),
        ("CME_MINI:NQZ2024", "CME_MINI:NQH2025"),
        ("NQ DEC24", "NQ MAR25"),
        ("Z4", "H5"),
        ("DEC24", "MAR25"),
        ("2024-12-20", "2025-03-21"),
    ],
)
def test_contracts_are_read_in_any_notation(tmp_path: Path, column: str, old: str, new: str):
    half = len(WEEK) // 2
    path = saved(tmp_path / "nq.csv", WEEK.assign(**{column: [old] * half + [new] * (len(WEEK) - half)}))
    read = read_vendor_file(path)
    assert read.frame["contract"].tolist() == ["NQZ4"] * half + ["NQH5"] * (len(WEEK) - half)


def test_contracts_beside_a_column_that_names_the_root_are_read(tmp_path: Path):
    half = len(WEEK) // 2
    codes = ["NQZ4"] * half + ["NQH5"] * (len(WEEK) - half)
    read = read_vendor_file(saved(tmp_path / "nq.csv", WEEK.assign(contract="NQ", symbol=codes)))
    assert read.frame["contract"].tolist() == codes
    assert read.facts.columns["contract"] == "symbol"


def test_numbers_of_contracts_that_change_are_asked_about(tmp_path: Path):
    half = len(WEEK) // 2
    numbers = [637533641] * half + [672387468] * (len(WEEK) - half)
    path = saved(tmp_path / "nq.csv", WEEK.assign(conid=numbers))
    assert "conid changes, so its contracts must be readable" in refusal(path)
    read = read_vendor_file(path, VendorOptions(columns={"contract": "conid"}))
    assert read.frame["contract"].tolist() == [*map(str, numbers)]
    same_bars(read_vendor_file(path, VendorOptions(columns={"contract": ""})), WEEK)


def test_rows_without_a_contract_are_refused(tmp_path: Path):
    path = saved(tmp_path / "nq.csv", WEEK.assign(symbol=[None, *["NQH5"] * (len(WEEK) - 1)]))
    assert "each row must name its contract, but symbol is empty in 1 of 6,900, first in row 1" in refusal(
        path
    )


@pytest.mark.parametrize("symbols", [("A12", "B13"), ("NQ.c.0", "NQ.c.1"), ("NQZ4-NQH5", "NQH5-NQM5")])
def test_symbols_that_change_and_cannot_be_read_are_refused(tmp_path: Path, symbols: tuple[str, str]):
    half = len(WEEK) // 2
    names = [symbols[0]] * half + [symbols[1]] * (len(WEEK) - half)
    path = saved(tmp_path / "nq.csv", WEEK.assign(symbol=names))
    text = refusal(path)
    assert "--columns contract=" in text
    if "changes" in text:
        raw = read_vendor_file(path, VendorOptions(columns={"contract": "symbol"}))
        assert raw.frame["contract"].tolist() == names


# K06: units


@pytest.mark.parametrize(("scale", "words"), [(100, "steps of 25"), (10, "steps of 2.5"), (4, "steps of 1")])
def test_prices_in_another_unit_are_refused(tmp_path: Path, scale: int, words: str):
    es = market(date(2025, 1, 13), date(2025, 1, 15), np.random.default_rng(5), "ES")
    prices = {name: es[name] * scale for name in FRAME_ORDER[1:5]}
    text = refusal(saved(tmp_path / "b.csv", es.assign(**prices)), VendorOptions(instrument="ES"))
    assert words in text


def test_one_session_in_hundredths_is_named(tmp_path: Path):
    es = market(date(2025, 1, 13), date(2025, 1, 17), np.random.default_rng(5), "ES")
    third = es["timestamp"].between("2025-01-14T23:00Z", "2025-01-15T22:00Z")
    prices = {name: es[name].where(~third, es[name] * 100) for name in FRAME_ORDER[1:5]}
    text = refusal(saved(tmp_path / "b.csv", es.assign(**prices)), VendorOptions(instrument="ES"))
    assert "on 2025-01-15" in text


# K07: intervals


def test_a_stretch_of_coarser_bars_is_named(tmp_path: Path):
    coarse = pd.concat([WEEK.iloc[:2760:5], WEEK.iloc[2760:]])
    text = refusal(saved(tmp_path / "nq.csv", coarse))
    assert "got one every 0:05:00 from 2025-01-12 23:00 to 2025-01-14 " in text


# K08: trading days as dates


@pytest.mark.parametrize("n_sessions", [2, 4])
@pytest.mark.parametrize("in_order", [True, False])
def test_dates_that_are_trading_days_are_refused(tmp_path: Path, in_order: bool, n_sessions: int):
    local = written(WEEK.iloc[: n_sessions * 1380], "America/New_York")
    evening = local["timestamp"].dt.hour >= 18
    local["timestamp"] += pd.to_timedelta(evening.astype(int), "D")
    path = saved(tmp_path / "nq.csv", local.sort_values("timestamp") if in_order else local)
    assert refusal(path, NEW_YORK).endswith("their trading day. Export calendar dates.")


# K10: counts since 1970


@pytest.mark.parametrize("unit", [1, 1_000, 1_000_000_000])
def test_counts_are_utc_and_judged_like_any_time(tmp_path: Path, unit: int):
    counts = WEEK["timestamp"].astype("int64") // (1_000_000_000 // unit)
    same_bars(read_vendor_file(saved(tmp_path / "nq.csv", WEEK.assign(timestamp=counts))), WEEK)
    local = written(WEEK, "America/New_York")["timestamp"].astype("int64") // (1_000_000_000 // unit)
    wrong = saved(tmp_path / "wrong.csv", WEEK.assign(timestamp=local))
    assert "the times look like America/New_York" in refusal(wrong)
    same_bars(read_vendor_file(wrong, NEW_YORK), WEEK)
    mornings = WEEK.assign(timestamp=counts).loc[WEEK["timestamp"].dt.hour.between(15, 16)]
    text = refusal(saved(tmp_path / "part.csv", mornings), NEW_YORK)
    assert "counts since 1970 are in UTC, got --timezone America/New_York" in text


# K11, K22: volumes


@pytest.mark.parametrize(
    "name", ["Vol", "VOLUME", "v", "<VOL>", "Total Volume", "Volume (Contracts)", "Quantity", "real_volume"]
)
def test_volume_is_read_under_any_usual_name(tmp_path: Path, name: str):
    read = read_vendor_file(saved(tmp_path / "nq.csv", WEEK.rename(columns={"volume": name})))
    same_bars(read, WEEK)
    assert read.volume == ""


def test_a_volume_that_is_not_read_is_said(tmp_path: Path):
    other = saved(tmp_path / "a.csv", WEEK.rename(columns={"volume": "UpVolume"}))
    assert read_vendor_file(other).volume == ("none found; UpVolume may hold it: --columns volume=UpVolume")
    named = read_vendor_file(other, VendorOptions(columns={"volume": "UpVolume"}))
    same_bars(named, WEEK)
    left_out = read_vendor_file(saved(tmp_path / "b.csv", WEEK), VendorOptions(columns={"volume": ""}))
    assert (left_out.volume, bool(left_out.frame["volume"].isna().to_numpy().all())) == (
        "left out (--columns)",
        True,
    )
    fraction = read_vendor_file(saved(tmp_path / "c.csv", WEEK.assign(volume=WEEK["volume"] / 1000)))
    assert "is no whole number of contracts" in fraction.volume
    same_bars(fraction, WEEK, but=("volume",))


def test_contracts_are_read_before_ticks(tmp_path: Path):
    both = WEEK.assign(tick_volume=3, real_volume=WEEK["volume"]).drop(columns="volume")
    read = read_vendor_file(saved(tmp_path / "nq.csv", both))
    assert read.facts.columns["volume"] == "real_volume"


@pytest.mark.parametrize(
    ("cell", "note"),
    [
        ("-", "left out, volume is no whole number of contracts ('-')"),
        (-1, "left out, volume is no whole number of contracts (-1)"),
        ("19 lots", "left out, volume is no whole number of contracts ('19 lots')"),
        ("", "none, volume is empty"),
        ("N/A", "none, volume is empty"),
    ],
)
def test_a_column_that_holds_no_volume_is_left_out_and_said(tmp_path: Path, cell: object, note: str):
    read = read_vendor_file(saved(tmp_path / "nq.csv", WEEK.assign(volume=cell)))
    same_bars(read, WEEK, but=("volume",))
    assert read.volume == note
    assert read.frame["volume"].isna().to_numpy().all()


def test_thousands_are_written_with_a_k(tmp_path: Path):
    texts = WEEK["volume"].map(lambda volume: f"{volume / 1000:.3f}K")
    same_bars(read_vendor_file(saved(tmp_path / "nq.csv", WEEK.assign(volume=texts))), WEEK)


# K12: a layout of two vendors


def test_a_layout_that_two_vendors_share_proves_no_zone(tmp_path: Path):
    mornings = part(WEEK, 480, 720)
    rows = text_times(mornings, "%Y%m%d %H%M%S", "Etc/GMT+5")
    path = saved(tmp_path / "nq.txt", rows, sep=";", header=False)
    for stamp in (None, "open"):
        text = refusal(path, VendorOptions(stamp=stamp))
        assert text.endswith("--format ninjatrader --stamp close (UTC) or --format histdata (Etc/GMT+5).")
    same_bars(read_vendor_file(path, VendorOptions(format="histdata")), mornings)


@pytest.mark.parametrize(("zone", "late", "name"), [("UTC", 1, "ninjatrader"), ("Etc/GMT+5", 0, "histdata")])
def test_daily_breaks_prove_which_vendor_wrote_it(tmp_path: Path, zone: str, late: int, name: str):
    rows = text_times(
        WEEK.assign(timestamp=WEEK["timestamp"] + pd.Timedelta(minutes=late)), "%Y%m%d %H%M%S", zone
    )
    read = read_vendor_file(saved(tmp_path / "nq.txt", rows, sep=";", header=False))
    same_bars(read, WEEK)
    assert (read.facts.format, read.zone_known_by) == (name, "its daily breaks")


# K13, K14: thin contracts and filler


@pytest.mark.parametrize("share", [0.1, 0.35, 0.7])
def test_a_thin_contract_is_read(tmp_path: Path, share: float):
    thin = MONTH.loc[np.random.default_rng(6).random(len(MONTH)) < share]
    same_bars(read_vendor_file(saved(tmp_path / "nq.csv", thin)), thin)


@pytest.mark.parametrize("seed", range(3))
def test_thin_nights_beside_full_days_are_no_coarser_bars(tmp_path: Path, seed: int):
    local = MONTH["timestamp"].dt.tz_convert("America/New_York")
    by_day = (local.dt.hour * 60 + local.dt.minute).between(570, 959)
    mixed = MONTH.loc[by_day | (np.random.default_rng(seed).random(len(MONTH)) < 0.12)]
    same_bars(read_vendor_file(saved(tmp_path / "nq.csv", mixed)), mixed)


def test_filler_after_the_early_close_of_a_holiday_is_left_out(tmp_path: Path):
    bars = market(date(2025, 2, 13), date(2025, 2, 19), np.random.default_rng(8))
    everywhere = bars.set_index("timestamp").asfreq("min")
    close = everywhere["close"].ffill()
    filled = everywhere.assign(
        volume=everywhere["volume"].fillna(0),
        **{name: everywhere[name].fillna(close) for name in FRAME_ORDER[1:5]},
    ).reset_index()
    assert (bars["timestamp"].between("2025-02-17T18:00Z", "2025-02-17T22:00Z")).sum() == 0
    same_bars(read_vendor_file(saved(tmp_path / "nq.csv", filled)), bars)


@pytest.mark.parametrize("with_volume", [True, False])
def test_filler_in_shut_hours_is_left_out_and_counted(tmp_path: Path, with_volume: bool):
    everywhere = WEEK.set_index("timestamp").asfreq("min")
    close = everywhere["close"].ffill()
    filled = everywhere.assign(
        volume=everywhere["volume"].fillna(0),
        **{name: everywhere[name].fillna(close) for name in FRAME_ORDER[1:5]},
    ).reset_index()
    filled = filled if with_volume else filled.drop(columns="volume")
    read = read_vendor_file(saved(tmp_path / "nq.csv", filled))
    same_bars(read, WEEK, but=() if with_volume else ("volume",))
    assert read.counts.filler == len(filled) - len(WEEK) == 4 * 60
    assert read.counts.read == read.counts.kept + read.counts.filler


@pytest.mark.parametrize("price", [np.nan, 0.0])
def test_rows_without_prices_in_shut_hours_are_filler_too(tmp_path: Path, price: float):
    everywhere = WEEK.set_index("timestamp").asfreq("min")
    prices = {name: everywhere[name].fillna(price) for name in FRAME_ORDER[1:5]}
    read = read_vendor_file(saved(tmp_path / "nq.csv", everywhere.assign(**prices).reset_index()))
    same_bars(read, WEEK)
    assert (read.counts.filler, read.counts.rejected) == (4 * 60, 0)


# K15, K19: stamps


@pytest.mark.parametrize("stamp", [None, "close"])
def test_the_last_second_of_a_minute_is_its_close(tmp_path: Path, stamp: str | None):
    path = saved(tmp_path / "nq.csv", WEEK.assign(timestamp=WEEK["timestamp"] + pd.Timedelta(seconds=59)))
    read = read_vendor_file(path, VendorOptions(stamp=stamp))
    same_bars(read, WEEK)
    assert (read.facts.stamp, read.stamp_known_by) == ("close", "the seconds")
    assert refusal(path, VendorOptions(stamp="open")).endswith("Give --stamp close.")


def test_midnight_may_be_written_as_2400(tmp_path: Path):
    closes = written(WEEK, "America/New_York", late=1)["timestamp"]
    midnight = (closes.dt.hour == 0) & (closes.dt.minute == 0)
    day = (closes - pd.to_timedelta(midnight.astype(int), "D")).dt.strftime("%Y-%m-%d")
    texts = day + closes.dt.strftime(" %H:%M").where(~midnight, " 24:00")
    path = saved(tmp_path / "nq.csv", WEEK.assign(timestamp=texts))
    same_bars(read_vendor_file(path, VendorOptions(timezone="America/New_York", stamp="close")), WEEK)


# K16: headers and JSON


@pytest.mark.parametrize(
    "above",
    ["# symbol=NQ, exchange=CME, tz=UTC, interval=1m, source=x, rows=9\n", "a,b,c,d,e,f\n", "NQ\n\nsep=,\n"],
)
def test_the_header_is_the_first_line_whose_names_are_known(tmp_path: Path, above: str):
    path = tmp_path / "nq.csv"
    path.write_text(above + str(WEEK.to_csv(index=False)))
    same_bars(read_vendor_file(path), WEEK)


def test_names_and_symbol_over_several_lines_are_read_as_yfinance_writes_them(tmp_path: Path):
    rows = WEEK[["timestamp", "close", "high", "low", "open", "volume"]]
    body = str(rows.to_csv(index=False, header=False))
    head = "Price,Close,High,Low,Open,Volume\nTicker,{0},{0},{0},{0},{0}\nDatetime,,,,,\n"
    path = tmp_path / "download.csv"
    path.write_text(head.format("NQ=F") + body)
    same_bars(read_vendor_file(path), WEEK)
    path.write_text(head.format("ES=F") + body)
    assert "its header names ES=F. Give --instrument ES" in refusal(path)


def _by_time(bars: pd.DataFrame) -> pd.DataFrame:
    return bars.set_index("t").rename(columns={"c": "close"})


JSON: dict[str, Callable[[pd.DataFrame], object]] = {
    "split": lambda bars: _by_time(bars).to_dict("split"),
    "index": lambda bars: {str(time): row for time, row in _by_time(bars).to_dict("index").items()},
    "pandas columns": lambda bars: _by_time(bars).to_dict("dict"),
    "nested": lambda bars: {"bars": {"NQ": bars.to_dict("records")}},
    "rows": lambda bars: bars.to_numpy().tolist(),
    "records": lambda bars: bars.to_dict("records"),
    "results": lambda bars: {"ticker": "NQH5", "results": bars.to_dict("records"), "count": len(bars)},
    "columns": lambda bars: {"s": "ok", **bars.to_dict("list")},
}


@pytest.mark.parametrize("shape", JSON)
@pytest.mark.parametrize("packed", [True, False])
def test_json_arrays_and_records_are_read(tmp_path: Path, shape: str, packed: bool):
    counted = WEEK.assign(timestamp=WEEK["timestamp"].astype("int64") // 1_000_000).astype({"volume": float})
    short = counted.rename(columns=dict(zip(counted.columns, "tohlcv", strict=True)))
    content = json.dumps(JSON[shape](short.astype(object))).encode()
    path = tmp_path / "bars.json"
    path.write_bytes(gzip.compress(content) if packed else content)
    same_bars(read_vendor_file(path), WEEK)


def test_json_times_without_a_zone_are_asked_about(tmp_path: Path):
    rows = text_times(part(WEEK, 600, 720), "%Y-%m-%d %H:%M:%S")
    path = tmp_path / "bars.json"
    path.write_text(json.dumps({"values": rows.to_dict("records")}))
    assert "must prove their time zone, got none" in refusal(path)
    same_bars(read_vendor_file(path, NEW_YORK), part(WEEK, 600, 720))


def test_json_without_rows_is_quoted(tmp_path: Path):
    path = tmp_path / "bars.json"
    path.write_text('{"error": "rate limit", "status": 429}')
    assert """got '{"error": "rate limit", "status": 429}'.""" in refusal(path)


# K17: clocks


CLOCKS = (
    *("%m/%d/%y %H:%M", "%m/%d/%Y %I:%M%p", "%m/%d/%Y %I:%M:%S %p", "%Y%m%d_%H%M%S", "%Y%m%d-%H:%M:%S"),
    *("%b %d, %Y %H:%M", "%d %B %Y %H:%M", "%d.%m.%y %H:%M", "%Y%m%d  %H:%M:%S", "%a %b %d %Y %H:%M:%S"),
    *("%Y-%m-%d %H:%M:%S America/New_York", "%Y-%m-%d %H:%M:%S ET", "%Y-%m-%d %H:%M:%S EST"),
    *("%d/%m/%Y, %I:%M:%S\u202f%p", "%m/%d/%Y %H.%M.%S", "%a %b %d %H:%M:%S %Y", "%H:%M:%S %d.%m.%Y"),
    *("%Y-%m-%d_%H-%M", "%d%b%Y:%H:%M:%S", "%b %d, %Y at %I:%M %p", "%Y-%m-%d %H:%M:%S %z EST"),
    *("%Y-%m-%d %H:%M:%S %z", "%Y-%m-%dT%H:%M%z", "%d.%m.%Y %H:%M:%S.000 GMT%z"),
)


@pytest.mark.parametrize("layout", CLOCKS)
def test_common_clocks_are_read(tmp_path: Path, layout: str):
    path = saved(tmp_path / "nq.csv", text_times(WEEK, layout), sep="\t")
    is_zoned = "%z" in layout or layout.endswith((" ET", " EST", "York"))
    same_bars(read_vendor_file(path, VendorOptions() if is_zoned else NEW_YORK), WEEK)


def test_the_message_lists_the_clocks_that_are_read(tmp_path: Path):
    path = saved(tmp_path / "nq.csv", WEEK.assign(timestamp="quarter past six"))
    assert "01/31/25 18:00" in refusal(path, NEW_YORK)


# K18: without a header


@pytest.mark.parametrize("layout", ["%m/%d/%Y,%H:%M", "%Y-%m-%d %H:%M", "%Y%m%d,%H%M%S"])
def test_the_suggested_columns_fit_a_file_without_a_header(tmp_path: Path, layout: str):
    path = tmp_path / "nq.txt"
    path.write_text(str(text_times(WEEK, layout).to_csv(index=False, header=False)).replace('"', ""))
    options = NEW_YORK
    if layout != "%Y-%m-%d %H:%M":
        suggested = refusal(path, NEW_YORK).rpartition("--columns ")[2].rstrip(".")
        options = VendorOptions(timezone="America/New_York", columns=column_mapping(suggested))
    same_bars(read_vendor_file(path, options), WEEK)


@pytest.mark.parametrize("first", ["NQH5", 17])
def test_the_suggested_columns_leave_out_a_symbol_or_number_in_front(tmp_path: Path, first: object):
    rows = text_times(WEEK, "%Y-%m-%d %H:%M:%S")
    rows.insert(0, "first", first)
    path = saved(tmp_path / "nq.txt", rows, header=False)
    suggested = column_mapping(refusal(path, NEW_YORK).rpartition("--columns ")[2].rstrip("."))
    read = read_vendor_file(path, VendorOptions(timezone="America/New_York", columns=suggested))
    same_bars(read, WEEK)
    assert ("contract" in read.frame) == (first == "NQH5")


# K23: names with commas, tuples; other names


@pytest.mark.parametrize("close", ['close="Close, USD"', "close=5"])
def test_a_name_with_a_comma_is_named_in_quotes_or_by_number(tmp_path: Path, close: str):
    path = saved(tmp_path / "nq.csv", WEEK.rename(columns={"close": "Close, USD"}))
    assert 'got timestamp, open, high, low, "Close, USD", volume' in refusal(path)
    same_bars(read_vendor_file(path, VendorOptions(columns=column_mapping(close))), WEEK)


def test_tuple_names_of_pandas_are_read(tmp_path: Path):
    tuples = {name: f"('{name.title()}', 'NQ=F')" for name in FRAME_ORDER[1:]}
    same_bars(read_vendor_file(saved(tmp_path / "nq.csv", WEEK.rename(columns=tuples))), WEEK)


def test_last_is_the_close_and_a_utc_column_proves_the_zone(tmp_path: Path):
    both = written(WEEK, "America/New_York").rename(columns={"timestamp": "DateTime_ET", "close": "Last"})
    utc = written(WEEK, "UTC")["timestamp"]
    read = read_vendor_file(saved(tmp_path / "nq.csv", both.assign(DateTime_UTC=utc)))
    same_bars(read, WEEK)
    assert read.facts.columns["time"] == "DateTime_UTC"


@dataclass(frozen=True)
class Reported:
    """What is right for a file of the reports: words of the refusal, or the first bar and the rows."""

    options: VendorOptions
    refused: str = ""
    first: str = ""
    kept: int = 0


def _as(zone: str = "", **more: str) -> VendorOptions:
    columns = column_mapping(more.pop("columns")) if "columns" in more else {}
    return VendorOptions(timezone=zone or None, columns=columns, **more)


_ET, _CT = "America/New_York", "America/Chicago"
_JANUARY = "2025-01-12 23:00"
REPORTED = {
    "k01_one_session_of_eight_in_chicago_time.csv.gz": Reported(_as(_ET), "whole hours on 2025-02-02"),
    "k01_fixed_EST_nov_to_mar26_as_new_york.csv.gz": Reported(_as(_ET), "give --timezone Etc/GMT+5"),
    "k02_day_session_chicago_clock_as_new_york.csv.gz": Reported(_as(_ET), f"give --timezone {_CT}"),
    "k02_day_session_new_york_clock_as_chicago.csv.gz": Reported(_as(_CT), f"give --timezone {_ET}"),
    "k03_day_session_0931_to_1600.csv.gz": Reported(_as(_ET), "give --stamp close"),
    "k03_session_in_progress_from_1801.csv": Reported(_as(_ET), "give --stamp close"),
    "k04_symbol_ES1!_as_NQ.csv": Reported(_as(), "Give --instrument ES"),
    "k04_NQ_then_ES_in_one_file.csv": Reported(_as(), "--instrument"),
    "k05_NQ_12-24_then_NQ_03-25.csv": Reported(_as(), first="2024-12-15 23:00", kept=6900),
    "k05_code_with_trailing_blank.csv": Reported(_as(), first="2024-12-15 23:00", kept=6900),
    "k05_ticker_column.csv": Reported(_as(), first="2024-12-15 23:00", kept=6900),
    "k06_ES_in_hundredths.csv": Reported(_as(instrument="ES"), "another unit (hundredths"),
    "k07_5_minute_then_1_minute.csv": Reported(_as(), "got one every 0:05:00 from 2025-01-05 23:00"),
    "k08_trading_day_as_date_mon_to_thu.csv": Reported(_as(_ET), "their trading day"),
    "k10_epoch_ms.csv": Reported(_as(), first=_JANUARY, kept=4140),
    "k11_volume_called_Vol.csv": Reported(_as(), first=_JANUARY, kept=4140),
    "k12_histdata_ascii_mornings.csv": Reported(_as(stamp="open"), "--format histdata"),
    "k13_thin_contract_35_percent.csv": Reported(_as(), first="2025-01-05 23:01", kept=4772),
    "k14_flat_filler_in_the_daily_break.csv": Reported(_as(), first=_JANUARY, kept=6900),
    "k15_stamped_at_second_59.csv": Reported(_as(stamp="close"), first=_JANUARY, kept=4140),
    "k16_comment_line_with_commas.csv": Reported(_as(), first=_JANUARY, kept=4140),
    "k16_ccxt_array.json": Reported(_as(), first=_JANUARY, kept=6900),
    "k17_two_digit_year.csv": Reported(_as(_ET), first=_JANUARY, kept=4140),
    "k17_pm_without_blank.csv": Reported(_as(_ET), first=_JANUARY, kept=4140),
    "k17_offset_after_blank.csv": Reported(_as(), first=_JANUARY, kept=4140),
    "k18_kibot_no_header.txt": Reported(_as(_ET), "date=1,time=2,open=3,high=4,low=5,close=6,volume=7"),
    "k19_midnight_as_2400.csv": Reported(_as(_ET, stamp="close"), first=_JANUARY, kept=6900),
    "k22_fractional_volume.csv": Reported(_as(columns="time=Gmt time"), first="2025-01-05 23:00", kept=13800),
    "k23_comma_in_a_column_name.csv": Reported(_as(columns='close="Close, USD"'), first=_JANUARY, kept=6900),
}


@pytest.mark.parametrize("name", REPORTED)
def test_the_reported_files_are_read_or_refused_as_is_right(private_data: Path, name: str):
    path, right = private_data / "reported_files" / name, REPORTED[name]
    if not path.exists():
        pytest.skip("the reported files are absent")
    if right.refused:
        assert right.refused in refusal(path, right.options)
        return
    read = read_vendor_file(path, right.options)
    assert read.frame["timestamp"].iloc[0] == pd.Timestamp(right.first, tz="UTC")
    assert read.counts.kept == right.kept
    if name.startswith("k05"):
        assert set(read.frame["contract"]) == {"NQZ4", "NQH5"}
    if name.startswith("k11"):
        assert read.frame["volume"].notna().to_numpy().all()


@pytest.mark.parametrize("name", ["session_name", "day_code", "Condition Code"])
def test_a_column_of_other_names_that_changes_is_no_contract(tmp_path: Path, name: str):
    """Moola 0.2 registered such files."""
    bars = session_bars("2024-03-04", "2024-03-05")
    regular = bars["timestamp"].dt.tz_convert("America/New_York").dt.hour.between(9, 15)
    bars[name] = np.where(regular, "RTH", "ETH")
    read = read_vendor_file(write_csv(tmp_path / "nq.csv", bars), VendorOptions(timezone="UTC"))
    assert len(read.frame) == len(bars)


@pytest.mark.parametrize("name", ["code", "contract_name", "expiry_code"])
def test_codes_of_contracts_that_cannot_be_read_are_refused(tmp_path: Path, name: str):
    bars = session_bars("2024-03-04", "2024-03-05")
    bars[name] = np.where(np.arange(len(bars)) < 1380, "front~1", "front~2")
    with pytest.raises(BadInput, match="changes, so its contracts must be readable"):
        read_vendor_file(write_csv(tmp_path / "nq.csv", bars), VendorOptions(timezone="UTC"))


@pytest.mark.parametrize(
    "cells", [[["NQ"]], [{"a": "NQ"}], [b"\xff\xfe"]], ids=["a list", "an object", "bytes that are no text"]
)
def test_a_column_of_symbols_that_holds_no_text_is_passed_over(tmp_path: Path, cells: list[object]):
    bars = session_bars("2024-03-04", "2024-03-04")
    table = pa.Table.from_pandas(bars).append_column("symbol", pa.array(cells * len(bars)))
    pq.write_table(table, tmp_path / "nq.parquet")
    read = read_vendor_file(tmp_path / "nq.parquet", VendorOptions())
    assert len(read.frame) == len(bars)


@pytest.mark.parametrize("every", [1, 5, 30])
def test_contracts_that_alternate_are_refused(tmp_path: Path, every: int):
    bars = session_bars("2024-03-04", "2024-03-05")
    bars["contract"] = np.where(np.arange(len(bars)) // every % 2, "NQH4", "NQM4")
    with pytest.raises(
        BadInput, match=r"one contract at a time, but contract changes .* times in 2,760 rows \(NQH4, NQM4\)"
    ):
        read_vendor_file(write_csv(tmp_path / "nq.csv", bars), VendorOptions(timezone="UTC"))


def test_a_file_of_few_bars_may_hold_a_roll(tmp_path: Path):
    bars = session_bars("2024-03-11", "2024-03-12").iloc[1370:1390].reset_index(drop=True)
    bars["contract"] = np.where(np.arange(20) < 10, "NQH4", "NQM4")
    read = read_vendor_file(write_csv(tmp_path / "nq.csv", bars), VendorOptions(timezone="UTC"))
    assert set(read.frame["contract"]) == {"NQH4", "NQM4"}
