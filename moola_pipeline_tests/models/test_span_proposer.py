"""The span proposer: measures by hand, proposals of a plain loop, symmetry in direction."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from moola_pipeline.models.span_proposer import (
    MAX_PROPOSALS,
    ORDERINGS,
    Ordering,
    RankedSpans,
    SpanProposer,
    propose,
)
from moola_pipeline.windows.spans import MAX_LENGTH, SpanMeasures, Spans, measure_spans
from moola_pipeline.windows.window_geometry import CONTEXT_BARS, WINDOW_BARS, view_rows
from moola_pipeline_tests.made_bars import made_market, upside_down

RULE = SpanProposer(min_net_atr=2.0, min_efficiency=0.5, min_length=2, max_length=12, ordering="net")
MARKET = made_market(4)
VIEWS = MARKET.bars.views(MARKET.windows.bar0)
ATR = MARKET.bars.atr[view_rows(MARKET.windows.bar0)]
MEASURES = measure_spans(VIEWS, ATR)


def rule_with(**changes: object) -> SpanProposer:
    return SpanProposer(**{**RULE.model_dump(), **changes})


def quiet_measures() -> SpanMeasures:
    net = np.full((1, WINDOW_BARS, MAX_LENGTH), np.nan, np.float32)
    for s in range(WINDOW_BARS):
        net[0, s, : WINDOW_BARS - s] = 0
    return SpanMeasures(net, np.where(np.isnan(net), np.nan, 1).astype(np.float32))


def plain_propose(measures: SpanMeasures, proposer: SpanProposer) -> list[tuple[int, int, int]]:
    """Every span that satisfies the rule, best first, kept unless a better one overlaps it."""
    proposals = []
    for b in range(len(measures.net_atr)):
        fitting = []
        for s, n in product(range(WINDOW_BARS), range(proposer.min_length - 1, proposer.max_length)):
            if s + n >= WINDOW_BARS:
                continue
            size, efficiency = abs(float(measures.net_atr[b, s, n])), float(measures.efficiency[b, s, n])
            if size < proposer.min_net_atr or efficiency < proposer.min_efficiency:
                continue
            score = {
                "net": size,
                "efficiency": size * efficiency,
                "speed": size / (n + 1) ** 0.5,
                "earliest": -s + size / 1e3,
            }[proposer.ordering]
            fitting.append((score, s, s + n))
        kept: list[tuple[int, int, int]] = []
        for _, first, last in sorted(fitting, key=lambda span: -span[0]):
            if len(kept) < MAX_PROPOSALS and all(last < f or first > e for _, f, e in kept):
                kept.append((b, first, last))
        proposals += sorted(kept)
    return proposals


def as_rows(proposals: Spans) -> list[tuple[int, int, int]]:
    return list(zip(*(part.tolist() for part in proposals.arrays[:3]), strict=True))


def test_net_move_and_efficiency_worked_by_hand():
    views = np.full((1, 125, 4), 100.0)
    atr = np.full((1, 125), 7.0)
    at = CONTEXT_BARS + 30
    views[0, at:, :] = 108  # bar 30 runs from 100 to 106, 31 falls to 104, 32 rises to 108
    views[0, at] = [100, 107, 99, 106]
    views[0, at + 1, 3] = 104
    atr[0, at - 1] = 4.0

    measured = measure_spans(views, atr)

    assert measured.net_atr[0, 30, :3].tolist() == [6 / 4, 4 / 4, 8 / 4]
    assert measured.efficiency[0, 30, :3] == pytest.approx([1, 4 / 8, 8 / 12])
    assert measured.net_atr[0, 90, 0] == 0 and measured.efficiency[0, 90, 0] == 0


def test_spans_that_leave_the_window_have_no_measure():
    assert np.isnan(MEASURES.net_atr[:, -1, 1:]).all() and not np.isnan(MEASURES.net_atr[:, -1, 0]).any()
    assert np.isnan(MEASURES.net_atr).sum() == len(VIEWS) * sum(range(MAX_LENGTH))


def test_later_bars_and_the_atr_within_a_span_do_not_change_its_measure():
    views, atr = VIEWS.copy(), ATR.copy()
    views[:, CONTEXT_BARS + 51 :] *= 2
    atr[:, CONTEXT_BARS + 40 :] *= 3

    changed = measure_spans(views, atr)

    assert np.array_equal(changed.net_atr[:, 40, :11], MEASURES.net_atr[:, 40, :11])
    assert not np.array_equal(changed.net_atr[:, 41, :10], MEASURES.net_atr[:, 41, :10])


def test_proposals_worked_by_hand():
    measures = quiet_measures()
    measures.net_atr[0, 30, 4] = 3.0  # bars 30-34
    measures.net_atr[0, 33, 4] = -4.0  # 33-37 overlaps and is larger
    measures.net_atr[0, 60, 1] = 2.0
    measures.net_atr[0, 80, 1] = 1.9  # too small
    measures.net_atr[0, 90, 0] = 9.0  # too short

    proposals = propose(measures, RULE)

    assert as_rows(proposals) == [(0, 33, 37), (0, 60, 61)]
    assert proposals.direction.tolist() == [-1, 1]
    assert measures.net_of(proposals).tolist() == [-4.0, 2.0]


def test_each_ordering_keeps_a_different_overlapping_span():
    measures = quiet_measures()
    for first, last, net, efficiency in ((40, 49, 6.0, 0.5), (44, 52, 5.0, 0.9), (38, 45, 2.5, 0.6)):
        measures.net_atr[0, first, last - first] = net
        measures.efficiency[0, first, last - first] = efficiency
    measures.net_atr[0, 48, 1] = 3.5

    kept = {ordering: as_rows(propose(measures, rule_with(ordering=ordering)))[-1] for ordering in ORDERINGS}

    assert kept == {
        "net": (0, 40, 49),
        "efficiency": (0, 44, 52),
        "speed": (0, 48, 49),
        "earliest": (0, 48, 49),  # 38-45 comes first and leaves bars 48-49 free
    }


@settings(deadline=None, derandomize=True, max_examples=12)
@given(st.floats(0.3, 6), st.floats(0, 0.95), st.integers(1, 8), st.sampled_from(ORDERINGS))
def test_proposals_equal_a_plain_loop(net: float, efficiency: float, shortest: int, ordering: Ordering):
    few = SpanMeasures(MEASURES.net_atr[:4], MEASURES.efficiency[:4])
    proposer = SpanProposer(
        min_net_atr=net, min_efficiency=efficiency, min_length=shortest, max_length=12, ordering=ordering
    )

    assert as_rows(propose(few, proposer)) == plain_propose(few, proposer)


@given(
    net=st.floats(0.5, 8),
    efficiency=st.floats(0.1, 1),
    lengths=st.tuples(st.integers(2, 14), st.integers(2, 14)).map(sorted),
    ordering=st.sampled_from(ORDERINGS),
)
@settings(deadline=None, derandomize=True, max_examples=60)
def test_ranked_once_spans_are_proposed_as_by_each_rule_alone(
    net: float, efficiency: float, lengths: list[int], ordering: Ordering
):
    loosest = rule_with(min_net_atr=0.5, min_efficiency=0.1, max_length=14, ordering=ordering)
    rule = rule_with(
        min_net_atr=net,
        min_efficiency=efficiency,
        min_length=lengths[0],
        max_length=lengths[1],
        ordering=ordering,
    )
    ranked, alone = RankedSpans.of(MEASURES, loosest), propose(MEASURES, rule).arrays
    longer = rule.model_copy(update={"max_length": loosest.max_length})
    for spans in (ranked, ranked.within(loosest), ranked.within(longer), ranked.within(rule)):
        for one, other in zip(spans.propose(rule).arrays, alone, strict=True):
            np.testing.assert_array_equal(one, other)
    assert len(ranked.within(longer).ends) <= len(ranked.ends)


@pytest.mark.parametrize(
    "changes",
    [
        {"min_net_atr": 1.9},
        {"min_efficiency": 0.4},
        {"min_length": 1},
        {"max_length": 13},
        {"ordering": "speed"},
    ],
)
def test_a_rule_that_the_ranking_does_not_cover_is_refused(changes: dict[str, object]):
    ranked = RankedSpans.of(MEASURES, RULE)
    for read in (ranked.propose, ranked.within, ranked.within(RULE).propose):
        with pytest.raises(ValueError, match="a rule must be within"):
            read(rule_with(**changes))


def test_nothing_is_proposed_from_an_empty_ranking():
    ranked = RankedSpans.of(quiet_measures(), RULE)
    assert len(ranked.ends) == 0
    assert len(ranked.propose(RULE).window) == 0


def test_proposals_never_overlap_and_point_in_the_direction_of_price():
    proposals = propose(MEASURES, rule_with(min_net_atr=0.5, min_length=1))

    taken = np.zeros((len(VIEWS), WINDOW_BARS), int)
    for window, start, end in as_rows(proposals):
        taken[window, start : end + 1] += 1
    opened = VIEWS[proposals.window, CONTEXT_BARS + proposals.start, 0]
    closed = VIEWS[proposals.window, CONTEXT_BARS + proposals.end, 3]
    assert taken.max() == 1
    assert np.bincount(proposals.window).max() <= MAX_PROPOSALS
    assert np.array_equal(proposals.direction, np.sign(closed - opened))


def test_mirrored_bars_give_the_same_spans_in_the_other_direction():
    mirrored = measure_spans(upside_down(MARKET.bars).views(MARKET.windows.bar0), ATR)
    up, down = propose(MEASURES, RULE), propose(mirrored, RULE)

    assert len(up.window) > 5
    assert as_rows(up) == as_rows(down)
    assert np.array_equal(up.direction, -down.direction)
    assert np.array_equal(MEASURES.net_of(up), -mirrored.net_of(down))


def test_a_rule_that_no_span_satisfies_proposes_nothing():
    proposals = propose(MEASURES, rule_with(min_net_atr=1e6))

    assert [len(part) for part in proposals.arrays] == [0] * 5


def test_an_unknown_threshold_is_refused():
    with pytest.raises(ValidationError, match="min_speed"):
        rule_with(min_speed=1.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"min_net_atr": 0},
        {"min_efficiency": 1.1},
        {"min_length": 0},
        {"max_length": 21},
        {"ordering": "best"},
    ],
)
def test_a_threshold_out_of_bounds_is_refused(changes: dict[str, object]):
    with pytest.raises(ValidationError, match=next(iter(changes))):
        rule_with(**changes)
