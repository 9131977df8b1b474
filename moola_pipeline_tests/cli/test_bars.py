"""`moola bars add`, `list` and `rolls`: output, exit codes, and no trace of refused files."""

from pathlib import Path

import pandas as pd
import pytest

from moola_pipeline.storage.atomic_write import file_sha256
from moola_pipeline_tests.bars.examples import made_up_bars, write_csv, write_parquet
from moola_pipeline_tests.cli.calls import call, complaint, facts, start


@pytest.fixture
def bar_file(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "nq.csv", made_up_bars(6))


def files_below(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return sorted(str(path.relative_to(folder)) for path in files)


def parsed(home: Path) -> list[str]:
    """The parsed files of a home."""
    return [name for name in files_below(home) if "/parsed/" in name]


def naive_file(path: Path) -> Path:
    bars = made_up_bars(4)
    return write_csv(path, bars.assign(timestamp=bars["timestamp"].dt.tz_localize(None)))


def test_adding_a_file_prints_how_it_was_read_and_the_next_steps(bar_file: Path, isolated_home: Path):
    result = call("bars", "add", bar_file)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "nq.csv: registered",
        "  rows    6 read, 6 kept, 0 dropped",
        "  read    as NQ, csv, one-minute bars, times in UTC (the times), bar open (the default)",
        "  columns time=timestamp, open=open, high=high, low=low, close=close, volume=volume",
        "  bars    2024-03-08 14:30 to 2024-03-08 14:35 UTC (bar opens)",
        "  missing none of the 6 session minutes",
        f"  sha256  {file_sha256(bar_file)[:12]}...",
        "Next:",
        "  moola bars rolls add FILE      no contract rolls are known: a roll would look like a price move",
        "  moola labels add FILE          no labels are registered",
    ]
    assert files_below(isolated_home) == [
        "data/nq/manifest.json",
        *parsed(isolated_home),
        "data/nq/raw/nq.csv",
    ]


def test_json_has_the_same_facts_and_no_other_output(bar_file: Path):
    result = call("bars", "add", bar_file, "--json")
    (file,) = facts(result)["files"]
    assert file["sha256"] == file_sha256(bar_file)
    assert file["rows"] == {"read": 6, "kept": 6, "dropped": {}, "first_rejected": [], "sorted_in": 0}
    assert (file["first"], file["last"]) == ("2024-03-08T14:30:00Z", "2024-03-08T14:35:00Z")
    assert (file["outcome"], file["format"], file["timezone"]) == ("registered", "csv", "UTC")
    assert result.stderr == ""


def test_dropped_rows_are_counted_by_reason(tmp_path: Path):
    bars = made_up_bars(5)
    path = write_csv(tmp_path / "twice.csv", pd.concat([bars.iloc[[4]], bars]))
    (file,) = facts(call("bars", "add", path, "--json"))["files"]
    assert file["rows"]["read"] == file["rows"]["kept"] + sum(file["rows"]["dropped"].values())
    assert file["rows"]["dropped"] == {"exact duplicate": 1}


def test_options_reach_the_reader(tmp_path: Path):
    bars = made_up_bars(4).rename(columns={"close": "Last", "timestamp": "ts"})
    bars["ts"] = bars["ts"].dt.tz_localize(None)
    path = write_csv(tmp_path / "other.csv", bars)
    options = ["--timezone", "America/New_York", "--stamp", "close", "--columns", "close=Last"]
    (file,) = facts(call("bars", "add", path, *options, "--instrument", "ES", "--json"))["files"]
    assert file["first"] == "2024-03-08T19:29:00Z"
    assert (file["timezone"], file["stamp"]) == ("America/New_York", "close")
    assert (file["columns"]["close"], file["instrument"]) == ("Last", "ES")


def test_adding_a_file_again_prints_unchanged(bar_file: Path):
    call("bars", "add", bar_file)
    assert call("bars", "add", bar_file).stdout.startswith("nq.csv: unchanged\n")


def test_files_before_a_bad_file_are_added_and_files_after_it_are_not(tmp_path: Path, isolated_home: Path):
    good = [
        write_csv(tmp_path / f"{hour}.csv", made_up_bars(4, f"2024-03-08 {hour}:00")) for hour in (14, 16)
    ]
    bad = naive_file(tmp_path / "bad.csv")
    result = call("bars", "add", good[0], bad, good[1])
    assert result.exit_code == 2
    assert "14.csv: registered" in result.stdout
    assert complaint(result).startswith(
        "bad.csv: the times in timestamp must prove their time zone, got none."
    )
    assert files_below(isolated_home) == [
        "data/nq/manifest.json",
        *parsed(isolated_home),
        "data/nq/raw/14.csv",
    ]


def test_json_lists_the_files_added_before_a_bad_file(bar_file: Path, tmp_path: Path):
    result = call("bars", "add", bar_file, naive_file(tmp_path / "bad.csv"), "--json")
    assert [file["file"] for file in facts(result)["files"]] == ["nq.csv"]
    assert result.exit_code == 2
    assert complaint(result)


@pytest.mark.parametrize(
    ("name", "content", "opening"),
    [
        ("no_time.csv", "open,high,low,close\n1,1,1,1\n", "no_time.csv: columns must hold time, open,"),
        ("empty.csv", "", "empty.csv: a data file must hold rows, but it is empty."),
        ("other.csv", "\0\1\2", "other.csv: a bar file must be parquet, csv, JSON or DBN, got other bytes."),
        ("absent.csv", None, "absent.csv: a bar file must be readable, got: No such file or directory."),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_state(
    name: str, content: str | None, opening: str, tmp_path: Path, isolated_home: Path
):
    if content is not None:
        (tmp_path / name).write_text(content)
    result = call("bars", "add", tmp_path / name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert complaint(result).startswith(opening)
    assert files_below(isolated_home) == []


@pytest.mark.parametrize("command", [("bars", "add"), ("zigzag",)])
def test_a_folder_without_a_name_is_named_by_its_path(command: tuple[str, ...], isolated_home: Path):
    text = complaint(call(*command, ".", home=isolated_home))
    assert text.startswith(".: a ")
    assert "file must be readable, got: Is a directory." in text


@pytest.mark.parametrize(
    ("option", "opening"),
    [
        (["--columns", "close"], "--columns must hold each role once as role=NAME, got 'close'."),
        (["--stamp", "middle"], "--stamp must be open or close, got 'middle'."),
        (["--timezone", "Mars"], "--timezone must name a zone of the IANA database, got 'Mars'."),
        (
            ["--instrument", "CL"],
            "The instrument must be one of NQ, MNQ, ES, MES, YM, MYM, RTY, M2K, got 'CL'.",
        ),
    ],
)
def test_a_bad_option_is_refused_before_any_file_is_read(option: list[str], opening: str):
    result = call("bars", "add", "absent.csv", *option)
    assert result.exit_code == 2
    assert complaint(result).startswith(opening)


def test_a_file_with_contract_codes_needs_no_rolls(tmp_path: Path):
    path = write_parquet(tmp_path / "coded.parquet", made_up_bars(4).assign(symbol="NQH4"))
    commands = [step["command"] for step in facts(call("bars", "add", path, "--json"))["next"]]
    assert commands == ["moola labels add FILE"]


def test_the_list_has_every_file_and_whether_it_is_intact(bar_file: Path, isolated_home: Path):
    assert "No bars are registered" in call("bars", "list").stdout
    call("bars", "add", bar_file)
    shown = facts(call("bars", "list", "--json"))
    assert [(file["file"], file["rows"], file["intact"]) for file in shown["files"]] == [("nq.csv", 6, True)]
    assert call("bars", "list").exit_code == 0


def test_listing_a_changed_file_exits_1_with_a_remedy_that_works(bar_file: Path, isolated_home: Path):
    call("bars", "add", bar_file)
    kept = isolated_home / "data/nq/raw/nq.csv"
    kept.write_bytes(kept.read_bytes() + b" ")
    result = call("bars", "list")
    assert result.exit_code == 1
    assert "CHANGED OR MISSING" in result.stdout
    fault = complaint(result)
    assert fault.startswith("nq.csv: SHA256 is ")
    assert fault.endswith(
        'Add the original again with "moola bars add FILE", or, if the change is meant, '
        f"run: moola bars add {kept}"
    )

    assert call("bars", "add", bar_file).stdout.startswith("nq.csv: restored\n")
    assert call("bars", "list").exit_code == 0
    kept.write_bytes(kept.read_bytes() + b"\n")
    assert call("bars", "add", kept).stdout.startswith("nq.csv: replaced\n")
    assert call("bars", "list").exit_code == 0


def test_listing_a_missing_file_prints_json_and_exits_1(bar_file: Path, isolated_home: Path):
    call("bars", "add", bar_file)
    (isolated_home / "data/nq/raw/nq.csv").unlink()
    result = call("bars", "list", "--json")
    assert result.exit_code == 1
    assert [file["intact"] for file in facts(result)["files"]] == [False]
    assert complaint(result).endswith('Add the original again with "moola bars add FILE".')
    assert call("bars", "add", bar_file).stdout.startswith("nq.csv: restored\n")
    assert call("bars", "list").exit_code == 0


def test_adding_the_same_rolls_changes_nothing_and_other_rolls_replace_them(tmp_path: Path):
    path = tmp_path / "rolls.csv"
    path.write_text("time,old,new\n2024-03-11T22:00:00Z,NQH4,NQM4\n")
    first = facts(call("bars", "rolls", "add", path, "--json"))
    assert (first["outcome"], first["rolls"], first["rolls_before"]) == ("registered", 1, 0)
    assert call("bars", "rolls", "add", path).stdout.startswith("rolls.csv: unchanged, 1 rolls (before: 1)")
    path.write_text("time,old,new\n2024-03-12T22:00:00Z,NQH4,NQM4\n")
    assert facts(call("bars", "rolls", "add", path, "--json"))["outcome"] == "replaced"
    assert facts(call("bars", "list", "--json"))["rolls"] == 1


def test_bad_rolls_are_refused_in_one_line(tmp_path: Path):
    path = tmp_path / "rolls.csv"
    path.write_text("when,old,new\n2024-03-11T22:00:00Z,NQH4,NQM4\n")
    result = call("bars", "rolls", "add", path)
    assert result.exit_code == 2
    assert complaint(result).startswith("rolls.csv: rolls must have one column named time or timestamp")


def test_rejected_rows_are_counted_by_reason_with_the_path_of_their_file(tmp_path: Path, isolated_home: Path):
    bars = made_up_bars(300)
    bars.loc[[5, 6], "low"] = -1.0
    path = write_csv(tmp_path / "nq.csv", pd.concat([bars, bars.iloc[[9]]]))
    result = call("bars", "add", path)
    assert (
        "  rows    301 read, 298 kept, 3 dropped (1 exact duplicate; 2 a bar must have prices above 0 points)"
        in result.stdout
    )
    assert (
        "  set aside in data/nq/quarantine/nq.csv.csv, each with its reason; first row 6\n" in result.stdout
    )
    assert files_below(isolated_home) == [
        "data/nq/manifest.json",
        *parsed(isolated_home),
        "data/nq/quarantine/nq.csv.csv",
        "data/nq/raw/nq.csv",
    ]
    (file,) = facts(call("bars", "add", path, "--json"))["files"]
    assert file["rows"]["dropped"] == {"exact duplicate": 1, "a bar must have prices above 0 points": 2}
    assert file["quarantine"] == "data/nq/quarantine/nq.csv.csv"
    assert file["missing"]["by_session"] == {"2024-03-08": 2}


def test_an_invalid_cell_is_quoted_in_text_json_and_quarantine(tmp_path: Path, isolated_home: Path):
    path = write_csv(tmp_path / "nq.csv", made_up_bars(300))
    path.write_text(path.read_text().replace("18000.0,", "n.v.,", 1))
    result = call("bars", "add", path)
    assert "300 read, 299 kept, 1 dropped (1 a bar must have numbers as prices and volume)" in result.stdout
    assert "each with its reason; first row 1, where open is 'n.v.'\n" in result.stdout
    (file,) = facts(call("bars", "add", path, "--json"))["files"]
    assert file["rows"]["first_rejected"] == [
        {"row": 1, "reason": "a bar must have numbers as prices and volume", "found": "open is 'n.v.'"}
    ]
    held = pd.read_csv(isolated_home / "data/nq/quarantine/nq.csv.csv")
    assert held[["row", "found"]].to_numpy().tolist() == [[1, "open is 'n.v.'"]]


def test_a_spike_is_flagged_with_bar_and_size_and_kept(tmp_path: Path):
    bars = made_up_bars(200)
    bars.loc[100, "high"] = bars["high"].iloc[[99, 101]].max() + 150
    path = write_csv(tmp_path / "nq.csv", bars)
    assert "1 flagged and kept, largest 2024-03-08 16:10 (150 points)" in call("bars", "add", path).stdout
    (file,) = facts(call("bars", "add", path, "--json"))["files"]
    assert file["spikes"] == [{"timestamp": "2024-03-08T16:10:00Z", "points": 150.0}]
    assert file["rows"]["kept"] == 200


def test_two_concurrent_adds_both_succeed(tmp_path: Path, isolated_home: Path):
    files = [write_csv(tmp_path / f"{day}.csv", made_up_bars(60, f"2024-03-0{day} 14:30")) for day in (5, 6)]
    code = "from moola_pipeline.cli import main; main()"
    running = [start(code, "bars", "add", path) for path in files]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, "")
    shown = facts(call("bars", "list", "--json"))["files"]
    assert sorted(file["file"] for file in shown) == ["5.csv", "6.csv"]
    assert all(file["intact"] for file in shown)
