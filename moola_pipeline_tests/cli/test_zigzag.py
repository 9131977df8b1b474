"""`moola zigzag`: the swings of a bar file as a table, a file and a chart."""

import json
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from moola_pipeline.bars.table import build_table
from moola_pipeline.cli.zigzag import COLUMNS
from moola_pipeline.features.zigzag import confirmed_swings
from moola_pipeline.inference import plots
from moola_pipeline_tests.cli.calls import call, complaint, facts, start
from moola_pipeline_tests.features.naive import TICK, naive_atr, naive_swings, random_bars

N_BARS = (600, 500, 8)
"""Two sessions, and a third that is too short for the ATR."""
DAYS = ("2024-03-04", "2024-03-05", "2024-03-06")


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    prices = random_bars(np.random.default_rng(0), sum(N_BARS))
    minutes = [np.datetime64(f"{day}T00:00") + np.arange(n) for day, n in zip(DAYS, N_BARS, strict=True)]
    frame = pd.DataFrame(prices, columns=["open", "high", "low", "close"])
    return frame.assign(timestamp=pd.to_datetime(np.concatenate(minutes), utc=True), volume=1)


@pytest.fixture(scope="module")
def bar_file(bars: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bars") / "bars.csv"
    bars.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def shown(bar_file: Path) -> dict:
    return facts(call("zigzag", bar_file, "--json"))


def test_swings_equal_those_of_a_naive_search_in_each_session(bars: pd.DataFrame, shown: dict):
    expected = []
    for first, n_bars in zip(np.cumsum((0, *N_BARS)), N_BARS, strict=False):
        part = bars.iloc[first : first + n_bars]
        high, low, close = (part[name].tolist() for name in ("high", "low", "close"))
        atr = [max(value, TICK) for value in naive_atr(high, low, close)]
        for t, state in enumerate(naive_swings(high, low, close, atr, 1.2)):
            if state["confirmed"]:
                kind = "high" if state["direction"] < 0 else "low"
                times = [f"{part['timestamp'].iloc[int(i)]:%FT%TZ}" for i in (state[f"{kind}_bar"], t)]
                expected.append(dict(zip(COLUMNS, (times[0], state[kind], kind, times[1]), strict=True)))
    assert shown["swings"] == expected
    assert len(expected) > 100


def test_no_swing_crosses_a_session_and_highs_and_lows_alternate(shown: dict):
    swings = shown["swings"]
    assert all(
        it["time"] < it["confirmed_at"] and it["time"][:10] == it["confirmed_at"][:10] for it in swings
    )
    assert {it["time"][:10] for it in swings} == set(DAYS[:2])
    for day in DAYS[:2]:
        kinds = [it["kind"] for it in swings if it["time"].startswith(day)]
        assert all(a != b for a, b in pairwise(kinds))


def test_json_holds_the_settings(shown: dict):
    assert {name: shown[name] for name in list(shown)[:-1]} == {
        "file": "bars.csv",
        "k": 1.2,
        "atr_bars": 10,
        "bars": 1108,
        "segments": 3,
        "segments_too_short": 1,
        "plotted_session": None,
        "rolls": {"source": "none", "file": None, "within_bars": 0},
    }


def test_k_and_atr_are_those_of_the_options(bars: pd.DataFrame, bar_file: Path):
    output = facts(call("zigzag", bar_file, "--k", "3", "--atr", "5", "--json"))
    table = build_table(bars[["timestamp", "open", "high", "low", "close"]].assign(volume=pd.NA), None)
    prices, segment = table[["open", "high", "low", "close"]].to_numpy(float), table["segment"].to_numpy()
    assert [it["price"] for it in output["swings"]] == confirmed_swings(
        prices, segment, TICK, 3.0, 5
    ).price.tolist()


def test_the_text_shows_the_last_swings_and_how_to_get_all(bar_file: Path, shown: dict):
    lines = call("zigzag", bar_file).stdout.splitlines()
    assert lines[0] == f"bars.csv: {len(shown['swings'])} swings in 1,108 bars, 3 segments"
    assert lines[1] == ("rolls: none known, a roll in these bars would look like a price move (--rolls FILE)")
    assert lines[2] == "each confirmed by a retracement of 1.2 ATR(10)"
    assert lines[3] == "1 segment is too short for the ATR: no swing can be confirmed in it"
    assert lines[4] == "the last 20 (all: --out swings.csv)"
    assert lines[6] == "times are bar opens, New York time (America/New_York)"
    assert lines[7].split() == list(COLUMNS)
    assert len(lines) == 8 + 20


def printed_times(*words: str | Path) -> list[tuple[str, str]]:
    """Both times of each swing in the printed table."""
    lines = call("zigzag", *words).stdout.splitlines()
    [head] = [number for number, line in enumerate(lines) if line.split() == list(COLUMNS)]
    rows = [line.split() for line in lines[head + 1 :]]
    return [(" ".join(row[:2]), " ".join(row[-2:])) for row in rows]


@pytest.mark.parametrize(
    ("opened", "printed"),
    [("2024-03-08T14:30", "2024-03-08 09:51"), ("2024-03-11T14:30", "2024-03-11 10:51")],
    ids=["winter time", "summer time"],
)
def test_a_time_worked_by_hand_is_printed_in_new_york_time(opened: str, printed: str, tmp_path: Path):
    path = tmp_path / "step.csv"
    close = 18_000 + np.r_[np.zeros(20), np.full(20, 40.0), np.zeros(20)] + np.arange(60) % 2 / 4
    minutes = pd.date_range(opened, periods=60, freq="min", tz="UTC")
    prices = {"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 1}
    pd.DataFrame({"timestamp": minutes, **prices}).to_csv(path, index=False)
    assert facts(call("zigzag", path, "--json"))["swings"][-1]["time"] == f"{minutes[21]:%FT%TZ}"
    assert printed_times(path)[-1][0] == printed


@pytest.mark.parametrize("zone", ["America/Chicago", "UTC", "Asia/Tokyo"])
def test_printed_times_are_those_of_the_chosen_zone(zone: str, bar_file: Path, shown: dict):
    swings = shown["swings"][-20:]
    both = [[pd.Timestamp(it[name]).tz_convert(zone) for name in ("time", "confirmed_at")] for it in swings]
    expected = [tuple(f"{moment:%Y-%m-%d %H:%M}" for moment in moments) for moments in both]
    assert printed_times(bar_file, "--show-timezone", zone) == expected
    assert facts(call("zigzag", bar_file, "--show-timezone", zone, "--json"))["swings"][-20:] == swings


def test_chart_and_text_name_the_same_zone(bar_file: Path, tmp_path: Path):
    plot = tmp_path / "swings.svg"
    words = ("--plot", plot, "--session", DAYS[1], "--show-timezone", "America/Chicago")
    lines = call("zigzag", bar_file, *words).stdout.splitlines()
    assert f"session {DAYS[1]} drawn to {plot}, Chicago time (another: --session DATE)" in lines
    assert "times are bar opens, Chicago time (America/Chicago)" in lines
    texts = [element.text for element in ElementTree.parse(plot).iter() if element.text]
    assert "Chicago time (CST, UTC-06:00), bar opens" in texts


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json"])
def test_a_file_holds_all_swings(suffix: str, bar_file: Path, shown: dict, tmp_path: Path):
    out = tmp_path / f"swings{suffix}"
    assert call("zigzag", bar_file, "--out", out).stdout.splitlines()[-1] == f"written to {out}"
    if suffix == ".json":
        assert json.loads(out.read_text()) == shown["swings"]
        return
    table = pd.read_csv(out, parse_dates=["time"]) if suffix == ".csv" else pd.read_parquet(out)
    assert list(table.columns) == list(COLUMNS)
    assert table["price"].tolist() == [it["price"] for it in shown["swings"]]
    assert table["time"].dt.strftime("%FT%TZ").tolist() == [it["time"] for it in shown["swings"]]


def test_an_existing_file_is_replaced_as_a_whole(bar_file: Path, tmp_path: Path):
    out = tmp_path / "swings.csv"
    out.write_text("x" * 10**6)
    call("zigzag", bar_file, "--out", out)
    assert out.read_text().startswith("time,price,kind,confirmed_at\n")
    assert [path.name for path in tmp_path.iterdir()] == ["swings.csv"]


def test_a_png_of_the_last_session_is_drawn_and_named(bar_file: Path, tmp_path: Path):
    plot = tmp_path / "swings.png"
    lines = call("zigzag", bar_file, "--plot", plot).stdout.splitlines()
    assert f"session {DAYS[2]} drawn to {plot}, New York time (another: --session DATE)" in lines
    height, width = imread(plot).shape[:2]
    assert width > height > 1000


def test_a_session_can_be_chosen_and_is_named_in_the_chart(bar_file: Path, tmp_path: Path):
    plot = tmp_path / "swings.svg"
    output = facts(call("zigzag", bar_file, "--plot", plot, "--session", DAYS[1], "--json"))
    assert output["plotted_session"] == DAYS[1]
    texts = [element.text for element in ElementTree.parse(plot).iter() if element.text]
    assert f"bars.csv, session {DAYS[1]}, zigzag k = 1.2, ATR(10)" in texts
    assert "New York time (EST, UTC-05:00), bar opens" in texts


def test_a_chart_holds_only_the_bars_and_swings_of_its_session(
    bar_file: Path, shown: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    drawn: list[pd.DataFrame] = []
    monkeypatch.setattr(plots, "draw_swings", lambda axes, *frames: drawn.extend(frames))
    call("zigzag", bar_file, "--plot", tmp_path / "swings.svg", "--session", DAYS[1])
    bars, swings = drawn
    assert len(bars) == N_BARS[1]
    expected = [it["time"] for it in shown["swings"] if it["time"].startswith(DAYS[1])]
    assert swings["time"].dt.strftime("%FT%TZ").tolist() == expected


def test_matplotlib_is_loaded_for_a_picture_only(bar_file: Path):
    code = (
        "import sys, atexit; from moola_pipeline.cli import main\n"
        "atexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr)); main()"
    )
    process = start(code, "zigzag", str(bar_file))
    _, modules = process.communicate()
    assert process.returncode == 0
    assert "matplotlib" not in modules.split()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--k", "0"), "--k must be > 0 ATR, got 0. Leave it out for 1.2."),
        (("--k", "-4"), "--k must be > 0 ATR, got -4. Leave it out for 1.2."),
        (("--k", "nan"), "--k must be > 0 ATR, got nan. Leave it out for 1.2."),
        (("--k", "inf"), "--k must be > 0 ATR, got inf. Leave it out for 1.2."),
        (("--atr", "0"), "--atr must be 1 to 1000 bars, got 0. Leave it out for 10."),
        (
            ("--out", "swings.txt"),
            "--out must end in .csv, .parquet, .json, got swings.txt. Choose one of them.",
        ),
        (("--plot", "swings.jpg"), "--plot must end in .png, .svg, got swings.jpg. Choose one of them."),
        (
            ("--plot", "swings.svg", "--session", "yesterday"),
            "--session must be a date, got 'yesterday'. Write it as 2025-06-30.",
        ),
        (
            ("--plot", "swings.svg", "--session", "2024-03-09"),
            "bars.csv: --session must be a session of this file, 2024-03-04 to 2024-03-06, got 2024-03-09. "
            "Choose a session with bars.",
        ),
        (
            ("--show-timezone", "America/NewYork"),
            "--show-timezone must name a zone of the IANA database, got 'America/NewYork'. "
            "Did you mean 'America/New_York'?",
        ),
        (
            ("--session", "2024-03-04"),
            "--session needs --plot, got no --plot. Add --plot swings.png.",
        ),
        (
            ("--atr", "600"),
            "bars.csv: swings need more than 600 bars of one segment (--atr; no gap over 10 minutes), "
            "got 600. Give more bars, or a smaller --atr.",
        ),
    ],
)
def test_invalid_options_are_refused_in_one_line(
    words: tuple[str, ...], text: str, bar_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    result = call("zigzag", bar_file, *words)
    assert result.exit_code == 2
    assert complaint(result) == text
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_one_bar_is_refused(bars: pd.DataFrame, tmp_path: Path):
    path = tmp_path / "one.csv"
    bars.iloc[:1].to_csv(path, index=False)
    result = call("zigzag", path)
    assert result.exit_code == 2
    assert complaint(result).startswith("one.csv: ")


@pytest.mark.parametrize("option", ["--out", "--plot"])
def test_the_bar_file_is_never_overwritten(option: str, bars: pd.DataFrame, tmp_path: Path):
    path = tmp_path / ("bars.csv" if option == "--out" else "bars.svg")
    bars.to_csv(path, index=False)
    before = path.read_bytes()
    result = call("zigzag", path, option, path)
    assert result.exit_code == 2
    assert complaint(result) == (
        f"{option} must differ from the input and the other outputs, got {path} twice. Choose another path."
    )
    assert path.read_bytes() == before


def test_an_unwritable_path_is_named(bar_file: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "swings.csv"
    result = call("zigzag", bar_file, "--out", out)
    assert result.exit_code == 2
    assert complaint(result).startswith(f"--out must be in a writable folder, got {out} (")


def test_bars_are_read_as_bars_add_reads_them(bars: pd.DataFrame, shown: dict, tmp_path: Path):
    path = tmp_path / "closes.csv"
    local = bars["timestamp"].dt.tz_convert("America/Chicago").dt.tz_localize(None) + pd.Timedelta("1min")
    bars.assign(when=local, last=bars["close"]).drop(columns=["timestamp", "close"]).to_csv(path, index=False)
    options = ("--timezone", "America/Chicago", "--stamp", "close", "--columns", "time=when,close=last")
    assert facts(call("zigzag", path, *options, "--json"))["swings"] == shown["swings"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("firstrate/NQ_1min_sample.csv", ()),
        ("tradingview/ES_1m.parquet", ("--instrument", "ES", "--timezone", "UTC")),
    ],
)
def test_vendor_files_have_swings(name: str, options: tuple[str, ...], private_data: Path):
    output = facts(call("zigzag", private_data / "vendor_samples" / name, *options, "--json"))
    assert output["bars"] / 12 < len(output["swings"]) < output["bars"] / 3


def test_help_names_the_rolls_that_end_a_swing():
    shown = " ".join(call("zigzag", "--help").stdout.split())
    assert "Rolls come from the file's contracts, --rolls or the registered rolls." in shown
