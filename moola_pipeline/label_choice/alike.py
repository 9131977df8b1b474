"""Windows that look like a given one, by the numbers measured on a span and the bars before it."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from moola_pipeline.label_choice.trees import CHUNK_WINDOWS, core_proposals
from moola_pipeline.models.span_proposer import SpanProposer
from moola_pipeline.windows.dense import scan_windows
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import WINDOW_BARS

N_ALIKE = 20
MAX_DEVIATIONS = 5.0
"""Standardized numbers are cut here, so that no single number decides."""


class Nearest(NamedTuple):
    """The nearest windows, nearest first; n of them.

    Attributes:
        candidate: (n,) index of each candidate.
        distance: (n,) root of the mean squared difference, in standard deviations.
    """

    candidate: np.ndarray
    distance: np.ndarray


class MeasuredSpans(NamedTuple):
    """Spans of windows, and the numbers measured on them.

    Attributes:
        bar0: (n_windows,) rows of bar 0.
        spans: n spans in these windows.
        numbers: (n, 78) float32, columns as INPUT_NAMES.
    """

    bar0: np.ndarray
    spans: Spans
    numbers: np.ndarray


def measure_all(market: MarketArrays, proposer: SpanProposer) -> MeasuredSpans:
    """Every span that a rule proposes in all bars, each onset once, and its measured numbers."""
    bar0, owned_from = scan_windows(market.segment)
    parts = []
    for first in range(0, len(bar0), CHUNK_WINDOWS):
        chunk = slice(first, first + CHUNK_WINDOWS)
        spans = core_proposals(market, proposer, bar0[chunk])
        spans = spans.select(spans.start >= owned_from[chunk][spans.window])
        numbers = market.measure_inputs(bar0[chunk], spans)
        parts.append((replace(spans, window=spans.window + first), numbers))
    if not parts:
        spans = core_proposals(market, proposer, bar0)
        return MeasuredSpans(bar0, spans, market.measure_inputs(bar0, spans))
    spans = Spans(
        *(np.concatenate(arrays) for arrays in zip(*(part.arrays for part, _ in parts), strict=True))
    )
    return MeasuredSpans(bar0, spans, np.concatenate([numbers for _, numbers in parts]))


def nearest_windows(
    numbers: np.ndarray, bar0: np.ndarray, wanted: np.ndarray, wanted_bar0: int, n: int = N_ALIKE
) -> Nearest:
    """The candidates nearest to a span, in windows that overlap neither each other nor its window.

    Args:
        numbers: (n_candidates, d) measured numbers; each column is standardized over the candidates.
        bar0: (n_candidates,) row of bar 0 of each candidate's window.
        wanted: (d,) the same numbers of the span.
        wanted_bar0: Row of bar 0 of its window.
        n: Windows to return; fewer come if there are fewer.

    Raises:
        ValueError: If the numbers have other columns than `wanted`, or none.
    """
    numbers, wanted = np.asarray(numbers, float), np.asarray(wanted, float)
    if numbers.ndim != 2 or numbers.shape[1:] != wanted.shape or not len(wanted):
        raise ValueError(f"numbers must be (n, {len(wanted)}), got {numbers.shape}")
    if not len(numbers):
        return Nearest(np.empty(0, np.int64), np.empty(0))
    mean, spread = numbers.mean(axis=0), numbers.std(axis=0)
    spread[spread == 0] = 1.0
    standard, target = (
        np.clip((values - mean) / spread, -MAX_DEVIATIONS, MAX_DEVIATIONS) for values in (numbers, wanted)
    )
    distance = np.sqrt(np.square(standard - target).mean(axis=1))
    taken, chosen = [wanted_bar0], []
    for i in np.argsort(distance, kind="stable").tolist():
        if len(chosen) == n:
            break
        if np.abs(np.array(taken) - bar0[i]).min() >= WINDOW_BARS:
            taken.append(int(bar0[i]))
            chosen.append(i)
    return Nearest(np.array(chosen, np.int64), distance[chosen])
