"""The geometry of a window, and the encoding of spans as shares."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moola_pipeline.features.relativity import STRUCTURE_VALID_FROM, VALID_FROM
from moola_pipeline.windows.window_geometry import (
    BARS_BEFORE,
    CONTEXT_BARS,
    CORE_FIRST,
    CORE_LAST,
    WINDOW_BARS,
    decode_span,
    encode_span,
    gather_rows,
)

FIRST, LAST = np.triu_indices(WINDOW_BARS)
"""Every legal span: 0 <= first <= last <= 104."""


def test_a_span_worked_by_hand():
    center, length = encode_span(np.array([30, 0, 104]), np.array([44, 104, 104]))

    assert center.tolist() == [37.5 / 105, 0.5, 104.5 / 105]
    assert length.tolist() == [15 / 105, 1.0, 1 / 105]


def test_every_legal_span_comes_back():
    first, last = decode_span(*encode_span(FIRST, LAST))

    assert len(FIRST) == 105 * 106 / 2
    assert np.array_equal(first, FIRST)
    assert np.array_equal(last, LAST)


def test_every_legal_span_comes_back_from_the_float32_of_a_network():
    center, length = encode_span(FIRST, LAST)
    first, last = decode_span(center.astype(np.float32), length.astype(np.float32))

    assert np.array_equal(first, FIRST)
    assert np.array_equal(last, LAST)


def test_shares_of_legal_spans_lie_between_0_and_1():
    center, length = encode_span(FIRST, LAST)

    assert ((center > 0) & (center < 1)).all()
    assert ((length > 0) & (length <= 1)).all()


def test_an_error_of_less_than_half_a_bar_changes_no_span():
    rng = np.random.default_rng(0)
    center, length = encode_span(FIRST, LAST)
    errors = rng.uniform(-0.49, 0.49, (2, len(FIRST))) / WINDOW_BARS
    first, last = decode_span(center + errors[0], length + errors[1])

    assert np.array_equal(first, FIRST)
    assert np.array_equal(last, LAST)


@settings(derandomize=True, max_examples=300)
@given(st.floats(-3, 3), st.floats(-3, 3))
def test_any_shares_give_a_legal_span(center: float, length: float):
    first, last = decode_span(np.array(center), np.array(length))

    assert 0 <= first <= last <= WINDOW_BARS - 1


def test_spans_come_back_in_the_shape_they_came_in():
    first, last = decode_span(*encode_span(FIRST[:60].reshape(3, 4, 5), LAST[:60].reshape(3, 4, 5)))

    assert first.shape == last.shape == (3, 4, 5)
    assert first.dtype.kind == last.dtype.kind == "i"


def test_every_bar_the_network_reads_has_warm_features():
    assert BARS_BEFORE - CONTEXT_BARS >= VALID_FROM
    assert BARS_BEFORE >= STRUCTURE_VALID_FROM


def test_the_core_lies_in_the_middle_of_the_window():
    assert CORE_FIRST == WINDOW_BARS - 1 - CORE_LAST


def test_windows_gathered_from_a_table_are_the_rows_around_bar_0():
    table = np.arange(300)[:, None] * np.ones(3)
    windows = gather_rows(table, np.array([20, 195]))

    assert windows.shape == (2, 125, 3)
    assert windows[0, :, 0].tolist() == list(range(125))
    assert windows[1, :, 0].tolist() == list(range(175, 300))
    windows[:] = -1
    assert table.min() == 0


@pytest.mark.parametrize("row", [-1, 0, 19, 196, 300, 10**9])
def test_a_window_that_leaves_the_table_is_refused_by_name(row: int):
    with pytest.raises(ValueError) as refused:
        gather_rows(np.ones((300, 3)), np.array([40, row]))
    assert str(refused.value) == (
        f"bar 0 of a window must lie in rows 20 to 195 of a table of 300 bars, got {row}"
    )


def test_no_windows_give_no_rows():
    assert gather_rows(np.ones((300, 3)), np.empty(0, np.int64)).shape == (0, 125, 3)
