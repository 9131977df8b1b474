"""What a teacher is told of spans: what is measured of them, and the features of the bar before."""

import numpy as np

from moola_pipeline.features.schema import mirrored
from moola_pipeline.models.span_inference import inputs_of
from moola_pipeline.models.span_proposer import Proposals
from moola_pipeline.training.batches import Source
from moola_pipeline.windows.frame import WINDOW_BARS
from moola_pipeline.windows.span_inputs import N_BEFORE, N_INPUTS


def told(source: Source, bar0: np.ndarray, proposals: Proposals, bars: int = WINDOW_BARS) -> np.ndarray:
    """What a teacher sees of spans: (n, 78 + F), the features of the bar before them last.

    Args:
        source: The table that the windows lie in.
        bar0: (n_windows,) rows of bar 0.
        proposals: n spans in these windows.
        bars: Of each window; no later one is read.
    """
    eve = source.values[bar0[proposals.window] + proposals.start - 1]
    eve = np.where((proposals.direction < 0)[:, None], mirrored(eve), eve)
    return np.column_stack([inputs_of(source.bars.prices, source.atr, bar0, proposals, bars), eve])


def before(seen: np.ndarray) -> np.ndarray:
    """What is told of the bars before a span: (n, 53 + F)."""
    return np.column_stack([seen[:, :N_BEFORE], seen[:, N_INPUTS:]])
