"""The rows of the ablation table: each one change of the default, on one of two paths."""

from dataclasses import dataclass, field
from typing import Any, Literal

from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.windows.window_geometry import WINDOW_BARS

Path = Literal["pseudo_labels", "labels"]
LESSONS, LABELS = "pseudo_labels", "labels"
DEMO_WINDOWS = 4_000
SPARSE_BARS = WINDOW_BARS
"""A bar in so many keeps its features in the row on density: what the attempt before this project had."""


@dataclass(frozen=True)
class Row:
    """One change.

    Attributes:
        name: What is changed, as the table says it.
        path: lessons: the product's path, whose judge and typer learn from lessons and no more from
            labels. labels: the labels alone, for what acts in that stage only.
        changes: Of `FinetuneSettings`.
        random_encoder: Whether the encoder begins with random weights instead of pretrained ones.
        sparse: Whether all but one bar in `SPARSE_BARS` lose their features.
    """

    name: str
    path: Path
    changes: dict[str, Any] = field(default_factory=dict)
    random_encoder: bool = False
    sparse: bool = False

    @property
    def settings(self) -> FinetuneSettings:
        """What is trained."""
        base = {"distill_windows": DEMO_WINDOWS if self.path == LESSONS else 0}
        return FinetuneSettings(**{**base, **self.changes})


DEFAULT = "the default"
ROWS = (
    Row(DEFAULT, LESSONS),
    Row("no pretraining: random weights", LESSONS, random_encoder=True),
    Row("features at 1 bar in 105 (density 1 %)", LESSONS, sparse=True),
    Row("half the unlabeled windows (2,000)", LESSONS, {"distill_windows": DEMO_WINDOWS // 2}),
    Row("twice the unlabeled windows (8,000)", LESSONS, {"distill_windows": 2 * DEMO_WINDOWS}),
    Row("batches of 32 windows, not 64", LESSONS, {"distill_batch_windows": 32}),
    Row("dropout 0.6, not 0.1", LESSONS, {"distill_dropout": 0.6}),
    Row("encoder frozen in the first of 4 epochs", LESSONS, {"distill_frozen_epochs": 1}),
    Row("weights averaged, decay 0.99", LESSONS, {"average_decay": 0.99}),
    Row("answers smoothed by 0.1", LESSONS, {"label_smoothing": 0.1}),
    Row("without expansion_proxy", LESSONS, {"expansion_proxy": False}),
    Row("biases at 0, not at the prior", LESSONS, {"prior_bias": False}),
    Row("labels then change all that was taught", LESSONS, {"distill_freeze": False}),
    Row(DEFAULT, LABELS),
    Row("no pretraining: random weights", LABELS, random_encoder=True),
    Row("tasks weighed alike, not by uncertainty", LABELS, {"uncertainty_weights": False}),
    Row("rows drawn as they come, not by kind", LABELS, {"balanced": False}),
    Row("biases at 0, not at the prior", LABELS, {"prior_bias": False}),
    Row("pointer's loss on start and end", LABELS, {"center_length": False}),
    Row("no jitter", LABELS, {"jitter_atr": 0.0}),
    Row("no warp", LABELS, {"warp": 0.0}),
    Row("neither jitter nor warp", LABELS, {"jitter_atr": 0.0, "warp": 0.0}),
    Row("without expansion_proxy", LABELS, {"expansion_proxy": False}),
    Row("batches of 64, not 32", LABELS, {"batch_windows": 64}),
    Row("dropout 0.6, not 0.5", LABELS, {"dropout": 0.6}),
    Row("encoder learns from the first epoch", LABELS, {"frozen_epochs": 0}),
    Row("weights averaged, decay 0.99", LABELS, {"average_decay": 0.99}),
    Row("answers smoothed by 0.1", LABELS, {"label_smoothing": 0.1}),
)
