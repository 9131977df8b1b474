"""Training rows for fine-tuning: windows turned so that what they teach points up."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.models.span_proposer import Proposals
from moola_pipeline.training.proposer_fit import matches
from moola_pipeline.windows.spans import SpanMeasures
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST, WINDOW_BARS

UNKNOWN = -1
EMPTY = 2
"""Kind of the rows of an empty window, after the two types."""
N_KINDS = 3


class SpanTargets(NamedTuple):
    """Spans of oriented windows and what is known of them; flat, sorted by row.

    Attributes:
        row: Index of the training row.
        start, end: First and last bar.
        expansion: Of a proposal 1, 0, or -1 where nothing is known (it starts outside bars 30-74);
            -1 for the labeled spans themselves: what is judged in use are proposals.
        type: Class number, -1 where there is none.
        true_start, true_end: The labeled span, -1 where there is none.
    """

    row: np.ndarray
    start: np.ndarray
    end: np.ndarray
    expansion: np.ndarray
    type: np.ndarray
    true_start: np.ndarray
    true_end: np.ndarray


@dataclass(frozen=True)
class Examples:
    """Oriented training rows: one for each labeled expansion, two for each empty window.

    Attributes:
        bar0: (n_rows,) int64.
        down: (n_rows,) bool, True where the window is mirrored.
        kind: (n_rows,) class number of the row's expansion; 2 for an empty window.
        bar_target: (n_rows, 105) float32, 1 where a bar belongs to an expansion that points up.
        bar_known: (n_rows, 105) bool, where the target counts.
        spans: What is known of the spans of each row.
    """

    bar0: np.ndarray
    down: np.ndarray
    kind: np.ndarray
    bar_target: np.ndarray
    bar_known: np.ndarray
    spans: SpanTargets


def make_examples(windows: LabeledWindows, measures: SpanMeasures, proposals: Proposals) -> Examples:
    """Turn labeled windows and the rule's proposals in them into training rows."""
    labeled = windows.spans
    has_expansion = np.isin(np.arange(len(windows.bar0)), labeled.window)
    empty = np.flatnonzero(~has_expansion)
    window = np.concatenate([labeled.window, empty, empty])
    up = np.ones(len(empty), np.int8)
    direction = np.concatenate([orientation(labeled.direction), up, -up])
    kind = np.concatenate([labeled.type, np.full(2 * len(empty), EMPTY)])
    spans = _span_targets(windows, measures, proposals, window, direction)
    target, known = _bar_targets(windows, window, direction)
    return Examples(windows.bar0[window], direction < 0, kind, target, known, spans)


def orientation(direction: np.ndarray) -> np.ndarray:
    """+1 or -1 as int8; a span that ends where it began counts as pointing up."""
    return np.where(direction < 0, -1, 1).astype(np.int8)


def _bar_targets(
    windows: LabeledWindows, window: np.ndarray, direction: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    target = np.zeros((len(window), WINDOW_BARS), np.float32)
    known = np.zeros((len(window), WINDOW_BARS), bool)
    known[:, CORE_FIRST : CORE_LAST + 1] = True
    labeled = windows.spans
    pointing = orientation(labeled.direction)
    for row, (w, d) in enumerate(zip(window, direction, strict=True)):
        for i in np.flatnonzero((labeled.window == w) & (pointing == d)):
            target[row, labeled.start[i] : labeled.end[i] + 1] = 1
            known[row, labeled.start[i] : labeled.end[i] + 1] = True
    return target, known


def _span_targets(
    windows: LabeledWindows,
    measures: SpanMeasures,
    proposals: Proposals,
    window: np.ndarray,
    direction: np.ndarray,
) -> SpanTargets:
    """The proposals of each row's window that point its way, and its labeled spans themselves."""
    labeled = windows.spans
    found = matches(proposals, labeled)
    own = labeled_proposals(windows, measures)
    everything = Proposals(*(np.concatenate(pair) for pair in zip(proposals, own, strict=True)))
    match = np.concatenate([found, np.arange(len(labeled.window))])
    rows, chosen = [], []
    for row, (w, d) in enumerate(zip(window, direction, strict=True)):
        mine = np.flatnonzero((everything.window == w) & (everything.direction == d))
        rows.append(np.full(len(mine), row))
        chosen.append(mine)
    picked = np.concatenate(chosen)
    hit = match[picked]
    proposed = picked < len(found)
    start, end = everything.start[picked], everything.end[picked]
    in_core = (start >= CORE_FIRST) & (start <= CORE_LAST)

    def of_label(column: np.ndarray) -> np.ndarray:
        values = np.full(len(hit), UNKNOWN)
        values[hit >= 0] = column[hit[hit >= 0]]
        return values

    return SpanTargets(
        np.concatenate(rows),
        start,
        end,
        np.where(proposed & (hit >= 0), 1, np.where(proposed & in_core, 0, UNKNOWN)),
        of_label(labeled.type),
        of_label(labeled.start),
        of_label(labeled.end),
    )


def labeled_proposals(windows: LabeledWindows, measures: SpanMeasures) -> Proposals:
    """The labeled spans in the form of proposals, in their own order."""
    labeled = windows.spans
    length = np.minimum(labeled.end - labeled.start, measures.net_atr.shape[2] - 1)
    at = (labeled.window, labeled.start, length)
    return Proposals(
        labeled.window,
        labeled.start,
        labeled.end,
        orientation(labeled.direction),
        np.abs(measures.net_atr[at]),
        measures.efficiency[at],
    )
