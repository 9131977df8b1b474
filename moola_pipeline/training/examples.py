"""Training rows for fine-tuning: windows turned so that what they teach points up."""

from dataclasses import dataclass, replace

import numpy as np

from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.training.proposer_fit import matches
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.spans import UNKNOWN, Spans
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST, WINDOW_BARS

EMPTY = 2
"""Kind of the rows of an empty window, after the two types."""
N_KINDS = 3


@dataclass(frozen=True)
class TrainingData:
    """Bars, and the labeled windows in them that training and validation may use.

    Attributes:
        market: The bars and their features.
        train, validation: Labeled windows.
    """

    market: MarketArrays
    train: LabeledWindows
    validation: LabeledWindows


@dataclass(frozen=True)
class Examples:
    """Oriented training rows: one for each labeled expansion, two for each empty window.

    Attributes:
        bar0: (n_rows,) int64.
        down: (n_rows,) bool, True where the window is mirrored.
        kind: (n_rows,) class number of the row's expansion; 2 for an empty window.
        bar_target: (n_rows, 105) float32, 1 where a bar belongs to an expansion that points up.
        bar_known: (n_rows, 105) bool, where the target counts.
        spans: Spans of these rows, sorted by row; `type` is that of the label that a span finds.
        expansion: (n_spans,) of a proposal 1, 0, or -1 where nothing is known (it starts outside
            bars 30-74); -1 for the labeled spans themselves: what is judged in use are proposals.
        true_start, true_end: (n_spans,) the labeled span, -1 where there is none.
    """

    bar0: np.ndarray
    down: np.ndarray
    kind: np.ndarray
    bar_target: np.ndarray
    bar_known: np.ndarray
    spans: Spans
    expansion: np.ndarray
    true_start: np.ndarray
    true_end: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All arrays."""
        rows = self.bar0, self.down, self.kind, self.bar_target, self.bar_known
        return *rows, *self.spans.arrays, self.expansion, self.true_start, self.true_end


def make_examples(windows: LabeledWindows, proposals: Spans) -> Examples:
    """Turn labeled windows and the rule's proposals in them into training rows."""
    labeled = windows.spans
    has_expansion = np.isin(np.arange(len(windows.bar0)), labeled.window)
    empty = np.flatnonzero(~has_expansion)
    window = np.concatenate([labeled.window, empty, empty])
    up = np.ones(len(empty), np.int8)
    direction = np.concatenate([labeled.pointed().direction, up, -up])
    kind = np.concatenate([labeled.type, np.full(2 * len(empty), EMPTY)])
    bars = _bar_targets(windows, window, direction)
    targets = _span_targets(windows, proposals, window, direction)
    return Examples(windows.bar0[window], direction < 0, kind, *bars, *targets)


def _bar_targets(
    windows: LabeledWindows, window: np.ndarray, direction: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    target = np.zeros((len(window), WINDOW_BARS), np.float32)
    known = np.zeros((len(window), WINDOW_BARS), bool)
    known[:, CORE_FIRST : CORE_LAST + 1] = True
    labeled = windows.spans.pointed()
    for row, (w, d) in enumerate(zip(window, direction, strict=True)):
        for i in np.flatnonzero((labeled.window == w) & (labeled.direction == d)):
            target[row, labeled.start[i] : labeled.end[i] + 1] = 1
            known[row, labeled.start[i] : labeled.end[i] + 1] = True
    return target, known


def _span_targets(
    windows: LabeledWindows, proposals: Spans, window: np.ndarray, direction: np.ndarray
) -> tuple[Spans, np.ndarray, np.ndarray, np.ndarray]:
    """The proposals of each row's window that point its way, its labeled spans, and what is known of both."""
    labeled = windows.spans
    found = matches(proposals, labeled)
    everything = proposals.joined(labeled.pointed())
    match = np.concatenate([found, np.arange(len(labeled.window))])
    rows, chosen = [], []
    for row, (w, d) in enumerate(zip(window, direction, strict=True)):
        mine = np.flatnonzero((everything.window == w) & (everything.direction == d))
        rows.append(np.full(len(mine), row))
        chosen.append(mine)
    picked = np.concatenate(chosen)
    hit = match[picked]
    proposed = picked < len(found)
    spans = everything.select(picked)

    def of_label(column: np.ndarray) -> np.ndarray:
        values = np.full(len(hit), UNKNOWN)
        values[hit >= 0] = column[hit[hit >= 0]]
        return values

    spans = replace(spans, window=np.concatenate(rows), type=of_label(labeled.type))
    expansion = np.where(proposed & (hit >= 0), 1, np.where(proposed & spans.in_core, 0, UNKNOWN))
    return spans, expansion, of_label(labeled.start), of_label(labeled.end)
