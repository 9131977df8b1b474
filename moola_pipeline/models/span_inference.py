"""Inference on spans: windows and spans in, logits out, in batches of windows."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from moola_pipeline.models.classifier import Classifier, SpanTensors
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import WINDOW_BARS, decode_span

BATCH_WINDOWS = 256


class SpanLogits(NamedTuple):
    """Logits of a classifier for n spans, in their order.

    Attributes:
        expansion: (n,) float64 logit that the span is an expansion.
        retracement: (n,) float64 logit that a retracement came before it.
        pointer: (n, 2) float64 center and length, shares of 105 bars.
        onset: (n,) float64 logit that an expansion began at the span's start, finished or not.
    """

    expansion: np.ndarray
    retracement: np.ndarray
    pointer: np.ndarray
    onset: np.ndarray


class Views(NamedTuple):
    """Spans grouped by window and direction; a view is a window, mirrored if its spans point down.

    Attributes:
        bar0: (n_views,) rows of bar 0.
        down: (n_views,) bool, mirrored views.
        order: (n,) indices of the spans, grouped by view.
        bounds: (n_views + 1,) start of each view's spans in `order`.
    """

    bar0: np.ndarray
    down: np.ndarray
    order: np.ndarray
    bounds: np.ndarray


def read_spans(
    classifier: Classifier,
    market: MarketArrays,
    bar0: np.ndarray,
    proposals: Spans,
    device: torch.device | str = "cpu",
    bars: int = WINDOW_BARS,
) -> SpanLogits:
    """Compute the logits of every span, in its direction.

    Args:
        classifier: In evaluation mode on `device`.
        market: The bars and their features.
        bar0: (n_windows,) rows of bar 0.
        proposals: Spans in these windows.
        device: Device of the classifier.
        bars: Number of bars read of each window; later ones do not reach the network.

    Returns:
        One entry for each span. A window is encoded once for each direction of its spans.
    """
    outputs = np.zeros((len(proposals.window), 5))
    inputs = market.measure_inputs(bar0, proposals, bars)
    views = group_by_view(bar0, proposals)
    with torch.no_grad():
        for first in range(0, len(views.bar0), BATCH_WINDOWS):
            batch = np.arange(first, min(first + BATCH_WINDOWS, len(views.bar0)))
            indices, features, spans = spans_of_views(views, batch, market, proposals, inputs, device, bars)
            heads = classifier.read_spans(features, classifier.encoder(features), spans)
            logits = torch.stack([heads.expansion, heads.retracement, heads.onset], dim=1)
            outputs[indices] = torch.cat([logits, heads.pointer], dim=1).cpu().numpy()
    return SpanLogits(outputs[:, 0], outputs[:, 1], outputs[:, 3:], outputs[:, 2])


def group_by_view(bar0: np.ndarray, proposals: Spans) -> Views:
    """Group spans by window and direction."""
    key = proposals.window * 2 + (proposals.direction < 0)
    order = np.argsort(key, kind="stable")
    distinct, first = np.unique(key[order], return_index=True)
    return Views(bar0[distinct // 2], distinct % 2 == 1, order, np.append(first, len(order)))


def spans_of_views(
    views: Views,
    batch: np.ndarray,
    market: MarketArrays,
    proposals: Spans,
    inputs: np.ndarray,
    device: torch.device | str,
    bars: int = WINDOW_BARS,
) -> tuple[np.ndarray, torch.Tensor, SpanTensors]:
    """Put some views and their spans on the device.

    Args:
        views: From `group_by_view`.
        batch: (B,) indices of views.
        market: The bars and their features.
        proposals: The grouped spans.
        inputs: (n, 78) features of these spans.
        device: Device of the classifier.
        bars: As in `read_spans`.

    Returns:
        Indices of the spans, features of the views (B, 20 + bars, F), and the spans in them.
    """
    begin, stop = views.bounds[batch], views.bounds[batch + 1]
    indices = np.concatenate([views.order[a:b] for a, b in zip(begin, stop, strict=True)])
    tensors = SpanTensors(
        torch.from_numpy(np.repeat(np.arange(len(batch)), stop - begin)).to(device),
        torch.from_numpy(proposals.start[indices]).to(device),
        torch.from_numpy(proposals.end[indices]).to(device),
        torch.from_numpy(inputs[indices]).to(device),
    )
    features = market.feature_views(views.bar0[batch], views.down[batch], bars)
    return indices, torch.from_numpy(features).to(device), tensors


def refined_spans(proposals: Spans, logits: SpanLogits, refine: bool) -> Spans:
    """The proposals; with `refine`, start and end come from the pointer instead of the rule."""
    if not refine:
        return proposals
    start, end = decode_span(logits.pointer[:, 0], logits.pointer[:, 1])
    return replace(proposals, start=start, end=end)
