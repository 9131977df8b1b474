"""Fine-tuning: frozen and trained parts, training rows, and learning of planted types."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.utils.data import WeightedRandomSampler

from moola_pipeline.errors import BadInput, LossNotFinite
from moola_pipeline.features.schema import FEATURE_NAMES
from moola_pipeline.models.classifier import Classifier, SpanTensors
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.models.span_inference import read_spans
from moola_pipeline.training import best_epoch, supervised_loop
from moola_pipeline.training import finetune as finetuning
from moola_pipeline.training.batches import Augmentation, batches, expected_priors, sampling_weights
from moola_pipeline.training.examples import Examples, make_examples
from moola_pipeline.training.finetune import FinetuneResult, FinetuneRows, finetune
from moola_pipeline.training.losses import TASKS, losses
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.windows.span_inputs import N_INPUTS
from moola_pipeline_tests.made_bars import InstrumentData, with_prices
from moola_pipeline_tests.training.conftest import SplitRows, split_rows

SMALL = FinetuneSettings(
    head_units=8, epochs=3, batch_windows=16, frozen_epochs=1, learning_rate=1e-2, encoder_learning_rate=1e-2
)


def small_with(**changes: object) -> FinetuneSettings:
    return FinetuneSettings(**{**SMALL.model_dump(), **changes})


class Trainer:
    """Fine-tunes on the made market; keyword arguments replace any part."""

    def __init__(self, market: InstrumentData, encoder: Encoder, train: SplitRows, validation: SplitRows):
        self.market, self.encoder = market, encoder
        self.train, self.validation = train.rows, validation.rows

    def __call__(
        self, settings: FinetuneSettings = SMALL, seed: int = 0, **changed: object
    ) -> FinetuneResult:
        own = {"market": self.market.bars, "train": self.train, "validation": self.validation}
        rows: dict = {name: changed.pop(name, part) for name, part in own.items()}
        options: dict = changed
        return finetune(self.encoder, FinetuneRows(**rows), settings, seed, **options)


@pytest.fixture(scope="module")
def trainer(market: InstrumentData, encoder: Encoder, train: SplitRows, validation: SplitRows) -> Trainer:
    return Trainer(market, encoder, train, validation)


@pytest.fixture(scope="module")
def result(trainer: Trainer) -> FinetuneResult:
    return trainer()


def weights_of(network: torch.nn.Module) -> np.ndarray:
    return np.concatenate([tensor.cpu().numpy().ravel() for tensor in network.state_dict().values()])


def epoch_snapshots(monkeypatch: pytest.MonkeyPatch) -> list[Classifier]:
    """Copies of the classifier at the end of each epoch."""
    snapshots: list[Classifier] = []
    evaluate = best_epoch.evaluate

    def evaluated(classifier: Classifier, *arguments):
        copied = Classifier(Encoder(8), classifier.head_units, 0.0)
        copied.load_state_dict(classifier.state_dict())
        snapshots.append(copied.eval())
        return evaluate(classifier, *arguments)

    monkeypatch.setattr(best_epoch, "evaluate", evaluated)
    return snapshots


@pytest.mark.parametrize("frozen_epochs", [0, 1, 2])
def test_the_encoder_changes_only_after_the_unfreeze_epoch(
    trainer: Trainer, encoder: Encoder, frozen_epochs: int, monkeypatch: pytest.MonkeyPatch
):
    snapshots = epoch_snapshots(monkeypatch)
    trainer(small_with(frozen_epochs=frozen_epochs))

    pretrained = encoder.state_dict()
    for epoch, classifier in enumerate(snapshots):
        for name, tensor in classifier.encoder.lstm.named_parameters():
            same = torch.equal(tensor, pretrained[f"lstm.{name}"])
            assert same == (epoch < frozen_epochs), (epoch, name)
    assert len(snapshots) == 3


def test_the_heads_learn_from_the_first_epoch(
    trainer: Trainer,
    market: InstrumentData,
    train: SplitRows,
    encoder: Encoder,
    monkeypatch: pytest.MonkeyPatch,
):
    snapshots = epoch_snapshots(monkeypatch)
    trainer(small_with(frozen_epochs=9))

    rows = FinetuneRows(market.bars, train.rows, train.rows)
    started = dict(finetuning._new_classifier(encoder, rows, SMALL, 0).named_parameters())
    for name, tensor in snapshots[0].named_parameters():
        assert torch.equal(tensor, started[name]) == name.startswith("encoder."), name


def test_the_pretrained_encoder_is_copied(trainer: Trainer, encoder: Encoder, result: FinetuneResult):
    before = weights_of(encoder)
    again = trainer()

    assert np.array_equal(weights_of(encoder), before)
    assert again.classifier.encoder is not encoder
    assert not np.array_equal(weights_of(again.classifier.encoder), before)


@pytest.fixture(scope="module")
def lopsided(market: InstrumentData) -> Examples:
    """Rows of all windows without a retracement, and of three with one."""
    spans = market.windows.spans
    retracements = np.unique(spans.window[spans.type == 1])
    kept = np.setdiff1d(np.arange(len(market.windows.bar0)), retracements[3:])
    return split_rows(market, market.windows.select(kept)).rows


@pytest.mark.parametrize("balanced", [True, False])
def test_before_training_the_mean_probability_is_the_prior_of_the_drawn_batches(
    market: InstrumentData, encoder: Encoder, lopsided: Examples, balanced: bool
):
    settings = small_with(balanced=balanced)
    classifier = finetuning._new_classifier(
        encoder, FinetuneRows(market.bars, lopsided, lopsided), settings, 0
    )
    weights = sampling_weights(lopsided, balanced).tolist()
    drawn = np.array(list(WeightedRandomSampler(weights, 4000, generator=torch.Generator().manual_seed(1))))
    source = market.bars
    predicted: dict[str, list[torch.Tensor]] = {"bars": [], "expansion": [], "type": []}
    true: dict[str, list[torch.Tensor]] = {task: [] for task in predicted}
    with torch.no_grad():
        for batch in batches(source, lopsided, drawn, 500, "cpu"):
            bars, heads = classifier(batch.features, batch.spans)
            for task, logits, target, known in (
                ("bars", bars, batch.bar_target, batch.known.bars),
                ("expansion", heads.expansion, batch.expansion, batch.known.expansion),
                ("type", heads.retracement, batch.type, batch.known.type),
            ):
                predicted[task].append(torch.sigmoid(logits.flatten()[known]))
                true[task].append(target.flatten()[known].float())

    for task in predicted:
        prior = torch.cat(true[task]).mean().item()
        assert torch.cat(predicted[task]).mean().item() == pytest.approx(prior, abs=0.02)


def test_the_prior_is_that_of_the_drawn_rows_and_not_of_the_labels(lopsided: Examples):
    drawn, plain = (
        expected_priors(lopsided, sampling_weights(lopsided, balanced)) for balanced in (True, False)
    )

    assert plain["type"] < 0.25
    assert drawn["type"] > plain["type"] + 0.1


def test_two_passes_in_training_mode_differ(market: InstrumentData, train: SplitRows, result: FinetuneResult):
    source = market.bars
    (batch,) = batches(source, train.rows, np.arange(8), 8, "cpu")
    result.classifier.train()
    with torch.no_grad():
        passes = [result.classifier(batch.features, batch.spans) for _ in range(2)]
        first, second = (losses(bars, heads, batch) for bars, heads in passes)
    result.classifier.eval()

    assert all(first[task] != second[task] for task in TASKS)


def test_every_training_row_is_augmented(
    trainer: Trainer, market: InstrumentData, monkeypatch: pytest.MonkeyPatch
):
    given: list[Augmentation | None] = []
    make = finetuning.batches

    def recorded(source, examples, rows, size, device, augmentation=None):
        given.append(augmentation)
        return make(source, examples, rows, size, device, augmentation)

    for module in (finetuning, supervised_loop):
        monkeypatch.setattr(module, "batches", recorded)
    trainer(small_with(jitter_atr=0.05, warp=0.1))

    validation, *training = given
    assert validation is None
    assert [(each.jitter_atr, each.warp) for each in training if each] == [(0.05, 0.1)] * 3


def test_rows_are_drawn_again_each_epoch_and_each_kind_equally_often(
    trainer: Trainer, lopsided: Examples, monkeypatch: pytest.MonkeyPatch
):
    drawn: list[np.ndarray] = []
    make = finetuning.batches

    def recorded(source, examples, rows, *rest):
        drawn.append(rows)
        return make(source, examples, rows, *rest)

    monkeypatch.setattr(supervised_loop, "batches", recorded)
    trainer(small_with(epochs=12, frozen_epochs=12, patience=12), train=lopsided)

    epochs = drawn
    kinds = np.bincount(lopsided.kind[np.concatenate(epochs)])
    assert not np.array_equal(epochs[0], epochs[1])
    assert kinds / kinds.sum() == pytest.approx([1 / 3] * 3, abs=0.07)
    assert {len(rows) for rows in epochs} == {len(lopsided.kind)}


def test_the_share_of_each_task_is_logged_and_none_dominates(result: FinetuneResult):
    for entry in result.history:
        shares = [entry[f"share_{task}"] for task in TASKS]
        assert sum(shares) == pytest.approx(1)
        assert min(shares) >= 0
        assert max(shares) < 0.8


def test_each_epoch_is_reported_as_it_ends(trainer: Trainer):
    entries: list[dict[str, float]] = []
    again = trainer(on_epoch=entries.append)

    assert entries == again.history
    assert [entry["epoch"] for entry in entries] == [0, 1, 2]
    assert set(entries[0]) == {
        "epoch",
        "train_loss",
        "val_loss",
        "val_type",
        "val_expansion",
        "val_pointer",
        "val_lesser_type",
        "val_spread",
        "seconds",
        *(f"share_{task}" for task in TASKS),
    }


def test_the_weights_kept_are_those_of_the_best_validation_epoch(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
):
    snapshots = epoch_snapshots(monkeypatch)
    kept = trainer(small_with(epochs=8, learning_rate=0.2, patience=8))

    val_losses = [entry["val_loss"] for entry in kept.history]
    assert kept.best_epoch == int(np.argmin(val_losses)) < len(val_losses) - 1
    assert np.array_equal(weights_of(kept.classifier), weights_of(snapshots[kept.best_epoch]))


def test_training_stops_after_patience_epochs_without_improvement(trainer: Trainer):
    stopped = trainer(small_with(epochs=40, learning_rate=0.5, patience=2))

    assert len(stopped.history) < 40
    assert len(stopped.history) - 1 == max(stopped.best_epoch + 2, SMALL.frozen_epochs + 1)


def test_heads_on_an_encoder_that_stays_frozen_stop_after_patience_epochs_too(trainer: Trainer):
    stopped = trainer(small_with(epochs=40, frozen_epochs=40, learning_rate=0.5, patience=2))

    assert len(stopped.history) - 1 == stopped.best_epoch + 2 < 39


def test_the_validation_loss_is_that_of_all_spans_whatever_the_batch(
    trainer: Trainer, result: FinetuneResult, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(finetuning, "VALIDATION_BATCH_ROWS", 5)
    again = trainer()

    assert len(trainer.validation.kind) % 5
    for entry, expected in zip(again.history, result.history, strict=True):
        assert entry["val_loss"] == pytest.approx(expected["val_loss"], rel=1e-5)
        parts = [entry[f"val_{task}"] for task in ("type", "expansion", "pointer")]
        assert entry["val_loss"] == pytest.approx(sum(parts))


def test_bars_outside_training_and_validation_windows_have_no_effect(
    trainer: Trainer, market: InstrumentData, result: FinetuneResult
):
    # 36 training and 12 validation windows lie in the first 16 segments; the rest are for the test.
    later = np.flatnonzero(market.bars.segment >= 16)
    bars = with_prices(market.bars, later, np.random.default_rng(0))

    again = trainer(market=bars)

    assert not np.array_equal(bars.features[later], market.bars.features[later])
    assert again.history[-1]["val_loss"] == result.history[-1]["val_loss"]
    assert np.array_equal(weights_of(again.classifier), weights_of(result.classifier))


def test_validation_rows_select_the_epoch_and_train_nothing(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
):
    snapshots = epoch_snapshots(monkeypatch)
    trainer()
    spans = trainer.validation.spans
    flipped = replace(
        trainer.validation, spans=replace(spans, type=np.where(spans.type >= 0, 1 - spans.type, -1))
    )
    trainer(validation=flipped)

    assert len(snapshots) == 6
    for epoch in range(3):
        assert np.array_equal(weights_of(snapshots[epoch]), weights_of(snapshots[epoch + 3]))


def test_same_seed_same_weights(trainer: Trainer, result: FinetuneResult):
    torch.manual_seed(123)  # any state of the process
    again = trainer()

    assert np.array_equal(weights_of(again.classifier), weights_of(result.classifier))
    assert not np.array_equal(weights_of(trainer(seed=1).classifier), weights_of(result.classifier))


@pytest.mark.parametrize(
    "changes",
    [
        {"head_units": 6},
        {"dropout": 0.1},
        {"epochs": 1},
        {"batch_windows": 12},
        {"learning_rate": 5e-3},
        {"encoder_learning_rate": 5e-3},
        {"weight_decay": 1.0},
        {"frozen_epochs": 2},
        {"jitter_atr": 0.1},
        {"warp": 0.4},
        {"balanced": False},
        {"prior_bias": False},
        {"uncertainty_weights": False},
        {"center_length": False},
        {"expansion_proxy": False},
        {"measured_numbers": False},
        {"label_smoothing": 0.1},
        {"average_decay": 0.9},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_changed_setting_changes_the_result(
    trainer: Trainer, changes: dict[str, object], monkeypatch: pytest.MonkeyPatch
):
    snapshots = epoch_snapshots(monkeypatch)
    trainer()
    expected = weights_of(snapshots[-1])
    trainer(small_with(**changes))

    assert not np.array_equal(weights_of(snapshots[-1]), expected)


@pytest.mark.parametrize("off", [{"balanced": False}, {"frozen_epochs": 0}, {"warp": 0.0}])
def test_without_sampler_unfreezing_or_warp_the_weights_differ(
    trainer: Trainer, result: FinetuneResult, off: dict[str, object]
):
    without = trainer(small_with(**off))

    assert not np.array_equal(weights_of(without.classifier), weights_of(result.classifier))


def test_gradient_checkpointing_changes_no_weight(
    trainer: Trainer, result: FinetuneResult, monkeypatch: pytest.MonkeyPatch
):
    n_windows: list[int] = []
    forward = Encoder.forward

    def counted(encoder: Encoder, features: torch.Tensor, *given: Any) -> torch.Tensor:
        n_windows.append(len(features))
        return forward(encoder, features, *given)

    monkeypatch.setattr(Encoder, "forward", counted)
    again = trainer(small_with(gradient_checkpointing=True))
    n_calls = len(n_windows)
    trainer()

    assert np.array_equal(weights_of(again.classifier), weights_of(result.classifier))
    assert n_calls > len(n_windows) - n_calls  # states were computed a second time


def test_shares_of_equally_weighted_tasks_sum_to_one(trainer: Trainer):
    entry = trainer(small_with(uncertainty_weights=False)).history[-1]

    assert sum(entry[f"share_{task}"] for task in TASKS) == pytest.approx(1)


def test_without_expansion_proxy_the_feature_has_no_effect(trainer: Trainer, market: InstrumentData):
    blind = trainer(small_with(expansion_proxy=False)).classifier
    features = torch.from_numpy(market.bars.features[100:225])[None]
    changed = features.clone()
    changed[..., FEATURE_NAMES.index("expansion_proxy")] += 2
    with torch.no_grad():
        assert torch.allclose(blind.encoder(features), blind.encoder(changed), atol=1e-6)
        others = changed.clone()
        others[..., 0] += 0.5
        assert not torch.allclose(blind.encoder(features), blind.encoder(others), atol=1e-3)


@pytest.mark.parametrize("given", [True, False])
def test_without_measured_numbers_the_heads_read_states_only(
    trainer: Trainer, market: InstrumentData, given: bool
):
    classifier = trainer(small_with(measured_numbers=given)).classifier
    features = torch.from_numpy(market.bars.features[100:225])[None]
    row, start, end = (torch.tensor([value]) for value in (0, 50, 53))
    spans = SpanTensors(row, start, end, torch.zeros(1, N_INPUTS))
    changed = spans._replace(inputs=torch.full((1, N_INPUTS), 3.0))
    with torch.no_grad():
        plain, other = (classifier(features, it)[1] for it in (spans, changed))
    same = [torch.allclose(a, b, atol=1e-5) for a, b in zip(plain, other, strict=True)]
    assert same == [not given] * 4 or (given and not any(same[:3]))


def test_averaged_weights_stay_near_the_current_ones(trainer: Trainer, monkeypatch: pytest.MonkeyPatch):
    snapshots = epoch_snapshots(monkeypatch)
    trainer(small_with(average_decay=0.99, epochs=2))
    plain = len(snapshots)
    trainer(small_with(epochs=2))
    averaged, current = (weights_of(network) for network in (snapshots[0], snapshots[plain]))

    assert not np.array_equal(averaged, current)
    assert np.abs(averaged - current).max() < 1


def test_unknown_setting_is_refused():
    with pytest.raises(ValidationError, match="unfreeze_epoch"):
        small_with(unfreeze_epoch=3)


@pytest.mark.parametrize("changes", [{"batch_windows": 65}, {"seeds": ()}, {"dropout": 1.0}, {"warp": -0.1}])
def test_a_setting_out_of_bounds_is_refused(changes: dict[str, object]):
    with pytest.raises(ValidationError, match=next(iter(changes))):
        small_with(**changes)


def broken(examples: Examples, row: int) -> Examples:
    """Rows with a NaN start of the labeled spans in one row."""
    spans = examples.spans
    start = np.where(spans.window == row, np.nan, examples.true_start)
    return replace(examples, true_start=start)


def test_a_loss_that_is_not_finite_stops_and_names_the_rows(trainer: Trainer):
    row = int(np.flatnonzero(trainer.train.kind == 0)[3])
    with pytest.raises(LossNotFinite, match="the loss must be finite, got nan for the windows") as stop:
        trainer(train=broken(trainer.train, row))

    assert len(stop.value.rows) == SMALL.batch_windows
    assert trainer.train.bar0[row] in stop.value.rows
    assert ", ".join(map(str, stop.value.rows)) in str(stop.value)


def test_a_validation_loss_that_is_not_finite_stops_too(trainer: Trainer, market: InstrumentData):
    values = market.bars.features.copy()  # training rows are computed from prices
    values[trainer.validation.bar0[0]] = np.nan
    with pytest.raises(FloatingPointError, match="the loss must be finite, got nan"):
        trainer(market=replace(market.bars, features=values))


def test_one_type_alone_is_refused(trainer: Trainer, train: SplitRows):
    spans = train.windows.spans
    one_type = train.windows._replace(spans=replace(spans, type=np.zeros_like(spans.type)))
    rows = make_examples(one_type, train.proposals)
    with pytest.raises(ValueError, match=f"must hold both types, got {len(spans.type)} and 0"):
        trainer(train=rows)


def test_fewer_rows_than_a_batch_are_refused_with_the_next_step(trainer: Trainer):
    n_rows = len(trainer.train.kind)
    with pytest.raises(BadInput) as refusal:
        trainer(small_with(batch_windows=n_rows + 1))

    assert str(refusal.value) == (
        f"training needs at least {n_rows + 1} rows (one batch), got {n_rows}. "
        "Label more windows or lower batch_windows."
    )


def test_validation_without_an_expansion_is_refused(trainer: Trainer, validation: SplitRows):
    empty = validation.windows._replace(spans=validation.windows.spans.select(slice(0)))
    rows = make_examples(empty, validation.proposals)
    with pytest.raises(ValueError, match="must hold a labeled expansion of known type, got none"):
        trainer(validation=rows)


@pytest.fixture(scope="module")
def learned(trainer: Trainer) -> FinetuneResult:
    return trainer(small_with(epochs=30, dropout=0.2, patience=30))


def test_planted_types_and_surges_are_learned(learned: FinetuneResult, validation: SplitRows):
    best = learned.history[learned.best_epoch]
    share = np.mean(validation.windows.spans.type)
    chance = -(share * np.log(share) + (1 - share) * np.log(1 - share))

    assert best["val_type"] < 0.75 * chance
    assert best["val_expansion"] < 0.5 * learned.history[0]["val_expansion"]


def test_shuffled_types_are_not_learned(trainer: Trainer, train: SplitRows, validation: SplitRows):
    rng = np.random.default_rng(5)
    rows = []
    for part in (train, validation):
        spans = part.windows.spans
        shuffled = part.windows._replace(spans=replace(spans, type=rng.permutation(spans.type)))
        rows.append(make_examples(shuffled, part.proposals))
    by_chance = trainer(small_with(epochs=10, dropout=0.2, patience=30), train=rows[0], validation=rows[1])

    assert by_chance.history[by_chance.best_epoch]["val_type"] > 0.9 * np.log(2)


def test_predictions_move_with_the_bars_when_the_window_is_shifted(
    learned: FinetuneResult, market: InstrumentData, validation: SplitRows
):
    spans = validation.windows.spans.pointed()
    bar0 = validation.windows.bar0
    later = market.bars.segment_starts(bar0) + 40 < bar0 - 6  # room to begin 6 bars earlier
    inner = later[spans.window] & (spans.end <= 92)
    spans = spans.select(inner)
    shifted = replace(spans, start=spans.start + 6, end=spans.end + 6)

    here = read_spans(learned.classifier, market.bars, bar0, spans)
    there = read_spans(learned.classifier, market.bars, np.where(later, bar0 - 6, bar0), shifted)

    moved = (there.pointer[:, 0] - here.pointer[:, 0]) * 105
    assert len(moved) >= 5
    assert moved == pytest.approx(np.full(len(moved), 6.0), abs=0.5)
    assert np.sign(there.retracement).tolist() == np.sign(here.retracement).tolist()


def test_the_classifier_is_returned_in_evaluation_mode_on_the_cpu(result: FinetuneResult):
    assert not result.classifier.training
    for parameter in result.classifier.parameters():
        assert parameter.device.type == "cpu" and parameter.requires_grad


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_validation_losses_on_gpu_and_cpu_are_close(trainer: Trainer):
    settings = small_with(dropout=0.0)
    cpu, gpu = trainer(settings), trainer(settings, device="cuda")

    for one, other in zip(cpu.history, gpu.history, strict=True):
        assert one["val_loss"] == pytest.approx(other["val_loss"], rel=0.05)
    assert next(gpu.classifier.parameters()).device.type == "cpu"


def test_a_network_that_predicts_one_type_is_stopped_with_the_reason(trainer: Trainer):
    spans = trainer.train.spans
    one_type = replace(trainer.train, spans=replace(spans, type=np.where(spans.type >= 0, 1, -1)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetuning, "_check", lambda *given: None)
        stopped = trainer(
            small_with(epochs=40, patience=40, collapse_epochs=3, balanced=False), train=one_type
        )

    assert len(stopped.history) < 40
    assert stopped.stopped.startswith(
        "collapsed: for 3 epochs the rarer type was at most 0.0% of the predictions"
    )


def test_a_network_that_predicts_both_types_is_not_stopped(learned: FinetuneResult):
    assert learned.stopped == ""
    assert learned.history[learned.best_epoch]["val_lesser_type"] > 0.05
    assert learned.history[learned.best_epoch]["val_spread"] > 0.05
