"""Live mode: targets of claimed onsets, pseudo-labels, and alarm thresholds."""

from dataclasses import replace

import numpy as np
import pytest

from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.models.live import OnsetCandidates, read_live
from moola_pipeline.training.live_thresholds import (
    _match_labels,
    alarm_f1,
    fit_delay_thresholds,
    fit_live_thresholds,
)
from moola_pipeline.training.pseudo_labels import PseudoLabels, claim_targets, fit_min_net, make_pseudo_labels
from moola_pipeline.windows.dense import live_windows_of
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import LIVE_BARS, ONSET_COLLAR_BARS, WAITS, WINDOW_BARS
from moola_pipeline_tests.made_bars import InstrumentData, with_prices
from moola_pipeline_tests.training.conftest import RULE, SplitRows
from moola_pipeline_tests.training.test_distillation import distilled


def made(source: MarketArrays, windows: LabeledWindows, n_live: int = 400) -> PseudoLabels:
    return make_pseudo_labels(source, windows, RULE, 0, 200, n_live, 0.5)


@pytest.fixture(scope="module")
def pseudo_labels(market: InstrumentData, train: SplitRows) -> PseudoLabels:
    return made(market.bars, train.windows)


@pytest.fixture(scope="module")
def live(pseudo_labels: PseudoLabels) -> PseudoLabels:
    assert pseudo_labels.live is not None
    return pseudo_labels.live


def one_window(onset: int, direction: int = 1) -> LabeledWindows:
    columns = ([0], [onset], [onset + 5], [direction], [0])
    spans = Spans(*(np.array(column, np.int64) for column in columns))
    name, session = np.array(["w"], object), np.zeros(1, "datetime64[ns]")
    return LabeledWindows(name, np.array([100]), session, np.ones(1, bool), spans)


@pytest.mark.parametrize(
    ("onset", "direction", "target"),
    [
        (50, 1, 1),
        (48, 1, 1),
        (52, 1, 1),
        (47, 1, 0),
        (53, 1, 0),
        (50, -1, 0),
        (30, 1, 0),
        (29, 1, -1),
        (75, 1, -1),
    ],
)
def test_a_claim_is_correct_within_two_bars_and_in_the_same_direction(
    onset: int, direction: int, target: int
):
    spans = one_window(50).spans
    assert claim_targets(spans, np.array([0]), np.array([onset]), np.array([direction])).tolist() == [target]
    assert claim_targets(spans, np.array([1]), np.array([onset]), np.array([direction]))[0] <= 0


def test_the_least_move_is_reached_by_nearly_every_label_by_its_third_bar(
    market: InstrumentData, train: SplitRows
):
    spans, source = train.windows.spans, market.bars
    onset = train.windows.bar0[spans.window] + spans.start
    moved = np.abs(source.prices[onset + 2, 3] - source.prices[onset, 0]) / source.atr[onset - 1]
    least = fit_min_net(source, train.windows)
    assert 0.9 < (moved >= least).mean() <= 1
    assert least > 0.1


def test_the_least_move_is_never_less_than_a_tenth_of_an_atr(market: InstrumentData, train: SplitRows):
    source = market.bars
    assert fit_min_net(replace(source, atr=source.atr * 1000), train.windows) == 0.1


def test_live_pseudo_labels_end_with_their_window_and_lie_in_the_training_period(
    live: PseudoLabels, train: SplitRows
):
    assert len(live.bar0) == 400
    assert (live.spans.end == LIVE_BARS - 1).all()
    assert live.bar0.max() + LIVE_BARS <= train.windows.bar0.max() + WINDOW_BARS
    assert len(live.inputs) == len(live.expansion) == len(live.retracement) == len(live.spans.window)


def test_bars_after_the_last_training_window_change_no_live_pseudo_label(
    market: InstrumentData, train: SplitRows, live: PseudoLabels
):
    later = np.arange(train.windows.bar0.max() + WINDOW_BARS, len(market.bars.prices))
    bars = with_prices(market.bars, later, np.random.default_rng(0))
    again = made(bars, train.windows).live
    assert again is not None
    assert np.array_equal(again.expansion, live.expansion)
    assert np.array_equal(again.inputs, live.inputs)


def test_live_pseudo_labels_change_no_other(
    market: InstrumentData, train: SplitRows, pseudo_labels: PseudoLabels
):
    alone = made(market.bars, train.windows, 0)
    assert alone.live is None
    assert np.array_equal(alone.expansion, pseudo_labels.expansion)
    assert np.array_equal(alone.bar0, pseudo_labels.bar0)


def test_the_network_learns_live_pseudo_labels_and_finds_planted_onsets(
    market: InstrumentData,
    encoder: Encoder,
    train: SplitRows,
    validation: SplitRows,
    pseudo_labels: PseudoLabels,
):
    network = distilled(market, encoder, train, validation, pseudo_labels, distill_epochs=12).classifier
    live = pseudo_labels.live
    assert live is not None
    logits = read_live(network, market.bars, live.bar0, 0.5)
    assert np.corrcoef(logits.onset, live.expansion)[0, 1] > 0.6

    source, windows = market.bars, validation.windows
    thresholds = fit_live_thresholds(network, source, windows, 0.5)
    assert tuple(thresholds.thresholds) == WAITS
    bar0, series = live_windows_of(market.bars.segment, windows.bar0)
    candidates = read_live(network, market.bars, bar0, 0.5)
    window = series[candidates.window]
    f1 = [
        alarm_f1(
            windows,
            candidates,
            window,
            _alarms(candidates, window, thresholds.thresholds[wait], thresholds, wait),
            wait,
        )
        for wait in (0, 10)
    ]
    assert f1[1] > 0.5
    assert f1[1] > f1[0]


def _alarms(candidates, window, threshold, thresholds, wait):
    from moola_pipeline.models.expansion_model import sigmoid
    from moola_pipeline.models.live import raised_alarms

    return raised_alarms(
        candidates, window, sigmoid(thresholds.scale * candidates.onset + thresholds.shift), threshold, wait
    )


def moves(*rows: tuple[int, int, int]) -> OnsetCandidates:
    """Moves in the window of `one_window`: closed, onset, direction."""
    closed, onset, direction = np.array(rows, np.int64).T
    nothing = np.zeros(len(rows))
    return OnsetCandidates(100 + closed, 100 + onset, direction, np.arange(len(rows)), nothing, nothing)


def test_the_f1_of_alarms_worked_by_hand():
    candidates, window = moves((51, 50, 1), (53, 53, 1), (40, 38, -1), (80, 78, 1)), np.zeros(4, np.int64)
    assert alarm_f1(one_window(50), candidates, window, np.array([0]), 1) == 1
    assert alarm_f1(one_window(50), candidates, window, np.array([0]), 0) == 0
    assert alarm_f1(one_window(50), candidates, window, np.array([0, 2]), 1) == pytest.approx(2 / 3)
    assert alarm_f1(one_window(50), candidates, window, np.array([0, 3]), 1) == 1
    assert alarm_f1(one_window(50), candidates, window, np.array([0, 1]), 3) == pytest.approx(2 / 3)
    assert alarm_f1(one_window(50, -1), candidates, window, np.array([0]), 1) == 0


def nearest_pairs(labeled: Spans, window, onset, closed, direction, wait: int) -> np.ndarray:
    """The matches of `_match_labels` by a sort of all pairs."""
    pairs = [
        (apart, alarm, label)
        for alarm in range(len(onset))
        for label in range(len(labeled.start))
        if window[alarm] == labeled.window[label] and direction[alarm] == labeled.direction[label]
        if (apart := abs(onset[alarm] - labeled.start[label])) <= ONSET_COLLAR_BARS
        if closed[alarm] <= labeled.start[label] + wait
    ]
    matched, used = np.zeros(len(onset), bool), set()
    for _, alarm, label in sorted(pairs):
        if not matched[alarm] and label not in used:
            matched[alarm] = True
            used.add(label)
    return matched


@pytest.mark.parametrize("seed", range(20))
def test_the_nearest_onsets_are_matched_first_and_each_label_once(seed: int):
    rng = np.random.default_rng(seed)
    start, label_window = rng.integers(30, 45, 12), np.sort(rng.integers(0, 3, 12))
    labeled = Spans.untyped(label_window, start, start + 4, rng.choice([-1, 1], 12).astype(np.int8))
    window, onset = rng.integers(0, 3, 30), rng.integers(28, 48, 30)
    alarms = window, onset, onset + rng.integers(0, 4, 30), rng.choice([-1, 1], 30)
    wait = int(rng.choice([0, 1, 3]))
    matched = _match_labels(labeled, *alarms, wait)
    assert 0 < matched.sum() < len(matched)
    assert (matched == nearest_pairs(labeled, *alarms, wait)).all()


def test_the_threshold_accepts_the_correct_alarm_and_not_the_false_one():
    candidates, window = moves((40, 39, 1), (51, 50, 1), (70, 69, 1)), np.zeros(3, np.int64)
    thresholds = fit_delay_thresholds(one_window(50), candidates, window, np.array([0.3, 0.8, 0.6]))
    assert 0.6 < thresholds[1] <= 0.8
    assert 0.6 < thresholds[10] <= 0.8
