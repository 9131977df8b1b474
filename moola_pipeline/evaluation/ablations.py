"""Ablations: the same network without pretraining, and with an untrained encoder."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from moola_pipeline.models.encoder import Encoder, initialize
from moola_pipeline.models.expansion_model import ExpansionModel
from moola_pipeline.report.checks import UNTRAINED
from moola_pipeline.training.examples import TrainingData
from moola_pipeline.training.expansion_models import train_expansion_models
from moola_pipeline.training.parallel import LazyResult, run_in_parallel
from moola_pipeline.training.settings import FinetuneSettings

FRESH_SEED = 104_729
"""Seed of the random encoder weights."""
SCRATCH = "scratch"


@contextmanager
def fresh_networks(
    data: TrainingData,
    encoder: Encoder,
    settings: FinetuneSettings,
    scratch_seeds: int,
    device: str,
    workers: int,
    on_epoch: Callable[[str, int, dict[str, float]], None] = lambda name, seed, entry: None,
) -> Iterator[dict[str, LazyResult[dict[int, ExpansionModel]]]]:
    """Train from random encoder weights, otherwise as the model, in parallel with the block.

    UNTRAINED trains the heads only, on labels only (without distillation), for the first seed.
    SCRATCH trains the whole network as the model was trained.

    Args:
        data: Bars and labeled windows of the model's training.
        encoder: The pretrained encoder; its feature scaling is reused, its weights are not.
        settings: Fine-tuning settings of the model.
        scratch_seeds: How many of the model's seeds are trained from scratch.
        device: Device of the networks.
        workers: Parallel trainings.
        on_epoch: Called with the name, the seed and each history entry, from any thread.

    Yields:
        By name, a lazy result with the models by seed.
    """
    seeds_by_name = {SCRATCH: settings.seeds[:scratch_seeds], UNTRAINED: settings.seeds[:1]}  # longest first
    jobs = {
        name: partial(
            _train_fresh,
            data,
            encoder,
            settings.model_copy(update={"seeds": seeds}),
            device,
            name == UNTRAINED,
            partial(on_epoch, name),
        )
        for name, seeds in seeds_by_name.items()
        if seeds
    }
    with run_in_parallel(list(jobs.values()), workers) as results:
        yield dict(zip(jobs, results, strict=True))


def train_untrained(
    data: TrainingData, encoder: Encoder, settings: FinetuneSettings, device: str
) -> dict[int, ExpansionModel]:
    """Train heads on an untrained encoder, on labels only, by seed; arguments as in `fresh_networks`."""
    return _train_fresh(data, encoder, settings, device, True, lambda seed, entry: None)


def _train_fresh(
    data: TrainingData,
    encoder: Encoder,
    settings: FinetuneSettings,
    device: str,
    frozen: bool,
    on_epoch: Callable[[int, dict[str, float]], None],
) -> dict[int, ExpansionModel]:
    fresh = copy.deepcopy(encoder)
    initialize(fresh, FRESH_SEED)
    if frozen:
        settings = settings.model_copy(update={"frozen_epochs": settings.epochs, "distill_windows": 0})
    trained = train_expansion_models(fresh, data, settings, device, on_epoch)
    return {seed: result.model for seed, result in trained.items()}
