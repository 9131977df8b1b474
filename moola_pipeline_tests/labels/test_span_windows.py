"""Windows around spans without covered time: where they lie, and which spans share one."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from moola_pipeline.labels.span_windows import windows_around

SEGMENT = np.repeat([0, 1, 2], [400, 160, 300])
OPENED = np.arange(len(SEGMENT)) * 60 * 10**9


def around(*spans: tuple[int, int], opened: np.ndarray = OPENED) -> list[int]:
    first, last = (np.array(column, np.int64) for column in zip(*spans, strict=True))
    return windows_around(first, last, opened, SEGMENT).tolist()


def test_spans_that_fit_into_one_window_share_it():
    near, far = (200, 205), (244, 250)  # 44 bars apart: one window holds both, from bar 170 on
    assert around(near, far) == [170, 170]
    assert len(set(around(near, (245, 250)))) == 2
    assert len(set(around((200, 205), (230, 280)))) == 2  # the second ends behind bar 104 of such a window


def test_a_span_fits_with_70_bars_before_it_and_30_after_its_first_one():
    assert around((70, 75)) == [40]  # the only place: 40 bars of the segment stand before bar 0
    assert around((69, 75)) == [-1]
    assert around((369, 374)) == [295]
    assert around((370, 375)) == [-1]
    assert around((200, 274)) == [170]
    assert around((200, 275)) == [-1]


def test_a_span_over_a_border_or_outside_the_bars_fits_nowhere():
    assert around((395, 402), (860, 860), (300, 299)) == [-1, -1, -1]


def naive_fits(first: int, last: int) -> list[int]:
    return [
        bar0
        for bar0 in range(40, len(SEGMENT) - 104)
        if SEGMENT[bar0 - 40] == SEGMENT[bar0 + 104] and 30 <= first - bar0 <= 74 and last - bar0 <= 104
    ]


SPANS = st.lists(st.tuples(st.integers(0, 859), st.integers(0, 80)), min_size=1, max_size=12)


@settings(max_examples=100, deadline=None)
@given(SPANS, st.randoms(use_true_random=False))
def test_every_span_that_fits_starts_in_bars_30_to_74_of_a_whole_window(lengths, random):
    spans = [(first, min(first + length, 859)) for first, length in lengths]
    found = dict(zip(spans, around(*spans), strict=True))
    for (first, last), bar0 in found.items():
        fits = naive_fits(first, last)
        assert bar0 in fits if fits else bar0 == -1
    random.shuffle(spans)
    assert dict(zip(spans, around(*spans), strict=True)) == found  # the order of the rows does not matter


def test_the_place_of_a_window_follows_from_the_time_and_is_spread_evenly():
    rows = np.arange(200, 320)
    starts = [200 - around((200, 203), opened=OPENED + row * 1440 * 60 * 10**9)[0] for row in rows]
    assert len(set(starts)) > 40  # at one time of day, on 120 days
    assert set(starts) <= set(range(30, 75))
    assert max(np.bincount(starts)) <= 6
    later = OPENED + 10**15
    assert around((200, 203), opened=later) == around((200, 203), opened=later)
