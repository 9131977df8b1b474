"""Faults that all spans of a file share are found from the moves of the bars, and named with their option."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from moola_pipeline.labels.plausibility import (
    MAX_SPANS,
    MIN_SPANS,
    BarMoves,
    MarkedSpans,
    SpanFit,
    find_misfit,
    fitting_zone,
)
from moola_pipeline_tests.labels.marked_market import marked_bars, marked_spans, on_clock, shifted
from moola_pipeline_tests.labels.weekly_market import weekly_bars, weekly_labels

NEW_YORK = "America/New_York"


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return marked_bars()


@pytest.fixture(scope="module")
def bars(table: pd.DataFrame) -> BarMoves:
    return BarMoves.of_bars(table)


@pytest.fixture(scope="module")
def spans(table: pd.DataFrame) -> MarkedSpans:
    return marked_spans(table)


def test_spans_on_their_moves_raise_nothing(bars, spans):
    assert find_misfit(spans, bars) is None


@pytest.mark.parametrize(
    ("bars_late", "looks", "option"),
    [
        (1, "one bar late", "-1"),
        (-1, "one bar early", "1"),
        (2, "two bars late", "-2"),
        (-2, "two bars early", "2"),
    ],
)
def test_spans_a_bar_or_two_off_are_named_with_the_shift_that_mends_them(
    bars, spans, bars_late, looks, option
):
    misfit = find_misfit(shifted(spans, bars_late), bars)
    assert misfit is not None
    assert misfit.looks == f"all spans look {looks}"
    assert misfit.remedy == f"give --shift-bars {option}"


def test_ends_that_are_the_bar_after_the_span_are_named(bars, spans):
    misfit = find_misfit(replace(spans, end=spans.end + 1), bars)
    assert misfit is not None
    assert misfit.looks == "all spans look one bar too long"
    assert misfit.remedy == "give --ends exclusive"


@pytest.mark.parametrize(
    ("zone", "looks"), [(NEW_YORK, "New York"), ("America/Chicago", "Chicago"), ("Etc/GMT-3", "UTC+3")]
)
def test_wall_clock_taken_for_utc_is_named_with_its_zone(bars, spans, zone, looks):
    misfit = find_misfit(on_clock(spans, zone), bars)
    assert misfit is not None
    assert misfit.looks == f"the times look like {looks} times"
    assert misfit.remedy == f"give --timezone {zone}"


def test_a_zone_that_was_given_wrongly_is_named_too(bars, spans):
    read = replace(spans, window_start=on_clock(spans, "Asia/Tokyo").window_start)
    misfit = find_misfit(read, bars)
    assert misfit is not None
    assert misfit.remedy == "give --timezone UTC"


def test_spans_at_random_times_are_for_other_bars(bars, spans):
    rng = np.random.default_rng(0)
    moved = replace(spans, start=spans.start + rng.choice([-15, -12, -9, 9, 12, 15], len(spans.start)))
    misfit = find_misfit(replace(moved, end=moved.start + spans.end - spans.start), bars)
    assert misfit is not None
    assert misfit.looks == "the spans move no more than random spans of these bars"


def test_few_spans_are_not_judged(bars, spans):
    few = MarkedSpans(
        *(array[: MIN_SPANS - 1] for array in vars(shifted(spans, 1)).values()),
    )
    assert find_misfit(few, bars) is None


def test_many_spans_are_judged_by_an_even_choice(bars, spans):
    many = MarkedSpans(*(np.tile(array, 101) for array in vars(spans).values()))
    assert 1_000 < len(many.thinned().window) <= MAX_SPANS
    assert find_misfit(many, bars) is None
    assert find_misfit(shifted(many, 1), bars) is not None


def test_the_zone_of_times_without_one_is_found(bars, spans):
    assert fitting_zone(on_clock(spans, NEW_YORK), bars) == NEW_YORK
    assert fitting_zone(spans, bars) == "UTC"


def test_the_gain_of_moved_ends_is_that_of_a_loop(bars, spans):
    fit = SpanFit(spans, bars)
    close = bars.close
    gains = fit.gain(1, 1)
    for k in range(len(gains)):
        row = int(np.searchsorted(bars.opened, spans.window_start[k]))
        first, last = row + int(spans.start[k]), row + int(spans.end[k])
        up = np.sign(close[last + 1] - close[first - 1])
        moves = up * np.diff(close) / bars.atr[first - 1]  # of bar 1 and on
        added, lost = (np.clip(moves[bar - 1], -3, 3) - fit.least_per_bar for bar in (last + 1, first))
        assert gains[k] == pytest.approx(added - lost)


def test_percentiles_of_random_places_average_one_half(bars):
    rng = np.random.default_rng(1)
    n_spans = 400
    first = rng.integers(200, len(bars.close) - 200, n_spans)
    opened = bars.opened[first]
    nothing = np.zeros(n_spans, np.int64)
    fit = SpanFit(MarkedSpans(np.arange(n_spans), opened, opened, nothing, nothing + 4), bars)
    inside = fit.percentiles(opened)
    assert inside[inside > 0].mean() == pytest.approx(0.5, abs=0.06)


def test_a_span_outside_the_bars_ranks_lowest(bars, spans):
    fit = SpanFit(spans, bars)
    assert not fit.percentiles(spans.window_start + 10**18).any()


def test_a_span_that_several_annotators_marked_alike_counts_once():
    labels = weekly_labels(weekly_bars())
    twice = pd.concat([labels.assign(annotator=name) for name in ("ann", "bob")], ignore_index=True)
    assert len(MarkedSpans.of_labels(twice).start) == len(MarkedSpans.of_labels(labels).start) > 0
