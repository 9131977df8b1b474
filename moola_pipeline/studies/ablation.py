"""The ablation: every row trained on every fold, each training kept so that none is done twice."""

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
from moola_pipeline.studies.ablation_rows import LESSONS, SPARSE_BARS, Row
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
    """What one training said of the block it did not see.

    Attributes:
        row, fold, seed: Which training.
        window_id: Of the block's windows.
        p_balanced: P(retracement) of the labeled spans, both types weighing the same.
        p_calibrated: The same, calibrated on validation.
        events: window (index in `window_id`), start, end, type: expansions found.
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
    """Where trainings are kept: one small file each, under what decides it.

    Attributes:
        folder: Of one market.
        code: Digest of the code that trains; noted with each result, and no part of its name, so
            that hours of work outlive a changed comment. The table says which code a row is from.
    """

    folder: Path
    code: str

    def path(self, data: StudyData, row: Row, fold: int, seed: int) -> Path:
        """The file of one training."""
        settings = row.settings.model_dump(mode="json", exclude={"seeds"})
        about = [data.digest, PRETRAINING.model_dump(mode="json"), settings, row.random_encoder, row.sparse]
        return self.folder / f"{digest_of([*about, fold, seed])[:16]}.json"

    def encoder(self, fold: Fold, device: str) -> Encoder:
        """The encoder pretrained without a fold."""
        about = [fold.data.digest, PRETRAINING.model_dump(mode="json"), fold.number]
        folder = self.folder / f"encoder-{digest_of(about)[:16]}"
        if not (folder / "config.json").is_file():
            result = pretrain(fold.data.market, fold.pretraining_windows(), PRETRAINING, device)
            save_encoder(folder, result.encoder, {"errors": result.errors})
        return load_encoder(folder)[0]


def cached_training(place: Path) -> dict[str, Any]:
    """What one training was found to say, from its file.

    Raises:
        FileNotFoundError: If it was never kept.
        Truncated, ChecksumMismatch, IntegrityError: If it is no longer what was kept.
    """
    return read_checksummed(place, "must hold a training", f"Delete {place}: the next call trains it again.")


def run_ablation(
    data: StudyData,
    rows: Sequence[Row],
    seeds: Sequence[int],
    store: AblationStore,
    device: str = "cpu",
    on_training: Callable[[str], None] = lambda text: None,
) -> list[Outcome]:
    """Train what is missing, and give everything.

    Args:
        ground: The market.
        rows, seeds: What is trained, each on every fold.
        store: Where trainings are kept.
        device: Where networks run.
        on_training: Called with a line before each training.
    """
    folds = list(time_folds(data))
    for seed in seeds:
        for row in rows:
            for fold in folds:
                place = store.path(data, row, fold.number, seed)
                if not place.is_file():
                    at = f"seed {seed}, fold {fold.number + 1} of {len(folds)}"
                    on_training(f"{at}: {row.path}, {row.name}")
                    write_checksummed(place, _trained(fold, row, seed, store, device) | {"code": store.code})
    return cached_outcomes(data, rows, seeds, store)


def cached_outcomes(
    data: StudyData, rows: Sequence[Row], seeds: Sequence[int], store: AblationStore
) -> list[Outcome]:
    """Trainings that have been done, those of whole rows only: every fold of a seed is there."""
    outcomes = []
    for seed in seeds:
        for row in rows:
            places = [store.path(data, row, number, seed) for number in range(N_FOLDS)]
            if all(place.is_file() for place in places):
                outcomes += [
                    _outcome(cached_training(place), row, number, seed) for number, place in enumerate(places)
                ]
    return outcomes


def _outcome(kept: dict[str, Any], row: Row, fold: int, seed: int) -> Outcome:
    fields = {name: kept[name] for name in Outcome.__dataclass_fields__ if name in kept}
    return Outcome(row=row, fold=fold, seed=seed, **fields)


def _trained(fold: Fold, row: Row, seed: int, store: AblationStore, device: str) -> dict[str, Any]:
    market = _sparse(fold.data.market) if row.sparse else fold.data.market
    encoder = store.encoder(fold, device)
    if row.random_encoder:
        encoder = copy.deepcopy(encoder)
        initialize(encoder, RANDOM_SEED + seed)
    settings = row.settings
    pseudo_labels = fold.pseudo_labels(settings.distill_windows) if row.path == LESSONS else None
    result = finetune(
        encoder,
        FinetuneRows(market, fold.train.rows, fold.validation.rows, pseudo_labels),
        settings,
        seed,
        device,
    )
    seconds = sum(entry["seconds"] for entry in result.history)
    return _said(fold, market, result.classifier) | {"seconds": seconds, "epochs": len(result.history)}


def _said(fold: Fold, market: MarketArrays, classifier: Any) -> dict[str, Any]:
    """What a network says of the block, decided as on validation; its logits too, to calibrate by."""

    def read(part: Part) -> tuple[SpanLogits, SpanLogits]:
        bar0 = part.windows.bar0
        proposed, labeled = (
            read_spans(classifier, market, bar0, spans) for spans in (part.proposals, part.labeled)
        )
        return proposed, labeled

    chosen_by = read(fold.validation)
    thresholds = fit_thresholds(fold.validation.windows, fold.validation.proposals, *chosen_by)
    model = ExpansionModel(classifier, fold.proposer, thresholds)
    proposed, labeled = read(fold.asked)
    found = model.accept(fold.asked.proposals, proposed).spans
    calibrated, balanced = model.type_probabilities(labeled.retracement)
    return {
        "window_id": fold.asked.windows.window_id.tolist(),
        "p_balanced": balanced.tolist(),
        "p_calibrated": calibrated.tolist(),
        "events": {name: getattr(found, name).tolist() for name in ("window", "start", "end", "type")},
        "logits": labeled.retracement.tolist(),
        "validation_logits": chosen_by[1].retracement.tolist(),
    }


def _sparse(market: MarketArrays) -> MarketArrays:
    """The table with the features of one bar in `SPARSE_BARS`, zeros elsewhere."""
    kept = np.arange(len(market.features)) % SPARSE_BARS == 0
    return replace(market, features=np.where(kept[:, None], market.features, np.float32(0)))
