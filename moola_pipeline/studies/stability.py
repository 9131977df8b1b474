"""Twenty trainings that differ in nothing but the seed: what each says of the validation windows."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from moola_pipeline.labels.schema import TYPES
from moola_pipeline.models.expansion_model import sigmoid
from moola_pipeline.models.span_inference import read_spans
from moola_pipeline.plotting import BLUE, GRID, ORANGE, house_style, picture_file
from moola_pipeline.storage.checksums import write_checksummed
from moola_pipeline.studies.ablation import AblationStore, cached_training
from moola_pipeline.studies.ablation_folds import StudyData, whole_training
from moola_pipeline.studies.ablation_rows import ROWS
from moola_pipeline.training.finetune import FinetuneRows, finetune

N_SEEDS = 20
MIN_SHARE = 0.05
"""Share of the answers below which a type counts as never said."""


class SeedAnswers(NamedTuple):
    """What one seed says of the labeled validation expansions, both types weighing the same.

    Attributes:
        seed: Of its training.
        recall: Of each of TYPES.
        share: Of each among the answers.
        spread: Standard deviation of P(retracement).
        stopped: Why its training was stopped early; empty if it was not.
    """

    seed: int
    recall: tuple[float, ...]
    share: tuple[float, ...]
    spread: float
    stopped: str

    @property
    def collapsed(self) -> bool:
        """Whether a type is hardly ever said, or training saw a collapse."""
        return bool(self.stopped) or min(self.share) < MIN_SHARE


def run_seeds(
    data: StudyData,
    seeds: Sequence[int],
    store: AblationStore,
    device: str = "cpu",
    on_training: Callable[[str], None] = lambda text: None,
) -> list[SeedAnswers]:
    """Train what is missing of these seeds, on all training windows, and give what each says.

    Args:
        ground: The market; no test window is in it.
        seeds: One training each, in the first row's settings.
        store: Where trainings are kept.
        device: Where networks run.
        on_training: Called with a line before each training.
    """
    row, whole, answers = ROWS[0], whole_training(data), []
    for seed in seeds:
        place = store.path(data, row, whole.number, seed)
        if not place.is_file():
            on_training(f"seed {seed}")
            market, settings = data.market, row.settings
            result = finetune(
                store.encoder(whole, device),
                FinetuneRows(
                    market,
                    whole.train.rows,
                    whole.validation.rows,
                    whole.pseudo_labels(settings.distill_windows),
                ),
                settings,
                seed,
                device,
            )
            part = whole.validation
            logits = read_spans(result.classifier, market, part.windows.bar0, part.labeled).retracement
            kept = {"code": store.code, "stopped": result.stopped, "logits": logits.tolist()}
            write_checksummed(place, kept)
        kept = cached_training(place)
        answers.append(_answers(seed, np.array(kept["logits"]), data.validation.spans.type, kept["stopped"]))
    return answers


def _answers(seed: int, logits: np.ndarray, kind: np.ndarray, stopped: str) -> SeedAnswers:
    said = (logits > 0).astype(np.int64)
    numbers = range(len(TYPES))
    recall = tuple(float((said[kind == number] == number).mean()) for number in numbers)
    share = tuple(float((said == number).mean()) for number in numbers)
    return SeedAnswers(seed, recall, share, float(sigmoid(logits).std()), stopped)


@house_style()
def random_seeds(answers: Sequence[SeedAnswers], true_share: Sequence[float], about: str) -> bytes:
    """A picture: recall of each type, and its share of the answers beside the true one, by seed; SVG.

    Args:
        answers: One for each seed.
        true_share: Of each type among the labels.
        about: What was trained and judged, in a line.
    """
    figure = Figure((9, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    seeds = [one.seed for one in answers]
    for number, (name, color, mark) in enumerate(zip(TYPES, (BLUE, ORANGE), "os", strict=True)):
        style = {"color": color, "marker": mark, "markersize": 5, "linestyle": "none"}
        left.plot(seeds, [one.recall[number] for one in answers], label=name, **style)
        right.plot(seeds, [one.share[number] for one in answers], **style)
        right.axhline(true_share[number], color=color, linewidth=0.8, linestyle="--")
    for axes, title in ((left, "recall"), (right, "share of the answers (dashed: of the labels)")):
        axes.axhspan(0, MIN_SHARE, color=GRID, alpha=0.6)
        axes.set(title=title, xlabel="training seed", ylim=(0, 1))
        axes.set_xticks(seeds)
        axes.tick_params(labelsize=8)
    left.legend(loc="lower right")
    figure.suptitle(about)
    return picture_file(figure, ".svg")
