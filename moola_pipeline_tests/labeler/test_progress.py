"""What the page says about how much is labeled."""

import pytest

from moola_pipeline.bars.schema import nanoseconds
from moola_pipeline.labeler.progress import SelfAgreement, progress_facts
from moola_pipeline.labels.judgment_rows import LabelRow, judgments_of, label_rows
from moola_pipeline_tests.labels.weekly_market import weekly_bars, weekly_labels


@pytest.mark.parametrize(
    ("n", "said"),
    [
        (0, "0 expansions of known type: first model at 30, test split at 80"),
        (1, "1 expansion of known type: first model at 30, test split at 80"),
        (30, "30 expansions of known type: test split at 80"),
        (80, "80 expansions of known type"),
    ],
)
def test_the_line_names_what_is_still_to_come(n: int, said: str):
    facts = progress_facts({"train": 9, "validation": 0, "test": 4, "unused": 0}, n)
    assert facts["text"] == f"train 9 · validation 0 · test 4  —  {said}"
    assert facts["expansions"] == n


def passes(n: int, moved: int) -> list[LabelRow]:
    """Rows of n windows judged twice; in the second pass the first marks lie 15 bars later."""
    bars = weekly_bars()
    first = weekly_labels(bars).query("label != 'none'").head(n).assign(annotator="ann")
    second = first.assign(**{"pass": 2}).reset_index(drop=True)
    for place in range(moved):
        second.loc[place, ["expansion_start", "expansion_end"]] += 15
    opened = nanoseconds(bars)
    both = [one for rows in (first, second) for one in judgments_of(rows, bars, "NQ", "2026-01-01T00:00:00")]
    return [row for one in both for row in label_rows(one, opened)]


def measured(rows: list[LabelRow]) -> str:
    agreement = SelfAgreement(weekly_bars())
    agreement.refresh(rows)
    agreement.wait()
    return agreement.text


def test_self_agreement_is_shown_with_its_interval_and_number():
    assert measured(passes(6, moved=0)) == (
        "You agree with yourself in 6 repeated windows: marks 1.00 [1.00, 1.00], types 1.00 [1.00, 1.00] of 6"
    )
    text = measured(passes(6, moved=3))
    assert text.startswith("You agree with yourself in 6 repeated windows: marks 0.50 [")
    assert text.endswith("of 3")


def test_self_agreement_waits_for_five_repeats():
    assert measured(passes(4, moved=0)) == ""


def test_a_window_without_a_repeat_leaves_self_agreement_as_it_was():
    agreement, rows = SelfAgreement(weekly_bars()), passes(6, moved=0)
    agreement.refresh(rows)
    agreement.wait()
    agreement.text = "as it was"
    known = {row.key[0] for row in rows}
    agreement.refresh([*rows, *(row for row in passes(8, moved=0)[:8] if row.key[0] not in known)])
    agreement.wait()
    assert agreement.text == "as it was"
