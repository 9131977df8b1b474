"""Teachers answer for spans that nobody labeled, and the network takes their answers over."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from moola_pipeline.models.encoder import Encoder
from moola_pipeline.models.span_inference import read_spans
from moola_pipeline.training.distillation import TAUGHT as TAUGHT_TASKS
from moola_pipeline.training.finetune import FinetuneResult, FinetuneRows, finetune
from moola_pipeline.training.pseudo_labels import PseudoLabels, make_pseudo_labels
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.training.teachers import LabeledInputs, fit_judge, fit_live_judge, fit_typer
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST, WINDOW_BARS
from moola_pipeline_tests.made_bars import Market, with_prices
from moola_pipeline_tests.training.conftest import RULE, Lesson

TAUGHT = FinetuneSettings(
    head_units=8,
    taught_epochs=2,
    taught_batch_windows=8,
    taught_learning_rate=1e-2,
    epochs=0,
    batch_windows=16,
)


@pytest.fixture(scope="module")
def lessons(market: Market, train: Lesson) -> PseudoLabels:
    return make_pseudo_labels(market.bars, train.windows, RULE, 1000, 300, 0.5)


def taught(
    market: Market,
    encoder: Encoder,
    train: Lesson,
    validation: Lesson,
    lessons: PseudoLabels,
    seed: int = 0,
    **changes: object,
) -> FinetuneResult:
    settings = FinetuneSettings(**{**TAUGHT.model_dump(), **changes})
    rows = FinetuneRows(market.bars, train.rows, validation.rows, lessons)
    return finetune(encoder, rows, settings, seed)


@pytest.fixture(scope="module")
def result(
    market: Market, encoder: Encoder, train: Lesson, validation: Lesson, lessons: PseudoLabels
) -> FinetuneResult:
    return taught(market, encoder, train, validation, lessons, taught_epochs=8)


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


def test_lessons_come_from_the_training_period_and_start_in_the_core(lessons: PseudoLabels, train: Lesson):
    assert len(lessons.bar0) > 30
    assert lessons.bar0.max() + WINDOW_BARS <= train.windows.bar0.max() + WINDOW_BARS
    assert ((lessons.spans.start >= CORE_FIRST) & (lessons.spans.start <= CORE_LAST)).all()
    assert len(lessons.inputs) == len(lessons.expansion) == len(lessons.spans.window)


def test_bars_after_the_last_training_window_change_no_lesson(
    market: Market, train: Lesson, lessons: PseudoLabels
):
    later = np.arange(train.windows.bar0.max() + WINDOW_BARS, len(market.bars.prices))
    bars = with_prices(market.bars, later, np.random.default_rng(0))
    again = make_pseudo_labels(bars, train.windows, RULE, 1000)

    assert np.array_equal(again.bar0, lessons.bar0)
    assert np.array_equal(again.inputs, lessons.inputs)
    assert np.array_equal(again.expansion, lessons.expansion)
    assert np.array_equal(again.retracement, lessons.retracement)


def test_fewer_windows_are_drawn_where_fewer_are_asked_for(
    market: Market, train: Lesson, lessons: PseudoLabels
):
    few = make_pseudo_labels(market.bars, train.windows, RULE, 10)

    assert len(few.bar0) == 10
    assert np.isin(few.bar0, lessons.bar0).all()


def test_labels_of_one_type_are_refused(market: Market, train: Lesson):
    spans = train.windows.spans
    alike = train.windows._replace(spans=replace(spans, type=np.zeros_like(spans.type)))
    with pytest.raises(ValueError, match=r"both answers, got \[0\]"):
        make_pseudo_labels(market.bars, alike, RULE, 10)


def test_the_network_takes_the_answers_over(
    market: Market, encoder: Encoder, lessons: PseudoLabels, result: FinetuneResult
):
    said = read_spans(result.classifier, market.bars, lessons.bar0, lessons.spans)

    assert np.corrcoef(said.expansion, lessons.expansion)[0, 1] > 0.6
    assert np.corrcoef(said.retracement, lessons.retracement)[0, 1] > 0.6


def test_what_is_taught_is_the_answer_given(
    market: Market, encoder: Encoder, train: Lesson, validation: Lesson, lessons: PseudoLabels
):
    turned = {"expansion": 1 - lessons.expansion, "retracement": 1 - lessons.retracement}
    opposite = replace(lessons, **turned, live=None)
    network = taught(market, encoder, train, validation, opposite, taught_epochs=8).classifier
    said = read_spans(network, market.bars, lessons.bar0, lessons.spans)

    assert np.corrcoef(said.expansion, lessons.expansion)[0, 1] < 0
    assert np.corrcoef(said.retracement, lessons.retracement)[0, 1] < 0


def test_encoder_and_heads_learn_from_lessons_and_the_given_encoder_stays(
    market: Market, encoder: Encoder, train: Lesson, validation: Lesson, lessons: PseudoLabels
):
    before = weights_of(encoder)
    network = taught(market, encoder, train, validation, lessons).classifier

    assert np.array_equal(weights_of(encoder), before)
    assert not np.array_equal(weights_of(network.encoder), before)


def test_each_epoch_on_lessons_is_judged_and_logged_before_those_on_labels(
    market: Market, encoder: Encoder, train: Lesson, validation: Lesson, lessons: PseudoLabels
):
    history = taught(market, encoder, train, validation, lessons, epochs=3).history

    assert [entry["epoch"] for entry in history] == [0, 1, 2, 3, 4]
    assert all(np.isfinite(entry["val_loss"]) for entry in history)
    for entry in history[:2]:
        assert sum(entry[f"share_{task}"] for task in TAUGHT_TASKS) == pytest.approx(1)
        assert entry["share_live"] > 0.1
        assert "share_pointer" not in entry
    assert all("share_pointer" in entry for entry in history[2:])


def test_the_best_epoch_may_be_one_on_lessons(
    market: Market, encoder: Encoder, train: Lesson, validation: Lesson, lessons: PseudoLabels
):
    ruined = taught(market, encoder, train, validation, lessons, epochs=2, learning_rate=1.0, dropout=0.0)

    assert ruined.best_epoch < 2


def test_the_dropout_of_the_labels_is_back_after_the_lessons(result: FinetuneResult):
    assert result.classifier.judge_head.dropout.share == TAUGHT.dropout


def test_same_seed_same_lessons_same_weights(
    market: Market, encoder: Encoder, train: Lesson, validation: Lesson, lessons: PseudoLabels
):
    one, same, other = (
        taught(market, encoder, train, validation, lessons, seed).classifier for seed in (0, 0, 1)
    )

    assert np.array_equal(weights_of(one), weights_of(same))
    assert not np.array_equal(weights_of(one), weights_of(other))


@pytest.mark.parametrize(
    "changes",
    [
        {"taught_epochs": 1},
        {"taught_batch_windows": 16},
        {"taught_learning_rate": 3e-3},
        {"taught_dropout": 0.5},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_changed_setting_changes_the_result(
    market: Market,
    encoder: Encoder,
    train: Lesson,
    validation: Lesson,
    lessons: PseudoLabels,
    changes: dict[str, object],
):
    expected, changed = (
        taught(market, encoder, train, validation, lessons, 0, **given).classifier for given in ({}, changes)
    )

    assert not np.array_equal(weights_of(changed), weights_of(expected))


@pytest.mark.parametrize("stay", [True, False])
def test_what_was_taught_stays_unless_labels_may_change_it(
    market: Market, encoder: Encoder, train: Lesson, validation: Lesson, lessons: PseudoLabels, stay: bool
):
    learned = taught(
        market, encoder, train, validation, lessons, epochs=2, frozen_epochs=0, taught_stay=stay, patience=9
    )
    losses = [[entry[f"val_{task}"] for task in ("type", "expansion")] for entry in learned.history]

    assert (losses[1] == losses[2] == losses[3]) == stay
    assert learned.history[1]["val_pointer"] != learned.history[3]["val_pointer"]


def test_an_answer_that_is_no_number_stops_and_names_the_windows(
    market: Market, encoder: Encoder, train: Lesson, validation: Lesson, lessons: PseudoLabels
):
    wrong = lessons.expansion.copy()
    wrong[lessons.spans.window == 5] = np.nan
    with pytest.raises(FloatingPointError, match="the loss must be finite, got nan") as stop:
        taught(market, encoder, train, validation, replace(lessons, expansion=wrong))

    assert str(lessons.bar0[5]) in str(stop.value)
