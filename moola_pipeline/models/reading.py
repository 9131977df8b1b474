"""Reading spans with a classifier: flat arrays in, logits out, window by window in batches."""

from typing import NamedTuple

import numpy as np
import torch

from moola_pipeline.features.schema import mirrored
from moola_pipeline.models.classifier import Classifier, Spans
from moola_pipeline.models.rule import Proposals
from moola_pipeline.windows.frame import decode_span, gathered

BATCH_WINDOWS = 256


class Reading(NamedTuple):
    """What a classifier says of spans, in their order.

    Attributes:
        expansion: (n,) float64 logit that the span is an expansion.
        retracement: (n,) float64 logit that a retracement came before it.
        pointer: (n, 2) float64 center and length, shares of 105 bars.
    """

    expansion: np.ndarray
    retracement: np.ndarray
    pointer: np.ndarray


def measures_of(proposals: Proposals) -> np.ndarray:
    """What the judge is told of each span: net move in ATR, efficiency, length over 10; (n, 3)."""
    length = (proposals.end - proposals.start + 1) / 10
    return np.stack([proposals.net_atr, proposals.efficiency, length], axis=1).astype(np.float32)


def read_spans(
    classifier: Classifier,
    values: np.ndarray,
    bar0: np.ndarray,
    proposals: Proposals,
    device: torch.device | str = "cpu",
) -> Reading:
    """Read every span in its own direction.

    Args:
        classifier: In evaluation mode on `device`.
        values: (n_bars, F) feature table.
        bar0: (n_windows,) rows of bar 0.
        proposals: Spans, sorted by window.
        device: Where the classifier is.

    Returns:
        One entry for each span. A window is encoded once for each direction it has spans in.
    """
    n_spans = len(proposals.window)
    out = np.zeros((n_spans, 4))
    if n_spans == 0:
        return Reading(out[:, 0], out[:, 1], out[:, 2:])
    measures = measures_of(proposals)
    views = proposals.window * 2 + (proposals.direction < 0)
    order = np.argsort(views, kind="stable")
    distinct, first = np.unique(views[order], return_index=True)
    stops = np.append(first[BATCH_WINDOWS::BATCH_WINDOWS], n_spans)
    with torch.no_grad():
        for batch, (begin, stop) in enumerate(zip(np.append(0, stops[:-1]), stops, strict=True)):
            chosen = order[begin:stop]
            shown = distinct[batch * BATCH_WINDOWS : (batch + 1) * BATCH_WINDOWS]
            features = oriented(values, bar0[shown // 2], shown % 2 == 1)
            spans = Spans(
                torch.from_numpy(np.searchsorted(shown, views[chosen])).to(device),
                torch.from_numpy(np.ascontiguousarray(proposals.start[chosen])).to(device),
                torch.from_numpy(np.ascontiguousarray(proposals.end[chosen])).to(device),
                torch.from_numpy(measures[chosen]).to(device),
            )
            inputs = torch.from_numpy(features).to(device)
            heads = classifier.read_spans(inputs, classifier.encoder(inputs), spans)
            said = torch.cat([heads.expansion[:, None], heads.retracement[:, None], heads.pointer], dim=1)
            out[chosen] = said.cpu().numpy()
    return Reading(out[:, 0], out[:, 1], out[:, 2:])


def moved(proposals: Proposals, reading: Reading, refine: bool) -> Proposals:
    """The proposals, or the same with the pointer's spans in place of the rule's."""
    if not refine:
        return proposals
    start, end = decode_span(reading.pointer[:, 0], reading.pointer[:, 1])
    return proposals._replace(start=start, end=end)


def oriented(values: np.ndarray, bar0: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Features of windows with their context, those marked `down` mirrored: (B, 125, F) float32."""
    features = gathered(values, bar0)
    features[down] = mirrored(features[down])
    return features
