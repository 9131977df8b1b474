"""Windows that are handed to another machine, and the labels that come back."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from moola_pipeline.bars.manifest import add_bars, read_bars
from moola_pipeline.bars.schema import RAW_COLUMNS
from moola_pipeline.bars.store import registered_store
from moola_pipeline.bars.vendor_options import VendorOptions
from moola_pipeline.errors import BadInput
from moola_pipeline.labeler.opening import LabelRequest, draw_task
from moola_pipeline.labeler.task_files import Task, task_json
from moola_pipeline.labels.definitions import add_definition, definition_texts
from moola_pipeline.labels.export import WRITERS
from moola_pipeline.labels.importing import add_labels
from moola_pipeline.labels.judgments import Judgment
from moola_pipeline.labels.registration import AddSettings
from moola_pipeline.labels.registry import registered_judgments, registered_labels
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.labeler.conftest import BARS
from moola_pipeline_tests.labeler.served import opened_labeler
from moola_pipeline_tests.labeler.test_page import planned_marks

BOB = LabelRequest("bob")
TYPES = {"C": "consolidation", "R": "retracement", "U": "unknown"}


@pytest.fixture
def other(made_home: Home, tmp_path: Path) -> Home:
    """The home of another machine, with the same bars."""
    shutil.copytree(made_home.root, tmp_path / "other")
    return Home(tmp_path / "other")


def written(task: Task, folder: Path) -> Path:
    path = folder / "task.json"
    path.write_bytes(task_json(task))
    return path


def label_all(home: Home, request: LabelRequest) -> list[str]:
    """Label every window of a request; their names in the order shown."""
    session, names = opened_labeler(home, request).session, []
    while session.current is not None:
        names.append(session.shown().window.window_id)
        marks = [
            {"start": start, "end": end, "type": TYPES[kind]}
            for start, end, kind in planned_marks(len(names))
        ]
        verdict = None if marks else "nothing"
        session.mark(
            type(session.shown().marks).model_validate_json(json.dumps({"spans": marks, "verdict": verdict}))
        )
        session.save(1.0, "")
    return names


def judged(home: Home) -> list[Judgment]:
    return [*registered_judgments(registered_store(home).labels).current().values()]


def test_windows_go_to_another_machine_and_their_labels_come_back(home: Home, other: Home, tmp_path: Path):
    folder = registered_store(home).labels
    add_definition(folder, "an expansion is a surge")
    add_definition(folder, "an expansion is a surge of two bars or more")
    task = draw_task(home, BOB, 12)
    assert len({window.window_id for window in task.windows}) == 12
    assert {window.split for window in task.windows} == {"train", "validation", "test"}

    names = label_all(other, LabelRequest("ignored", task=written(task, tmp_path)))
    assert names == [window.window_id for window in task.windows]
    theirs = registered_store(other)
    assert definition_texts(theirs.labels)[2] == definition_texts(folder)[2]

    path = tmp_path / "bob.csv"
    path.write_bytes(WRITERS[".csv"](registered_labels(theirs.labels), read_bars(theirs)))
    add_labels(folder, path, BARS, False, how=AddSettings())

    def content(one: Judgment) -> tuple:
        return one.window_id, one.spans, one.grade, one.annotator, one.definition, one.chosen, one.looked_from

    assert sorted(map(content, judged(home))) == sorted(map(content, judged(other)))
    assert {one.annotator for one in judged(home)} == {"bob"}


def test_a_task_is_taken_up_where_it_was_left(home: Home, other: Home, tmp_path: Path):
    request = LabelRequest("ignored", task=written(draw_task(home, BOB, 5), tmp_path), windows=2)
    first = label_all(other, request)
    assert len(first) == 2
    rest = label_all(other, LabelRequest("ignored", task=request.task))
    assert len({*first, *rest}) == 5


def test_the_same_home_and_seed_give_the_same_task_of_one_split(home: Home):
    one, other = (draw_task(home, LabelRequest("bob", split="validation"), 4) for _ in range(2))
    assert one == other
    assert {window.split for window in one.windows} == {"validation"}


def test_windows_of_a_task_are_spread_over_months(home: Home):
    task = draw_task(home, LabelRequest("bob", split="train"), 8)
    months = Counter(window.opened_at[:7] for window in task.windows)
    assert [*months.values()] == [2, 2, 2, 2]


def change_a_price(home: Home, folder: Path, at: str) -> Home:
    """A home whose bars differ by a tick at a time."""
    bars = BARS.loc[:, list(RAW_COLUMNS)].copy()
    row = bars.index[bars["timestamp"] == at][0]
    bars.loc[row, "high"] += 0.25
    path = folder / "changed.parquet"
    bars.to_parquet(path, index=False)
    add_bars(registered_store(home), path, VendorOptions(instrument="NQ"))
    return home


def test_other_bars_are_refused(home: Home, tmp_path: Path):
    task = draw_task(home, BOB, 3)
    at = task.windows[1].opened_at
    changed = change_a_price(Home(tmp_path / "changed"), tmp_path, at)
    with pytest.raises(BadInput, match=f"{task.windows[1].window_id} .* prices at {at} .* differ"):
        opened_labeler(changed, LabelRequest("ignored", task=written(task, tmp_path)))


def test_missing_bars_name_the_window_and_the_remedy(home: Home, other: Home, tmp_path: Path):
    task = draw_task(home, BOB, 1)
    window = task.windows[0].model_copy(update={"opened_at": "2019-01-02T15:00:00Z"})
    path = written(task.model_copy(update={"windows": (window,)}), tmp_path)
    with pytest.raises(BadInput, match="missing at 2019-01-02T15:00:00Z .* moola bars add"):
        opened_labeler(other, LabelRequest("ignored", task=path))


def test_another_definition_under_the_same_number_is_refused(home: Home, other: Home, tmp_path: Path):
    add_definition(registered_store(home).labels, "a surge")
    add_definition(registered_store(other).labels, "a calm")
    path = written(draw_task(home, BOB, 1), tmp_path)
    with pytest.raises(BadInput, match="Definition 1 must have the same text"):
        opened_labeler(other, LabelRequest("ignored", task=path))
    assert definition_texts(registered_store(other).labels) == {1: "a calm"}


def with_window(record: dict, **changes: object) -> dict:
    return record | {"windows": [record["windows"][0] | changes]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda record: record | {"instrument": "ES"}, "must be for the instrument of the home, NQ"),
        (lambda record: record | {"moola_task": 2}, "must be a task file, but moola_task"),
        (lambda record: record | {"windows": []}, "must be a task file, but windows"),
        (lambda record: record | {"path": "/etc/passwd"}, "must be a task file, but path"),
        (lambda record: record | {"annotator": "../x"}, "An annotator's name must be letters"),
        (lambda record: [record], "must be a task file"),
        (lambda record: with_window(record, opened_at="2024-13-45T25:61:00Z"), "windows.0.opened_at"),
        (lambda record: with_window(record, window_id="a\nb"), "windows.0.window_id"),
        (lambda record: record | {"definition": 10**9}, "must be a task file, but definition"),
    ],
)
def test_what_is_no_task_is_refused_in_one_line(
    home: Home, tmp_path: Path, change: Callable[[dict], object], said: str
):
    task = draw_task(home, BOB, 1)
    path = tmp_path / "task.json"
    path.write_text(json.dumps(change(task.model_dump(mode="json"))))
    with pytest.raises(BadInput, match=said) as refused:
        opened_labeler(home, LabelRequest("ignored", task=path))
    assert "\n" not in str(refused.value)
