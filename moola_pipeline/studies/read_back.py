"""How much of the measured numbers a ridge regression reads back from the states of an encoder."""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from moola_pipeline.models.encoder import Encoder
from moola_pipeline.models.span_proposer import propose
from moola_pipeline.studies.ablation_folds import Fold
from moola_pipeline.training.imputation import fit_ridge
from moola_pipeline.windows.context import BARS_BEFORE_START
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.span_inputs import (
    BEFORE_NAMES,
    BREAK_NAMES,
    CALM_NAMES,
    LEG_NAMES,
    MOVE_NAMES,
    N_INPUTS,
    SUMMARY_NAMES,
)
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import CONTEXT_BARS

N_WINDOWS = 3_000
"""Unlabeled windows whose proposed spans are measured; the last fifth in time is predicted."""
HELD_OUT_SHARE = 0.2
MAX_NUMBER = 4.0
"""Standard deviations at which the numbers are clipped, as the heads clip them."""
_STRETCHES = len(BEFORE_NAMES) - len(SUMMARY_NAMES) - len(LEG_NAMES) - len(CALM_NAMES)
GROUPS = {
    "closes before the span": len(SUMMARY_NAMES),
    "legs into and out of the extremes": len(LEG_NAMES),
    "range, slope, scatter of 10, 20, 45 bars": _STRETCHES,
    "calm": len(CALM_NAMES),
    "the move": len(MOVE_NAMES),
    "the break": len(BREAK_NAMES),
}
"""Numbers of each kind, in the order of INPUT_NAMES."""


class ReadBack(NamedTuple):
    """Shares of variance that are predicted on held-out windows.

    Attributes:
        encoder: Name of the encoder.
        by_group: Of the numbers of each of GROUPS; 1 is perfect, 0 no better than the mean.
        all_numbers: Of the 78 numbers.
    """

    encoder: str
    by_group: dict[str, float]
    all_numbers: float


def read_back(fold: Fold, encoders: Mapping[str, Encoder]) -> list[ReadBack]:
    """Read the 78 numbers from states of each encoder, and from the features of two bars without one.

    The states are those that the judge head takes: of the bar before the span and of its last bar, and the
    means over the 45 bars before it and over the span.

    Args:
        fold: Gives the windows and the span proposer.
        encoders: By name.
    """
    windows = fold.pretraining_windows()
    bar0 = windows[np.linspace(0, len(windows) - 1, min(N_WINDOWS, len(windows))).astype(int)]
    spans = propose(fold.market.measure_spans(bar0), fold.proposer)
    spans = spans.select(spans.in_core)
    numbers = fold.market.measure_inputs(bar0, spans)
    is_train = spans.window < (1 - HELD_OUT_SHARE) * len(bar0)
    center, scale = numbers[is_train].mean(axis=0), np.maximum(numbers[is_train].std(axis=0), 1e-3)
    targets = np.clip((numbers - center) / scale, -MAX_NUMBER, MAX_NUMBER)
    inputs = {"no encoder: features of two bars": _edges(fold.market, bar0, spans)}
    inputs |= {name: _states(fold.market, bar0, spans, encoder) for name, encoder in encoders.items()}
    return [_read(name, matrix, targets, is_train) for name, matrix in inputs.items()]


def _read(name: str, inputs: np.ndarray, targets: np.ndarray, is_train: np.ndarray) -> ReadBack:
    center, scale = inputs[is_train].mean(axis=0), np.maximum(inputs[is_train].std(axis=0), 1e-6)
    scaled = np.column_stack([(inputs - center) / scale, np.ones(len(inputs))])
    predicted = scaled[~is_train] @ fit_ridge(scaled[is_train], targets[is_train])
    truth = targets[~is_train]
    error, variance = ((truth - predicted) ** 2).mean(axis=0), truth.var(axis=0)

    def explained(first: int, stop: int) -> float:
        return float(1 - error[first:stop].sum() / variance[first:stop].sum())

    starts = np.cumsum([0, *GROUPS.values()]).tolist()
    by_group = {group: explained(*ends) for group, ends in zip(GROUPS, pairwise(starts), strict=True)}
    return ReadBack(name, by_group, explained(0, N_INPUTS))


def _edges(market: MarketArrays, bar0: np.ndarray, spans: Spans) -> np.ndarray:
    """Features of the bar before each span and of its last bar: (n, 2 F)."""
    views = market.feature_views(bar0[spans.window], spans.direction < 0)
    row = np.arange(len(views))
    before, last = spans.start + CONTEXT_BARS - 1, spans.end + CONTEXT_BARS
    return np.concatenate([views[row, before], views[row, last]], axis=1)


def _states(market: MarketArrays, bar0: np.ndarray, spans: Spans, encoder: Encoder) -> np.ndarray:
    """States of the bars around each span: (n, 8 H)."""
    parts = []
    for chunk in np.array_split(np.arange(len(spans.window)), max(len(spans.window) // 512, 1)):
        some = spans.select(chunk)
        features = market.feature_views(bar0[some.window], some.direction < 0)
        row = torch.arange(len(chunk))
        onset, last = (torch.from_numpy(ends + CONTEXT_BARS) for ends in (some.start, some.end))
        with torch.no_grad():
            states = encoder.cpu()(torch.from_numpy(features))
            inside = mean_states(states, row, onset, last + 1)
            parts.append(torch.cat([states_before(states, row, onset), inside, states[row, last]], dim=1))
    return torch.cat(parts).numpy()


def states_before(states: Tensor, row: Tensor, onset: Tensor) -> Tensor:
    """Encoder states before a span: of the bar before it, and the mean of 45 bars, as in `Classifier`.

    Args:
        states: (B, T, 2H).
        row: (n,) index in the batch.
        onset: (n,) first bar of the span, counted in the view, > 0.

    Returns:
        (n, 4H).
    """
    first = (onset - BARS_BEFORE_START).clamp_min(0)
    return torch.cat([states[row, onset - 1], mean_states(states, row, first, onset)], dim=1)


def mean_states(states: Tensor, row: Tensor, first: Tensor, stop: Tensor) -> Tensor:
    """Mean of the states of bars first..stop-1: (n, 2H); arguments as in `states_before`."""
    sums = torch.cat([torch.zeros_like(states[:, :1]), states.cumsum(dim=1)], dim=1)
    return (sums[row, stop] - sums[row, first]) / (stop - first)[:, None]


def read_back_lines(rows: list[ReadBack]) -> list[str]:
    """The table in Markdown."""
    heads = ["share of variance read from the states", *GROUPS, "all 78"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    return lines + [
        f"| {row.encoder} | "
        + " | ".join(f"{value:.2f}".replace("-", "−") for value in (*row.by_group.values(), row.all_numbers))
        + " |"
        for row in rows
    ]
