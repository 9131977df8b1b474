"""Reading spans with a classifier: flat arrays in, logits out, window by window in batches."""

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
    """What a classifier says of spans, in their order.

    Attributes:
        expansion: (n,) float64 logit that the span is an expansion.
        retracement: (n,) float64 logit that a retracement came before it.
        pointer: (n, 2) float64 center and length, shares of 105 bars.
        onset: (n,) float64 logit that an expansion began where the span begins, over or not.
    """

    expansion: np.ndarray
    retracement: np.ndarray
    pointer: np.ndarray
    onset: np.ndarray


class Views(NamedTuple):
    """Spans grouped by the view in which they are read: a window, upside down where they point down.

    Attributes:
        bar0: (n_views,) rows of bar 0.
        down: (n_views,) bool.
        order: (n,) indices of the spans, one view after the other.
        bounds: (n_views + 1,) where each view's spans begin in `order`.
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
    """Read every span in its own direction.

    Args:
        classifier: In evaluation mode on `device`.
        market: The bars and their features.
        bar0: (n_windows,) rows of bar 0.
        proposals: Spans in these windows.
        device: Where the classifier is.
        bars: Of each window; the rest is cut off before the network sees it, and no later bar is read.

    Returns:
        One entry for each span. A window is encoded once for each direction it has spans in.
    """
    out = np.zeros((len(proposals.window), 5))
    inputs = market.measure_inputs(bar0, proposals, bars)
    views = group_by_view(bar0, proposals)
    with torch.no_grad():
        for first in range(0, len(views.bar0), BATCH_WINDOWS):
            shown = np.arange(first, min(first + BATCH_WINDOWS, len(views.bar0)))
            chosen, features, spans = spans_of_views(views, shown, market, proposals, inputs, device, bars)
            heads = classifier.read_spans(features, classifier.encoder(features), spans)
            logits = torch.stack([heads.expansion, heads.retracement, heads.onset], dim=1)
            said = torch.cat([logits, heads.pointer], dim=1)
            out[chosen] = said.cpu().numpy()
    return SpanLogits(out[:, 0], out[:, 1], out[:, 3:], out[:, 2])


def group_by_view(bar0: np.ndarray, proposals: Spans) -> Views:
    """Group the spans of windows by the view that they are read in."""
    key = proposals.window * 2 + (proposals.direction < 0)
    order = np.argsort(key, kind="stable")
    distinct, first = np.unique(key[order], return_index=True)
    return Views(bar0[distinct // 2], distinct % 2 == 1, order, np.append(first, len(order)))


def spans_of_views(
    views: Views,
    shown: np.ndarray,
    market: MarketArrays,
    proposals: Spans,
    inputs: np.ndarray,
    device: torch.device | str,
    bars: int = WINDOW_BARS,
) -> tuple[np.ndarray, torch.Tensor, SpanTensors]:
    """Put some views and their spans on the device.

    Args:
        views: From `group_by_view`.
        shown: (B,) indices of views.
        market: The bars and their features.
        proposals: The spans that were grouped.
        inputs: (n, 78) what is measured of them.
        device: Where the classifier is.
        bars: Of each window, as in `read_spans`.

    Returns:
        Indices of the spans, features of the views (B, 20 + bars, F), and the spans in them.
    """
    begin, stop = views.bounds[shown], views.bounds[shown + 1]
    chosen = np.concatenate([views.order[a:b] for a, b in zip(begin, stop, strict=True)])
    tensors = SpanTensors(
        torch.from_numpy(np.repeat(np.arange(len(shown)), stop - begin)).to(device),
        torch.from_numpy(proposals.start[chosen]).to(device),
        torch.from_numpy(proposals.end[chosen]).to(device),
        torch.from_numpy(inputs[chosen]).to(device),
    )
    features = market.feature_views(views.bar0[shown], views.down[shown], bars)
    return chosen, torch.from_numpy(features).to(device), tensors


def refined_spans(proposals: Spans, reading: SpanLogits, refine: bool) -> Spans:
    """The proposals, or the same with the pointer's spans in place of the rule's."""
    if not refine:
        return proposals
    start, end = decode_span(reading.pointer[:, 0], reading.pointer[:, 1])
    return replace(proposals, start=start, end=end)
