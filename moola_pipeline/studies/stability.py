"""Stability: trainings that differ in the seed only, compared on the validation windows."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from moola_pipeline.labels.schema import TYPES
from moola_pipeline.models.expansion_model import sigmoid
from moola_pipeline.models.span_inference import read_spans
from moola_pipeline.plotting import BLUE, GRID, ORANGE, house_style, picture_file
from moola_pipeline.storage.checksums import write_checksummed
from moola_pipeline.studies.ablation import AblationStore, Training, cached_training
from moola_pipeline.studies.ablation_folds import StudyData, whole_training
from moola_pipeline.studies.ablation_rows import ROWS
from moola_pipeline.training.finetune import FinetuneRows, finetune
from moola_pipeline.windows.window_geometry import UNTYPED

MIN_SHARE = 0.05
"""A type with a smaller share of the predictions counts as never predicted."""


class SeedPredictions(NamedTuple):
    """Predictions of one seed on the validation expansions of known type, with equal weight on both types.

    Attributes:
        seed: Of the training.
        recall: Of each of TYPES.
        share: Of each of TYPES among the predictions.
        spread: Standard deviation of P(retracement).
        stopped: Reason for an early stop of the training; empty if there was none.
    """

    seed: int
    recall: tuple[float, ...]
    share: tuple[float, ...]
    spread: float
    stopped: str

    @property
    def collapsed(self) -> bool:
        """Whether a type is almost never predicted, or training stopped because of a collapse."""
        return bool(self.stopped) or min(self.share) < MIN_SHARE


def run_seeds(
    data: StudyData,
    seeds: Sequence[int],
    store: AblationStore,
    device: str = "cpu",
    on_training: Callable[[str], None] = lambda text: None,
) -> list[SeedPredictions]:
    """Run the missing trainings of these seeds on all training windows, and return their predictions.

    Args:
        data: The market, without test windows.
        seeds: One training each, with the settings of the first ablation row.
        store: Cache of trainings.
        device: Where networks run.
        on_training: Called with a line of text before each training.
    """
    row, whole, predictions = ROWS[0], whole_training(data), []
    for seed in seeds:
        path = store.path(Training(row, whole.number, seed))
        if not path.is_file():
            on_training(f"seed {seed}")
            market, settings = data.market, row.settings
            result = finetune(
                store.encoder(whole, device),
                FinetuneRows(
                    market,
                    whole.train.rows,
                    whole.validation.rows,
                    whole.pseudo_labels(seed, settings.distill_windows),
                ),
                settings,
                seed,
                device,
            )
            part = whole.validation
            logits = read_spans(result.classifier, market, part.windows.bar0, part.labeled).retracement
            facts = {"code": store.code, "stopped": result.stopped, "logits": logits.tolist()}
            write_checksummed(path, facts)
        facts = cached_training(path)
        logits = np.array(facts["logits"])
        predictions.append(_predictions(seed, logits, data.validation.spans.type, facts["stopped"]))
    return predictions


def _predictions(seed: int, logits: np.ndarray, kind: np.ndarray, stopped: str) -> SeedPredictions:
    logits, kind = logits[kind != UNTYPED], kind[kind != UNTYPED]
    predicted = (logits > 0).astype(np.int64)
    numbers = range(len(TYPES))
    recall = tuple(float((predicted[kind == number] == number).mean()) for number in numbers)
    share = tuple(float((predicted == number).mean()) for number in numbers)
    return SeedPredictions(seed, recall, share, float(sigmoid(logits).std()), stopped)


@house_style()
def random_seeds(predictions: Sequence[SeedPredictions], true_share: Sequence[float], about: str) -> bytes:
    """Plot recall and share of the predictions of each type by seed; SVG.

    Args:
        predictions: One entry per seed.
        true_share: Of each type among the labels.
        about: Title.
    """
    figure = Figure((9, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    seeds = [entry.seed for entry in predictions]
    for number, (name, color, mark) in enumerate(zip(TYPES, (BLUE, ORANGE), "os", strict=True)):
        style = {"color": color, "marker": mark, "markersize": 5, "linestyle": "none"}
        left.plot(seeds, [entry.recall[number] for entry in predictions], label=name, **style)
        right.plot(seeds, [entry.share[number] for entry in predictions], **style)
        right.axhline(true_share[number], color=color, linewidth=0.8, linestyle="--")
    for axes, title in ((left, "recall"), (right, "share of the predictions (dashed: of the labels)")):
        axes.axhspan(0, MIN_SHARE, color=GRID, alpha=0.6)
        axes.set(title=title, xlabel="training seed", ylim=(0, 1))
        axes.set_xticks(seeds)
        axes.tick_params(labelsize=8)
    left.legend(loc="lower right")
    figure.suptitle(about)
    return picture_file(figure, ".svg")
