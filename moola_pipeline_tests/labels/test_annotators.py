from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moola_pipeline.errors import BadInput, IntegrityError
from moola_pipeline.labels.annotators import (
    ANYBODY,
    LabelChoice,
    Mark,
    choose_labels,
    consensus,
    read_label_choice,
    same_marks,
    write_label_choice,
)
from moola_pipeline_tests.labels.weekly_market import label_frame, label_row, weekly_bars

BARS = weekly_bars(6)


def judged(annotator: str | None, start: int | None, label: str = "retracement", **other: object) -> dict:
    label = "none" if start is None else label
    return label_row(BARS, 360, label, start, annotator=annotator, **other)


def spans(rows: pd.DataFrame) -> list[tuple]:
    marked = rows.loc[rows["label"] != "none"]
    columns = [marked[name] for name in ("label", "expansion_start", "expansion_end")]
    return [*zip(*columns, strict=True)]


def test_an_expansion_that_two_of_three_marked_is_the_consensus():
    rows = label_frame([judged("ann", 40), judged("bob", 42), judged("cy", 60)])
    assert spans(consensus(rows)) == [("retracement", 41, 46)]
    assert consensus(rows)["annotator"].tolist() == ["consensus"]


def test_without_a_majority_a_window_is_empty():
    rows = label_frame([judged("ann", 40), judged("bob", 50)])
    assert consensus(rows)["label"].tolist() == ["none"]
    assert consensus(label_frame([judged("ann", 40), judged("bob", None)]))["label"].tolist() == ["none"]


def test_a_type_without_a_majority_is_unknown():
    rows = label_frame([judged("ann", 40), judged("bob", 41, "consolidation")])
    assert spans(consensus(rows)) == [("unknown", 40, 45)]


def test_a_window_that_one_judged_keeps_his_marks():
    rows = label_frame([judged("ann", 40), judged("ann", 60, "consolidation")])
    assert spans(consensus(rows)) == spans(rows)


def test_who_did_not_look_at_a_window_whole_votes_for_his_marks_and_against_none():
    partial = judged("bob", 60, complete="no")
    rows = consensus(label_frame([judged("ann", 40), partial]))
    assert spans(rows) == [("retracement", 40, 45)]  # bob is not against 40; ann is against 60
    assert set(rows["complete"]) == {"yes"}
    both = consensus(label_frame([judged("ann", 60), partial]))
    assert spans(both) == [("retracement", 60, 65)]
    alone = consensus(label_frame([partial, judged("cy", 40, complete="no")]))
    assert spans(alone) == [("retracement", 40, 45), ("retracement", 60, 65)]
    assert set(alone["complete"]) == {"no"}


def test_a_window_that_one_did_not_draw_counts_as_chosen():
    rows = label_frame([judged("ann", 40), judged("bob", 40, chosen="doubt")])
    assert consensus(rows)["chosen"].tolist() == ["doubt"]


def test_a_window_that_one_graded_out_stays_out():
    rows = label_frame([judged("ann", 40), judged("ann", 60), judged("bob", 41, grade="D")])
    assert consensus(rows)["grade"].tolist() == ["D"]
    assert not consensus(rows.assign(grade="C"))["grade"].dropna().tolist()


MARKS = st.lists(
    st.builds(
        lambda start, length, who: Mark(start, start + length, "retracement", who),
        st.integers(30, 74),
        st.integers(0, 20),
        st.sampled_from(["ann", "bob", "cy"]),
    ),
    max_size=10,
)


@given(MARKS)
def test_groups_hold_each_mark_once_and_each_annotator_at_most_once(marks: list[Mark]):
    groups = same_marks(marks)
    assert sorted(mark for group in groups for mark in group) == sorted(marks)
    assert all(len({mark.annotator for mark in group}) == len(group) for group in groups)
    assert all(abs(a.start - b.start) <= 3 for group in groups for a in group for b in group)


def test_without_a_choice_the_annotator_with_most_windows_counts():
    rows = label_frame([judged("ann", 40), judged("bob", 40), label_row(BARS, 660, "none", annotator="bob")])
    chosen, choice = choose_labels(rows, ANYBODY)
    assert choice == LabelChoice(annotator="bob", definition=1)
    assert chosen["window_id"].tolist() == ["w360", "w660"]
    assert choose_labels(rows, LabelChoice(annotator="ann"))[0]["annotator"].tolist() == ["ann"]


def test_labels_of_no_named_annotator_are_those_of_one():
    rows = label_frame([judged(None, 40)])
    assert choose_labels(rows, ANYBODY)[1] == LabelChoice(annotator="unnamed", definition=1)
    pd.testing.assert_frame_equal(choose_labels(rows, ANYBODY)[0], rows)


def test_another_definition_has_its_own_labels():
    rows = label_frame([judged("ann", 40), judged("ann", 50, definition=2)])
    assert spans(choose_labels(rows, LabelChoice(definition=2))[0]) == [("retracement", 50, 55)]
    with pytest.raises(BadInput) as caught:
        choose_labels(rows, LabelChoice(annotator="bob", definition=3))
    assert str(caught.value) == (
        "Labels must be those of an annotator under a definition, got bob under definition 3. There are ann "
        "under definition 1 (1 windows), ann under definition 2 (1 windows)."
    )


def test_the_choice_is_kept_and_a_changed_one_refused(tmp_path: Path):
    assert read_label_choice(tmp_path) == ANYBODY
    choice = LabelChoice(annotator="consensus", definition=2)
    write_label_choice(tmp_path, choice)
    assert read_label_choice(tmp_path) == choice
    path = tmp_path / "label_choice.json"
    path.write_bytes(path.read_bytes().replace(b"2", b"3", 1))
    with pytest.raises(IntegrityError):
        read_label_choice(tmp_path)


def test_a_replayed_session_stays_replayed_under_another_definition_and_graded_out():
    rows = label_frame(
        [
            label_row(BARS, 360, "none", annotator="ann", chosen="replay", grade="D"),
            label_row(BARS, 460, "retracement", 40, annotator="ann", definition=2),
            label_row(BARS, 660, "none", annotator="ann", definition=2, chosen="random"),
            label_row(BARS, 960, "none", annotator="ann", definition=2),
            label_row(BARS, 970, "none", annotator="bob", chosen="replay"),
        ]
    )
    chosen, _ = choose_labels(rows, LabelChoice(annotator="ann", definition=2))
    assert chosen["chosen"].tolist() == ["replay", "random", "import"]
    merged, _ = choose_labels(rows, LabelChoice(annotator="consensus", definition=2))
    assert merged["chosen"].tolist() == ["replay", "random", "replay"]


def test_windows_of_nobody_are_learned_with_those_of_the_annotator_who_judged_most():
    rows = label_frame(
        [
            label_row(BARS, 360, "retracement", 40, annotator="ann"),
            label_row(BARS, 660, "none", annotator="ann"),
            label_row(BARS, 1560, "none", annotator="ann"),
            label_row(BARS, 660, "retracement", 40),
            label_row(BARS, 960, "consolidation", 50),
            label_row(BARS, 1260, "none", annotator="bob"),
        ]
    )
    chosen, choice = choose_labels(rows, ANYBODY)
    assert choice == LabelChoice(annotator="ann", definition=1)
    assert chosen["window_id"].tolist() == ["w360", "w660", "w1560", "w960"]
    assert chosen["label"].tolist() == ["retracement", "none", "none", "consolidation"]
    named, _ = choose_labels(rows, LabelChoice(annotator="ann"))
    assert named["window_id"].tolist() == ["w360", "w660", "w1560"]
