"""Rows of the ablation table: each changes one default setting, on one of two training paths."""

from dataclasses import dataclass, field
from typing import Any, Literal

from moola_pipeline.evaluation.span_methods import EXTRA_TREES, LOGISTIC, TEACHERS
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.windows.window_geometry import WINDOW_BARS

Path = Literal["pseudo_labels", "labels"]
PSEUDO_LABELS, LABELS = "pseudo_labels", "labels"
N_UNLABELED = 4_000
"""Unlabeled windows of the default row: half of those of the profile `full`, for the time it takes."""
SPARSE_BARS = WINDOW_BARS
"""In the density row, one bar in so many keeps its features, as in an earlier version of the project."""


@dataclass(frozen=True)
class Row:
    """One change of the default.

    Attributes:
        name: The change, as shown in the table.
        path: pseudo_labels: the default path, whose judge and typer are distilled and then frozen.
            labels: training on labels only, for settings of the supervised stage.
        changes: Of `FinetuneSettings`.
        pretrained: Whether the encoder is; else it has random weights.
        sparse: Whether only one bar in `SPARSE_BARS` keeps its features.
        method: Name of the `SpanMethod` in place of the network; empty: the network.
    """

    name: str
    path: Path
    changes: dict[str, Any] = field(default_factory=dict)
    pretrained: bool = True
    sparse: bool = False
    method: str = ""

    @property
    def settings(self) -> FinetuneSettings:
        """Settings of the training."""
        base = {"distill_windows": N_UNLABELED if self.path == PSEUDO_LABELS else 0}
        return FinetuneSettings(**{**base, **self.changes})


DEFAULT = "the default"
ROWS = (
    Row(DEFAULT, PSEUDO_LABELS),
    Row("no pretraining: random weights", PSEUDO_LABELS, pretrained=False),
    Row("the teachers themselves", PSEUDO_LABELS, method=TEACHERS),
    Row("ExtraTrees on the heads' numbers", PSEUDO_LABELS, method=EXTRA_TREES),
    Row("logistic regression on the heads' numbers", PSEUDO_LABELS, method=LOGISTIC),
    Row("heads without measured numbers", PSEUDO_LABELS, {"measured_numbers": False}),
    Row(
        "heads without measured numbers, random weights",
        PSEUDO_LABELS,
        {"measured_numbers": False},
        pretrained=False,
    ),
    Row(
        "16,000 unlabeled windows, 6 epochs", PSEUDO_LABELS, {"distill_windows": 16_000, "distill_epochs": 6}
    ),
    Row("features at 1 bar in 105 (density 1 %)", PSEUDO_LABELS, sparse=True),
    Row("half the unlabeled windows (2,000)", PSEUDO_LABELS, {"distill_windows": N_UNLABELED // 2}),
    Row("twice the unlabeled windows (8,000)", PSEUDO_LABELS, {"distill_windows": 2 * N_UNLABELED}),
    Row("batches of 32 windows, not 64", PSEUDO_LABELS, {"distill_batch_windows": 32}),
    Row("dropout 0.6, not 0.1", PSEUDO_LABELS, {"distill_dropout": 0.6}),
    Row("encoder frozen in the first of 4 epochs", PSEUDO_LABELS, {"distill_frozen_epochs": 1}),
    Row("weights averaged, decay 0.99", PSEUDO_LABELS, {"average_decay": 0.99}),
    Row("labels smoothed by 0.1", PSEUDO_LABELS, {"label_smoothing": 0.1}),
    Row("without expansion_proxy", PSEUDO_LABELS, {"expansion_proxy": False}),
    Row("biases at 0, not at the prior", PSEUDO_LABELS, {"prior_bias": False}),
    Row("distilled judge and typer not frozen", PSEUDO_LABELS, {"distill_freeze": False}),
    Row(DEFAULT, LABELS),
    Row("no pretraining: random weights", LABELS, pretrained=False),
    Row("tasks weighted equally, not by uncertainty", LABELS, {"uncertainty_weights": False}),
    Row("rows drawn uniformly, not balanced by kind", LABELS, {"balanced": False}),
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
    Row("labels smoothed by 0.1", LABELS, {"label_smoothing": 0.1}),
)
