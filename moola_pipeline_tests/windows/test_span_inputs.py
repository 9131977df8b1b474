"""Span inputs: worked by hand, causal, symmetric, and equal to a plain loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moola_pipeline.windows import span_inputs as measuring
from moola_pipeline.windows.span_inputs import (
    BEFORE_NAMES,
    INPUT_NAMES,
    N_BEFORE,
    N_INPUTS,
    span_inputs,
)
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import CONTEXT_BARS, VIEW_BARS


def made_views(n_windows: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    close = 1000 + rng.normal(0, 1, (n_windows, VIEW_BARS)).cumsum(axis=1)
    opens = close + rng.normal(0, 0.5, close.shape)
    high = np.maximum(opens, close) + rng.exponential(0.3, close.shape)
    low = np.minimum(opens, close) - rng.exponential(0.3, close.shape)
    return np.stack([opens, high, low, close], axis=2)


def measure(views: np.ndarray, spans: list[tuple[int, int, int, int]], atr: float = 2.0) -> np.ndarray:
    """Spans given as window, start, end, direction."""
    window, start, end, direction = (np.array(column) for column in zip(*spans, strict=True))
    return span_inputs(views, np.full(views.shape[:2], atr), Spans.untyped(window, start, end, direction))


def named(row: np.ndarray) -> dict[str, float]:
    return dict(zip(INPUT_NAMES, row.tolist(), strict=True))


def staircase() -> np.ndarray:
    """Rises by 2 points a bar to 100 at view bar 44, falls by 1 to 90, then surges by 5, 5, 10."""
    close = np.full(VIEW_BARS, 110.0)
    close[:45] = 100 - 2.0 * np.arange(44, -1, -1)
    close[45:55] = 99 - np.arange(10)
    close[55:58] = 95, 100, 110
    opens = np.concatenate([close[:1] - 2, close[:-1]])
    return np.stack([opens, np.maximum(opens, close), np.minimum(opens, close), close], axis=1)[None]


def test_a_retracement_and_its_surge_worked_by_hand():
    inputs = named(measure(staircase(), [(0, 55 - CONTEXT_BARS, 57 - CONTEXT_BARS, 1)])[0])

    # The 45 bars before are view bars 10..54: closes 32, 34, ..., 100, 99, ..., 90; ATR is 2 points.
    assert inputs["close_44_back"] == (32 - 90) / 2
    assert inputs["close_2_back"] == 1
    assert inputs["place_of_high"] == pytest.approx(34 / 44)
    assert inputs["place_of_low"] == 0
    assert inputs["rise_to_high"] == (100 - 30) / 2  # the bar that closes at 32 opened at 30
    assert inputs["fall_since_high"] == (100 - 90) / 2
    assert inputs["retraced_share"] == pytest.approx(10 / 70)
    assert inputs["recovered_share"] == 0
    assert inputs["fall_to_low"] == (32 - 30) / 2  # the high of the bar that is lowest itself
    assert inputs["rise_since_low"] == (100 - 30) / 2
    assert (inputs["range_10"], inputs["high_10"], inputs["low_10"]) == (5, 5, 0)
    assert inputs["efficiency_10"] == -1
    assert inputs["position_10"] == 0
    assert inputs["slope_10"] == pytest.approx(-4.5 / 2)
    assert inputs["scatter_10"] == pytest.approx(0, abs=1e-6)
    assert inputs["crossings_10"] == 1
    assert inputs["range_ratio"] == pytest.approx(1 / ((35 * 2 + 10 * 1) / 45))
    # The surge opens at 90 and closes at 95, 100, 110.
    assert (inputs["net"], inputs["length_bars"], inputs["gap"]) == (10, 3, 0)
    assert inputs["net_over_root_length"] == pytest.approx(10 / np.sqrt(3))
    assert (inputs["efficiency_closes"], inputs["efficiency_ranges"]) == (1, 1)
    assert inputs["mean_range"] == pytest.approx(10 / 3)
    assert inputs["largest_body_share"] == 0.5
    assert inputs["worst_pullback"] == inputs["worst_pullback_share"] * 10
    assert (inputs["first_body"], inputs["second_body"], inputs["last_body"]) == (2.5, 2.5, 5)
    assert (inputs["wick_at_end"], inputs["depth_below_start"]) == (0, 0)
    assert inputs["body_before"] == -0.5
    assert [inputs[f"move_{n}_before"] for n in (1, 2, 3)] == [-0.5, -1, -1.5]
    assert (inputs["net_over_range_10"], inputs["high_beyond_10"]) == (2, 5)
    assert inputs["high_beyond_45"] == 5


def test_the_first_numbers_are_those_known_before_the_span():
    views = made_views()
    one, other = measure(views, [(0, 40, 44, 1), (0, 40, 52, 1)])

    assert N_BEFORE == len(BEFORE_NAMES) == 53
    assert N_INPUTS == len(set(INPUT_NAMES)) == 78
    assert np.array_equal(one[:N_BEFORE], other[:N_BEFORE])
    assert not np.array_equal(one[N_BEFORE:], other[N_BEFORE:])


@given(st.integers(0, 2**32 - 1), st.integers(25, 85), st.integers(0, 19), st.sampled_from([-1, 1]))
@settings(max_examples=40, deadline=None)
def test_bars_after_the_span_change_nothing(seed: int, start: int, more: int, direction: int):
    views = made_views(1, seed)
    spans = [(0, start, start + more, direction)]
    before = measure(views, spans)
    views[:, start + more + CONTEXT_BARS + 1 :] = np.random.default_rng(seed).normal(0, 1e6)

    assert np.array_equal(measure(views, spans), before)


@given(st.integers(0, 2**32 - 1), st.integers(25, 85), st.integers(0, 19))
@settings(max_examples=40, deadline=None)
def test_bars_of_the_span_change_no_input_of_the_bars_before(seed: int, start: int, more: int):
    views = made_views(1, seed)
    spans = [(0, start, start + more, 1)]
    before = measure(views, spans)
    views[:, start + CONTEXT_BARS :] += 50

    assert np.array_equal(measure(views, spans)[:, :N_BEFORE], before[:, :N_BEFORE])


@given(st.integers(0, 2**32 - 1), st.integers(25, 85), st.integers(0, 19))
@settings(max_examples=40, deadline=None)
def test_a_span_upside_down_measures_the_same(seed: int, start: int, more: int):
    views = made_views(1, seed)
    turned = (2000 - views)[:, :, [0, 2, 1, 3]]

    assert measure(turned, [(0, start, start + more, -1)]) == pytest.approx(
        measure(views, [(0, start, start + more, 1)]), abs=1e-4
    )


def test_prices_and_atr_in_another_unit_measure_the_same():
    views, spans = made_views(), [(0, 40, 44, 1), (2, 74, 80, -1)]

    assert measure(7 * views, spans, atr=14.0) == pytest.approx(measure(views, spans), abs=1e-4)


def test_each_span_is_measured_as_if_it_were_alone(monkeypatch: pytest.MonkeyPatch):
    views = made_views(3)
    rng = np.random.default_rng(1)
    spans = [
        (int(rng.integers(3)), int(start), int(start + rng.integers(0, 15)), int(rng.choice([-1, 1])))
        for start in rng.integers(25, 90, 50)
    ]
    together = measure(views, spans)
    monkeypatch.setattr(measuring, "CHUNK_SPANS", 7)

    assert np.array_equal(measure(views, spans), together)
    for i, span in enumerate(spans):
        assert np.array_equal(measure(views, [span])[0], together[i])


def test_the_move_equals_a_plain_loop():
    views, atr = made_views(1, seed=4), 2.0
    start, end = 50, 57
    inputs = named(measure(views, [(0, start, end, 1)], atr)[0])
    bars = views[0, start + CONTEXT_BARS : end + CONTEXT_BARS + 1]
    path, walked, worst, highest = 0.0, 0.0, 0.0, bars[0, 1]
    for i, (opened, high, low, close) in enumerate(bars):
        path += abs(close - (opened if i == 0 else bars[i - 1, 3]))
        walked += high - low
        highest = max(highest, high)
        if i > 0:
            worst = max(worst, highest - low)
    net = bars[-1, 3] - bars[0, 0]

    assert inputs["net"] == pytest.approx(net / atr, rel=1e-5)
    assert inputs["mean_range"] == pytest.approx(walked / 8 / atr, rel=1e-5)
    assert inputs["worst_pullback"] == pytest.approx(worst / atr, rel=1e-5)
    assert inputs["efficiency_ranges"] == pytest.approx(net / walked, rel=1e-5)
    assert inputs["efficiency_closes"] == pytest.approx(net / path, rel=1e-5)
    assert inputs["wick_at_end"] == pytest.approx((bars[:, 1].max() - bars[-1, 3]) / atr, rel=1e-4)


@pytest.mark.parametrize("span", [(0, 0, 0, 1), (0, 5, 104, -1), (0, 104, 104, 1), (0, 30, 60, 0)])
def test_any_legal_span_measures_finite_numbers(span: tuple[int, int, int, int]):
    flat = np.full((1, VIEW_BARS, 4), 1000.0)

    assert np.isfinite(measure(made_views(1), [span])).all()
    assert np.isfinite(measure(flat, [span], atr=0.25)).all()


def test_no_spans_give_no_inputs():
    none = np.empty(0, np.int64)

    assert span_inputs(
        made_views(), np.ones((3, VIEW_BARS)), Spans.untyped(none, none, none, none)
    ).shape == (0, 78)


def test_windows_cut_from_one_table_measure_as_if_each_were_its_own():
    table = made_views(1, seed=3)[0]
    bar0 = np.repeat(np.arange(8), 6)  # in view, a window that begins later has fewer bars before a start
    start = np.tile([3, 20, 30, 30, 60, 60], 8) + 8 - bar0
    direction = np.tile([1, -1, 1, -1, 1, -1], 8)
    spans = Spans.untyped(np.arange(len(bar0)), start, start + np.tile([1, 4], 24), direction)
    views = np.stack([table[row : row + VIEW_BARS - 8] for row in bar0])
    atr = np.full(views.shape[:2], 2.0)

    shared = span_inputs(views, atr, spans, bar0 + start)
    assert np.array_equal(shared, span_inputs(views, atr, spans))
    assert len(np.unique(shared[:, :N_BEFORE], axis=0)) < len(shared) / 2
