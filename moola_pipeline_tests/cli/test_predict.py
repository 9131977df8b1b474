"""`moola predict`: the expansions in a bar file, as text, as JSON or in a file."""

import json
from pathlib import Path

import pandas as pd
import pytest

from moola_pipeline.cli.exit_codes import BAD_INPUT, FAILED
from moola_pipeline.inference.hindsight import EXPANSION_COLUMNS
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.cli.calls import call, complaint, facts

MODEL = ("--model", "models:/moola-simulated@champion")
TIMES = ["window_start", "started_at", "ended_at", "decided_at"]


@pytest.fixture(scope="module")
def bars(smoke_home: Home) -> pd.DataFrame:
    """1,000 bars of one session of the simulated market: 20 windows, one every 45 bars."""
    [path] = smoke_home.simulated.rglob("raw/bars.parquet")
    return pd.read_parquet(path).iloc[:1000]


@pytest.fixture(scope="module")
def bar_file(bars: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bars") / "bars.csv"
    bars.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def shown(smoke_home: Home, bar_file: Path) -> dict:
    return facts(call("predict", bar_file, *MODEL, "--json", home=smoke_home.root))


def test_json_names_the_model_and_counts_the_bars(shown: dict):
    assert shown["model"] == MODEL[1]
    assert (shown["model_version"], shown["simulated_model"]) == ("1", True)
    assert shown["bars"] == 1000
    assert shown["windows"] == 20


def test_each_expansion_has_the_columns_of_the_contract(shown: dict):
    assert len(shown["expansions"]) > 0
    for expansion in shown["expansions"]:
        assert list(expansion) == list(EXPANSION_COLUMNS)
        assert expansion["window_start"] <= expansion["started_at"] <= expansion["ended_at"]
        assert expansion["started_at"].endswith("Z")
        assert expansion["label"] in {"consolidation", "retracement"}
        assert 0 <= expansion["p_retracement"] <= 1


def test_rows_set_aside_are_counted_with_their_reason(
    smoke_home: Home, bars: pd.DataFrame, tmp_path: Path, shown: dict
):
    assert shown["rows"] == {
        "read": 1000,
        "kept": 1000,
        "dropped": {},
        "first_rejected": [],
        "sorted_in": 0,
    }
    odd = pd.concat([bars, bars.iloc[[3]]]).astype({"close": "str"}).reset_index(drop=True)
    odd.loc[[4, 6], "close"] = ["n.v.", "-1"]
    odd.to_csv(tmp_path / "odd.csv", index=False)
    words = ("predict", tmp_path / "odd.csv", *MODEL)
    rows = facts(call(*words, "--json", home=smoke_home.root))["rows"]
    assert (rows["read"], rows["kept"]) == (1001, 998)
    assert rows["dropped"] == {
        "exact duplicate": 1,
        "a bar must have numbers as prices and volume": 1,
        "a bar must have prices above 0 points": 1,
    }
    lines = call(*words, home=smoke_home.root).stdout.splitlines()
    assert lines[0].startswith("rows 1,001 read, 998 kept, 3 dropped (1 exact duplicate; 1 a bar must have")
    assert lines[2] == "set aside: first row 5, where close is 'n.v.'"


def test_bars_that_no_window_covers_are_listed(shown: dict, bars: pd.DataFrame):
    times = bars["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ").tolist()
    assert shown["not_covered"] == [
        {"from": times[0], "to": times[69], "bars": 70},
        {"from": times[-30], "to": times[-1], "bars": 30},
    ]


def test_the_text_is_a_table_marked_simulated(smoke_home: Home, bar_file: Path, shown: dict):
    lines = call("predict", bar_file, *MODEL, home=smoke_home.root).stdout.splitlines()
    assert lines[0] == "rows 1,000 read, 1,000 kept, 0 dropped"
    assert lines[1].startswith("read as NQ, csv, one-minute bars, times in UTC (the times), bar open (")
    assert lines[2].startswith("rolls: none known, a roll in these bars would look like a price move")
    assert lines[3] == (f"SIMULATED model {MODEL[1]} (version 1), 1,000 bars, 20 windows read in hindsight")
    assert lines[4] == (
        f"{len(shown['expansions'])} expansions; 100 bars at the edges of 2 stretches "
        "are not covered by any window"
    )
    assert lines[5] == (
        "the last session is still open: its last 30 bars need later bars; "
        "expansions found so far will not change"
    )
    assert lines[7] == "times are bar opens, New York time (America/New_York)"
    assert len(lines) == 9 + len(shown["expansions"])


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json"])
def test_a_file_holds_what_the_screen_shows(
    suffix: str, smoke_home: Home, bar_file: Path, shown: dict, tmp_path: Path
):
    out = tmp_path / f"marks{suffix}"
    result = call("predict", bar_file, *MODEL, "--out", out, home=smoke_home.root)
    assert result.stdout.splitlines()[-1] == f"written to {out}"
    if suffix == ".json":
        content = json.loads(out.read_text())
        assert content == {name: shown[name] for name in ("expansions", "not_covered")}
        return
    table = pd.read_csv(out, dtype={"model_version": "str"}) if suffix == ".csv" else pd.read_parquet(out)
    expected = pd.DataFrame(shown["expansions"])
    for name in TIMES:
        table[name] = pd.to_datetime(table[name], utc=True).dt.as_unit("ns")
        expected[name] = pd.to_datetime(expected[name], utc=True).dt.as_unit("ns")
    pd.testing.assert_frame_equal(table, expected, rtol=1e-12)


def test_an_unknown_suffix_is_refused_before_anything_is_read(tmp_path: Path, bar_file: Path):
    result = call("predict", bar_file, "--out", tmp_path / "marks.xlsx")
    assert result.exit_code == BAD_INPUT
    assert complaint(result) == (
        "--out must end in .csv, .parquet, .json, .pine, .ninjatrader.csv, "
        "got marks.xlsx. Choose one of them."
    )
    assert not (tmp_path / "marks.xlsx").exists()


def test_without_a_model_one_line_names_the_command(isolated_home: Path, bar_file: Path):
    result = call("predict", bar_file)
    assert result.exit_code == BAD_INPUT
    assert complaint(result) == (
        "models:/moola-nq@champion must be a registered model, but it is not. Train one on your own bars: "
        "moola bars add FILE && moola labels add FILE && moola run"
    )


def test_after_a_simulated_run_one_line_names_its_model(smoke_home: Home, bar_file: Path):
    result = call("predict", bar_file, home=smoke_home.root)
    assert result.exit_code == BAD_INPUT
    assert complaint(result) == (
        "models:/moola-nq@champion must be a registered model, but it is not. "
        f"Choose one with --model {MODEL[1]}, or train one on your own bars: "
        "moola bars add FILE && moola labels add FILE && moola run"
    )


def test_each_instrument_has_its_own_champion(isolated_home: Path, bar_file: Path):
    result = call("predict", bar_file, "--instrument", "ES")
    assert complaint(result).startswith("models:/moola-es@champion must be a registered model")


def test_the_output_never_replaces_the_bar_file(smoke_home: Home, bar_file: Path):
    before = bar_file.read_bytes()
    result = call("predict", bar_file, *MODEL, "--out", bar_file, home=smoke_home.root)
    assert result.exit_code == BAD_INPUT
    assert complaint(result) == (
        f"--out must differ from the input and the other outputs, got {bar_file} twice. Choose another path."
    )
    assert bar_file.read_bytes() == before


def test_changed_weights_of_a_registered_model_mark_nothing(smoke_copy: Home, bar_file: Path):
    [weights] = smoke_copy.tracking.rglob("expansion_model/weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    result = call("predict", bar_file, *MODEL, home=smoke_copy.root)
    assert result.exit_code == FAILED
    fault = complaint(result)
    assert fault.startswith(
        f"{MODEL[1]}: the files of version 1 must match their registration, but they are gone or"
    )
    assert "SHA256 is" in fault
    assert fault.endswith(f"Restore {smoke_copy.tracking}, or move it away and run: moola run")
    weights.unlink()
    assert call("predict", bar_file, *MODEL, home=smoke_copy.root).exit_code == FAILED


def test_the_model_of_one_instrument_marks_another_only_when_asked_for(
    smoke_home: Home, bars: pd.DataFrame, tmp_path: Path, shown: dict
):
    es = tmp_path / "es.csv"
    bars.to_csv(es, index=False)
    unasked = call("predict", es, *MODEL, home=smoke_home.root)
    assert unasked.exit_code == BAD_INPUT
    assert "the file's name says ES. Give --instrument ES" in complaint(unasked)
    no_champion = call("predict", es, "--instrument", "ES", home=smoke_home.root)
    assert no_champion.exit_code == BAD_INPUT
    assert MODEL[1].partition("@")[0] in complaint(no_champion)
    asked = facts(call("predict", es, *MODEL, "--instrument", "ES", "--json", home=smoke_home.root))
    assert (asked["trained_on"], asked["instrument"]) == ("NQ", "ES")
    assert asked["expansions"] == shown["expansions"]


def test_fewer_bars_than_one_window_are_refused(smoke_home: Home, bars: pd.DataFrame, tmp_path: Path):
    bars.iloc[:144].to_csv(tmp_path / "few.csv", index=False)
    result = call("predict", tmp_path / "few.csv", *MODEL, home=smoke_home.root)
    assert result.exit_code == BAD_INPUT
    assert complaint(result).startswith("few.csv: one window needs 145 bars of one segment")


def test_naive_times_need_their_zone(smoke_home: Home, bars: pd.DataFrame, tmp_path: Path, shown: dict):
    local = bars["timestamp"].dt.tz_convert("America/Chicago").dt.tz_localize(None)
    path = tmp_path / "local.csv"
    bars.assign(timestamp=local).to_csv(path, index=False)
    result = call("predict", path, *MODEL, home=smoke_home.root)
    assert result.exit_code == BAD_INPUT
    assert "--timezone" in complaint(result)
    zone = ("--timezone", "America/Chicago")
    same = facts(call("predict", path, *MODEL, *zone, "--json", home=smoke_home.root))
    assert same == shown


def test_closing_stamps_are_bars_a_minute_earlier(
    smoke_home: Home, bars: pd.DataFrame, tmp_path: Path, shown: dict
):
    path = tmp_path / "closes.csv"
    bars.assign(timestamp=bars["timestamp"] + pd.Timedelta(minutes=1)).to_csv(path, index=False)
    same = facts(call("predict", path, *MODEL, "--stamp", "close", "--json", home=smoke_home.root))
    assert same["expansions"] == shown["expansions"]


def test_a_file_that_is_not_there_is_refused_in_one_line(smoke_home: Home, tmp_path: Path):
    result = call("predict", tmp_path / "none.csv", *MODEL, home=smoke_home.root)
    assert result.exit_code == BAD_INPUT
    assert complaint(result).startswith("none.csv: a data file must be readable, got: No such file")


def test_an_impossible_output_folder_is_refused_in_one_line(smoke_home: Home, bar_file: Path, tmp_path: Path):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "marks.csv"
    result = call("predict", bar_file, *MODEL, "--out", out, home=smoke_home.root)
    assert result.exit_code == BAD_INPUT
    assert complaint(result).startswith("--out must be in a writable folder, got ")


def test_bars_without_expansions_give_an_empty_file_with_columns(
    smoke_home: Home, bars: pd.DataFrame, tmp_path: Path
):
    flat = bars.iloc[:150].assign(open=20_000.0, high=20_000.0, low=20_000.0, close=20_000.0)
    flat.to_parquet(tmp_path / "flat.parquet", index=False)
    out = tmp_path / "marks.csv"
    done = call("predict", tmp_path / "flat.parquet", *MODEL, "--out", out, home=smoke_home.root)
    assert done.exit_code == 0
    assert out.read_text().splitlines() == [",".join(EXPANSION_COLUMNS)]


def test_a_live_alarm_has_the_time_of_its_bar_and_no_end(smoke_home: Home, bar_file: Path, tmp_path: Path):
    words = ("predict", bar_file, *MODEL, "--mode", "live")
    output = facts(call(*words, "--json", home=smoke_home.root))
    assert (output["mode"], output["max_wait"], output["windows"]) == ("live", 10, 925)
    assert [one["bars"] for one in output["not_covered"]] == [75]
    assert len(output["expansions"]) > 0
    for alarm in output["expansions"]:
        assert list(alarm) == list(EXPANSION_COLUMNS)
        assert alarm["ended_at"] is None
        assert alarm["started_at"] <= alarm["decided_at"]
        assert alarm["mode"] == "live"
    lines = call(*words, "--out", tmp_path / "alarms.csv", home=smoke_home.root).stdout.splitlines()
    assert any(line.endswith("925 windows read live, one per closed bar") for line in lines)
    assert len(pd.read_csv(tmp_path / "alarms.csv")) == len(output["expansions"])


def test_an_alarm_budget_raises_so_many_alarms_and_never_fewer_than_a_smaller_one(
    smoke_home: Home, bar_file: Path
):
    words = ("predict", bar_file, *MODEL, "--mode", "live", "--json")
    counts = []
    for budget in ("1", "5", "20"):
        output = facts(call(*words, "--alarms-per-session", budget, home=smoke_home.root))
        assert output["alarms_per_session"] == int(budget)
        counts.append(len(output["expansions"]))
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_an_alarm_budget_is_for_live_mode_and_its_longest_wait(bar_file: Path):
    hindsight = call("predict", bar_file, *MODEL, "--alarms-per-session", "3")
    assert complaint(hindsight) == (
        "--alarms-per-session needs --mode live and no --max-wait, got --mode hindsight. "
        "Change that, or leave it out."
    )
    live = ("--mode", "live", "--max-wait", "3", "--alarms-per-session", "3")
    assert "got --max-wait" in complaint(call("predict", bar_file, *MODEL, *live))
    assert call("predict", bar_file, "--mode", "live", "--alarms-per-session", "21").exit_code == BAD_INPUT


def test_a_version_without_alarm_budgets_names_the_remedy(
    smoke_home: Home, bar_file: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("moola_pipeline.evaluation.alarm_budgets.ALARM_THRESHOLDS", "no such fact")
    words = (*MODEL, "--mode", "live", "--alarms-per-session", "3")
    assert complaint(call("predict", bar_file, *words, home=smoke_home.root)) == (
        "--alarms-per-session needs a version with thresholds by alarm budget, but version 1 has none. "
        "Train one: moola run"
    )


def test_max_wait_needs_live_mode(bar_file: Path):
    result = call("predict", bar_file, *MODEL, "--max-wait", "3")
    assert result.exit_code == BAD_INPUT
    assert complaint(result) == (
        "--max-wait needs --mode live, got --mode hindsight. Add --mode live, or leave --max-wait out."
    )
