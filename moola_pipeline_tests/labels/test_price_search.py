import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from moola_pipeline.labels.price_windows import find_stretches


def naive(series: np.ndarray, patterns: np.ndarray) -> list[list[int]]:
    n_rows = patterns.shape[1]
    starts = range(len(series) - n_rows + 1)
    return [[row for row in starts if (series[row : row + n_rows] == one).all()] for one in patterns]


def test_a_stretch_is_found_where_it_stands_and_a_changed_one_is_not():
    series = np.arange(40, dtype=np.int64).reshape(10, 4)
    there, changed = series[3:6], series[3:6].copy()
    changed[2, 3] += 1
    found = find_stretches(series, np.stack([there, changed]))
    assert [rows.tolist() for rows in found] == [[3], []]


@given(
    st.lists(st.integers(-2, 2), min_size=2, max_size=80),
    st.lists(st.integers(0, 70), min_size=0, max_size=5),
    st.integers(1, 6),
)
def test_it_finds_what_comparing_every_row_finds(values, places, n_rows):
    series = np.array(values, np.int64)[: len(values) // 2 * 2].reshape(-1, 2)
    own = [series[place : place + n_rows] for place in places if place + n_rows <= len(series)]
    patterns = np.array([*own, np.full((n_rows, 2), 9)], np.int64)
    assert [rows.tolist() for rows in find_stretches(series, patterns)] == naive(series, patterns)


def test_values_beyond_the_hash_are_compared_as_well(monkeypatch):
    monkeypatch.setattr("moola_pipeline.labels.price_windows._MIXERS", np.zeros(4, np.uint64))
    series = np.arange(40, dtype=np.int64).reshape(10, 4)
    assert [rows.tolist() for rows in find_stretches(series, series[None, 2:5])] == [[2]]
    assert [rows.tolist() for rows in find_stretches(series, series[None, 2:5] + 1)] == [[]]
