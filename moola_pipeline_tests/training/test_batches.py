"""Batches: rows mirrored to point up, drawn equally by kind, augmented without a change of labels."""

import numpy as np
import pytest
import torch
from torch.utils.data import WeightedRandomSampler

from moola_pipeline.features.schema import mirrored
from moola_pipeline.training.batches import Augmentation, Batch, batches, expected_priors, sampling_weights
from moola_pipeline.training.examples import Examples
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.span_inputs import span_inputs
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import encode_span, view_rows
from moola_pipeline_tests.made_bars import InstrumentData
from moola_pipeline_tests.training.conftest import SplitRows


@pytest.fixture
def source(market: InstrumentData) -> MarketArrays:
    return market.bars


def one_batch(
    source: MarketArrays, rows: Examples, chosen: list[int], augmentation: Augmentation | None = None
) -> Batch:
    (batch,) = batches(source, rows, np.array(chosen), len(chosen), "cpu", augmentation)
    return batch


def test_rows_are_cut_into_batches_with_the_rest_in_the_last(source: MarketArrays, train: SplitRows):
    chosen = np.array([3, 1, 1, 9, 4])
    made = list(batches(source, train.rows, chosen, 2, "cpu"))

    assert [len(batch.features) for batch in made] == [2, 2, 1]
    assert np.concatenate([batch.bar0 for batch in made]).tolist() == train.rows.bar0[chosen].tolist()


def test_features_are_those_of_the_feature_table_mirrored_if_the_row_points_down(
    source: MarketArrays, train: SplitRows
):
    chosen = list(range(len(train.rows.kind)))
    features = one_batch(source, train.rows, chosen).features.numpy()
    table = source.features[view_rows(train.rows.bar0)]

    assert np.array_equal(features[~train.rows.down], table[~train.rows.down])
    assert np.array_equal(features[train.rows.down], mirrored(table[train.rows.down]))
    assert train.rows.down.any() and not train.rows.down.all()


def test_a_batch_holds_the_spans_of_its_rows(source: MarketArrays, train: SplitRows):
    chosen = [7, 2, 7]
    batch = one_batch(source, train.rows, chosen)
    spans = train.rows.spans
    expected = [(i, j) for i, row in enumerate(chosen) for j in np.flatnonzero(spans.window == row)]
    at = np.array([j for _, j in expected])

    assert batch.spans.window.tolist() == [i for i, _ in expected]
    assert batch.spans.start.tolist() == spans.start[at].tolist()
    assert batch.spans.end.tolist() == spans.end[at].tolist()
    row = np.array([i for i, _ in expected])
    inputs = span_inputs(
        source.views(train.rows.bar0[chosen]),
        source.atr[view_rows(train.rows.bar0[chosen])],
        Spans.untyped(row, spans.start[at], spans.end[at], np.where(train.rows.down[chosen], -1, 1)[row]),
    )
    assert np.array_equal(batch.spans.inputs.numpy(), inputs)
    assert batch.expansion.tolist() == train.rows.expansion[at].tolist()
    assert batch.type.tolist() == spans.type[at].tolist()
    is_match = train.rows.expansion[at] == 1
    center, length = encode_span(train.rows.true_start[at], train.rows.true_end[at])
    assert np.array_equal(batch.center.numpy()[is_match], center[is_match])
    assert np.array_equal(batch.length.numpy()[is_match], length[is_match])
    assert np.array_equal(batch.bar_target.numpy(), train.rows.bar_target[chosen])
    assert batch.known.bars.tolist() == np.flatnonzero(train.rows.bar_known[chosen]).tolist()
    assert batch.known.expansion.tolist() == np.flatnonzero(train.rows.expansion[at] >= 0).tolist()
    assert batch.known.type.tolist() == np.flatnonzero(spans.type[at] >= 0).tolist()
    assert batch.known.pointer.tolist() == np.flatnonzero(train.rows.true_start[at] >= 0).tolist()


def test_augmented_rows_differ_each_time_and_their_labels_do_not_change(
    source: MarketArrays, train: SplitRows
):
    augmentation = Augmentation(0.03, 0.2, np.random.default_rng(0))
    plain = one_batch(source, train.rows, [0, 5])
    first = one_batch(source, train.rows, [0, 5], augmentation)
    second = one_batch(source, train.rows, [0, 5], augmentation)

    for one, other in ((plain, first), (first, second)):
        assert (one.features != other.features).float().mean() > 0.5
    for field in ("bar_target", "expansion", "type", "center", "length"):
        assert torch.equal(getattr(plain, field), getattr(first, field))
    assert torch.equal(plain.known.bars, first.known.bars)
    assert torch.equal(plain.spans.start, first.spans.start)
    assert (plain.spans.inputs != first.spans.inputs).float().mean() > 0.5
    assert np.array_equal(plain.bar0, first.bar0)


def test_augmented_rows_stay_near_their_originals(source: MarketArrays, train: SplitRows):
    chosen = list(range(len(train.rows.kind)))
    augmentation = Augmentation(0.03, 0.2, np.random.default_rng(0))
    plain = one_batch(source, train.rows, chosen).features.numpy().reshape(-1)
    changed = one_batch(source, train.rows, chosen, augmentation).features.numpy().reshape(-1)

    assert 0.8 < np.corrcoef(plain, changed)[0, 1] < 0.9999


def test_no_noise_gives_the_feature_table(source: MarketArrays, train: SplitRows):
    still = one_batch(source, train.rows, [0, 5], Augmentation(0, 0, np.random.default_rng(0)))

    assert still.features.numpy() == pytest.approx(
        one_batch(source, train.rows, [0, 5]).features.numpy(), abs=1e-4
    )


def test_each_kind_is_drawn_equally_often_if_balanced(train: SplitRows):
    kind = train.rows.kind
    weights = sampling_weights(train.rows, balanced=True)

    assert weights.sum() == pytest.approx(1)
    assert [weights[kind == k].sum() for k in range(3)] == pytest.approx([1 / 3] * 3)
    assert len(set(np.bincount(kind))) > 1
    assert sampling_weights(train.rows, balanced=False) == pytest.approx(np.full(len(kind), 1 / len(kind)))


def test_two_kinds_are_drawn_equally_often_if_no_window_is_empty():
    examples = made_rows(kind=[0, 0, 0, 1])

    assert sampling_weights(examples, balanced=True) == pytest.approx([1 / 6] * 3 + [1 / 2])


def made_rows(kind: list[int]) -> Examples:
    """Row 0 has two positive spans and 3 target bars of 4 known, row 1 one negative and 0 of 2, ..."""
    n_rows = len(kind)
    target, known = np.zeros((n_rows, 105), np.float32), np.zeros((n_rows, 105), bool)
    target[0, :3], known[0, :4], known[1:, :2] = 1, True, True
    row = np.array([0, 0, *range(1, n_rows)])
    start, end = np.full(len(row), 40), np.full(len(row), 44)
    spans = Spans(row, start, end, np.ones(len(row)), np.array([1, 0, *([-1] * (n_rows - 1))]))
    expansion = np.array([1, 1, *([0] * (n_rows - 1))])
    rows = np.arange(n_rows), np.zeros(n_rows, bool), np.array(kind)
    return Examples(*rows, target, known, spans, expansion, start, end, np.ones(n_rows, bool))


def test_expected_priors_worked_by_hand():
    examples = made_rows(kind=[1, 2, 2])

    priors = expected_priors(examples, np.array([0.5, 0.25, 0.25]))

    assert priors == pytest.approx(
        {
            "bars": 0.5 * 3 / (0.5 * 4 + 0.25 * 2 * 2),
            "expansion": 0.5 * 2 / (0.5 * 2 + 0.25 * 2),
            "type": 0.5,
        }
    )


@pytest.mark.parametrize("balanced", [True, False])
def test_expected_priors_are_the_shares_in_drawn_batches(
    source: MarketArrays, train: SplitRows, balanced: bool
):
    weights = sampling_weights(train.rows, balanced)
    generator = torch.Generator().manual_seed(0)
    drawn = np.array(list(WeightedRandomSampler(weights.tolist(), 6000, generator=generator)))
    spans, times = train.rows.spans, np.bincount(drawn, minlength=len(weights))

    shares = {"bars": np.average(train.rows.bar_target[drawn][train.rows.bar_known[drawn]])}
    for task, target in (("expansion", train.rows.expansion), ("type", spans.type)):
        known = target >= 0
        shares[task] = np.average(target[known], weights=times[spans.window][known])
    assert expected_priors(train.rows, weights) == pytest.approx(shares, abs=0.02)
