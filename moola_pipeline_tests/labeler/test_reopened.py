from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from moola_pipeline.bars.store import registered_store
from moola_pipeline.errors import BadInput
from moola_pipeline.label_choice import trees
from moola_pipeline.labeler.marks import SpanMark, WindowMarks
from moola_pipeline.labeler.opening import LabelRequest
from moola_pipeline.labels.importing import add_labels
from moola_pipeline.labels.registration import AddSettings
from moola_pipeline.labels.registry import registered_judgments, registered_labels
from moola_pipeline.labels.schema import FIRST_PASS
from moola_pipeline.storage.home import Home
from moola_pipeline.training import proposer_fit
from moola_pipeline.windows.window_geometry import CORE_BARS
from moola_pipeline_tests.label_choice.conftest import LOOSE
from moola_pipeline_tests.labeler.conftest import BARS
from moola_pipeline_tests.labeler.served import opened_labeler
from moola_pipeline_tests.labels.weekly_market import SESSION_BARS, weekly_labels

ANN = LabelRequest("ann")


@pytest.fixture
def quick_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few trees, and a loose span proposer, so that the judge of a made market gets both classes."""
    monkeypatch.setattr(trees, "N_TREES", 30)
    for module in (trees, proposer_fit):
        monkeypatch.setattr(module, "fit_proposer", lambda *_: LOOSE)


@pytest.fixture
def labeled(home: Home, tmp_path: Path) -> Home:
    """A home that ann and bob labeled but for one week; a type of ann is wrong, and a mark of bob moved."""
    rows = weekly_labels(BARS).drop(index=15).reset_index(drop=True)
    ann = rows.assign(annotator="ann")
    ann.loc[4, "label"] = "retracement" if rows.loc[4, "label"] == "consolidation" else "consolidation"
    bob = rows.assign(annotator="bob")
    bob.loc[2, "label"] = "unknown"
    bob.loc[7, ["expansion_start", "expansion_end"]] += 12
    for name, labels in (("ann", ann), ("bob", bob)):
        path = tmp_path / f"{name}.csv"
        labels.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
        add_labels(registered_store(home).labels, path, BARS, False, how=AddSettings())
    return home


def test_a_session_is_marked_whole_and_used_for_training_only(home: Home):
    day = datetime(2024, 9, 9)
    session = opened_labeler(home, replace(ANN, session=day)).session
    starts = []
    while session.current is not None:
        starts.append(session.bars.row_at(session.shown().window.opened_at))
        session.mark(WindowMarks(verdict="nothing"))
        session.save(1.0, "")
    covered = np.unique(np.concatenate([np.arange(row + 30, row + 75) for row in starts]))
    first = SESSION_BARS + 40 + 30
    np.testing.assert_array_equal(covered, np.arange(first, 2 * SESSION_BARS - 30))
    assert min(np.diff(starts)) <= CORE_BARS
    labels = registered_labels(registered_store(home).labels)
    assert set(labels["chosen"]) == {"replay"}
    assert opened_labeler(home, replace(ANN, session=day)).session.current is None


def test_a_day_without_bars_cannot_be_marked(home: Home):
    with pytest.raises(BadInput, match="--session must be a trading day with bars, got 2024-09-10"):
        opened_labeler(home, replace(ANN, session=datetime(2024, 9, 10)))


def test_windows_in_which_annotators_differ_open_with_the_marks_of_both(labeled: Home):
    session = opened_labeler(labeled, replace(ANN, listed="disagree")).session
    first = session.shown()
    ((name, theirs),) = first.window.said
    assert name == "bob"
    assert first.status == "saved"
    assert first.marks != theirs
    assert "bob judged it too" in first.window.note
    number = len(session.journal.judgments)
    session.mark(theirs)
    session.save(3.0, "")
    judgment = registered_judgments(registered_store(labeled).labels).judgments[-1]
    assert (judgment.chosen, judgment.pass_number, judgment.annotator) == ("review", FIRST_PASS, "ann")
    assert judgment.supersedes is not None
    assert judgment.supersedes <= number


def test_doubtful_windows_open_with_what_the_trees_suggest_and_enter_keeps_a_label(
    labeled: Home, quick_trees: None
):
    session = opened_labeler(labeled, replace(ANN, listed="doubtful")).session
    assert session.shown().window.said[0][0] == "trees"
    assert "trees suggest" in session.shown().window.note
    assert session.shown().window.shows_model
    before, names = len(session.journal.judgments), set()
    while session.current is not None:
        names.add(session.current)
        session.save(1.0, "")
    assert len(session.journal.judgments) == before
    assert "w1260" in {name.split("/")[0] for name in names}  # the window of the wrong type


def test_windows_alike_are_unlabeled_training_windows(labeled: Home, quick_trees: None):
    opened = opened_labeler(labeled, replace(ANN, alike="w60"))
    window = opened.session.shown().window
    assert (window.chosen, window.split) == ("alike", "train")
    labeled_rows = np.searchsorted(
        opened.data.bars.opened, opened.data.labels["window_start"].astype("int64")
    )
    assert np.abs(labeled_rows - (opened.data.bars.row_at(window.opened_at) or 0)).min() >= 105
    with pytest.raises(BadInput, match="--alike must name a training window"):
        opened_labeler(labeled, replace(ANN, alike="w61"))


def test_lists_need_labels_and_say_so(home: Home):
    for listed in ("doubtful", "disagree"):
        with pytest.raises(BadInput, match="got ann under definition 1"):
            opened_labeler(home, replace(ANN, listed=listed))
    with pytest.raises(BadInput, match="There must be a champion"):
        opened_labeler(home, replace(ANN, listed="review"))


def test_a_list_does_not_show_windows_that_were_drawn_nor_the_reverse(labeled: Home):
    drawn = opened_labeler(labeled, ANN).session.current
    listed = opened_labeler(labeled, replace(ANN, listed="disagree")).session
    assert listed.current != drawn
    listed.mark(WindowMarks(spans=(SpanMark(start=33, end=36, type="unknown"),)))
    assert opened_labeler(labeled, ANN).session.current == drawn
    again = opened_labeler(labeled, replace(ANN, listed="disagree")).session
    assert again.current == listed.current
    assert again.shown().status == "changed"
