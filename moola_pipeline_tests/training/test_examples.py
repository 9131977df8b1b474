"""Training rows: one a labeled expansion; unknown bars and spans are never negative."""

from dataclasses import replace

import numpy as np

from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.training.examples import EMPTY, NO_TARGET, make_examples
from moola_pipeline.windows.spans import Spans
from moola_pipeline_tests.made_bars import InstrumentData, upside_down
from moola_pipeline_tests.training.conftest import SplitRows, split_rows


def windows_with(*spans: tuple[int, int, int, int, int], n_windows: int = 3) -> LabeledWindows:
    """Windows at rows 100, 300, ... with spans given as window, start, end, direction, type."""
    columns = zip(*spans, strict=True) if spans else [()] * 5
    return LabeledWindows(
        np.array([f"w{i}" for i in range(n_windows)], object),
        np.arange(n_windows) * 200 + 100,
        np.full(n_windows, np.datetime64("2024-01-02", "ns")),
        np.ones(n_windows, bool),
        Spans(*(np.array(column, np.int64) for column in columns)),
    )


def proposals_of(*spans: tuple[int, int, int, int]) -> Spans:
    """Spans given as window, start, end, direction."""
    columns = zip(*spans, strict=True) if spans else [()] * 4
    window, start, end, direction = (np.array(column, np.int64) for column in columns)
    return Spans.untyped(window, start, end, direction)


TWO = windows_with((0, 32, 36, 1, 0), (0, 60, 70, -1, 1), (1, 40, 49, -1, 0))
"""A window with two expansions, one with one, one empty."""


def rows_of(windows: LabeledWindows, proposals: Spans):
    return make_examples(windows, proposals)


def spans_in_row(examples, row: int) -> list[tuple[int, int, int, int, int, int]]:
    s = examples.spans
    known = s.start, s.end, examples.expansion, s.type, examples.true_start, examples.true_end
    return sorted(zip(*(part[s.window == row].tolist() for part in known), strict=True))


def test_each_expansion_is_a_row_and_each_empty_window_two():
    examples = rows_of(TWO, proposals_of())

    assert examples.bar0.tolist() == [100, 100, 300, 500, 500]
    assert examples.down.tolist() == [False, True, True, False, True]
    assert examples.kind.tolist() == [0, 1, 0, EMPTY, EMPTY]


def test_a_window_with_two_expansions_counts_neither_as_negative():
    examples = rows_of(TWO, proposals_of((0, 33, 36, 1), (0, 61, 69, -1)))

    # start, end, expansion, type, true start, true end: the label itself, and the proposal near it
    assert spans_in_row(examples, 0) == [(32, 36, NO_TARGET, 0, 32, 36), (33, 36, 1, 0, 32, 36)]
    assert spans_in_row(examples, 1) == [(60, 70, NO_TARGET, 1, 60, 70), (61, 69, 1, 1, 60, 70)]


def test_two_expansions_in_one_direction_are_both_positive_in_both_rows():
    both = windows_with((0, 32, 36, 1, 0), (0, 60, 70, 1, 1), n_windows=1)
    examples = rows_of(both, proposals_of((0, 33, 36, 1), (0, 61, 70, 1)))

    for row in (0, 1):
        proposed = [span for span in spans_in_row(examples, row) if span[2] != NO_TARGET]
        assert proposed == [(33, 36, 1, 0, 32, 36), (61, 70, 1, 1, 60, 70)]
        assert np.flatnonzero(examples.bar_target[row]).tolist() == [*range(32, 37), *range(60, 71)]


def test_bars_of_expansions_that_point_up_are_the_target():
    examples = rows_of(TWO, proposals_of())

    assert np.flatnonzero(examples.bar_target[0]).tolist() == list(range(32, 37))
    assert np.flatnonzero(examples.bar_target[1]).tolist() == list(range(60, 71))
    assert not examples.bar_target[3:].any()


def test_unknown_bars_never_count():
    late = windows_with((0, 70, 80, 1, 0), n_windows=1)
    known = rows_of(late, proposals_of()).bar_known[0]

    assert np.flatnonzero(known).tolist() == list(range(30, 81))


def test_unknown_is_never_negative():
    proposals = proposals_of(
        (1, 10, 15, -1), (1, 41, 50, -1), (1, 60, 64, -1), (1, 90, 95, -1), (2, 29, 33, 1)
    )
    examples = rows_of(TWO, proposals)
    unknown, nothing = (NO_TARGET,) * 4, (0, *(NO_TARGET,) * 3)

    assert spans_in_row(examples, 2) == [
        (10, 15, *unknown),
        (40, 49, NO_TARGET, 0, 40, 49),
        (41, 50, 1, 0, 40, 49),
        (60, 64, *nothing),
        (90, 95, *unknown),
    ]
    assert spans_in_row(examples, 3) == [(29, 33, *unknown)]


def test_a_proposal_before_the_core_that_matches_a_label_is_positive():
    early = windows_with((0, 30, 36, 1, 1), n_windows=1)

    assert (27, 36, 1, 1, 30, 36) in spans_in_row(rows_of(early, proposals_of((0, 27, 36, 1))), 0)


def test_a_row_holds_only_the_spans_in_its_direction():
    proposals = proposals_of((1, 60, 64, 1), (2, 40, 44, 1), (2, 50, 55, -1))
    examples = rows_of(TWO, proposals)

    assert [span[:2] for span in spans_in_row(examples, 2)] == [(40, 49)]
    assert [span[:2] for span in spans_in_row(examples, 3)] == [(40, 44)]
    assert [span[:2] for span in spans_in_row(examples, 4)] == [(50, 55)]


def test_spans_come_sorted_by_row():
    examples = rows_of(TWO, proposals_of((1, 60, 64, -1)))

    assert (np.diff(examples.spans.window) >= 0).all()
    assert np.count_nonzero(examples.spans.window == 2) == 2


def test_a_span_without_net_move_points_up():
    flat = windows_with((0, 40, 44, 0, 1), n_windows=1)
    examples = rows_of(flat, proposals_of())

    assert flat.spans.pointed().direction.tolist() == [1]
    assert examples.down.tolist() == [False]
    assert np.flatnonzero(examples.bar_target[0]).tolist() == list(range(40, 45))
    assert spans_in_row(examples, 0) == [(40, 44, NO_TARGET, 1, 40, 44)]


def test_rows_of_the_mirrored_market_are_mirrored(market: InstrumentData, train: SplitRows):
    spans = train.windows.spans
    turned = train.windows._replace(spans=replace(spans, direction=-spans.direction))
    mirrored = split_rows(InstrumentData(upside_down(market.bars), turned), turned).rows
    by_row = list(range(len(spans.window)))  # the two rows of an empty window swap

    assert np.array_equal(mirrored.down[by_row], ~train.rows.down[by_row])
    assert np.array_equal(mirrored.bar_target[by_row], train.rows.bar_target[by_row])
    assert [spans_in_row(mirrored, row) for row in by_row] == [
        spans_in_row(train.rows, row) for row in by_row
    ]


def test_the_made_market_gives_rows_of_every_kind_and_spans_of_every_target(train: SplitRows):
    assert (np.bincount(train.rows.kind) >= 8).all()
    assert (np.bincount(train.rows.expansion + 1) >= 8).all()


def test_windows_without_an_expansion_give_empty_rows_only():
    examples = rows_of(windows_with(n_windows=2), proposals_of((1, 40, 44, -1)))

    assert examples.kind.tolist() == [EMPTY] * 4
    assert spans_in_row(examples, 3) == [(40, 44, 0, *(NO_TARGET,) * 3)]
