"""Choice of the windows in the gallery."""

import numpy as np
import pandas as pd

from moola_pipeline.evaluation.sections import choose_windows

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
