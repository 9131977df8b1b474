"""The ablation: train every row on every fold; results are cached."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from moola_pipeline.evaluation.span_methods import ProposedSpans, fit_span_method
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.models.expansion_model import load_encoder, save_encoder
from moola_pipeline.models.span_inference import SpanLogits, read_spans
from moola_pipeline.storage.atomic_write import locked
from moola_pipeline.storage.checksums import read_checksummed, write_checksummed
from moola_pipeline.studies.ablation_folds import Fold, Part, StudyData, time_folds, validation_halves
from moola_pipeline.studies.ablation_rows import PSEUDO_LABELS, SPARSE_BARS, Row
from moola_pipeline.training.ablations import random_like
from moola_pipeline.training.checkpoints import digest_of
from moola_pipeline.training.examples import TrainingData
from moola_pipeline.training.finetune import FinetuneRows, finetune
from moola_pipeline.training.parallel import all_in_parallel
from moola_pipeline.training.pretrain import pretrain
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline.training.thresholds import fit_thresholds
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.spans import Spans

PRETRAINING = PretrainSettings(max_windows=6_000, epochs=5)
Reader = Callable[[np.ndarray, Spans], SpanLogits]
"""From (n_windows,) rows of bar 0 and spans in these windows to their logits."""


class Training(NamedTuple):
    """One training of a row.

    Attributes:
        row: What is trained.
        fold, seed: Where, and with which seed.
        n_labels: Labels that the seed draws for itself; None: all.
    """

    row: Row
    fold: int
    seed: int
    n_labels: int | None = None


@dataclass(frozen=True)
class Plan:
    """What an ablation trains and scores.

    Attributes:
        rows, seeds: Each row once a seed, on every fold.
        n_labels: Labels that each seed draws for itself in each fold; None: all.
        on_validation: Score the validation windows in place of the blocks of the training period.
    """

    rows: Sequence[Row]
    seeds: Sequence[int]
    n_labels: int | None = None
    on_validation: bool = False

    def folds(self, data: StudyData) -> list[Fold]:
        """The folds, with all labels."""
        return list((validation_halves if self.on_validation else time_folds)(data))

    def scored_windows(self, data: StudyData) -> LabeledWindows:
        """The windows of all folds together."""
        return data.validation if self.on_validation else data.train


@dataclass(frozen=True)
class Outcome:
    """Predictions of one training on its held-out block.

    Attributes:
        row, fold, seed: Of the training.
        window_id: Of the block's windows.
        p_balanced: P(retracement) of the labeled spans, with equal weight on both types.
        p_calibrated: The same, calibrated on validation.
        events: Predicted expansions: window (index in `window_id`), start, end, type.
        seconds: Of training.
    """

    row: Row
    fold: int
    seed: int
    window_id: list[str]
    p_balanced: list[float]
    p_calibrated: list[float]
    events: dict[str, list[int]]
    seconds: float


@dataclass(frozen=True)
class AblationStore:
    """Cache of trainings: one small file each, named by the digest of its inputs.

    Attributes:
        folder: Of one market.
        data: Digest of bars and labels.
        code: Digest of the training code; saved in each file but not part of its name, so that a
            changed comment does not discard hours of training.
    """

    folder: Path
    data: str
    code: str

    def path(self, training: Training) -> Path:
        """The file of one training."""
        row = training.row
        settings = row.settings.model_dump(mode="json", exclude={"seeds"})
        about = [self.data, PRETRAINING.model_dump(mode="json"), settings, row.pretrained, row.sparse]
        about += [row.method, *training[1:]]
        return self.folder / f"{digest_of(about)[:16]}.json"

    def encoder(self, fold: Fold, device: str) -> Encoder:
        """The encoder pretrained away from the fold's scored windows."""
        windows = fold.pretraining_windows()
        about = [self.data, PRETRAINING.model_dump(mode="json"), windows]
        folder = self.folder / f"encoder-{digest_of(about)[:16]}"
        with locked(folder):  # two folds may have the same windows
            if not (folder / "config.json").is_file():
                result = pretrain(fold.market, windows, PRETRAINING, device)
                save_encoder(folder, result.encoder, {"errors": result.errors})
        return load_encoder(folder)[0]


def cached_training(path: Path) -> dict[str, Any]:
    """Read the result of one training from its file.

    Raises:
        FileNotFoundError: If it is not in the cache.
        Truncated, ChecksumMismatch, IntegrityError: If the file has changed since it was written.
    """
    return read_checksummed(
        path, "must hold the result of a training", f"Delete {path}: the next run trains it again."
    )


def run_ablation(
    data: StudyData,
    plan: Plan,
    store: AblationStore,
    device: str = "cpu",
    on_training: Callable[[str], None] = lambda text: None,
    workers: int = 1,
) -> list[Outcome]:
    """Run the missing trainings and return all outcomes.

    Args:
        data: The market.
        plan: What is trained.
        store: Cache of trainings.
        device: Where networks run.
        on_training: Called with a line of text before each training.
        workers: Folds trained at the same time, each in a thread.
    """
    folds = plan.folds(data)

    def train_missing(fold: Fold, seed: int) -> None:
        drawn = fold.draw(plan.n_labels, seed)
        for row in plan.rows:
            training = Training(row, fold.number, seed, plan.n_labels)
            path = store.path(training)
            if not path.is_file():
                on_training(
                    f"seed {seed}, fold {folds.index(fold) + 1} of {len(folds)}: {row.path}, {row.name}"
                )
                write_checksummed(path, _trained(drawn, training, store, device) | {"code": store.code})

    for seed in plan.seeds:
        all_in_parallel([partial(train_missing, fold, seed) for fold in folds], workers)
    return cached_outcomes(data, plan, store)


def cached_outcomes(data: StudyData, plan: Plan, store: AblationStore) -> list[Outcome]:
    """Outcomes in the cache, of complete rows only: those with every fold of a seed."""
    outcomes, numbers = [], [fold.number for fold in plan.folds(data)]
    for seed in plan.seeds:
        for row in plan.rows:
            trainings = [Training(row, number, seed, plan.n_labels) for number in numbers]
            paths = [store.path(training) for training in trainings]
            if all(path.is_file() for path in paths):
                outcomes += [
                    _outcome(cached_training(path), training)
                    for path, training in zip(paths, trainings, strict=True)
                ]
    return outcomes


def _outcome(saved: dict[str, Any], training: Training) -> Outcome:
    fields = {name: saved[name] for name in Outcome.__dataclass_fields__ if name in saved}
    return Outcome(row=training.row, fold=training.fold, seed=training.seed, **fields)


def _trained(fold: Fold, training: Training, store: AblationStore, device: str) -> dict[str, Any]:
    if training.row.method:
        return _fitted_trees(fold, training)
    row, seed, settings = training.row, training.seed, training.row.settings
    market = _sparse(fold.market) if row.sparse else fold.market
    encoder = store.encoder(fold, device)
    if not row.pretrained:
        encoder = random_like(encoder, seed)
    pseudo_labels = fold.pseudo_labels(seed, settings.distill_windows) if row.path == PSEUDO_LABELS else None
    rows = FinetuneRows(market, fold.train.rows, fold.validation.rows, pseudo_labels)
    result = finetune(encoder, rows, settings, seed, device)
    seconds = sum(entry["seconds"] for entry in result.history)
    predictions = _predictions(fold, partial(read_spans, result.classifier, market))
    return predictions | {"seconds": seconds, "epochs": len(result.history)}


def _fitted_trees(fold: Fold, training: Training) -> dict[str, Any]:
    started = time.perf_counter()
    data = TrainingData(fold.market, fold.learned, fold.validating)
    proposed = ProposedSpans(data, fold.proposer, fold.validation.proposals)
    method = fit_span_method(training.row.method, proposed, training.seed)
    seconds = time.perf_counter() - started
    return _predictions(fold, partial(method.read, fold.market)) | {"seconds": seconds}


def _predictions(fold: Fold, read: Reader) -> dict[str, Any]:
    """Predictions on the scored windows with thresholds fitted on validation; also the logits of both."""

    def read_part(part: Part) -> tuple[SpanLogits, SpanLogits]:
        return read(part.windows.bar0, part.proposals), read(part.windows.bar0, part.labeled)

    validation_logits = read_part(fold.validation)
    thresholds = fit_thresholds(fold.validation.windows, fold.validation.proposals, *validation_logits)
    proposed, labeled = read_part(fold.block)
    found = thresholds.accept(fold.block.proposals, proposed).spans
    calibrated, balanced = thresholds.type_probabilities(labeled.retracement)
    return {
        "window_id": fold.block.windows.window_id.tolist(),
        "p_balanced": balanced.tolist(),
        "p_calibrated": calibrated.tolist(),
        "events": {name: getattr(found, name).tolist() for name in ("window", "start", "end", "type")},
        "logits": labeled.retracement.tolist(),
        "validation_logits": validation_logits[1].retracement.tolist(),
    }


def _sparse(market: MarketArrays) -> MarketArrays:
    """The market with features at one bar in `SPARSE_BARS`, zeros at all others."""
    dense = np.arange(len(market.features)) % SPARSE_BARS == 0
    return replace(market, features=np.where(dense[:, None], market.features, np.float32(0)))
