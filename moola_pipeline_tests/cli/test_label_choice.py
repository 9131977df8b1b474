"""`moola labels next`, `doubtful`, `alike`, `budget`: on the smallest simulated market, and refusals."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from moola_pipeline.bars.manifest import add_bars
from moola_pipeline.bars.schema import RAW_COLUMNS
from moola_pipeline.bars.simulated import SMOKE_SETTINGS
from moola_pipeline.bars.store import BarStore, registered_store
from moola_pipeline.label_choice import trees
from moola_pipeline.label_choice.learning_curve import CurveSettings
from moola_pipeline.labels.label_rows import read_labels
from moola_pipeline.labels.schema import TYPES
from moola_pipeline.labels.simulated import ensure_simulated, labels_file
from moola_pipeline.storage.checksums import FileDigest, read_checksummed, write_checksummed
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.cli.calls import call, complaint, facts, start
from moola_pipeline_tests.labels.weekly_market import label_frame, label_row, weekly_bars

SMOKE = ("--profile", "smoke", "--json")
TRAIN_END = pd.Timestamp("2025-06-01", tz="UTC")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the smallest simulated market."""
    folder = tmp_path_factory.mktemp("choice")
    ensure_simulated(BarStore(Home(folder).simulated / "smoke", simulated=True), SMOKE_SETTINGS)
    return folder


@pytest.fixture(scope="module")
def labels(home: Path) -> pd.DataFrame:
    return read_labels(labels_file(BarStore(Home(home).simulated / "smoke", simulated=True)))


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "N_TREES", 20)


def chosen(home: Path, *words: str) -> dict[str, Any]:
    result = call("labels", *words, *SMOKE, home=home)
    assert result.exit_code == 0, result.stderr
    return facts(result)


def test_next_proposes_unlabeled_windows_of_the_training_period(home: Path, labels: pd.DataFrame):
    shown = chosen(home, "next", "12")
    starts = pd.to_datetime([row["window_start"] for row in shown["windows"]])
    assert shown["simulated"]
    assert len(starts) == len(set(starts)) == 12
    assert (starts + pd.Timedelta("105min") < TRAIN_END).all()
    for moment in labels["window_start"]:
        assert (abs(starts - moment) >= pd.Timedelta("105min")).all()
    sessions = pd.Series([row["session"] for row in shown["windows"]])
    assert sessions.value_counts().max() <= 2
    assert chosen(home, "next", "12") == shown
    assert chosen(home, "next", "12", "--seed", "1") != shown


def test_labels_of_validation_and_test_change_nothing(home: Path, tmp_path: Path, labels: pd.DataFrame):
    changed, kept = tmp_path / "changed", Home(home).simulated / "smoke"
    shutil.copytree(home, changed)
    later = labels["window_start"] >= TRAIN_END
    swapped = labels["label"].replace({"consolidation": "retracement", "retracement": "consolidation"})
    other = labels.assign(label=labels["label"].mask(later & (labels["label"] != "none"), swapped))
    path = Home(changed).simulated / "smoke" / "labels.csv"
    other.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    record = read_checksummed(kept / "settings.json", "must record the market", "Delete it.")
    record["files"]["labels.csv"] = dataclasses.asdict(FileDigest.of(path))
    write_checksummed(path.parent / "settings.json", record)
    assert chosen(changed, "next", "12") == chosen(home, "next", "12")
    assert chosen(changed, "doubtful") == chosen(home, "doubtful")


def test_windows_by_doubt_are_more_doubtful_than_at_random(home: Path):
    means = {
        by: pd.Series([row["doubt_bits"] for row in chosen(home, "next", "20", "--by", by)["windows"]]).mean()
        for by in ("doubt", "random")
    }
    assert means["doubt"] > 1.3 * means["random"]


def test_doubtful_shows_training_labels_only(home: Path, labels: pd.DataFrame):
    shown = chosen(home, "doubtful", "5", "--unmarked")
    trained = set(labels.loc[labels["window_start"] < TRAIN_END, "window_id"])
    rows = [*shown["spans"], *shown["types"], *shown["unmarked"]]
    assert {row["window_id"] for row in rows} <= trained
    assert 0 < len(shown["spans"]) <= 5
    assert shown["contradicted"]["spans"] >= len(shown["spans"])
    assert all(row["suggested"] == "none" for row in shown["spans"])
    assert all({row["label"], row["suggested"]} == {*TYPES} for row in shown["types"])
    assert all(row["label"] == "none" for row in shown["unmarked"])
    assert all(30 <= row["start"] <= 74 for row in rows)


def test_spans_without_a_label_are_listed_on_request_only(home: Path):
    assert "unmarked" not in chosen(home, "doubtful")


def test_alike_finds_twenty_windows_by_id_and_by_time(home: Path, labels: pd.DataFrame):
    marked = labels.loc[labels["label"] != "none"].iloc[0]
    by_id, by_time = (
        chosen(home, "alike", name) for name in (marked["window_id"], marked["window_start"].isoformat())
    )
    assert by_id == by_time
    assert len(by_id["windows"]) == 20
    starts = pd.to_datetime([row["window_start"] for row in by_id["windows"]])
    assert (abs(starts - marked["window_start"]) >= pd.Timedelta("105min")).all()
    distances = [row["distance"] for row in by_id["windows"]]
    assert distances == sorted(distances)
    assert {row["period"] for row in by_id["windows"]} <= {"training", "after training"}


@pytest.mark.parametrize(
    ("window", "text"),
    [
        ("nonsense", "must be the id of a labeled window or the UTC time of its first bar, got nonsense"),
        ("2031-01-01T00:00Z", "must start at a bar, but no bar opens at 2031-01-01T00:00Z"),
        ("2025-05-06T22:00Z", "must have 105 bars of its session, and 40 bars of it before them"),
    ],
)
def test_a_window_that_is_not_there_is_refused_in_one_line(home: Path, window: str, text: str):
    result = call("labels", "alike", window, *SMOKE, home=home)
    assert result.exit_code == 2
    assert text in complaint(result)


def test_too_few_labels_for_a_curve_are_counted(home: Path):
    result = call("labels", "budget", *SMOKE, home=home)
    assert result.exit_code == 2
    assert "a curve needs at least 80 labeled expansions, got 63" in complaint(result)
    assert complaint(result).endswith("labels add FILE")


def test_the_curve_shows_each_count_and_its_proof(home: Path, monkeypatch: pytest.MonkeyPatch):
    settings = CurveSettings(n_folds=2, shares=(0.4, 0.5, 1.0), min_labels=1, orders=1, resamples=100)
    monkeypatch.setattr("moola_pipeline.label_choice.learning_curve.CurveSettings", lambda: settings)
    shown = chosen(home, "budget")
    assert [round(point["labels"]) for point in shown["curve"]] == sorted(
        round(point["labels"]) for point in shown["curve"]
    )
    assert all(point["low"] <= point["estimate"] <= point["high"] for point in shown["curve"])
    proof = shown["forecast"]["proof"]
    held = proof["measured"]["low"] <= proof["forecast"] <= proof["measured"]["high"]
    assert (shown["forecast"]["score"] is not None) == held


def test_text_marks_the_simulated_market_and_the_use_of_the_windows(home: Path):
    lines = call("labels", "next", "3", "--profile", "smoke", home=home).stdout.splitlines()
    assert lines[0] == "SIMULATED market"
    assert lines[-1].endswith("labels of windows chosen by a model must not validate or test.")
    shown = call("labels", "doubtful", "3", "--profile", "smoke", home=home).stdout
    assert "labels look like no expansion to trees that learned from other sessions" in shown


@pytest.mark.parametrize("command", [("next", "5"), ("doubtful",), ("alike", "w60"), ("budget",)])
def test_bars_without_labels_name_the_missing_command(command: tuple[str, ...], tmp_path: Path):
    path = tmp_path / "weekly.parquet"
    weekly_bars(8)[list(RAW_COLUMNS)].to_parquet(path, index=False)
    add_bars(registered_store(Home(tmp_path / "home")), path)
    result = call("labels", *command, home=tmp_path / "home")
    assert result.exit_code == 2
    assert "none are. Run: moola" in complaint(result)
    assert complaint(result).endswith("labels add FILE")


def test_labels_of_one_type_are_too_few(tmp_path: Path):
    bars = weekly_bars(8)
    path, home = tmp_path / "weekly.parquet", tmp_path / "home"
    bars[list(RAW_COLUMNS)].to_parquet(path, index=False)
    add_bars(registered_store(Home(home)), path)
    rows = label_frame([label_row(bars, 60 + 300 * week, "consolidation", 40) for week in range(8)])
    rows.to_csv(tmp_path / "mine.csv", index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    assert call("labels", "add", tmp_path / "mine.csv", home=home).exit_code == 0
    result = call("labels", "next", "5", home=home)
    assert result.exit_code == 2
    assert (
        "must hold at least 4 labeled expansions of each type in complete windows, got 5 and 0."
        in complaint(result)
    )


def test_help_of_these_commands_imports_no_trees_and_no_torch():
    code = (
        "import sys; from click.testing import CliRunner; from moola_pipeline.cli import moola; "
        "print([CliRunner().invoke(moola, ['labels', name, '--help']).exit_code for name in "
        "('next', 'doubtful', 'alike', 'budget', 'study')]); "
        "print(sorted({'sklearn', 'torch', 'numba', 'dagster', 'mlflow'} & set(sys.modules)))"
    )
    output, _ = start(code).communicate(timeout=60)
    assert output.splitlines() == ["[0, 0, 0, 0, 0]", "[]"]
