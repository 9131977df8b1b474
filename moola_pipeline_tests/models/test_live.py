"""Live mode: onset candidates and their alarms."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from moola_pipeline.models.classifier import Classifier, SpanTensors
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.models.live import OnsetCandidates, onset_candidates, raised_alarms, read_live
from moola_pipeline.models.span_inference import read_spans
from moola_pipeline.windows.dense import live_windows
from moola_pipeline.windows.window_geometry import LIVE_BARS, MAX_WAIT
from moola_pipeline_tests.made_bars import made_market, with_prices

torch.set_num_threads(1)
MARKET = made_market(2)
TABLE = MARKET.bars.prices, MARKET.bars.features, MARKET.bars.atr
BAR0 = live_windows(MARKET.bars.segment)[::3]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    torch.manual_seed(0)
    network = Classifier(Encoder(8), 8, 0.5)
    network.encoder.set_scale(torch.from_numpy(MARKET.bars.features[BAR0]))
    return network.eval()


def candidates(*moves: tuple[int, int, int]) -> OnsetCandidates:
    """Moves as closed bar, onset and direction."""
    closed, onset, direction = np.array(moves, np.int64).reshape(-1, 3).T
    nothing = np.zeros(len(closed))
    return OnsetCandidates(closed, onset, direction, np.arange(len(closed)), nothing, nothing)


def alarms(moves: list[tuple[int, int, int]], probability: list[float], max_wait: int = 10) -> list[int]:
    series = np.zeros(len(moves), np.int64)
    return raised_alarms(candidates(*moves), series, np.array(probability), 0.5, max_wait).tolist()


def test_one_alarm_for_one_move_worked_by_hand():
    moves = [(100, 99, 1), (101, 99, 1), (102, 109 - 10, 1), (110, 109, 1), (111, 110, 1), (103, 101, -1)]
    assert alarms(moves, [0.4, 0.6, 0.9, 0.9, 0.9, 0.5]) == [1, 5, 4]


def test_the_most_probable_candidate_of_a_bar_comes_first():
    assert alarms([(100, 99, 1), (100, 97, 1), (100, 98, 1)], [0.6, 0.9, 0.7]) == [1]
    assert alarms([(100, 99, 1), (100, 97, -1)], [0.6, 0.9]) == [1, 0]


def test_of_equally_probable_candidates_the_latest_onset_wins():
    assert alarms([(100, 97, 1), (100, 99, 1)], [0.6, 0.6]) == [1]


@pytest.mark.parametrize(("max_wait", "expected"), [(0, []), (2, []), (3, [0]), (10, [0])])
def test_no_alarm_comes_after_the_longest_wait(max_wait: int, expected: list[int]):
    assert alarms([(103, 100, 1)], [0.9], max_wait) == expected


def test_an_alarm_of_another_series_suppresses_nothing():
    moves = candidates((100, 99, 1), (101, 99, 1))
    assert raised_alarms(moves, np.array([0, 1]), np.array([0.9, 0.9]), 0.5, 10).tolist() == [0, 1]


def test_alarms_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    n = 600
    closed = rng.integers(0, 150, n)
    onset, direction = closed - rng.integers(0, 11, n), rng.choice([-1, 1], n)
    series, sure = rng.integers(0, 3, n), rng.random(n)
    candidates = OnsetCandidates(closed, onset, direction, np.arange(n), np.zeros(n), np.zeros(n))
    expected: list[int] = []
    for i in sorted(range(n), key=lambda i: (series[i], closed[i], -sure[i], -onset[i])):
        same = (
            j
            for j in expected
            if series[j] == series[i] and direction[j] == direction[i] and abs(onset[j] - onset[i]) <= 10
        )
        if sure[i] >= 0.3 and closed[i] - onset[i] <= 5 and not any(True for _ in same):
            expected.append(i)
    assert raised_alarms(candidates, series, sure, 0.3, 5).tolist() == expected
    assert len(expected) > 30


def test_no_candidates_give_no_alarms():
    assert alarms([], []) == []


def test_candidates_end_with_the_closed_bar_and_reach_the_least_move():
    spans = onset_candidates(MARKET.bars, BAR0, 1.0)
    assert (spans.end == LIVE_BARS - 1).all()
    assert set(spans.end - spans.start) == set(range(MAX_WAIT + 1))
    row = BAR0[spans.window]
    net = MARKET.bars.prices[row + spans.end, 3] - MARKET.bars.prices[row + spans.start, 0]
    moved = net / MARKET.bars.atr[row + spans.start - 1] * spans.direction
    assert np.array_equal(moved, np.abs(MARKET.bars.net_moves(BAR0, spans)))
    assert (moved >= 1.0).all()
    more = onset_candidates(MARKET.bars, BAR0, 1e-9)
    assert len(more.window) > len(spans.window)


def test_inputs_of_a_live_window_hold_the_45_bars_before_each_candidate():
    spans = onset_candidates(MARKET.bars, BAR0, 0.5)
    whole = MARKET.bars.measure_inputs(
        BAR0 - 20,
        replace(spans, start=spans.start + 20, end=spans.end + 20),
        LIVE_BARS + 20,
    )
    cut = MARKET.bars.measure_inputs(BAR0, spans, LIVE_BARS)
    assert np.array_equal(cut, whole)


def test_a_cut_window_is_encoded_as_a_shorter_sequence(classifier: Classifier):
    logits = read_live(classifier, MARKET.bars, BAR0, 0.5)
    spans = onset_candidates(MARKET.bars, BAR0, 0.5)
    for i in np.flatnonzero(spans.direction > 0)[::150]:
        row = BAR0[spans.window[i]]
        features = torch.from_numpy(MARKET.bars.features[row - 20 : row + LIVE_BARS][None].copy())
        one = MARKET.bars.measure_inputs(BAR0, spans.select(slice(i, i + 1)), LIVE_BARS)
        span = SpanTensors(
            torch.tensor([0]),
            torch.tensor([spans.start[i]]),
            torch.tensor([spans.end[i]]),
            torch.from_numpy(one),
        )
        with torch.no_grad():
            heads = classifier.read_spans(features, classifier.encoder(features), span)
        assert logits.onset[i] == pytest.approx(heads.onset.item(), abs=1e-5)
        assert logits.retracement[i] == pytest.approx(heads.retracement.item(), abs=1e-5)
        assert logits.closed[i] == row + LIVE_BARS - 1


def test_other_windows_in_the_batch_change_nothing(classifier: Classifier):
    together = read_live(classifier, MARKET.bars, BAR0, 0.5)
    some = np.arange(4, len(BAR0), 9)
    alone = read_live(classifier, MARKET.bars, BAR0[some], 0.5)
    selected = np.isin(together.window, some)
    assert np.array_equal(together.start[selected], alone.start)
    assert together.onset[selected] == pytest.approx(alone.onset, abs=1e-5)


def test_later_bars_change_no_logit(classifier: Classifier):
    closed = 200
    early = BAR0[closed >= BAR0 + LIVE_BARS - 1]
    bars = with_prices(MARKET.bars, np.arange(closed + 1, len(MARKET.bars.prices)), np.random.default_rng(1))
    before = read_live(classifier, MARKET.bars, early, 0.5)
    after = read_live(classifier, bars, early, 0.5)
    assert len(before.onset) > 100
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(one, other)


def test_a_whole_window_gives_other_logits(classifier: Classifier):
    spans = onset_candidates(MARKET.bars, BAR0[:40], 0.5)
    cut, whole = (
        read_spans(classifier, MARKET.bars, BAR0[:40], spans, "cpu", bars) for bars in (LIVE_BARS, 105)
    )
    assert np.abs(cut.onset - whole.onset).max() > 1e-3
