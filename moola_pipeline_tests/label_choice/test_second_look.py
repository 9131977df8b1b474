"""Windows to judge again after the definition changed."""

import numpy as np

from moola_pipeline.label_choice.doubt import window_doubt
from moola_pipeline.label_choice.second_look import labeled_doubt, waiting_windows
from moola_pipeline.label_choice.trees import fit_trees, score_proposals
from moola_pipeline_tests.labels.weekly_market import label_frame, label_row, weekly_bars
from moola_pipeline_tests.made_bars import made_market

BARS = weekly_bars(8)


def test_a_window_waits_until_its_annotator_judged_it_under_the_newest_definition():
    rows = label_frame(
        [
            label_row(BARS, 60, "retracement", 40, annotator="ann"),
            label_row(BARS, 360, "none", annotator="ann", chosen="doubt"),
            label_row(BARS, 660, "none", annotator="ann", definition=2),
            label_row(BARS, 960, "none", annotator="ann"),
            label_row(BARS, 960, "none", annotator="ann", definition=3),
            label_row(BARS, 1260, "none", annotator="ann", **{"pass": 2}),
            label_row(BARS, 1560, "none", annotator="bob"),
        ]
    )
    waiting = waiting_windows(rows, "ann", 3)
    assert waiting["window_id"].tolist() == ["w60", "w360", "w660"]
    assert waiting["definition"].tolist() == [1, 1, 2]
    assert waiting["chosen"].tolist() == ["import", "doubt", "import"]
    assert waiting_windows(rows, "ann", 1).empty


def test_no_window_is_read_by_trees_that_learned_from_it():
    made = made_market(24)
    market, windows = made.bars, made.windows
    known, new = windows.select(np.arange(len(windows.bar0)) % 4 > 0), windows.bar0[::4]
    doubt = labeled_doubt(market, known, windows.bar0, n_folds=3)
    by_all = fit_trees(market, known)
    unread = ~np.isin(windows.bar0, known.bar0)
    assert windows.bar0[unread].tolist() == new.tolist()
    np.testing.assert_array_equal(doubt[unread], window_doubt(score_proposals(market, by_all, new), len(new)))
    learned = window_doubt(score_proposals(market, by_all, known.bar0), len(known.bar0))
    assert (doubt[~unread] != learned).any()
    np.testing.assert_array_equal(doubt, labeled_doubt(market, known, windows.bar0, n_folds=3))
