"""The test windows in their bar table, baseline inputs, and P(retracement) given the span."""

from dataclasses import dataclass

import numpy as np
import torch

from moola_pipeline.evaluation.baselines import BaselineInputs
from moola_pipeline.features.schema import mirrored
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.metrics.breakdowns import LabeledStarts
from moola_pipeline.metrics.scores import ResampledWindows
from moola_pipeline.models.expansion_model import SpanModel
from moola_pipeline.windows.context import BARS_BEFORE_START, paths_before
from moola_pipeline.windows.market_arrays import MarketArrays


@dataclass(frozen=True)
class LabeledTestSet:
    """The test windows in their bar table.

    Attributes:
        market: The table.
        resampled: The windows, their labels, and the resamples of their sessions.
    """

    market: MarketArrays
    resampled: ResampledWindows

    def select(self, windows: np.ndarray) -> "LabeledTestSet":
        """The same market and draws with the windows at (n,) increasing indices only."""
        whole = self.resampled
        expansions = np.isin(whole.windows.spans.window, windows)
        part = ResampledWindows(
            whole.windows.select(windows),
            whole.event_weights[:, expansions],
            whole.window_weights[:, windows],
        )
        return LabeledTestSet(self.market, part)

    @property
    def labeled(self) -> LabeledStarts:
        """Starts of the labeled expansions."""
        spans = self.resampled.windows.spans
        return LabeledStarts(self.resampled.windows.bar0[spans.window] + spans.start, spans.direction)


def baseline_inputs(test_set: LabeledTestSet, windows: LabeledWindows) -> BaselineInputs:
    """Baseline inputs for the labeled expansions of windows."""
    rows = windows.bar0[windows.spans.window] + windows.spans.start
    return baseline_inputs_before(test_set, rows, windows.spans.direction)


def baseline_inputs_before(
    test_set: LabeledTestSet, rows: np.ndarray, directions: np.ndarray
) -> BaselineInputs:
    """Baseline inputs from the bars before these rows, mirrored so that the expansion points up."""
    paths = paths_before(test_set.market.prices[:, 3], test_set.market.atr, rows, directions)
    features = test_set.market.features[np.asarray(rows)[:, None] + np.arange(-BARS_BEFORE_START, 0)]
    down = np.asarray(directions) < 0
    features[down] = mirrored(features[down])
    return BaselineInputs(paths, features)


def oracle_span_probabilities(
    model: SpanModel,
    market: MarketArrays,
    windows: LabeledWindows,
    device: torch.device | str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """P(retracement) given the labeled spans of windows: calibrated, and with balanced types.

    Args:
        model: In evaluation mode on `device`.
        market: The bar table of the windows.
        windows: Labeled windows.
        device: Device of the network.

    Returns:
        Two arrays (n_expansions,), in the order of `windows.spans`.
    """
    spans = windows.spans.pointed()
    logits = model.read(market, windows.bar0, spans, device)
    return model.thresholds.type_probabilities(logits.retracement)
