"""The test windows in their table of bars, and a model's answers where span and direction are given."""

from dataclasses import dataclass

import numpy as np
import torch

from moola_pipeline.evaluation.baselines import Seen
from moola_pipeline.features.relativity import FeatureTable
from moola_pipeline.features.schema import mirrored
from moola_pipeline.inference.hindsight import type_probabilities
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.metrics.breakdowns import Labeled
from moola_pipeline.metrics.scores import Ground
from moola_pipeline.models.expansion_model import Annotator
from moola_pipeline.models.span_inference import read_spans
from moola_pipeline.models.span_proposer import measure_spans
from moola_pipeline.training.examples import labeled_proposals
from moola_pipeline.windows.augmentation import BarArrays
from moola_pipeline.windows.context import BARS_BEFORE_START, paths_before
from moola_pipeline.windows.window_geometry import view_rows


@dataclass(frozen=True)
class Trial:
    """The test windows in their table of bars.

    Attributes:
        bars, features: The table.
        ground: The windows, their labels, and the resamples of their sessions.
    """

    bars: BarArrays
    features: FeatureTable
    ground: Ground

    @property
    def labeled(self) -> Labeled:
        """Where the labeled expansions lie."""
        spans = self.ground.windows.spans
        return Labeled(self.ground.windows.bar0[spans.window] + spans.start, spans.direction)


def seen_in(trial: Trial, windows: LabeledWindows) -> Seen:
    """What peers see of the labeled expansions of windows."""
    rows = windows.bar0[windows.spans.window] + windows.spans.start
    return seen_before(trial, rows, windows.spans.direction)


def seen_before(trial: Trial, rows: np.ndarray, directions: np.ndarray) -> Seen:
    """What peers see of the bars before these rows, turned so that the expansion points up."""
    paths = paths_before(trial.bars.prices[:, 3], trial.features.atr, rows, directions)
    features = trial.features.values[np.asarray(rows)[:, None] + np.arange(-BARS_BEFORE_START, 0)]
    down = np.asarray(directions) < 0
    features[down] = mirrored(features[down])
    return Seen(paths, features)


def told_probabilities(
    annotator: Annotator,
    bars: BarArrays,
    features: FeatureTable,
    windows: LabeledWindows,
    device: torch.device | str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """P(retracement) of the labeled expansions of windows: calibrated, and with both types weighing the same.

    Args:
        annotator: In evaluation mode on `device`.
        bars, features: The table that the windows lie in.
        windows: Whose expansions are told.
        device: Where the network runs.

    Returns:
        Two arrays (n_expansions,), in the order of `windows.spans`.
    """
    measures = measure_spans(bars.views(windows.bar0), features.atr[view_rows(windows.bar0)])
    told = labeled_proposals(windows, measures)
    reading = read_spans(
        annotator.classifier, bars.prices, features.values, features.atr, windows.bar0, told, device
    )
    return type_probabilities(annotator, reading.retracement)
