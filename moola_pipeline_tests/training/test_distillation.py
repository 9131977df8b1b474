"""Pseudo-labels of the teachers, and distillation of the network on them."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from moola_pipeline.models.encoder import Encoder
from moola_pipeline.models.span_inference import read_spans
from moola_pipeline.training.distillation import DISTILL_TASKS
from moola_pipeline.training.finetune import FinetuneResult, FinetuneRows, finetune
from moola_pipeline.training.pseudo_labels import PseudoLabels, make_pseudo_labels
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.training.teachers import LabeledInputs, fit_judge, fit_live_judge, fit_typer
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST, WINDOW_BARS
from moola_pipeline_tests.made_bars import InstrumentData, with_prices
from moola_pipeline_tests.training.conftest import RULE, SplitRows

SETTINGS = FinetuneSettings(
    head_units=8,
    distill_epochs=2,
    distill_batch_windows=8,
    distill_learning_rate=1e-2,
    epochs=0,
    batch_windows=16,
)


@pytest.fixture(scope="module")
def pseudo_labels(market: InstrumentData, train: SplitRows) -> PseudoLabels:
    return make_pseudo_labels(market.bars, train.windows, RULE, 0, 1000, 300, 0.5)


def distilled(
    market: InstrumentData,
    encoder: Encoder,
    train: SplitRows,
    validation: SplitRows,
    pseudo_labels: PseudoLabels,
    seed: int = 0,
    **changes: object,
) -> FinetuneResult:
    settings = FinetuneSettings(**{**SETTINGS.model_dump(), **changes})
    rows = FinetuneRows(market.bars, train.rows, validation.rows, pseudo_labels)
    return finetune(encoder, rows, settings, seed)


@pytest.fixture(scope="module")
def result(
    market: InstrumentData,
    encoder: Encoder,
    train: SplitRows,
    validation: SplitRows,
    pseudo_labels: PseudoLabels,
) -> FinetuneResult:
    return distilled(market, encoder, train, validation, pseudo_labels, distill_epochs=8)


def weights_of(network: torch.nn.Module) -> np.ndarray:
    return np.concatenate([tensor.numpy().ravel() for tensor in network.state_dict().values()])


@pytest.mark.parametrize("fit", [fit_judge, partial(fit_typer, n_trees=100), fit_live_judge])
def test_a_teacher_learns_a_planted_target_and_returns_probabilities(fit):
    rng = np.random.default_rng(0)
    inputs = rng.normal(0, 1, (600, 6))
    target = (inputs[:, 2] + 0.3 * rng.normal(0, 1, 600) > 0).astype(np.int64)
    teacher = fit(LabeledInputs(inputs[:400], target[:400]), 0)
    probability = teacher.probability(inputs[400:])

    assert probability.dtype == np.float32
    assert ((probability >= 0) & (probability <= 1)).all()
    assert ((probability > 0.5) == target[400:]).mean() > 0.85
    again = fit(LabeledInputs(inputs[:400], target[:400]), 0)
    assert np.array_equal(again.probability(inputs[400:]), probability)


def test_the_teacher_of_the_type_gives_both_types_the_same_weight():
    rng = np.random.default_rng(0)
    inputs, target = rng.normal(0, 1, (400, 6)), (np.arange(400) % 10 == 0).astype(np.int64)

    known, others = LabeledInputs(inputs, target), rng.normal(0, 1, (400, 6))
    assert fit_typer(known, 0, 50).probability(others).mean() > 0.25
    assert fit_judge(known, 0).probability(others).mean() < 0.15


def test_targets_of_one_class_are_refused():
    with pytest.raises(ValueError, match=r"a teacher needs spans with target 0 and with target 1, got \[1\]"):
        fit_typer(LabeledInputs(np.zeros((5, 2)), np.ones(5, np.int64)), 0, 50)


def test_pseudo_labels_lie_in_the_training_period_and_start_in_the_core(
    pseudo_labels: PseudoLabels, train: SplitRows
):
    assert len(pseudo_labels.bar0) > 30
    assert pseudo_labels.bar0.max() + WINDOW_BARS <= train.windows.bar0.max() + WINDOW_BARS
    assert ((pseudo_labels.spans.start >= CORE_FIRST) & (pseudo_labels.spans.start <= CORE_LAST)).all()
    assert len(pseudo_labels.inputs) == len(pseudo_labels.expansion) == len(pseudo_labels.spans.window)


def test_bars_after_the_last_training_window_change_no_pseudo_label(
    market: InstrumentData, train: SplitRows, pseudo_labels: PseudoLabels
):
    later = np.arange(train.windows.bar0.max() + WINDOW_BARS, len(market.bars.prices))
    bars = with_prices(market.bars, later, np.random.default_rng(0))
    again = make_pseudo_labels(bars, train.windows, RULE, 0, 1000)

    assert np.array_equal(again.bar0, pseudo_labels.bar0)
    assert np.array_equal(again.inputs, pseudo_labels.inputs)
    assert np.array_equal(again.expansion, pseudo_labels.expansion)
    assert np.array_equal(again.retracement, pseudo_labels.retracement)


def test_each_seed_has_teachers_and_windows_of_its_own(market: InstrumentData, train: SplitRows):
    one, again, other = (
        make_pseudo_labels(market.bars, train.windows, RULE, seed, 20, n_trees=30) for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one.arrays, again.arrays, strict=True))
    assert not np.array_equal(one.bar0, other.bar0)
    everywhere = [
        make_pseudo_labels(market.bars, train.windows, RULE, seed, 100_000, n_trees=30) for seed in (1, 2)
    ]
    assert np.array_equal(everywhere[0].bar0, everywhere[1].bar0)
    assert not np.array_equal(everywhere[0].expansion, everywhere[1].expansion)


def test_a_smaller_number_of_windows_draws_a_subset(
    market: InstrumentData, train: SplitRows, pseudo_labels: PseudoLabels
):
    few = make_pseudo_labels(market.bars, train.windows, RULE, 0, 10, n_trees=30)

    assert len(few.bar0) == 10
    assert np.isin(few.bar0, pseudo_labels.bar0).all()


def test_labels_of_one_type_are_refused(market: InstrumentData, train: SplitRows):
    spans = train.windows.spans
    one_type = train.windows._replace(spans=replace(spans, type=np.zeros_like(spans.type)))
    with pytest.raises(ValueError, match=r"with target 0 and with target 1, got \[0\]"):
        make_pseudo_labels(market.bars, one_type, RULE, 0, 10)


def test_the_network_learns_the_pseudo_labels(
    market: InstrumentData, encoder: Encoder, pseudo_labels: PseudoLabels, result: FinetuneResult
):
    logits = read_spans(result.classifier, market.bars, pseudo_labels.bar0, pseudo_labels.spans)

    assert np.corrcoef(logits.expansion, pseudo_labels.expansion)[0, 1] > 0.6
    assert np.corrcoef(logits.retracement, pseudo_labels.retracement)[0, 1] > 0.6


def test_inverted_pseudo_labels_invert_the_logits(
    market: InstrumentData,
    encoder: Encoder,
    train: SplitRows,
    validation: SplitRows,
    pseudo_labels: PseudoLabels,
):
    inverted = {"expansion": 1 - pseudo_labels.expansion, "retracement": 1 - pseudo_labels.retracement}
    opposite = replace(pseudo_labels, **inverted, live=None)
    network = distilled(market, encoder, train, validation, opposite, distill_epochs=8).classifier
    logits = read_spans(network, market.bars, pseudo_labels.bar0, pseudo_labels.spans)

    assert np.corrcoef(logits.expansion, pseudo_labels.expansion)[0, 1] < 0
    assert np.corrcoef(logits.retracement, pseudo_labels.retracement)[0, 1] < 0


def test_distillation_changes_the_encoder_and_not_the_one_passed_in(
    market: InstrumentData,
    encoder: Encoder,
    train: SplitRows,
    validation: SplitRows,
    pseudo_labels: PseudoLabels,
):
    before = weights_of(encoder)
    network = distilled(market, encoder, train, validation, pseudo_labels).classifier

    assert np.array_equal(weights_of(encoder), before)
    assert not np.array_equal(weights_of(network.encoder), before)


def test_each_epoch_on_pseudo_labels_is_validated_and_logged_before_those_on_labels(
    market: InstrumentData,
    encoder: Encoder,
    train: SplitRows,
    validation: SplitRows,
    pseudo_labels: PseudoLabels,
):
    history = distilled(market, encoder, train, validation, pseudo_labels, epochs=3).history

    assert [entry["epoch"] for entry in history] == [0, 1, 2, 3, 4]
    assert all(np.isfinite(entry["val_loss"]) for entry in history)
    for entry in history[:2]:
        assert sum(entry[f"share_{task}"] for task in DISTILL_TASKS) == pytest.approx(1)
        assert entry["share_live"] > 0.1
        assert "share_pointer" not in entry
    assert all("share_pointer" in entry for entry in history[2:])


def test_the_best_epoch_may_be_one_on_pseudo_labels(
    market: InstrumentData,
    encoder: Encoder,
    train: SplitRows,
    validation: SplitRows,
    pseudo_labels: PseudoLabels,
):
    ruined = distilled(
        market, encoder, train, validation, pseudo_labels, epochs=2, learning_rate=1.0, dropout=0.0
    )

    assert ruined.best_epoch < 2


def test_after_distillation_the_dropout_is_that_of_the_labels(result: FinetuneResult):
    assert result.classifier.judge_head.dropout.share == SETTINGS.dropout


def test_same_seed_and_pseudo_labels_give_the_same_weights(
    market: InstrumentData,
    encoder: Encoder,
    train: SplitRows,
    validation: SplitRows,
    pseudo_labels: PseudoLabels,
):
    one, same, other = (
        distilled(market, encoder, train, validation, pseudo_labels, seed).classifier for seed in (0, 0, 1)
    )

    assert np.array_equal(weights_of(one), weights_of(same))
    assert not np.array_equal(weights_of(one), weights_of(other))


@pytest.mark.parametrize(
    "changes",
    [
        {"distill_epochs": 1},
        {"distill_batch_windows": 16},
        {"distill_learning_rate": 3e-3},
        {"distill_dropout": 0.5},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_changed_setting_changes_the_result(
    market: InstrumentData,
    encoder: Encoder,
    train: SplitRows,
    validation: SplitRows,
    pseudo_labels: PseudoLabels,
    changes: dict[str, object],
):
    expected, changed = (
        distilled(market, encoder, train, validation, pseudo_labels, 0, **given).classifier
        for given in ({}, changes)
    )

    assert not np.array_equal(weights_of(changed), weights_of(expected))


@pytest.mark.parametrize("freeze", [True, False])
def test_labels_change_distilled_parameters_only_without_freeze(
    market: InstrumentData,
    encoder: Encoder,
    train: SplitRows,
    validation: SplitRows,
    pseudo_labels: PseudoLabels,
    freeze: bool,
):
    learned = distilled(
        market,
        encoder,
        train,
        validation,
        pseudo_labels,
        epochs=2,
        frozen_epochs=0,
        distill_freeze=freeze,
        patience=9,
    )
    losses = [[entry[f"val_{task}"] for task in ("type", "expansion")] for entry in learned.history]

    assert (losses[1] == losses[2] == losses[3]) == freeze
    assert learned.history[1]["val_pointer"] != learned.history[3]["val_pointer"]


def test_a_pseudo_label_that_is_nan_stops_and_names_the_windows(
    market: InstrumentData,
    encoder: Encoder,
    train: SplitRows,
    validation: SplitRows,
    pseudo_labels: PseudoLabels,
):
    wrong = pseudo_labels.expansion.copy()
    wrong[pseudo_labels.spans.window == 5] = np.nan
    with pytest.raises(FloatingPointError, match="the loss must be finite, got nan") as stop:
        distilled(market, encoder, train, validation, replace(pseudo_labels, expansion=wrong))

    assert str(pseudo_labels.bar0[5]) in str(stop.value)
