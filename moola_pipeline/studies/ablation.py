"""The ablation: train every row on every fold; results are cached."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from moola_pipeline.models.encoder import Encoder, initialize
from moola_pipeline.models.expansion_model import ExpansionModel, load_encoder, save_encoder
from moola_pipeline.models.span_inference import SpanLogits, read_spans
from moola_pipeline.storage.checksums import read_checksummed, write_checksummed
from moola_pipeline.studies.ablation_folds import N_FOLDS, Fold, Part, StudyData, time_folds
from moola_pipeline.studies.ablation_rows import PSEUDO_LABELS, SPARSE_BARS, Row
from moola_pipeline.training.checkpoints import digest_of
from moola_pipeline.training.finetune import FinetuneRows, finetune
from moola_pipeline.training.pretrain import pretrain
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline.training.thresholds import fit_thresholds
from moola_pipeline.windows.market_arrays import MarketArrays

PRETRAINING = PretrainSettings(max_windows=2_000, epochs=3)
RANDOM_SEED = 104_729


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
        code: Digest of the training code; saved in each file but not part of its name, so that a
            changed comment does not discard hours of training.
    """

    folder: Path
    code: str

    def path(self, data: StudyData, row: Row, fold: int, seed: int) -> Path:
        """The file of one training."""
        settings = row.settings.model_dump(mode="json", exclude={"seeds"})
        about = [data.digest, PRETRAINING.model_dump(mode="json"), settings, row.random_encoder, row.sparse]
        return self.folder / f"{digest_of([*about, fold, seed])[:16]}.json"

    def encoder(self, fold: Fold, device: str) -> Encoder:
        """The encoder pretrained without the fold's block."""
        about = [fold.data.digest, PRETRAINING.model_dump(mode="json"), fold.number]
        folder = self.folder / f"encoder-{digest_of(about)[:16]}"
        if not (folder / "config.json").is_file():
            result = pretrain(fold.data.market, fold.pretraining_windows(), PRETRAINING, device)
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
    rows: Sequence[Row],
    seeds: Sequence[int],
    store: AblationStore,
    device: str = "cpu",
    on_training: Callable[[str], None] = lambda text: None,
) -> list[Outcome]:
    """Run the missing trainings and return all outcomes.

    Args:
        data: The market.
        rows, seeds: Trained on every fold.
        store: Cache of trainings.
        device: Where networks run.
        on_training: Called with a line of text before each training.
    """
    folds = list(time_folds(data))
    for seed in seeds:
        for row in rows:
            for fold in folds:
                path = store.path(data, row, fold.number, seed)
                if not path.is_file():
                    head = f"seed {seed}, fold {fold.number + 1} of {len(folds)}"
                    on_training(f"{head}: {row.path}, {row.name}")
                    write_checksummed(path, _trained(fold, row, seed, store, device) | {"code": store.code})
    return cached_outcomes(data, rows, seeds, store)


def cached_outcomes(
    data: StudyData, rows: Sequence[Row], seeds: Sequence[int], store: AblationStore
) -> list[Outcome]:
    """Outcomes in the cache, of complete rows only: those with every fold of a seed."""
    outcomes = []
    for seed in seeds:
        for row in rows:
            paths = [store.path(data, row, number, seed) for number in range(N_FOLDS)]
            if all(path.is_file() for path in paths):
                outcomes += [
                    _outcome(cached_training(path), row, number, seed) for number, path in enumerate(paths)
                ]
    return outcomes


def _outcome(saved: dict[str, Any], row: Row, fold: int, seed: int) -> Outcome:
    fields = {name: saved[name] for name in Outcome.__dataclass_fields__ if name in saved}
    return Outcome(row=row, fold=fold, seed=seed, **fields)


def _trained(fold: Fold, row: Row, seed: int, store: AblationStore, device: str) -> dict[str, Any]:
    market = _sparse(fold.data.market) if row.sparse else fold.data.market
    encoder = store.encoder(fold, device)
    if row.random_encoder:
        encoder = copy.deepcopy(encoder)
        initialize(encoder, RANDOM_SEED + seed)
    settings = row.settings
    pseudo_labels = fold.pseudo_labels(seed, settings.distill_windows) if row.path == PSEUDO_LABELS else None
    result = finetune(
        encoder,
        FinetuneRows(market, fold.train.rows, fold.validation.rows, pseudo_labels),
        settings,
        seed,
        device,
    )
    seconds = sum(entry["seconds"] for entry in result.history)
    return _predictions(fold, market, result.classifier) | {"seconds": seconds, "epochs": len(result.history)}


def _predictions(fold: Fold, market: MarketArrays, classifier: Any) -> dict[str, Any]:
    """Predictions on the block with thresholds fitted on validation; also the logits of both."""

    def read(part: Part) -> tuple[SpanLogits, SpanLogits]:
        bar0 = part.windows.bar0
        proposed, labeled = (
            read_spans(classifier, market, bar0, spans) for spans in (part.proposals, part.labeled)
        )
        return proposed, labeled

    validation_logits = read(fold.validation)
    thresholds = fit_thresholds(fold.validation.windows, fold.validation.proposals, *validation_logits)
    model = ExpansionModel(classifier, fold.proposer, thresholds)
    proposed, labeled = read(fold.block)
    found = model.thresholds.accept(fold.block.proposals, proposed).spans
    calibrated, balanced = model.thresholds.type_probabilities(labeled.retracement)
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
