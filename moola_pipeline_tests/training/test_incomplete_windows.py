"""Of an incomplete window the labeled spans are learned; nothing else in it is ever a negative."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.models.span_proposer import SpanProposer
from moola_pipeline.training import expansion_models, live_thresholds, pseudo_labels, teachers
from moola_pipeline.training.batches import batches, expected_priors, sampling_weights
from moola_pipeline.training.examples import EMPTY, NO_TARGET, TrainingData, make_examples
from moola_pipeline.training.expansion_models import standalone_proposer, train_expansion_models
from moola_pipeline.training.live_thresholds import fit_live_thresholds
from moola_pipeline.training.proposer_fit import matches
from moola_pipeline.training.pseudo_labels import (
    expansion_examples,
    fit_live_teacher,
    fit_min_net,
    type_examples,
)
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.windows.spans import SpanMeasures, Spans
from moola_pipeline_tests.made_bars import InstrumentData
from moola_pipeline_tests.training.conftest import RULE, SplitRows
from moola_pipeline_tests.training.test_examples import proposals_of, spans_in_row, windows_with

SETTINGS = FinetuneSettings(
    seeds=(0,), distill_windows=8, distill_epochs=1, distill_live_windows=20, epochs=1, frozen_epochs=0,
    batch_windows=8, head_units=4, teacher_trees=20,
)  # fmt: skip
WITHOUT_REST = 4
"""Every fourth window of a split is made incomplete."""


@pytest.fixture(autouse=True)
def quick_teachers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(teachers._LIVE_BOOSTS, "max_iter", 5)


def some_incomplete(windows: LabeledWindows) -> LabeledWindows:
    """The windows, some of them incomplete; the first of two expansions and all others keep their label."""
    complete = np.arange(len(windows.bar0)) % WITHOUT_REST != 0
    second = np.diff(windows.spans.window, prepend=-1) == 0
    kept = complete[windows.spans.window] | ~second
    assert not kept.all()
    return windows._replace(complete=complete, spans=windows.spans.select(kept))


def with_unmarked(windows: LabeledWindows) -> LabeledWindows:
    """The windows, some of them incomplete and without any label; the last one stays complete."""
    complete = np.arange(len(windows.bar0)) % WITHOUT_REST != 0
    assert complete[-1]
    return windows._replace(complete=complete, spans=windows.spans.select(complete[windows.spans.window]))


def with_misses(windows: LabeledWindows) -> LabeledWindows:
    """The windows without every fifth label, so that no rule can tell labels from other surges."""
    return windows._replace(spans=windows.spans.select(np.arange(len(windows.spans.type)) % 5 != 1))


def test_bars_and_proposals_beside_the_spans_of_an_incomplete_window_are_unknown():
    windows = windows_with((0, 32, 36, 1, 0), (0, 60, 70, -1, 1), n_windows=2)
    windows = windows._replace(complete=np.array([False, True]))
    proposals = proposals_of((0, 33, 36, 1), (0, 50, 55, 1), (0, 61, 69, -1), (0, 40, 45, -1))
    examples = make_examples(windows, proposals)

    assert examples.kind.tolist() == [0, 1, EMPTY, EMPTY]
    assert examples.complete.tolist() == [False, False, True, True]
    assert np.flatnonzero(examples.bar_known[0]).tolist() == list(range(32, 37))
    assert np.flatnonzero(examples.bar_known[1]).tolist() == list(range(60, 71))
    assert (examples.bar_target[:2][examples.bar_known[:2]] == 1).all()
    assert examples.bar_known[2:].sum() == 2 * 45
    marked = (32, 36, NO_TARGET, 0, 32, 36), (33, 36, 1, 0, 32, 36)
    assert spans_in_row(examples, 0) == [*marked, (50, 55, NO_TARGET, -1, -1, -1)]
    marked = (60, 70, NO_TARGET, 1, 60, 70), (61, 69, 1, 1, 60, 70)
    assert spans_in_row(examples, 1) == [(40, 45, NO_TARGET, -1, -1, -1), *marked]


def test_an_incomplete_window_without_a_span_in_bars_30_to_74_is_no_row():
    windows = windows_with((1, 40, 49, -1, 0))._replace(complete=np.array([False, True, True]))
    assert make_examples(windows, proposals_of((0, 50, 55, 1))).bar0.tolist() == [300, 500, 500]


def test_no_row_of_a_made_market_has_a_negative_in_an_incomplete_window(
    market: InstrumentData, train: SplitRows
):
    windows = some_incomplete(train.windows)
    examples = make_examples(windows, train.proposals)
    partial = np.isin(examples.bar0, windows.bar0[~windows.complete])
    (batch,) = batches(market.bars, examples, np.arange(len(partial)), len(partial), "cpu")

    bar_row, span_row = batch.known.bars.numpy() // 105, examples.spans.window[batch.known.expansion.numpy()]
    bar_target = batch.bar_target.flatten()[batch.known.bars].numpy()
    span_target = batch.expansion[batch.known.expansion].numpy()
    assert partial[bar_row].any() and partial[span_row].any()
    assert (bar_target[partial[bar_row]] == 1).all()
    assert (span_target[partial[span_row]] == 1).all()
    assert not bar_target[~partial[bar_row]].all() and not span_target[~partial[span_row]].all()


def test_their_types_are_learned_and_they_count_in_no_other_prior(train: SplitRows):
    windows = some_incomplete(train.windows)
    examples = make_examples(windows, train.proposals)
    alone = make_examples(windows.complete_windows, train.proposals.select(np.zeros(0, int)))
    assert (examples.kind != EMPTY).sum() > (alone.kind != EMPTY).sum()
    even = np.full(len(examples.kind), 1.0)
    priors = expected_priors(examples, even)
    known = examples.bar_known[examples.complete]
    assert priors["bars"] == pytest.approx(examples.bar_target[examples.complete][known].mean())
    judged = examples.expansion[examples.complete[examples.spans.window]]
    assert priors["expansion"] == pytest.approx((judged == 1).sum() / (judged >= 0).sum())
    typed = examples.spans.type[examples.spans.is_typed]
    assert priors["type"] == pytest.approx(typed.mean())
    weights = sampling_weights(examples, balanced=True)
    assert [weights[examples.kind == kind].sum() for kind in range(3)] == pytest.approx([1 / 3] * 3)


def test_teachers_of_finding_take_complete_windows_and_that_of_the_type_all(
    market: InstrumentData, train: SplitRows
):
    windows = some_incomplete(train.windows)
    complete = windows.complete_windows
    found, alone = (expansion_examples(market.bars, it, RULE) for it in (windows, complete))
    np.testing.assert_array_equal(found.inputs, alone.inputs)
    np.testing.assert_array_equal(found.target, alone.target)
    assert len(type_examples(market.bars, windows).target) == len(windows.spans.window)
    live, live_alone = (fit_live_teacher(market.bars, it, 0.5, 0) for it in (windows, complete))
    np.testing.assert_array_equal(live.probability(found.inputs), live_alone.probability(found.inputs))


def test_the_least_net_move_is_that_of_complete_windows(market: InstrumentData, train: SplitRows):
    spans = train.windows.spans
    flat = np.isin(spans.window, np.flatnonzero(np.arange(36) % WITHOUT_REST == 0))
    opposite = train.windows._replace(
        spans=replace(spans, direction=np.where(flat, -spans.direction, spans.direction))
    )
    windows = opposite._replace(complete=np.arange(36) % WITHOUT_REST != 0)

    assert fit_min_net(market.bars, windows) == fit_min_net(market.bars, windows.complete_windows)
    assert fit_min_net(market.bars, opposite) < fit_min_net(market.bars, windows)


def test_the_rule_alone_is_fitted_on_complete_windows(market: InstrumentData, train: SplitRows):
    windows = with_unmarked(train.windows)
    rules = [standalone_proposer(market.bars, it) for it in (windows, windows.complete_windows)]
    assert rules[0] == rules[1]


def test_the_span_proposer_is_fitted_on_complete_windows(
    encoder: Encoder,
    market: InstrumentData,
    train: SplitRows,
    validation: SplitRows,
    monkeypatch: pytest.MonkeyPatch,
):
    fitted: list[tuple[SpanMeasures, Spans]] = []

    def fit_proposer(measures: SpanMeasures, labeled: Spans, _: float) -> None:
        fitted.append((measures, labeled))
        raise InterruptedError

    monkeypatch.setattr(expansion_models, "fit_proposer", fit_proposer)
    windows = some_incomplete(train.windows)
    with pytest.raises(InterruptedError):
        trained(market, encoder, windows, validation.windows)
    ((measures, labeled),) = fitted
    complete = windows.complete_windows
    np.testing.assert_array_equal(measures.net_atr, market.bars.measure_spans(complete.bar0).net_atr)
    assert [array.tolist() for array in labeled.arrays] == [array.tolist() for array in complete.spans.arrays]


def test_live_thresholds_take_complete_windows(
    market: InstrumentData, validation: SplitRows, monkeypatch: pytest.MonkeyPatch
):
    read: list[np.ndarray] = []
    honest = live_thresholds.live_windows_of

    def live_windows_of(segment: np.ndarray, bar0: np.ndarray):
        read.append(bar0)
        raise InterruptedError(honest)

    monkeypatch.setattr(live_thresholds, "live_windows_of", live_windows_of)
    windows = with_unmarked(validation.windows)
    with pytest.raises(InterruptedError):
        fit_live_thresholds(None, market.bars, windows, 0.5)  # type: ignore[arg-type]
    assert read[0].tolist() == windows.bar0[windows.complete].tolist()


def test_an_incomplete_window_cannot_validate(
    market: InstrumentData, train: SplitRows, validation: SplitRows
):
    with pytest.raises(ValueError, match="validation windows must be complete, got 3 that are not"):
        TrainingData(market.bars, train.windows, some_incomplete(validation.windows))


def trained(market: InstrumentData, encoder: Encoder, train: LabeledWindows, validation: LabeledWindows):
    data = TrainingData(market.bars, train, validation)
    return train_expansion_models(encoder, data, SETTINGS)[0].model


def test_a_whole_training_learns_nothing_from_incomplete_windows_without_labels(
    encoder: Encoder, market: InstrumentData, train: SplitRows, validation: SplitRows
):
    """Planted: the surges of these windows have no label. As negatives they would change every fit."""
    windows = with_unmarked(with_misses(train.windows))
    model, expected, wrong = (
        trained(market, encoder, it, validation.windows)
        for it in (windows, windows.complete_windows, windows._replace(complete=np.ones(36, bool)))
    )
    assert (model.proposer, model.thresholds) == (expected.proposer, expected.thresholds)
    for name, tensor in model.classifier.state_dict().items():
        assert torch.equal(tensor, expected.classifier.state_dict()[name]), name
    assert wrong.thresholds != expected.thresholds  # guard: taken as empty they do change it


def test_a_whole_training_shows_no_negative_of_an_incomplete_window_to_any_judge(
    encoder: Encoder,
    market: InstrumentData,
    train: SplitRows,
    validation: SplitRows,
    monkeypatch: pytest.MonkeyPatch,
):
    """Planted: second expansions of incomplete windows have no label; what each judge gets is counted."""
    windows = some_incomplete(with_misses(train.windows))
    judged: list[pseudo_labels.LabeledInputs] = []
    fitted: list[SpanProposer] = []
    for name in ("fit_judge", "fit_live_judge"):
        honest = getattr(pseudo_labels, name)
        monkeypatch.setattr(
            pseudo_labels,
            name,
            lambda known, *how, honest=honest: (judged.append(known), honest(known, *how))[1],
        )
    honest_examples = pseudo_labels.expansion_examples
    monkeypatch.setattr(
        pseudo_labels,
        "expansion_examples",
        lambda bars, train, proposer: (fitted.append(proposer), honest_examples(bars, train, proposer))[1],
    )
    trained(market, encoder, windows, validation.windows)
    complete = windows.complete_windows
    proposals = pseudo_labels.propose(market.bars.measure_spans(complete.bar0), fitted[0])
    n_wrong = int((proposals.in_core & (matches(proposals, complete.spans) < 0)).sum())
    assert (judged[0].target == 0).sum() == n_wrong
    assert len(judged) == 2
