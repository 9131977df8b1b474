"""Inference on spans does not depend on batch size, order, or position in the window."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from moola_pipeline.features.schema import mirrored
from moola_pipeline.models import span_inference
from moola_pipeline.models.classifier import Classifier, SpanTensors
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.models.span_inference import group_by_view, read_spans
from moola_pipeline.models.span_proposer import SpanProposer, propose
from moola_pipeline.windows.dense import pretraining_windows
from moola_pipeline.windows.window_geometry import view_rows
from moola_pipeline_tests.made_bars import made_market, upside_down

torch.set_num_threads(1)
RULE = SpanProposer(min_net_atr=1.0, min_efficiency=0.4, min_length=2, max_length=12, ordering="net")
MARKET = made_market(4)
VALUES = MARKET.bars.features
PRICED = MARKET.bars.prices, MARKET.bars.atr
TABLE = MARKET.bars.prices, VALUES, MARKET.bars.atr
BAR0 = pretraining_windows(MARKET.bars.segment, len(VALUES), stride=45)
PROPOSALS = propose(MARKET.bars.measure_spans(BAR0), RULE)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    torch.manual_seed(0)
    network = Classifier(Encoder(8), 8, 0.5)
    network.encoder.set_scale(torch.from_numpy(VALUES[BAR0]))
    return network.eval()


def test_each_span_has_the_logits_that_it_has_alone(classifier: Classifier):
    together = read_spans(classifier, MARKET.bars, BAR0, PROPOSALS)
    inputs = MARKET.bars.measure_inputs(BAR0, PROPOSALS)
    for i in range(0, len(PROPOSALS.window), 7):
        features = VALUES[view_rows(BAR0[PROPOSALS.window[i] : PROPOSALS.window[i] + 1])]
        if PROPOSALS.direction[i] < 0:
            features = mirrored(features)
        span = SpanTensors(
            torch.tensor([0]),
            torch.tensor([PROPOSALS.start[i]]),
            torch.tensor([PROPOSALS.end[i]]),
            torch.from_numpy(inputs[i : i + 1]),
        )
        with torch.no_grad():
            _, heads = classifier(torch.from_numpy(features), span)

        assert together.expansion[i] == pytest.approx(heads.expansion.item(), abs=1e-5)
        assert together.retracement[i] == pytest.approx(heads.retracement.item(), abs=1e-5)
        assert together.pointer[i] == pytest.approx(heads.pointer[0].numpy(), abs=1e-5)
    assert np.ptp(together.expansion) > 0.01


N_VIEWS = np.unique(np.stack([PROPOSALS.window, PROPOSALS.direction]), axis=1).shape[1]
"""A window is encoded once for each direction of its spans."""


@pytest.mark.parametrize("size", [1, 2, 7, N_VIEWS - 1, N_VIEWS, N_VIEWS + 1])
def test_the_batch_size_changes_nothing(classifier: Classifier, size: int, monkeypatch: pytest.MonkeyPatch):
    expected = read_spans(classifier, MARKET.bars, BAR0, PROPOSALS)
    monkeypatch.setattr(span_inference, "BATCH_WINDOWS", size)

    for one, other in zip(read_spans(classifier, MARKET.bars, BAR0, PROPOSALS), expected, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_the_order_of_the_spans_changes_nothing(classifier: Classifier):
    order = np.random.default_rng(0).permutation(len(PROPOSALS.window))
    shuffled = PROPOSALS.select(order)
    expected = read_spans(classifier, MARKET.bars, BAR0, PROPOSALS)

    for one, other in zip(read_spans(classifier, MARKET.bars, BAR0, shuffled), expected, strict=True):
        assert one == pytest.approx(other[order], abs=1e-5)


def test_a_mirrored_window_with_mirrored_spans_gives_the_same_logits(classifier: Classifier):
    warm = np.all(MARKET.bars.warm[view_rows(BAR0[PROPOSALS.window])], axis=1)
    spans = PROPOSALS.select(warm)
    turned = replace(spans, direction=-spans.direction)
    bars = upside_down(MARKET.bars)
    expected = read_spans(classifier, MARKET.bars, BAR0, spans)

    assert len(spans.window) > 100
    assert np.abs(bars.features - VALUES).max() > 1
    for one, other in zip(read_spans(classifier, bars, BAR0, turned), expected, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_a_span_in_the_other_direction_has_other_logits(classifier: Classifier):
    turned = replace(PROPOSALS, direction=-PROPOSALS.direction)

    first, second = (read_spans(classifier, MARKET.bars, BAR0, spans) for spans in (PROPOSALS, turned))
    assert np.abs(first.expansion - second.expansion).max() > 1e-3


def test_predictions_move_with_the_bars_when_the_window_is_shifted(classifier: Classifier):
    inner = (PROPOSALS.start >= 40) & (PROPOSALS.end <= 80)
    spans = PROPOSALS.select(inner)
    shifted = replace(spans, start=spans.start + 9, end=spans.end + 9)

    here = read_spans(classifier, MARKET.bars, BAR0, spans)
    # The first window of a segment cannot begin earlier; its spans are left out.
    there = read_spans(classifier, MARKET.bars, np.maximum(BAR0 - 9, 40), shifted)

    is_shifted = ~np.isin(BAR0[spans.window] % 400, [40])
    shift = (there.pointer[:, 0] - here.pointer[:, 0]) * 105
    assert is_shifted.sum() > 20
    assert shift[is_shifted] == pytest.approx(np.full(is_shifted.sum(), 9), abs=0.05)
    assert there.expansion[is_shifted] == pytest.approx(here.expansion[is_shifted], abs=0.02)


def test_no_spans_give_empty_logits(classifier: Classifier):
    none = PROPOSALS.select(slice(0))
    empty = read_spans(classifier, MARKET.bars, BAR0, none)

    assert empty.expansion.shape == empty.retracement.shape == (0,)
    assert empty.pointer.shape == (0, 2)


def test_views_hold_each_span_once_in_its_direction():
    views = group_by_view(BAR0, PROPOSALS)

    assert sorted(views.order.tolist()) == list(range(len(PROPOSALS.window)))
    for i in range(len(views.bar0)):
        spans = views.order[views.bounds[i] : views.bounds[i + 1]]
        assert len(spans)
        assert set(BAR0[PROPOSALS.window[spans]]) == {views.bar0[i]}
        assert ((PROPOSALS.direction[spans] < 0) == views.down[i]).all()


def test_feature_views_mirror_only_windows_that_point_down_and_not_the_table():
    before = VALUES.copy()
    turned = MARKET.bars.feature_views(BAR0[:2], np.array([False, True]))

    assert np.array_equal(turned[0], VALUES[view_rows(BAR0[:1])[0]])
    assert np.array_equal(turned[1], mirrored(VALUES[view_rows(BAR0[1:2])[0]]))
    assert np.array_equal(VALUES, before)
