import tempfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moola_pipeline.errors import BadInput
from moola_pipeline.labels.importing import add_labels, build_ledger
from moola_pipeline.labels.ledger import LabelLedger
from moola_pipeline.labels.registry import registered_labels
from moola_pipeline_tests.labels.weekly_market import label_frame, label_row, weekly_bars, weekly_labels

BARS = weekly_bars(4)


def write(path: Path, labels: pd.DataFrame) -> Path:
    labels.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    return path


def reconciles(ledger: LabelLedger) -> None:
    """The sums that hold for every file."""
    assert ledger.rows == ledger.kept + sum(ledger.dropped.values())
    assert ledger.kept == sum(ledger.counts.values()) == sum(ledger.passes.values())
    counted_by_number = {"exact duplicate", "already registered"}
    named = [row["reason"] for row in ledger.refused]
    assert {reason: named.count(reason) for reason in set(named)} == {
        reason: n for reason, n in ledger.dropped.items() if reason not in counted_by_number
    }
    assert len({row["row"] for row in ledger.refused}) == len(ledger.refused)
    assert ledger.outside_core <= ledger.counts["consolidation"] + ledger.counts["retracement"]
    assert ledger.windows <= ledger.kept


def test_expansions_outside_bars_30_to_74_are_kept_and_counted_apart(tmp_path):
    starts = {360: 29, 660: 30, 960: 74, 700: 75}
    rows = [label_row(BARS, bar0, "retracement", start) for bar0, start in starts.items()]
    ledger, kept = build_ledger(
        write(tmp_path / "a.csv", label_frame([*rows, label_row(BARS, 1000, "none")])), BARS
    )
    assert (ledger.rows, ledger.kept, ledger.outside_core) == (5, 5, 2)
    assert len(kept) == 5


def test_a_window_under_two_ids_that_disagree_is_refused_under_both(tmp_path):
    rows = [
        label_row(BARS, 360, "retracement", 40),
        label_row(BARS, 360, "consolidation", 40, window_id="copy"),
        label_row(BARS, 660, "none"),
    ]
    ledger, kept = build_ledger(write(tmp_path / "a.csv", label_frame(rows)), BARS)
    assert ledger.dropped == {"same bars, both types": 2}
    assert ledger.refused[0]["detail"] == "windows w360 and copy label the same bars with both types"
    assert kept["window_id"].tolist() == ["w660"]


def test_later_passes_disagree_without_a_contradiction(tmp_path):
    rows = [
        label_row(BARS, 360, "retracement", 40),
        label_row(BARS, 360, "consolidation", 40, window_id="copy", **{"pass": 2}),
    ]
    ledger, _ = build_ledger(write(tmp_path / "a.csv", label_frame(rows)), BARS)
    assert (ledger.kept, ledger.passes) == (2, {"1": 1, "2": 1})


def test_a_d_grade_takes_its_window_and_stays_registered(tmp_path):
    rows = [
        label_row(BARS, 360, "retracement", 40),
        label_row(BARS, 360, "retracement", 60, grade="D"),
        label_row(BARS, 660, "none"),
    ]
    ledger, kept = build_ledger(write(tmp_path / "a.csv", label_frame(rows)), BARS)
    assert (ledger.kept, ledger.dropped, len(kept)) == (1, {"grade D": 2}, 3)


ROWS = st.builds(
    lambda bar0, label, start, grade, number, name: label_row(
        BARS,
        bar0,
        label,
        None if label == "none" else start,
        grade=grade,
        window_id=name or f"w{bar0}",
        **{"pass": number},
    ),
    bar0=st.sampled_from([10, 100, 340, 360, 380, 640, 660, 900, 960]),
    label=st.sampled_from(["consolidation", "retracement", "none", "sideways"]),
    start=st.sampled_from([-1, 20, 40, 42, 45, 60, 74, 80, 100]),
    grade=st.sampled_from(["A", "A", "A", "D", "E"]),
    number=st.sampled_from([1, 1, 1, 2]),
    name=st.sampled_from([None, None, None, "x"]),
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=12), st.lists(ROWS, max_size=6))
def test_the_sums_of_every_ledger_reconcile_and_nothing_is_lost_by_merging(first, second):
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "labels"
        known = 0
        for name, rows in (("a.csv", first), ("b.csv", second)):
            if not rows:
                continue
            path = write(Path(folder) / name, label_frame(rows))
            ledger, to_register = build_ledger(path, BARS)
            reconciles(ledger)
            assert set(to_register.index) <= set(range(2, len(rows) + 2))
            try:
                recorded = add_labels(home, path, BARS, drop_bad=True)
            except ValueError as refusal:  # nothing usable, or another opinion on registered windows
                assert "none of" in str(refusal) or "registered" in str(refusal)
                continue
            reconciles(recorded)
            graded_out = recorded.dropped.get("grade D", 0)
            merged = len(registered_labels(home))
            assert known + recorded.kept <= merged <= known + recorded.kept + graded_out
            known = merged


@pytest.mark.parametrize("entry", [{"file": "a.csv", "sha256": "0", "rows": 1, "kept": 1, "dropped": {}}])
def test_a_ledger_of_an_earlier_version_still_reads(entry):
    ledger = LabelLedger(**entry, counts={"consolidation": 1}, windows=1)
    assert (ledger.outside_core, ledger.passes, ledger.by_prices) == (0, {}, {})


def test_a_file_of_very_many_annotators_is_refused(tmp_path: Path):
    rows = weekly_labels(weekly_bars(2)).iloc[:1]
    many = pd.concat([rows.assign(annotator=f"a{n}") for n in range(101)])
    many.to_csv(tmp_path / "many.csv", index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    with pytest.raises(BadInput, match="must hold labels of at most 100 annotators and definitions, got 101"):
        build_ledger(tmp_path / "many.csv", weekly_bars(2))
