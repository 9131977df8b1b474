"""Expansions of unknown type train finding, and nothing about the type ever sees them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.models.span_inference import SpanLogits
from moola_pipeline.training import expansion_models, losses, pseudo_labels, thresholds
from moola_pipeline.training.batches import batches, expected_priors, sampling_weights
from moola_pipeline.training.best_epoch import evaluate
from moola_pipeline.training.examples import EMPTY, Examples, TrainingData, make_examples
from moola_pipeline.training.expansion_models import train_expansion_models
from moola_pipeline.training.finetune import FinetuneRows, finetune
from moola_pipeline.training.proposer_fit import fit_proposer
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.training.thresholds import fit_thresholds
from moola_pipeline.windows.window_geometry import UNTYPED
from moola_pipeline_tests.made_bars import InstrumentData
from moola_pipeline_tests.training.conftest import SplitRows

SETTINGS = FinetuneSettings(
    seeds=(0,), distill_windows=8, distill_epochs=1, distill_live_windows=0, epochs=1, frozen_epochs=0,
    batch_windows=8, head_units=4,
)  # fmt: skip


def some_unknown(windows: LabeledWindows, every: int = 3) -> LabeledWindows:
    """The windows with every third type unknown."""
    spans = windows.spans
    unknown = np.arange(len(spans.type)) % every == 0
    return windows._replace(spans=replace(spans, type=np.where(unknown, UNTYPED, spans.type)))


def examples_of(part: SplitRows, windows: LabeledWindows) -> Examples:
    return make_examples(windows, part.proposals)


def test_an_unknown_type_changes_the_type_of_a_row_and_nothing_else(train: SplitRows):
    rows, plain = examples_of(train, some_unknown(train.windows)), train.rows
    unknown = rows.kind != plain.kind

    assert 0 < unknown.sum() < len(unknown)
    assert set(rows.kind[unknown]) == {UNTYPED}
    assert set(plain.kind[unknown]) <= {0, 1}
    changed = rows.spans.type != plain.spans.type
    assert set(rows.spans.type[changed]) == {UNTYPED}
    same = replace(rows, kind=plain.kind, spans=replace(rows.spans, type=plain.spans.type))
    for array, expected in zip(same.arrays, plain.arrays, strict=True):
        np.testing.assert_array_equal(array, expected)


def test_a_row_of_unknown_type_is_drawn_as_often_as_the_mean_row_of_known_type(train: SplitRows):
    rows = examples_of(train, some_unknown(train.windows))
    weights, kind = sampling_weights(rows, balanced=True), rows.kind

    assert weights.sum() == pytest.approx(1)
    assert weights[kind == 0].sum() == pytest.approx(weights[kind == 1].sum())
    assert weights[kind == EMPTY].sum() == pytest.approx(weights[kind == 0].sum())
    assert weights[kind == UNTYPED] == pytest.approx(weights[(kind == 0) | (kind == 1)].mean())
    assert len(set(sampling_weights(rows, balanced=False))) == 1


def test_the_prior_of_the_type_is_that_of_the_known_types(train: SplitRows):
    rows = examples_of(train, some_unknown(train.windows))
    weights = np.full(len(rows.kind), 1 / len(rows.kind))
    known = rows.spans.type[rows.spans.type != UNTYPED]

    assert expected_priors(rows, weights)["type"] == pytest.approx(known.mean())
    for task in ("bars", "expansion"):
        assert expected_priors(rows, weights)[task] == expected_priors(train.rows, weights)[task]


def loss_of(market: InstrumentData, rows: Examples, spread: float) -> dict[str, torch.Tensor]:
    """The four losses of fixed logits, those of the type at unknown spans shifted by `spread`."""
    (batch,) = batches(market.bars, rows, np.arange(len(rows.kind)), len(rows.kind), "cpu")
    n = len(batch.type)
    values = torch.linspace(-2, 2, n)
    unknown = batch.type == UNTYPED
    heads = losses.Heads(values, values + spread * unknown, torch.full((n, 2), 0.4), values)
    return losses.losses(torch.zeros_like(batch.bar_target), heads, batch)


def test_unknown_types_carry_no_type_loss_and_all_others(market: InstrumentData, train: SplitRows):
    rows = examples_of(train, some_unknown(train.windows))
    unsure, plain = (loss_of(market, it, 0) for it in (rows, train.rows))
    (batch,) = batches(market.bars, rows, np.arange(len(rows.kind)), len(rows.kind), "cpu")
    values = torch.linspace(-2, 2, len(batch.type))[batch.type != UNTYPED]
    targets = batch.type[batch.type != UNTYPED].float()

    by_hand = torch.nn.functional.binary_cross_entropy_with_logits(values, targets)
    assert unsure["type"].item() == pytest.approx(by_hand.item())
    assert {task: unsure[task] for task in ("bars", "expansion", "pointer")} == {
        task: plain[task] for task in ("bars", "expansion", "pointer")
    }
    for spread in (-9.0, 9.0):  # guard: as a retracement or as a consolidation it would count
        assert loss_of(market, rows, spread)["type"] == unsure["type"]


def test_a_batch_of_unknown_types_alone_has_no_type_loss(market: InstrumentData, train: SplitRows):
    found = loss_of(market, examples_of(train, some_unknown(train.windows, every=1)), 0)

    assert found["type"] == 0
    assert found["pointer"] > 0 and found["expansion"] > 0


def test_validation_reads_known_types_only(
    encoder: Encoder, market: InstrumentData, train: SplitRows, validation: SplitRows
):
    rows = examples_of(validation, some_unknown(validation.windows))
    network = finetune(
        encoder,
        FinetuneRows(market.bars, examples_of(train, some_unknown(train.windows)), rows),
        SETTINGS.model_copy(update={"distill_windows": 0}),
        0,
    ).classifier
    order, n = np.arange(len(rows.kind)), len(rows.kind)
    scored, plain = (
        evaluate(network, list(batches(market.bars, it, order, n, "cpu"))) for it in (rows, validation.rows)
    )

    assert scored["val_type"] != plain["val_type"]
    assert (scored["val_expansion"], scored["val_pointer"]) == (plain["val_expansion"], plain["val_pointer"])


def test_the_type_is_calibrated_on_known_types_only(validation: SplitRows):
    windows, rng = some_unknown(validation.windows), np.random.default_rng(0)
    known = windows.spans.is_typed
    n, n_proposals = len(known), len(validation.proposals.window)
    proposed, labeled = (
        SpanLogits(rng.normal(size=k), rng.normal(size=k), rng.random((k, 2)), np.zeros(k))
        for k in (n_proposals, n)
    )
    fitted = fit_thresholds(windows, validation.proposals, proposed, labeled)
    for extreme in (-30.0, 30.0):
        other = labeled._replace(retracement=np.where(known, labeled.retracement, extreme))
        assert fit_thresholds(windows, validation.proposals, proposed, other) == fitted
    plain = fit_thresholds(validation.windows, validation.proposals, proposed, labeled)
    assert plain.retracement_scale != fitted.retracement_scale
    untyped = {"retracement_scale", "retracement_shift", "retracement_threshold"}
    assert plain.model_dump(exclude=untyped) == fitted.model_dump(exclude=untyped)


def test_unknown_types_do_not_change_the_span_proposer(train: SplitRows):
    unsure = some_unknown(train.windows, every=2)

    assert fit_proposer(train.measures, unsure.spans) == fit_proposer(train.measures, train.windows.spans)


def test_a_whole_training_never_shows_an_unknown_type_to_the_type_head_or_its_teacher(
    encoder: Encoder,
    market: InstrumentData,
    train: SplitRows,
    validation: SplitRows,
    monkeypatch: pytest.MonkeyPatch,
):
    """Planted: a third of all types is unknown; every target that a fit receives is recorded."""
    parts = some_unknown(train.windows), some_unknown(validation.windows)
    n_known = [int(part.spans.is_typed.sum()) for part in parts]
    targets: list[np.ndarray] = []
    typer: list[np.ndarray] = []
    calibrated: list[np.ndarray] = []
    honest_loss, honest_typer = losses.binary_loss, pseudo_labels.fit_typer
    honest_fit = thresholds.calibrate_near_identity

    def loss(logits: torch.Tensor, values: torch.Tensor, known: torch.Tensor, smoothing: float = 0.0):
        targets.append(values.flatten()[known].numpy())
        return honest_loss(logits, values, known, smoothing)

    def fit_typer(known: pseudo_labels.LabeledInputs, seed: int, n_trees: int):
        typer.append(known.target)
        return honest_typer(known, seed, n_trees)

    def fit(logits: np.ndarray, positive: np.ndarray):
        calibrated.append(positive)
        return honest_fit(logits, positive)

    monkeypatch.setattr(losses, "binary_loss", loss)
    monkeypatch.setattr(pseudo_labels, "fit_typer", fit_typer)
    monkeypatch.setattr(thresholds, "calibrate_near_identity", fit)
    made = train_expansion_models(encoder, TrainingData(market.bars, *parts), SETTINGS)[0]

    assert targets and set(np.unique(np.concatenate(targets))) == {0, 1}
    assert [(len(it), set(it)) for it in typer] == [(n_known[0], {0, 1})]
    assert [len(it) for it in calibrated] == [n_known[1]]
    assert sum(made.type_shares.values()) == pytest.approx(1)
    assert tuple(made.type_shares) == expansion_models.TYPES
