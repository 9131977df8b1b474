"""Training rows for fine-tuning: windows, mirrored if their expansion points down."""

from dataclasses import dataclass, replace

import numpy as np

from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.training.proposer_fit import matches
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST, UNTYPED, WINDOW_BARS

EMPTY = 2
"""Kind of the rows of an empty window, after the two types."""
N_KINDS = 3
NO_TARGET = -1
"""In place of a target that is unknown, and of a bar that is none."""


@dataclass(frozen=True)
class TrainingData:
    """Bars, and the labeled windows for training and validation.

    Attributes:
        market: The bars and their features.
        train, validation: Labeled windows; those for validation are complete.

    Raises:
        ValueError: If a validation window is incomplete.
    """

    market: MarketArrays
    train: LabeledWindows
    validation: LabeledWindows

    def __post_init__(self) -> None:
        if n_incomplete := int((~self.validation.complete).sum()):
            raise ValueError(f"validation windows must be complete, got {n_incomplete} that are not")


@dataclass(frozen=True)
class Examples:
    """Oriented training rows: one for each labeled expansion, two for each complete window without one.

    Attributes:
        bar0: (n_rows,) int64.
        down: (n_rows,) bool, True where the window is mirrored.
        kind: (n_rows,) class number of the row's expansion, UNTYPED if unknown; 2 for an empty window.
        bar_target: (n_rows, 105) float32, 1 if a bar belongs to an expansion that points up.
        bar_known: (n_rows, 105) bool, True if the target counts: bars 30-74, of incomplete windows none,
            and the bars of expansions.
        spans: Spans of these rows, sorted by row; `type` is that of the matched label, UNTYPED if none
            matches or its type is unknown.
        expansion: (n_spans,) 1 or 0 for a proposal; -1 if unknown (it matches no label and starts outside
            bars 30-74, or in an incomplete window), and for labeled spans, since the model only scores
            proposals.
        true_start, true_end: (n_spans,) the matched labeled span, -1 if none.
        complete: (n_rows,) bool, whether the row's window is complete.
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
    complete: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All arrays."""
        rows = self.bar0, self.down, self.kind, self.bar_target, self.bar_known
        return *rows, *self.spans.arrays, self.expansion, self.true_start, self.true_end, self.complete


def make_examples(windows: LabeledWindows, proposals: Spans) -> Examples:
    """Make training rows of labeled windows and the rule's proposals in them."""
    labeled = windows.spans
    has_expansion = np.isin(np.arange(len(windows.bar0)), labeled.window)
    empty = np.flatnonzero(~has_expansion & windows.complete)
    window = np.concatenate([labeled.window, empty, empty])
    up = np.ones(len(empty), np.int8)
    direction = np.concatenate([labeled.pointed().direction, up, -up])
    kind = np.concatenate([labeled.type, np.full(2 * len(empty), EMPTY)])
    bars = _bar_targets(windows, window, direction)
    targets = _span_targets(windows, proposals, window, direction)
    return Examples(windows.bar0[window], direction < 0, kind, *bars, *targets, windows.complete[window])


def _bar_targets(
    windows: LabeledWindows, window: np.ndarray, direction: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    target = np.zeros((len(window), WINDOW_BARS), np.float32)
    known = np.zeros((len(window), WINDOW_BARS), bool)
    known[windows.complete[window], CORE_FIRST : CORE_LAST + 1] = True
    labeled = windows.spans.pointed()
    for row, (w, d) in enumerate(zip(window, direction, strict=True)):
        for i in np.flatnonzero((labeled.window == w) & (labeled.direction == d)):
            target[row, labeled.start[i] : labeled.end[i] + 1] = 1
            known[row, labeled.start[i] : labeled.end[i] + 1] = True
    return target, known


def _span_targets(
    windows: LabeledWindows, proposals: Spans, window: np.ndarray, direction: np.ndarray
) -> tuple[Spans, np.ndarray, np.ndarray, np.ndarray]:
    """Proposals and labeled spans in each row's direction, with their targets."""
    labeled = windows.spans
    match = matches(proposals, labeled)
    n_proposals = len(match)
    all_spans = proposals.joined(labeled.pointed())
    match = np.concatenate([match, np.arange(len(labeled.window))])
    rows, indices = [], []
    for row, (w, d) in enumerate(zip(window, direction, strict=True)):
        in_row = np.flatnonzero((all_spans.window == w) & (all_spans.direction == d))
        rows.append(np.full(len(in_row), row))
        indices.append(in_row)
    index = np.concatenate(indices)
    label = match[index]
    is_proposal = index < n_proposals
    spans = all_spans.select(index)

    def of_label(column: np.ndarray, otherwise: int = NO_TARGET) -> np.ndarray:
        values = np.full(len(label), otherwise)
        values[label >= 0] = column[label[label >= 0]]
        return values

    spans = replace(spans, window=np.concatenate(rows), type=of_label(labeled.type, UNTYPED))
    wrong = is_proposal & spans.in_core & windows.complete[window][spans.window]
    expansion = np.where(is_proposal & (label >= 0), 1, np.where(wrong, 0, NO_TARGET))
    return spans, expansion, of_label(labeled.start), of_label(labeled.end)
