"""Choice of the windows in the gallery."""

import numpy as np
import pandas as pd

from moola_pipeline.evaluation.sections import choose_windows, gallery
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import UNTYPED, WINDOW_BARS

COLUMNS = ["window_id", "start", "end", "type", "probability"]
IDS = np.array(["a", "b", "c", "d", "e"])
TRUTH = pd.DataFrame(
    [("a", 40, 50, 0), ("a", 60, 66, 1), ("b", 40, 50, 0), ("c", 40, 50, 1)], columns=COLUMNS[:4]
)
PREDICTED = pd.DataFrame(
    [
        ("a", 40, 50, 0, 0.9),  # both of a are found
        ("a", 61, 66, 1, 0.8),
        ("b", 41, 50, 0, 0.7),  # b is found
        ("c", 40, 50, 0, 0.6),  # the wrong type: one missed, one false
        ("d", 50, 55, 0, 0.5),  # one false
        ("e", 10, 15, 0, 0.5),  # outside the core, so neither found nor false
    ],
    columns=COLUMNS,
)


def test_best_windows_come_first_then_the_worst_with_their_counts():
    chosen = choose_windows(TRUTH, PREDICTED, IDS, 4)
    assert [(IDS[window.place], window.rank) for window in chosen] == [
        ("a", "best"),
        ("b", "best"),
        ("c", "worst"),
        ("d", "worst"),
    ]
    assert chosen[0].note == "2 found, 0 missed, 0 false"
    assert chosen[2].note == "0 found, 1 missed, 1 false"


def test_a_window_without_hits_and_errors_is_not_chosen():
    drawn = [IDS[window.place] for window in choose_windows(TRUTH, PREDICTED, IDS, 10)]
    assert sorted(drawn) == sorted(set(drawn))
    assert "e" not in drawn


def test_no_window_is_chosen_if_none_is_requested():
    assert choose_windows(TRUTH, PREDICTED, IDS, 0) == []
    assert choose_windows(TRUTH.iloc[:0], PREDICTED.iloc[:0], IDS, 6) == []


def test_an_expansion_of_unknown_type_is_drawn_under_its_name_and_does_not_count():
    one = Spans(*(np.array([value]) for value in (0, 40, 50, 1, UNTYPED)))
    session = np.array(["2025-04-01"], "datetime64[ns]")
    test = LabeledWindows(IDS[:1], np.array([0]), session, np.ones(1, bool), one)
    prices = {name: np.zeros(WINDOW_BARS) for name in ("open", "high", "low", "close")}
    bars = pd.DataFrame({"timestamp": pd.date_range("2025-04-01", periods=WINDOW_BARS, freq="min"), **prices})
    events = pd.DataFrame([("a", 40, 50, 0, 0.9), ("a", 60, 65, 1, 0.8)], columns=COLUMNS)
    (window,) = gallery(bars, test, events.assign(direction=1), 2)
    assert window.truth == [(40, 50, "unknown", 1)]
    assert [kind for _, _, kind, _, _ in window.predicted] == ["consolidation", "retracement"]
    assert window.note == "0 found, 0 missed, 1 false"
