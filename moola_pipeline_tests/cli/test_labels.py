"""`moola labels`: the account of every row, the splits, and refusals."""

from pathlib import Path

import pandas as pd
import pytest

from moola_pipeline.bars.manifest import add_bars
from moola_pipeline.bars.schema import RAW_COLUMNS
from moola_pipeline.bars.store import registered_store
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.cli.calls import call, complaint, facts
from moola_pipeline_tests.labels.weekly_market import label_frame, label_row, weekly_bars, weekly_labels

BARS = weekly_bars()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the weekly market's bars; each test registers labels in its own copy."""
    folder = tmp_path_factory.mktemp("weekly")
    path = folder / "weekly.parquet"
    BARS[list(RAW_COLUMNS)].to_parquet(path, index=False)
    add_bars(registered_store(Home(folder / "home")), path)
    return folder / "home"


def sharing_bars(home: Path, own: Path) -> Path:
    """A new home, with the bars of another."""
    (own / "data" / "nq").mkdir(parents=True)
    for name in ("manifest.json", "parsed", "raw"):
        (own / "data" / "nq" / name).symlink_to(home / "data" / "nq" / name)
    return own


@pytest.fixture
def with_bars(home: Path, tmp_path: Path) -> Path:
    return sharing_bars(home, tmp_path / "home")


def label_file(path: Path, labels: pd.DataFrame) -> Path:
    labels.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    return path


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return label_file(tmp_path / "mine.csv", weekly_labels(BARS))


@pytest.fixture
def partly_bad(tmp_path: Path) -> Path:
    labels = weekly_labels(BARS)
    stray = label_row(BARS, 660, "none", window_id="stray", window_start=pd.Timestamp("2031-01-01T00:00Z"))
    out = label_row(BARS, 360, "none", window_id="graded", grade="D")
    odd = label_row(BARS, 960, "sideways", 40, window_id="odd")
    rows = label_frame([stray, out, odd])
    return label_file(tmp_path / "partly.csv", pd.concat([labels, rows], ignore_index=True))


def test_added_labels_are_accounted_for_by_split_and_month(with_bars: Path, good: Path):
    shown = facts(call("labels", "add", good, "--json", home=with_bars))
    (ledger,) = shown["files"]
    assert (ledger["rows"], ledger["kept"], ledger["dropped"]) == (44, 44, {})
    assert list(shown["splits"]) == ["train", "validation", "test"]
    train = shown["splits"]["train"]
    assert (train["consolidation"], train["retracement"], train["windows"]) == (9, 9, 18)
    assert train["months"]["2024-09"] == {
        "consolidation": 3,
        "retracement": 2,
        "unknown": 0,
        "none": 0,
        "windows": 5,
    }
    for split in shown["splits"].values():
        assert split["windows"] == sum(month["windows"] for month in split["months"].values())
    (warning,) = shown["warnings"]  # these labels alternate, week by week
    assert warning.startswith("in time order, a window tends to have the other type as the one before it")


def test_the_text_shows_the_same_in_a_few_lines(with_bars: Path, good: Path):
    lines = call("labels", "add", good, home=with_bars).stdout.splitlines()
    assert lines[:2] == [
        "mine.csv: 44 rows, 44 kept, 0 dropped",
        "  kept    22 consolidation, 22 retracement, 0 unknown, 0 none, in 44 windows",
    ]
    assert "  train      9 consolidation, 9 retracement, 0 unknown, 0 none, in 18 windows" in lines
    assert "2024-09 3/2/0/0" in "\n".join(lines)
    ends, names = "2024-12-31, 2025-03-31, 2025-06-30", "consolidation/retracement/unknown/none"
    assert f"Splits to {ends}; months as {names}:" in lines
    assert all(len(line) <= 100 for line in lines if not line.startswith("warning: "))


def test_a_file_with_bad_rows_is_refused_and_leaves_no_files(with_bars: Path, partly_bad: Path):
    result = call("labels", "add", partly_bad, home=with_bars)
    assert (result.exit_code, result.stdout) == (2, "")
    assert complaint(result).startswith("partly.csv: 2 of 47 rows cannot be used (row 46: ")
    assert not (with_bars / "data" / "nq" / "labels").exists()


def test_drop_bad_adds_the_usable_rows(with_bars: Path, partly_bad: Path):
    result = call("labels", "add", partly_bad, "--drop-bad", "--json", home=with_bars)
    assert result.exit_code == 0
    (ledger,) = facts(result)["files"]
    assert ledger["rows"] == ledger["kept"] + sum(ledger["dropped"].values())
    assert {row["window_id"] for row in ledger["refused"]} == {"stray", "graded", "odd"}


def test_checking_a_file_lists_its_faults_exits_2_and_writes_nothing(with_bars: Path, partly_bad: Path):
    result = call("labels", "check", partly_bad, home=with_bars)
    assert result.exit_code == 2
    assert result.stdout.startswith("partly.csv: 47 rows, 44 kept, 3 dropped (")
    assert "row 46     window_start is no bar: window stray" in result.stdout
    assert complaint(result) == (
        "partly.csv: each row must be usable, but 2 of 47 are not. "
        f"Correct them, or add the usable rows with: moola labels add {partly_bad} --drop-bad"
    )
    assert not (with_bars / "data" / "nq" / "labels").exists()


def test_drop_bad_is_not_offered_without_a_usable_row(with_bars: Path, good: Path, tmp_path: Path):
    rows = pd.read_csv(good).assign(label="surge")
    rows.to_csv(tmp_path / "surges.csv", index=False)
    result = call("labels", "check", tmp_path / "surges.csv", home=with_bars)
    assert result.exit_code == 2
    assert complaint(result) == (
        f"surges.csv: each row must be usable, but {len(rows)} of {len(rows)} are not. Correct them."
    )


def test_a_fault_that_all_rows_share_is_one_line_and_its_option_mends_it(
    with_bars: Path, good: Path, tmp_path: Path
):
    rows = pd.read_csv(good)
    late = rows.assign(expansion_start=rows["expansion_start"] + 1, expansion_end=rows["expansion_end"] + 1)
    late.to_csv(tmp_path / "late.csv", index=False)
    for command in ("check", "add"):
        result = call("labels", command, tmp_path / "late.csv", home=with_bars)
        assert result.exit_code == 2
        assert complaint(result) == (
            "late.csv: spans must lie on moves of the registered bars, but all spans look one bar late: "
            "give --shift-bars -1, or keep them with --as-is."
        )
        assert not result.stdout
    result = call("labels", "add", tmp_path / "late.csv", "--shift-bars", "-1", home=with_bars)
    assert "  windows are moved by -1 bar" in result.stdout.splitlines()
    assert result.exit_code == 0


def test_spans_in_time_are_added_with_the_time_that_was_looked_at(with_bars: Path, tmp_path: Path):
    days = sorted(set(BARS["session"]))[:20]
    first = [day.tz_localize("UTC") + pd.Timedelta("15h40min") for day in days]
    spans = pd.DataFrame({"Start": first, "End": [at + pd.Timedelta("5min") for at in first]})
    spans.assign(Label="Retracement").to_csv(tmp_path / "spans.csv", index=False, sep=";")
    stretches = [f"{at - pd.Timedelta('20min')}/{at + pd.Timedelta('70min')}" for at in first]
    words = [word for stretch in stretches for word in ("--covers", stretch)]
    result = call("labels", "add", tmp_path / "spans.csv", *words, "--as-is", "--json", home=with_bars)
    (ledger,) = facts(result)["files"]
    assert ledger["counts"] == {"consolidation": 0, "retracement": 20, "unknown": 0, "none": 20}
    assert ledger["notes"][-1] == "40 windows are cut from the covered time, 20 of them empty"
    without = call("labels", "check", tmp_path / "spans.csv", "--as-is", home=with_bars)
    assert without.exit_code == 0
    lines = without.stdout.splitlines()
    assert "  of them 20 windows are incomplete: only their marks are learned" in lines
    assert any(
        line.startswith("  incomplete 18 train, 2 unused: of these windows only the") for line in lines
    )


def test_spans_without_covered_time_are_kept_as_incomplete_in_history_and_export(
    with_bars: Path, tmp_path: Path
):
    first = BARS["timestamp"].iloc[400]
    rows = pd.DataFrame({"start": [first], "end": [first + pd.Timedelta("5min")], "label": "unknown"})
    rows.to_csv(tmp_path / "spans.csv", index=False)
    added = facts(call("labels", "add", tmp_path / "spans.csv", "--as-is", "--json", home=with_bars))
    assert (added["files"][0]["incomplete"], added["incomplete_windows"]) == (1, {"train": 1})
    assert added["splits"] == {}
    (judgment,) = facts(call("labels", "history", "--json", home=with_bars))["judgments"]
    assert (judgment["complete"], len(judgment["spans"])) == (False, 1)
    assert "(definition 1, pass 1, import, incomplete)" in call("labels", "history", home=with_bars).stdout
    call("labels", "export", tmp_path / "out.csv", home=with_bars)
    exported = pd.read_csv(tmp_path / "out.csv")
    assert exported["complete"].tolist() == ["no"]
    again = facts(call("labels", "add", tmp_path / "out.csv", "--as-is", "--json", home=with_bars))
    assert again["files"][0]["dropped"] == {"already registered": 1}


def test_an_option_for_reading_needs_a_file(with_bars: Path, good: Path):
    call("labels", "add", good, home=with_bars)
    result = call("labels", "check", "--shift-bars", "1", home=with_bars)
    assert complaint(result) == (
        "An option for reading needs a FILE, got none. Name a file, or leave the option out."
    )


def test_an_older_file_without_usable_rows_gets_no_warning(with_bars: Path, tmp_path: Path):
    row = {"window_id": "a", "label": "retracement", "expansion_start": 40, "expansion_end": 44}
    pd.DataFrame([row | {"features": "[[1, 2, 0, 1]]"}]).to_csv(tmp_path / "old.csv", index=False)
    result = call("labels", "check", tmp_path / "old.csv", home=with_bars)
    assert result.exit_code == 2
    assert "1 features are no window" in result.stdout
    assert "no window has more than one expansion" not in result.stdout


def test_checking_a_good_file_exits_0_and_writes_nothing(with_bars: Path, good: Path):
    result = call("labels", "check", good, home=with_bars)
    assert (result.exit_code, result.stderr) == (0, "")
    assert not (with_bars / "data" / "nq" / "labels").exists()


def test_checking_without_a_file_accounts_for_the_registered_labels(with_bars: Path, good: Path):
    assert complaint(call("labels", "check", home=with_bars)).endswith("Run: moola labels add FILE")
    call("labels", "add", good, home=with_bars)
    shown = facts(call("labels", "check", "--json", home=with_bars))
    assert [file["kept"] for file in shown["files"]] == [44]
    assert shown["splits"]["test"]["windows"] > 0


def test_registered_labels_whose_bars_are_gone_fail_the_check(with_bars: Path, good: Path, tmp_path: Path):
    call("labels", "add", good, home=with_bars)
    for name in ("manifest.json", "parsed", "raw"):
        (with_bars / "data" / "nq" / name).unlink()
    half = tmp_path / "half.parquet"
    BARS.loc[: len(BARS) // 2 - 1, list(RAW_COLUMNS)].to_parquet(half, index=False)
    add_bars(registered_store(Home(with_bars)), half)
    result = call("labels", "check", home=with_bars)
    assert result.exit_code == 1
    assert complaint(result).startswith(
        "Registered labels must lie on the registered bars, but 22 rows do not"
    )


def test_an_unsound_split_is_a_warning_here(with_bars: Path, tmp_path: Path):
    path = label_file(tmp_path / "few.csv", weekly_labels(BARS).head(6))
    result = call("labels", "add", path, home=with_bars)
    assert result.exit_code == 0
    (warning,) = [line for line in result.stdout.splitlines() if line.startswith("warning: ")]
    assert warning.startswith("warning: The validation split (2025-01-01 to 2025-03-31) must hold expansions")


@pytest.mark.parametrize("words", [("add", "labels.csv"), ("check", "labels.csv"), ("check",)])
def test_without_bars_the_missing_command_is_named(words: tuple[str, ...], isolated_home: Path):
    result = call("labels", *words)
    assert result.exit_code == 2
    assert 'Add a file with "moola bars add FILE".' in complaint(result)
    assert not (isolated_home / "data" / "nq" / "labels").exists()


def test_a_changed_bar_file_stops_labels_with_exit_1(with_bars: Path, good: Path, home: Path):
    (with_bars / "data" / "nq" / "raw").unlink()
    (with_bars / "data" / "nq" / "raw").mkdir()
    content = (home / "data" / "nq" / "raw" / "weekly.parquet").read_bytes()
    (with_bars / "data" / "nq" / "raw" / "weekly.parquet").write_bytes(content + b" ")
    result = call("labels", "add", good, home=with_bars)
    assert result.exit_code == 1
    assert complaint(result).startswith("weekly.parquet: SHA256 is ")


def test_check_tries_dates_and_saves_nothing(with_bars: Path, good: Path):
    call("labels", "add", good, home=with_bars)
    dates = ("--train-end", "2024-10-31", "--validation-end", "2024-12-31", "--test-end", "2025-03-31")
    shown = facts(call("labels", "check", *dates, "--json", home=with_bars))
    assert shown["split_settings"]["train_end"] == "2024-10-31"
    assert shown["splits"]["train"]["windows"] == 9
    assert not (with_bars / "data" / "splits.json").exists()


def test_check_tries_rolling_splits(with_bars: Path, good: Path):
    call("labels", "add", good, home=with_bars)
    lines = call("labels", "check", "--rolling", "2", home=with_bars).stdout
    assert "Splits rolling: the newest 2 labeled months for test, 2 before for validation" in lines
    assert "2025-05" in lines.partition("  test ")[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--train-end", "2025-06-01"), "train_end, validation_end and test_end must follow each other, got"),
        (("--rolling", "2", "--test-end", "2025-06-01"), "Splits must be set by --rolling or by dates"),
        (("--pass", "2"), "--pass needs a FILE"),
    ],
)
def test_invalid_options_are_refused_in_one_line(
    with_bars: Path, good: Path, words: tuple[str, ...], message: str
):
    call("labels", "add", good, home=with_bars)
    result = call("labels", "check", *words, home=with_bars)
    assert result.exit_code == 2
    assert complaint(result).startswith(message)


def test_the_suggested_dates_of_an_unsound_split_work_in_check(with_bars: Path, tmp_path: Path):
    path = label_file(tmp_path / "few.csv", weekly_labels(BARS).head(14))
    (warning,) = facts(call("labels", "add", path, "--json", home=with_bars))["warnings"][:1]
    advice = warning.partition("Nearest dates that work: moola run ")[2].split()
    shown = facts(call("labels", "check", *advice, "--json", home=with_bars))
    assert not [text for text in shown["warnings"] if "must hold expansions" in text]
    assert all(shown["splits"][name]["retracement"] for name in ("train", "validation", "test"))


def test_a_second_pass_is_registered_and_counted(with_bars: Path, good: Path, tmp_path: Path):
    call("labels", "add", good, home=with_bars)
    labels = weekly_labels(BARS).drop(columns="pass").assign(label="retracement")
    path = label_file(tmp_path / "second.csv", labels)
    refused = call("labels", "add", path, home=with_bars)
    assert refused.exit_code == 2
    assert complaint(refused).endswith(f"moola labels add {path} --pass 2")
    assert call("labels", "check", path, home=with_bars).exit_code == 2
    lines = call("labels", "add", path, "--pass", "2", home=with_bars).stdout.splitlines()
    assert lines[:3] == [
        "second.csv: 44 rows, 44 kept, 0 dropped",
        "  kept    0 consolidation, 44 retracement, 0 unknown, 0 none, in 44 windows",
        "  passes  44 rows of pass 2; pass 2 measures the annotator's consistency "
        "and is not used for training",
    ]
    assert "  train      9 consolidation, 9 retracement, 0 unknown, 0 none, in 18 windows" in lines


def test_a_batch_unlike_the_registered_labels_raises_a_warning(with_bars: Path, tmp_path: Path):
    labels = weekly_labels(BARS)
    call("labels", "add", label_file(tmp_path / "a.csv", labels.iloc[:24]), home=with_bars)
    other = labels.iloc[24:].assign(label="retracement")
    result = call("labels", "add", label_file(tmp_path / "b.csv", other), "--json", home=with_bars)
    shown = facts(result)
    assert [group["name"] for group in shown["shift"]["batches"]] == ["b.csv", "no batch named"]
    assert shown["shift"]["batches"][0]["retracement_share"]["estimate"] == 1
    assert any(text.startswith("batch no batch named: 50% of its") for text in shown["warnings"])


def test_expansions_outside_bars_30_to_74_are_counted_apart(with_bars: Path, tmp_path: Path):
    rows = [label_row(BARS, 360, "retracement", 40), label_row(BARS, 360, "retracement", 80)]
    result = call("labels", "add", label_file(tmp_path / "a.csv", label_frame(rows)), home=with_bars)
    assert result.stdout.splitlines()[2] == (
        "  of them 1 start outside bars 30-74: not used for training or scores"
    )


def test_windows_given_as_prices_are_counted(with_bars: Path, tmp_path: Path):
    prices = BARS[["open", "high", "low", "close"]].to_numpy()
    old = pd.DataFrame(
        {
            "window_id": ["a", "b"],
            "label": ["Consolidation", "retracement"],
            "expansion_start": 40,
            "expansion_end": 44,
            "features": [prices[360:465].tolist(), (prices[660:765] + 2).tolist()],
        }
    )
    old.to_parquet(tmp_path / "old.parquet")
    result = call("labels", "add", tmp_path / "old.parquet", "--drop-bad", home=with_bars)
    lines = result.stdout.splitlines()
    assert lines[:4] == [
        "old.parquet: 2 rows, 1 kept, 1 dropped (1 prices shifted by a constant)",
        "  windows 1 found, 0 ambiguous, 1 not found, matched by price",
        "  kept    1 consolidation, 0 retracement, 0 unknown, 0 none, in 1 windows",
        "  row 2      prices shifted by a constant: window b matches 2024-09-16T15:00:00Z with every price 2 "
        "points higher, as in back-adjusted prices: give its window_start",
    ]
    assert any(
        line.startswith("warning: old.parquet: no window has more than one expansion.") for line in lines
    )


def test_lost_labels_are_named_with_the_remedy(with_bars: Path, good: Path):
    call("labels", "add", good, home=with_bars)
    (with_bars / "data" / "nq" / "labels" / "labels.csv").unlink()
    result = call("labels", "check", home=with_bars)
    assert result.exit_code == 1
    assert complaint(result).startswith(
        "labels.csv must hold the labels that ledger.json records, but the file"
    )
