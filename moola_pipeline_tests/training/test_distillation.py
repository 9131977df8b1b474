"""Teachers answer for spans that nobody labeled, and the network takes their answers over."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from moola_pipeline.models.encoder import Encoder
from moola_pipeline.models.span_inference import read_spans
from moola_pipeline.training.distillation import DISTILL_TASKS as TAUGHT_TASKS
from moola_pipeline.training.finetune import FinetuneResult, FinetuneRows, finetune
from moola_pipeline.training.pseudo_labels import PseudoLabels, make_pseudo_labels
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.training.teachers import LabeledInputs, fit_judge, fit_live_judge, fit_typer
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST, WINDOW_BARS
from moola_pipeline_tests.made_bars import InstrumentData, with_prices
from moola_pipeline_tests.training.conftest import RULE, DistillStep

DISTILL_TASKS = FinetuneSettings(
    head_units=8,
    distill_epochs=2,
    distill_batch_windows=8,
    distill_learning_rate=1e-2,
    epochs=0,
    batch_windows=16,
)


@pytest.fixture(scope="module")
def pseudo_labels(market: InstrumentData, train: DistillStep) -> PseudoLabels:
    return make_pseudo_labels(market.bars, train.windows, RULE, 1000, 300, 0.5)


def distilled(
    market: InstrumentData,
    encoder: Encoder,
    train: DistillStep,
    validation: DistillStep,
    pseudo_labels: PseudoLabels,
    seed: int = 0,
    **changes: object,
) -> FinetuneResult:
    settings = FinetuneSettings(**{**DISTILL_TASKS.model_dump(), **changes})
    rows = FinetuneRows(market.bars, train.rows, validation.rows, pseudo_labels)
    return finetune(encoder, rows, settings, seed)


@pytest.fixture(scope="module")
def result(
    market: InstrumentData,
    encoder: Encoder,
    train: DistillStep,
    validation: DistillStep,
    pseudo_labels: PseudoLabels,
) -> FinetuneResult:
    return distilled(market, encoder, train, validation, pseudo_labels, distill_epochs=8)


def weights_of(network: torch.nn.Module) -> np.ndarray:
    return np.concatenate([tensor.numpy().ravel() for tensor in network.state_dict().values()])


@pytest.mark.parametrize("fit", [fit_judge, fit_typer, fit_live_judge])
def test_a_teacher_knows_a_planted_answer_and_says_probabilities(fit):
    rng = np.random.default_rng(0)
    inputs = rng.normal(0, 1, (600, 6))
    answer = (inputs[:, 2] + 0.3 * rng.normal(0, 1, 600) > 0).astype(np.int64)
    teacher = fit(LabeledInputs(inputs[:400], answer[:400]), 0)
    said = teacher.probability(inputs[400:])

    assert said.dtype == np.float32
    assert ((said >= 0) & (said <= 1)).all()
    assert ((said > 0.5) == answer[400:]).mean() > 0.85
    assert np.array_equal(fit(LabeledInputs(inputs[:400], answer[:400]), 0).probability(inputs[400:]), said)


def test_the_typing_teacher_lets_both_types_weigh_the_same():
    rng = np.random.default_rng(0)
    inputs, answer = rng.normal(0, 1, (400, 6)), (np.arange(400) % 10 == 0).astype(np.int64)

    assert fit_typer(LabeledInputs(inputs, answer), 0).probability(rng.normal(0, 1, (400, 6))).mean() > 0.25
    assert fit_judge(LabeledInputs(inputs, answer), 0).probability(rng.normal(0, 1, (400, 6))).mean() < 0.15


def test_a_teacher_of_one_answer_is_refused():
    with pytest.raises(ValueError, match=r"a teacher needs spans of both answers, got \[1\]"):
        fit_typer(LabeledInputs(np.zeros((5, 2)), np.ones(5, np.int64)), 0)


def test_lessons_come_from_the_training_period_and_start_in_the_core(
    pseudo_labels: PseudoLabels, train: DistillStep
):
    assert len(pseudo_labels.bar0) > 30
    assert pseudo_labels.bar0.max() + WINDOW_BARS <= train.windows.bar0.max() + WINDOW_BARS
    assert ((pseudo_labels.spans.start >= CORE_FIRST) & (pseudo_labels.spans.start <= CORE_LAST)).all()
    assert len(pseudo_labels.inputs) == len(pseudo_labels.expansion) == len(pseudo_labels.spans.window)


def test_bars_after_the_last_training_window_change_no_lesson(
    market: InstrumentData, train: DistillStep, pseudo_labels: PseudoLabels
):
    later = np.arange(train.windows.bar0.max() + WINDOW_BARS, len(market.bars.prices))
    bars = with_prices(market.bars, later, np.random.default_rng(0))
    again = make_pseudo_labels(bars, train.windows, RULE, 1000)

    assert np.array_equal(again.bar0, pseudo_labels.bar0)
    assert np.array_equal(again.inputs, pseudo_labels.inputs)
    assert np.array_equal(again.expansion, pseudo_labels.expansion)
    assert np.array_equal(again.retracement, pseudo_labels.retracement)


def test_fewer_windows_are_drawn_where_fewer_are_asked_for(
    market: InstrumentData, train: DistillStep, pseudo_labels: PseudoLabels
):
    few = make_pseudo_labels(market.bars, train.windows, RULE, 10)

    assert len(few.bar0) == 10
    assert np.isin(few.bar0, pseudo_labels.bar0).all()


def test_labels_of_one_type_are_refused(market: InstrumentData, train: DistillStep):
    spans = train.windows.spans
    alike = train.windows._replace(spans=replace(spans, type=np.zeros_like(spans.type)))
    with pytest.raises(ValueError, match=r"both answers, got \[0\]"):
        make_pseudo_labels(market.bars, alike, RULE, 10)


def test_the_network_takes_the_answers_over(
    market: InstrumentData, encoder: Encoder, pseudo_labels: PseudoLabels, result: FinetuneResult
):
    said = read_spans(result.classifier, market.bars, pseudo_labels.bar0, pseudo_labels.spans)

    assert np.corrcoef(said.expansion, pseudo_labels.expansion)[0, 1] > 0.6
    assert np.corrcoef(said.retracement, pseudo_labels.retracement)[0, 1] > 0.6


def test_what_is_taught_is_the_answer_given(
    market: InstrumentData,
    encoder: Encoder,
    train: DistillStep,
    validation: DistillStep,
    pseudo_labels: PseudoLabels,
):
    turned = {"expansion": 1 - pseudo_labels.expansion, "retracement": 1 - pseudo_labels.retracement}
    opposite = replace(pseudo_labels, **turned, live=None)
    network = distilled(market, encoder, train, validation, opposite, distill_epochs=8).classifier
    said = read_spans(network, market.bars, pseudo_labels.bar0, pseudo_labels.spans)

    assert np.corrcoef(said.expansion, pseudo_labels.expansion)[0, 1] < 0
    assert np.corrcoef(said.retracement, pseudo_labels.retracement)[0, 1] < 0


def test_encoder_and_heads_learn_from_lessons_and_the_given_encoder_stays(
    market: InstrumentData,
    encoder: Encoder,
    train: DistillStep,
    validation: DistillStep,
    pseudo_labels: PseudoLabels,
):
    before = weights_of(encoder)
    network = distilled(market, encoder, train, validation, pseudo_labels).classifier

    assert np.array_equal(weights_of(encoder), before)
    assert not np.array_equal(weights_of(network.encoder), before)


def test_each_epoch_on_lessons_is_judged_and_logged_before_those_on_labels(
    market: InstrumentData,
    encoder: Encoder,
    train: DistillStep,
    validation: DistillStep,
    pseudo_labels: PseudoLabels,
):
    history = distilled(market, encoder, train, validation, pseudo_labels, epochs=3).history

    assert [entry["epoch"] for entry in history] == [0, 1, 2, 3, 4]
    assert all(np.isfinite(entry["val_loss"]) for entry in history)
    for entry in history[:2]:
        assert sum(entry[f"share_{task}"] for task in TAUGHT_TASKS) == pytest.approx(1)
        assert entry["share_live"] > 0.1
        assert "share_pointer" not in entry
    assert all("share_pointer" in entry for entry in history[2:])


def test_the_best_epoch_may_be_one_on_lessons(
    market: InstrumentData,
    encoder: Encoder,
    train: DistillStep,
    validation: DistillStep,
    pseudo_labels: PseudoLabels,
):
    ruined = distilled(
        market, encoder, train, validation, pseudo_labels, epochs=2, learning_rate=1.0, dropout=0.0
    )

    assert ruined.best_epoch < 2


def test_the_dropout_of_the_labels_is_back_after_the_lessons(result: FinetuneResult):
    assert result.classifier.judge_head.dropout.share == DISTILL_TASKS.dropout


def test_same_seed_same_lessons_same_weights(
    market: InstrumentData,
    encoder: Encoder,
    train: DistillStep,
    validation: DistillStep,
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
    train: DistillStep,
    validation: DistillStep,
    pseudo_labels: PseudoLabels,
    changes: dict[str, object],
):
    expected, changed = (
        distilled(market, encoder, train, validation, pseudo_labels, 0, **given).classifier
        for given in ({}, changes)
    )

    assert not np.array_equal(weights_of(changed), weights_of(expected))


@pytest.mark.parametrize("stay", [True, False])
def test_what_was_taught_stays_unless_labels_may_change_it(
    market: InstrumentData,
    encoder: Encoder,
    train: DistillStep,
    validation: DistillStep,
    pseudo_labels: PseudoLabels,
    stay: bool,
):
    learned = distilled(
        market,
        encoder,
        train,
        validation,
        pseudo_labels,
        epochs=2,
        frozen_epochs=0,
        distill_freeze=stay,
        patience=9,
    )
    losses = [[entry[f"val_{task}"] for task in ("type", "expansion")] for entry in learned.history]

    assert (losses[1] == losses[2] == losses[3]) == stay
    assert learned.history[1]["val_pointer"] != learned.history[3]["val_pointer"]


def test_an_answer_that_is_no_number_stops_and_names_the_windows(
    market: InstrumentData,
    encoder: Encoder,
    train: DistillStep,
    validation: DistillStep,
    pseudo_labels: PseudoLabels,
):
    wrong = pseudo_labels.expansion.copy()
    wrong[pseudo_labels.spans.window == 5] = np.nan
    with pytest.raises(FloatingPointError, match="the loss must be finite, got nan") as stop:
        distilled(market, encoder, train, validation, replace(pseudo_labels, expansion=wrong))

    assert str(pseudo_labels.bar0[5]) in str(stop.value)
