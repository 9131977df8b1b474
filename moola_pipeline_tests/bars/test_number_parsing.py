"""Numbers written as text: styles, detection of the style, ambiguous prices."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moola_pipeline.bars.number_parsing import COMMA, DOT, NumberStyle, price_style, trimmed
from moola_pipeline.errors import BadInput


def column(*cells: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(cells, pa.string())])


@pytest.mark.parametrize(
    ("style", "cell", "number"),
    [
        (DOT, "21345.25", 21345.25),
        (DOT, "21,345.25", 21345.25),
        (DOT, "21'345.25", 21345.25),
        (DOT, "1,021,345", 1021345.0),
        (DOT, "+.5e3", 500.0),
        (DOT, "-7", -7.0),
        (COMMA, "21345,25", 21345.25),
        (COMMA, "21.345,25", 21345.25),
        (COMMA, "21 345,25", 21345.25),
        (COMMA, "21\u00a0345,25", 21345.25),
        (COMMA, "18000", 18000.0),
    ],
)
def test_a_number_is_read_in_its_style(style: NumberStyle, cell: str, number: float):
    values, wrong = style.numbers(column(cell))
    assert (values.tolist(), wrong.tolist()) == ([number], [False])


@pytest.mark.parametrize(
    "cell", ["x", "1,2", "1,2345", "12,34.5", "1.2.3", "1e", "--", "$1", "1.5K", "0x10", "٣"]
)
def test_a_cell_that_is_not_a_number_is_marked_invalid(cell: str):
    values, wrong = DOT.numbers(column("1", cell, None))
    assert wrong.tolist() == [False, True, False]
    assert np.isnan(values[1:]).all()


@pytest.mark.parametrize(
    ("cells", "style"),
    [
        (("18000,25", "18,000"), COMMA),
        (("18,000.25", "18,001"), DOT),
        (("18.000,25", "18.001"), COMMA),
        (("18000.25",), DOT),
        (("18000", "18001"), DOT),
        (("x", "18000,5"), COMMA),
        (("x",), DOT),
    ],
)
def test_one_unambiguous_cell_decides_the_style(cells: tuple[str, ...], style: NumberStyle):
    assert price_style({"close": column(*cells)}, "nq.csv") is style


def test_the_style_that_gives_index_prices_is_used():
    assert price_style({"close": column("18,000", "18,250")}, "nq.csv") is DOT
    assert price_style({"close": column("18.000", "18.250")}, "nq.csv") is COMMA


def test_ambiguous_prices_are_refused():
    with pytest.raises(BadInput) as caught:
        price_style({"close": column("100,250", "100,500")}, "nq.csv")
    assert str(caught.value) == (
        "nq.csv: prices must be unambiguous, but close is '100,250', which may mean 100250 or 100.25. "
        "Export numbers without a thousands separator."
    )


@given(st.lists(st.integers(400, 4_000_000), min_size=1, max_size=20), st.sampled_from([DOT, COMMA]))
def test_prices_survive_a_round_trip(ticks: list[int], style: NumberStyle):
    prices = [0.25 * tick for tick in ticks]
    swap = str.maketrans({",": style.group, ".": style.decimal})
    cells = column(*(f"{price:,.2f}".translate(swap) for price in prices))
    assert price_style({"close": cells}, "nq.csv") is style
    values, wrong = style.numbers(cells)
    assert values.tolist() == prices
    assert not wrong.any()


def test_surrounding_blanks_are_ignored_and_empty_cells_are_null():
    assert trimmed(column(" 1 ", "  ", "", None)).to_pylist() == ["1", None, None, None]
