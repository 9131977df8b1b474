"""Batches of training on labels: sampling weights, augmentation, mirroring, and tensors on the device."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from moola_pipeline.features.schema import mirrored
from moola_pipeline.models.classifier import SpanTensors
from moola_pipeline.training.device import to_device
from moola_pipeline.training.examples import EMPTY, N_KINDS, NO_TARGET, Examples
from moola_pipeline.windows.augmentation import augmented_prices, augmented_table
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.span_inputs import span_inputs
from moola_pipeline.windows.window_geometry import UNTYPED, encode_span, gather_rows


@dataclass(frozen=True)
class Augmentation:
    """Standard deviations of the noise on prices, in ATR, and of the magnitude warp; drawn from `rng`."""

    jitter_atr: float
    warp: float
    rng: np.random.Generator


class KnownTargets(NamedTuple):
    """Indices of known targets; with a mask the device would synchronize to count it.

    Attributes:
        bars: Indices in B * 105 bars.
        expansion: Indices of the N spans with an expansion target.
        type: Indices of the N spans with a label of known type.
        pointer: Indices of the N spans with a labeled span, of any type.
    """

    bars: torch.Tensor
    expansion: torch.Tensor
    type: torch.Tensor
    pointer: torch.Tensor


@dataclass(frozen=True)
class Batch:
    """Rows and their targets, on the device.

    Attributes:
        bar0: (B,) rows of bar 0 in the bar table, in memory.
        features: (B, 125, F), mirrored if the row points down.
        bar_target: (B, 105).
        spans: N spans in these windows.
        expansion, type: (N,) as in `Examples`.
        center, length: (N,) the labeled span as shares of 105 bars; undefined if there is none.
        known: Indices of known targets.
    """

    bar0: np.ndarray
    features: torch.Tensor
    bar_target: torch.Tensor
    spans: SpanTensors
    expansion: torch.Tensor
    type: torch.Tensor
    center: torch.Tensor
    length: torch.Tensor
    known: KnownTargets


class _Inputs(NamedTuple):
    """Prices (B, 125, 4), features (B, 125, F) and ATR (B, 125) of windows, augmented in training."""

    views: np.ndarray
    values: np.ndarray
    atr: np.ndarray


def sampling_weights(examples: Examples, balanced: bool) -> np.ndarray:
    """Probability of drawing each row: (n_rows,), sums to 1; equal for each kind if balanced.

    A row of unknown type is drawn as often as the mean row of known type, whatever its type may be.
    """
    kind, typed = examples.kind, examples.kind != UNTYPED
    counts = np.bincount(kind[typed], minlength=N_KINDS)
    weights = np.ones(len(kind))
    if balanced:
        weights[typed] = 1 / counts[kind[typed]]
        weights[~typed] = np.count_nonzero(counts[:EMPTY]) / max(counts[:EMPTY].sum(), 1)
    return weights / weights.sum()


def expected_priors(examples: Examples, weights: np.ndarray) -> dict[str, float]:
    """Expected share of positive targets in each loss if rows are drawn by `weights`.

    For bars and expansions, those of complete windows: in others all known targets are positive.
    """
    spans = examples.spans
    row_weight = weights[spans.window]
    bar_known = examples.bar_known & examples.complete[:, None]
    bars = (weights[:, None] * bar_known * examples.bar_target).sum()
    shares = {"bars": bars / (weights[:, None] * bar_known).sum()}
    in_complete = examples.complete[spans.window]
    for task, target in (
        ("expansion", np.where(in_complete, examples.expansion, NO_TARGET)),
        ("type", spans.type),
    ):
        known = target >= 0
        shares[task] = (row_weight * (target == 1))[known].sum() / row_weight[known].sum()
    return {task: float(share) for task, share in shares.items()}


def batches(
    market: MarketArrays,
    examples: Examples,
    rows: np.ndarray,
    size: int,
    device: torch.device | str,
    augmentation: Augmentation | None = None,
) -> Iterator[Batch]:
    """Cut (n,) indices of training rows into batches of `size`, the last one smaller."""
    for i in range(0, len(rows), size):
        chosen = rows[i : i + size]
        yield _batch(examples, chosen, _inputs(market, examples.bar0[chosen], augmentation), device)


def _inputs(market: MarketArrays, bar0: np.ndarray, augmentation: Augmentation | None) -> _Inputs:
    views = market.views(bar0)
    if augmentation is None:
        return _Inputs(views, gather_rows(market.features, bar0), gather_rows(market.atr, bar0))
    views = augmented_prices(
        views, market.atr[bar0], augmentation.jitter_atr, augmentation.warp, augmentation.rng
    )
    return _Inputs(views, *augmented_table(market, bar0, views))


def _batch(examples: Examples, rows: np.ndarray, inputs: _Inputs, device: torch.device | str) -> Batch:
    spans, down = examples.spans, examples.down[rows]
    features = inputs.values
    features[down] = mirrored(features[down])
    begin = np.searchsorted(spans.window, rows, side="left")
    stop = np.searchsorted(spans.window, rows, side="right")
    index = np.concatenate([np.arange(a, b) for a, b in zip(begin, stop, strict=True)])
    window = np.repeat(np.arange(len(rows)), stop - begin)
    center, length = encode_span(examples.true_start[index], examples.true_end[index])
    batch_spans = replace(spans.select(index), window=window)
    measures = span_inputs(inputs.views, inputs.atr, batch_spans)

    def on_device(array: np.ndarray) -> torch.Tensor:
        return to_device(array, device)

    expansion = examples.expansion[index]
    has_label = examples.true_start[index] != NO_TARGET
    known = (examples.bar_known[rows], expansion >= 0, batch_spans.is_typed, has_label)
    return Batch(
        examples.bar0[rows],
        on_device(features),
        on_device(examples.bar_target[rows]),
        SpanTensors(*map(on_device, (window, batch_spans.start, batch_spans.end, measures))),
        on_device(expansion),
        on_device(batch_spans.type),
        on_device(center),
        on_device(length),
        KnownTargets(*(on_device(np.flatnonzero(mask)) for mask in known)),
    )
