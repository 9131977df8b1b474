import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from moola_pipeline.cli.options import choose_annotator
from moola_pipeline.instrument_data import choose_instrument_data
from moola_pipeline.labels.annotators import LabelChoice, read_label_choice
from moola_pipeline.settings import PROFILES
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.cli.test_labels import (
    BARS,
    call,
    complaint,
    facts,
    home,
    label_file,
    sharing_bars,
    with_bars,
)
from moola_pipeline_tests.labels.weekly_market import label_frame, label_row, weekly_labels

__all__ = ["home", "with_bars"]


@pytest.fixture(scope="module")
def first_judged(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which two annotators judged the same windows, and one revised a mark; read-only."""
    folder = tmp_path_factory.mktemp("judged")
    own = sharing_bars(home, folder / "home")
    rows = weekly_labels(BARS)
    other = rows.assign(expansion_start=rows["expansion_start"] + 1)
    other.loc[0, "label"] = "unknown"
    moved = label_frame([label_row(BARS, 60, "retracement", 45)])
    for name, labels, words in (
        ("a.csv", rows, ("--annotator", "ann")),
        ("b.csv", other, ("--annotator", "bob", "--as-is")),
        ("c.csv", moved, ("--annotator", "ann", "--revise", "--why", "the move began later")),
    ):
        facts(call("labels", "add", label_file(folder / name, labels), *words, "--json", home=own))
    return own


@pytest.fixture
def judged(first_judged: Path, tmp_path: Path) -> Path:
    """A writable copy of `first_judged`."""
    return shutil.copytree(first_judged, tmp_path / "home", symlinks=True)


def test_the_history_of_a_window_shows_what_replaced_what_and_why(judged: Path):
    shown = facts(call("labels", "history", "w60", "--json", home=judged))["judgments"]
    assert [one["annotator"] for one in shown] == ["ann", "bob", "ann"]
    assert (shown[0]["replaced_by"], shown[2]["supersedes"]) == (shown[2]["number"], shown[0]["number"])
    assert shown[2]["why"] == "the move began later"
    text = call("labels", "history", "w60", home=judged).stdout
    assert f"replaces {shown[0]['number']}, why: the move began later" in text


def test_a_window_that_nobody_judged_has_no_history(judged: Path):
    assert "WINDOW must be a judged window, got 'w7'" in complaint(
        call("labels", "history", "w7", home=judged)
    )


def test_two_annotators_are_compared(judged: Path):
    (pair,) = facts(call("labels", "compare", "--json", home=judged))["pairs"]
    assert (pair["annotators"], pair["windows"]) == (["ann", "bob"], 44)
    assert 0.9 < pair["finding"]["estimate"] < 1
    assert pair["differing"][0]["window_id"] == "w60"
    lines = call("labels", "compare", home=judged).stdout.splitlines()
    assert lines[0] == "ann and bob: 44 windows judged by both"


def test_one_annotator_is_compared_with_all_others(judged: Path, tmp_path: Path):
    path = label_file(tmp_path / "d.csv", weekly_labels(BARS))
    facts(call("labels", "add", path, "--annotator", "cy", "--json", home=judged))
    pairs = facts(call("labels", "compare", "bob", "--json", home=judged))["pairs"]
    assert [pair["annotators"] for pair in pairs] == [["bob", "ann"], ["bob", "cy"]]
    assert "got zoe under any definition" in complaint(call("labels", "compare", "zoe", home=judged))


def test_a_check_counts_the_labels_that_an_added_file_would_leave_to_a_run(judged: Path, tmp_path: Path):
    path = label_file(tmp_path / "d.csv", weekly_labels(BARS))
    words = (path, "--annotator", "cy", "--json")
    checked = facts(call("labels", "check", *words, home=judged))["splits"]
    assert sum(split["windows"] for split in checked.values()) == 44
    assert facts(call("labels", "add", *words, home=judged))["splits"] == checked
    assert (
        sum(
            split["none"] + split["unknown"] + split["retracement"] + split["consolidation"]
            for split in checked.values()
        )
        == 44
    )


def test_one_annotator_cannot_be_compared(with_bars: Path, tmp_path: Path):
    call("labels", "add", label_file(tmp_path / "a.csv", weekly_labels(BARS)), home=with_bars)
    result = call("labels", "compare", home=with_bars)
    assert "moola labels add FILE --annotator NAME" in complaint(result)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json"])
def test_labels_are_exported_and_added_again_without_a_change(judged: Path, tmp_path: Path, suffix: str):
    out = tmp_path / f"out{suffix}"
    shown = facts(call("labels", "export", out, "--annotator", "ann", "--json", home=judged))
    assert (shown["rows"], shown["windows"]) == (44, 44)
    if suffix == ".json":
        assert len(json.loads(out.read_text())) == 44
    else:
        (ledger,) = facts(call("labels", "add", out, "--json", home=judged))["files"]
        assert ledger["dropped"] == {"already registered": 44}


def test_an_unknown_suffix_is_refused(judged: Path, tmp_path: Path):
    result = call("labels", "export", tmp_path / "labels.txt", home=judged)
    assert "OUT must end in .csv, .parquet, .json" in complaint(result)


def test_a_definition_is_added_and_shown(with_bars: Path, tmp_path: Path):
    text = tmp_path / "definition.txt"
    text.write_text("An expansion moves twice the ATR.\n")
    assert facts(call("labels", "define", text, "--json", home=with_bars))["newest"] == 1
    shown = call("labels", "define", home=with_bars).stdout
    assert "An expansion moves twice the ATR." in shown


@pytest.fixture(scope="module")
def first_redefined(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a second definition, under which some windows were judged again; read-only."""
    folder = tmp_path_factory.mktemp("redefined")
    own = sharing_bars(home, folder / "home")
    rows = weekly_labels(BARS).assign(annotator="ann")
    facts(call("labels", "add", label_file(folder / "a.csv", rows), "--json", home=own))
    for number in (1, 2):
        text = folder / "definition.txt"
        text.write_text(f"An expansion moves {number} times the ATR.\n")
        facts(call("labels", "define", text, "--json", home=own))
    again = rows.iloc[:10].assign(definition=2)
    again.loc[0, ["expansion_start", "expansion_end"]] += 8
    facts(call("labels", "add", label_file(folder / "b.csv", again), "--as-is", "--json", home=own))
    return own


@pytest.fixture
def redefined(first_redefined: Path, tmp_path: Path) -> Path:
    """A writable copy of `first_redefined`."""
    return shutil.copytree(first_redefined, tmp_path / "home", symlinks=True)


def test_a_changed_definition_leaves_earlier_windows_to_judge_again(redefined: Path):
    assert facts(call("labels", "define", "--json", home=redefined))["waiting"] == 34
    assert (
        "34 windows were judged under an earlier definition"
        in call("labels", "define", home=redefined).stdout
    )
    shown = facts(call("labels", "second-look", "5", "--json", home=redefined))
    assert (shown["annotator"], shown["newest"], shown["waiting"]) == ("ann", 2, 34)
    doubt = [row["doubt_bits"] for row in shown["windows"]]
    assert doubt == [0] * 5 and shown["note"].startswith("By time, as no trees can be fitted: ")
    every = facts(call("labels", "second-look", "99", "--json", home=redefined))["windows"]
    judged_again = set(weekly_labels(BARS)["window_id"].iloc[:10])
    assert len(every) == 34 and not judged_again & {row["window_id"] for row in every}


def test_an_annotator_is_compared_with_himself_under_two_definitions(redefined: Path):
    (pair,) = facts(call("labels", "compare", "--definitions", "1", "2", "--json", home=redefined))["pairs"]
    assert pair["annotators"] == ["ann under definition 1", "under definition 2"]
    assert pair["windows"] == 10
    assert pair["finding"]["estimate"] == pytest.approx(0.9)
    assert [row["window_id"] for row in pair["differing"]] == [weekly_labels(BARS)["window_id"].iloc[0]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--definitions", 1, 3), "must have judged windows under both definitions, got 1 and 3"),
        (("ann", "bob", "--definitions", 1, 2), "compares an annotator with himself"),
    ],
)
def test_definitions_that_cannot_be_compared_are_refused(redefined: Path, words: tuple, said: str):
    assert said in complaint(call("labels", "compare", *words, home=redefined))


def test_a_definition_that_does_not_exist_is_refused(with_bars: Path, tmp_path: Path):
    path = label_file(tmp_path / "a.csv", weekly_labels(BARS).drop(columns="definition"))
    result = call("labels", "add", path, "--definition", "7", home=with_bars)
    assert "A definition must be one of 1 to 1, got 7." in complaint(result)


def test_windows_that_a_model_chose_are_named_so_by_an_option(with_bars: Path, tmp_path: Path):
    rows = weekly_labels(BARS).drop(columns="chosen")
    path = label_file(tmp_path / "a.csv", rows)
    facts(call("labels", "add", path, "--chosen", "doubt", "--json", home=with_bars))
    kept = pd.read_csv(with_bars / "data" / "nq" / "labels" / "labels.csv")
    assert set(kept["chosen"]) == {"doubt"}


def test_a_revision_with_other_windows_on_the_same_bars_is_refused(judged: Path, tmp_path: Path):
    rows = weekly_labels(BARS).iloc[:3].assign(annotator="ann")
    rows["window_id"], rows["window_start"] = ["x1", "x2", "x3"], rows["window_start"] + pd.Timedelta("9min")
    words = ("labels", "add", label_file(tmp_path / "d.csv", rows), "--as-is", "--revise")
    said = complaint(call(*words, home=judged))
    assert "3 of its windows share judged bars with others (first x1)" in said
    assert "moola labels export labels.csv" in said


def test_a_reason_needs_a_revision(judged: Path, tmp_path: Path):
    path = label_file(tmp_path / "d.csv", weekly_labels(BARS))
    assert "got no --revise" in complaint(call("labels", "add", path, "--why", "so", home=judged))


def test_a_run_learns_one_annotator_and_refuses_one_without_labels(judged: Path):
    result = call("run", "--profile", "smoke", "--annotator", "zoe", home=judged)
    assert "got zoe under any definition. There are " in complaint(result)
    assert not (judged / "data" / "nq" / "label_choice.json").exists()


def test_a_definition_chosen_later_keeps_the_annotator(judged: Path):
    market = choose_instrument_data(Home(judged), "registered", PROFILES["smoke"])
    ann = choose_annotator(market, "ann", None)
    assert choose_annotator(ann, None, 1).label_choice == LabelChoice(annotator="ann", definition=1)
    assert read_label_choice(market.store.root) == LabelChoice(annotator="ann", definition=1)


def test_labels_of_an_annotator_stay_when_another_is_added(judged: Path):
    rows = pd.read_csv(judged / "data" / "nq" / "labels" / "labels.csv")
    assert rows["annotator"].value_counts().to_dict() == {"ann": 44, "bob": 44}


def test_labels_that_a_run_does_not_learn_are_named(judged: Path, tmp_path: Path):
    rows = weekly_labels(BARS).iloc[:3].assign(annotator="cyd")
    rows["window_id"] = ["x1", "x2", "x3"]
    result = call("labels", "add", label_file(tmp_path / "d.csv", rows), "--as-is", home=judged)
    assert "3 windows of this file will not be learned: a run learns the labels of bob" in result.stdout
