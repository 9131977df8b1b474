import shutil
import socket
from pathlib import Path

import pandas as pd
import pytest

from moola_pipeline.bars.manifest import add_bars
from moola_pipeline.bars.schema import RAW_COLUMNS
from moola_pipeline.bars.store import registered_store
from moola_pipeline.bars.vendor_options import VendorOptions
from moola_pipeline.cli import label
from moola_pipeline.labeler.marks import WindowMarks
from moola_pipeline.labeler.opening import LabelRequest
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.cli.calls import call, complaint
from moola_pipeline_tests.labeler.conftest import home, made_home
from moola_pipeline_tests.labeler.served import LabelerProcess, opened_labeler
from moola_pipeline_tests.labels.weekly_market import weekly_bars

__all__ = ["home", "made_home"]


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the server, which would run until Ctrl-C if a command were not refused."""

    def served(*_: object) -> None:
        pytest.fail("the labeler must be refused, but it would be served")

    monkeypatch.setattr(label, "_serve", served)


def refused(home: Home, *words: str) -> str:
    result = call("label", "--no-open", "--annotator", "ann", *words, home=home.root)
    assert result.exit_code in (1, 2)
    return complaint(result)


def test_without_bars_the_command_that_adds_them_is_named(tmp_path: Path):
    assert refused(Home(tmp_path)) == (
        "Bars must be registered before windows can be labeled. Run: moola bars add FILE"
    )


def test_a_taken_port_is_refused(home: Home):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"--port must be free, but another program listens on {port}" in refused(
            home, "--port", str(port)
        )


@pytest.fixture
def short(tmp_path: Path) -> Home:
    """A home with three sessions, all of training."""
    path = tmp_path / "bars.parquet"
    weekly_bars(3).loc[:, list(RAW_COLUMNS)].to_parquet(path, index=False)
    short = Home(tmp_path / "short")
    add_bars(registered_store(short), path, VendorOptions(instrument="NQ"))
    return short


def test_a_split_without_windows_is_named_with_the_remedy(short: Home):
    said = refused(short, "--for", "test")
    assert "none is left for test" in said
    assert "moola label --for train" in said


def test_other_splits_go_on_where_one_has_no_window(short: Home):
    note = opened_labeler(short, LabelRequest("ann")).note
    assert note.startswith("No window is left for validation and test; those of train go on.")


def test_without_any_window_the_labeler_is_refused(short: Home):
    opened = opened_labeler(short, LabelRequest("ann"))
    while opened.session.current is not None:
        opened.session.mark(WindowMarks(verdict="nothing"))
        opened.session.save(1.0, "")
    assert "none is left for train and validation and test. Add bars" in refused(short)


def test_a_definition_that_does_not_exist_is_refused(home: Home):
    assert "--definition must be one of 1, got 7" in refused(home, "--definition", "7")


@pytest.mark.parametrize("name", ["../ann", "a/b", ".hidden", " ann", "x" * 61, "a\nb"])
def test_a_name_that_cannot_name_a_file_is_refused(home: Home, name: str):
    result = call("label", "--no-open", "--annotator", name, home=home.root)
    assert "An annotator's name must be letters" in complaint(result)


@pytest.mark.parametrize("name", ["consensus", "unnamed", "NA", "nan"])
def test_a_name_that_stands_for_all_or_nobody_is_refused(home: Home, name: str):
    assert f"An annotator must be a person, got {name!r}." in refused(home, "--annotator", name)


def test_options_that_exclude_each_other_are_refused(home: Home):
    assert "Only one of --for, --session" in refused(home, "--for", "train", "--doubtful")


def test_a_task_names_its_annotator_and_definition_itself(home: Home, tmp_path: Path):
    task = tmp_path / "task.json"
    made = call("labels", "task", str(task), "--annotator", "bob", "--windows", "3", home=home.root)
    assert made.exit_code == 0, made.output
    assert "3 windows for bob (" in made.output
    assert "moola labels add bob.csv" in made.output
    assert "A task says who labels" in refused(home, "--task", str(task))


def test_a_task_that_is_not_there_is_refused(home: Home, tmp_path: Path):
    result = call("label", "--no-open", "--task", str(tmp_path / "none.json"), home=home.root)
    assert "--task must be a file that can be read" in complaint(result)


def test_a_task_is_written_as_json_only(home: Home, tmp_path: Path):
    result = call("labels", "task", str(tmp_path / "task.csv"), "--annotator", "bob", home=home.root)
    assert "OUT must end in .json" in complaint(result)


def journal_of(home: Home) -> Path:
    opened_labeler(home, LabelRequest("ann"))
    (path,) = registered_store(home).labels.glob("drafts/*.jsonl")
    return path


def test_a_draft_journal_of_another_annotator_format_or_home_is_refused(home: Home):
    path = journal_of(home)
    bobs = path.with_name("bob-1.jsonl")
    shutil.copy(path, bobs)
    result = call("label", "--no-open", "--annotator", "bob", home=home.root)
    assert "bob-1.jsonl must be a draft journal of format 1 for NQ, bob and definition 1" in complaint(result)


def test_a_draft_journal_of_a_home_with_other_bars_is_refused(home: Home, tmp_path: Path):
    path = journal_of(home)
    other, bars = Home(tmp_path / "other"), tmp_path / "moved.parquet"
    moved = weekly_bars()
    moved["timestamp"] += pd.Timedelta("1D")
    moved.loc[:, list(RAW_COLUMNS)].to_parquet(bars, index=False)
    add_bars(registered_store(other), bars, VendorOptions(instrument="NQ"))
    shutil.copytree(path.parent, registered_store(other).labels / "drafts")
    assert "must be the draft journal of this home, but no bar opens at" in refused(other)


def test_a_changed_draft_journal_is_refused_and_a_torn_last_line_is_dropped(home: Home):
    path = journal_of(home)
    content = path.read_bytes()
    path.write_bytes(content + b'{"kind":"marks","window":"x"')
    opened_labeler(home, LabelRequest("ann")).session.mark(WindowMarks(verdict="nothing"))
    whole = path.read_bytes()
    assert whole.startswith(content)
    assert whole.count(b"\n") == content.count(b"\n") + 1
    path.write_bytes(content.replace(b"open", b"oPen", 1))
    assert "line 2 was changed" in refused(home)


def test_the_link_is_printed_and_ctrl_c_ends_the_labeler(home: Home):
    labeler = LabelerProcess(home.root, "--annotator", "ann")
    assert labeler.link.startswith("http://127.0.0.1:")
    assert "Traceback" not in labeler.stop()
    assert labeler.process.returncode in (0, 130)
