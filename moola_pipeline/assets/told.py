"""What a version answers where span and direction of an expansion are told, as every comparison asks it."""

import numpy as np
import torch

from moola_pipeline.features.relativity import FeatureTable
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.models.annotator import Annotator
from moola_pipeline.models.reading import read_spans
from moola_pipeline.models.rule import measure_spans
from moola_pipeline.serving.annotate import type_probabilities
from moola_pipeline.training.examples import labeled_proposals
from moola_pipeline.windows.frame import view_rows
from moola_pipeline.windows.repainted import BarArrays


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
