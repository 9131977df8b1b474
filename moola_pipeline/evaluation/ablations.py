"""The same network without its pretraining: what pretraining and learning as such are worth."""

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
"""Of the weights that take the place of the pretrained ones."""
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
    """Fine-tune from random encoder weights, everything else as in the model, beside what the block does.

    UNTRAINED trains the heads alone, on the labels alone (no teacher reaches its encoder either), for
    the first seed; SCRATCH trains all of it as the model was.

    Args:
        data: The bars and labeled windows that the model was trained on.
        encoder: The pretrained one; its scaling of the features is kept, its weights are not.
        settings: Of fine-tuning, as the model had them.
        scratch_seeds: Of the model's seeds, how many are trained from scratch.
        device: Where the networks run.
        workers: Trainings at once.
        on_epoch: Called with the name, the seed and each history entry, from any thread.

    Yields:
        A promise by name: the models, by seed.
    """
    wanted = {SCRATCH: settings.seeds[:scratch_seeds], UNTRAINED: settings.seeds[:1]}  # the longer one first
    works = {
        name: partial(
            _train_fresh,
            data,
            encoder,
            settings.model_copy(update={"seeds": seeds}),
            device,
            name == UNTRAINED,
            partial(on_epoch, name),
        )
        for name, seeds in wanted.items()
        if seeds
    }
    with run_in_parallel(list(works.values()), workers) as promised:
        yield dict(zip(works, promised, strict=True))


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
    return {seed: one.model for seed, one in trained.items()}
