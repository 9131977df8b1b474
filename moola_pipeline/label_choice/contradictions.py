"""Labels that trees contradict which have not learned from them: confident learning."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from moola_pipeline.label_choice.trees import (
    LabelTrees,
    SpanProbabilities,
    core_proposals,
    fit_trees,
    span_probabilities,
)
from moola_pipeline.labels.folds import N_FOLDS, session_folds
from moola_pipeline.labels.schema import NONE, TYPES
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.training.proposer_fit import matches
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.spans import Spans

CLASSES = (*TYPES, NONE)
"""What can stand at a span; the index is the class number."""
NOTHING = CLASSES.index(NONE)


class OutOfFold(NamedTuple):
    """Spans of labeled windows, and what trees say that were fitted on other sessions; n spans.

    Attributes:
        spans: First the labeled expansions of known type, in label order, then the proposals in complete
            windows that overlap no labeled expansion.
        given: (n,) class number by the labels: index in CLASSES.
        probability: (n, 3) of each of CLASSES; rows sum to 1.
    """

    spans: Spans
    given: np.ndarray
    probability: np.ndarray

    @property
    def n_labels(self) -> int:
        """Number of labeled expansions of known type, which are the first rows."""
        return int((self.given != NOTHING).sum())

    @property
    def type_probability(self) -> np.ndarray:
        """Of each of TYPES for the labeled expansions, given that they are some: (n_labels, 2)."""
        both = self.probability[: self.n_labels, : len(TYPES)]
        return both / np.maximum(both.sum(axis=1, keepdims=True), 1e-12)


class Contradictions(NamedTuple):
    """A ranking of labels, the most doubtful first.

    Attributes:
        order: (n,) indices of the rows.
        margin: (n,) probability of the given class less the greatest of another, in [-1, 1], in row order.
        suggested: (n,) class number with the greatest probability among those that reach their mean; the
            given class where none does.
        joint: (K, K) estimated number of rows given as i (row) that are j (column).
    """

    order: np.ndarray
    margin: np.ndarray
    suggested: np.ndarray
    joint: np.ndarray

    @property
    def n_contradicted(self) -> float:
        """Estimated number of wrong rows."""
        return float(self.joint.sum() - np.trace(self.joint))


def contradicted_labels(given: np.ndarray, probability: np.ndarray) -> Contradictions:
    """Rank labels by how far out-of-fold probabilities contradict them.

    A row counts as class j if its probability of j is at least the mean over the rows given as j; among
    several such classes, the most probable one. Rows that count as another class than given come first, by
    margin; then the others, by margin.

    Args:
        given: (n,) class numbers.
        probability: (n, K), from models that did not learn from the row.

    Raises:
        ValueError: If the shapes do not fit.

    Source:
        Northcutt, Jiang and Chuang (2021), Journal of Artificial Intelligence Research 70: confident joint,
        ranking by normalized margin.
    """
    given, probability = np.asarray(given, np.int64), np.asarray(probability, float)
    if probability.ndim != 2 or len(given) != len(probability):
        raise ValueError(f"probability must be (n, K) for n={len(given)} labels, got {probability.shape}")
    n, n_classes = probability.shape
    rows = np.arange(n)
    means = np.array(
        [probability[given == j, j].mean() if (given == j).any() else np.inf for j in range(n_classes)]
    )
    confident = np.where(probability >= means, probability, -1.0)
    suggested = np.where(confident.max(axis=1, initial=-1) >= 0, confident.argmax(axis=1), given)
    others = probability.copy()
    others[rows, given] = -np.inf
    margin = probability[rows, given] - others.max(axis=1, initial=-np.inf)
    counts = np.zeros((n_classes, n_classes))
    certain = confident.max(axis=1, initial=-1) >= 0
    np.add.at(counts, (given[certain], suggested[certain]), 1)
    totals = counts.sum(axis=1, keepdims=True)
    sizes = np.bincount(given, minlength=n_classes)[:, None]
    joint = np.where(totals > 0, counts / np.maximum(totals, 1) * sizes, np.diag(sizes[:, 0]))
    order = np.lexsort((margin, suggested == given))
    return Contradictions(order, margin, suggested, joint)


def out_of_fold(
    market: MarketArrays, windows: LabeledWindows, n_folds: int = N_FOLDS, seed: int = 0
) -> OutOfFold:
    """Probabilities for every label of known type and every other proposal, by trees of the other folds.

    Args:
        market: The bars and their features.
        windows: Labeled windows of the training period.
        n_folds: Blocks of sessions.
        seed: Of the trees.

    Raises:
        ValueError: If there are too few sessions, or the labels of a fold's training part too few.
    """
    fold = session_folds(windows.session, n_folds)
    labeled = np.zeros((len(windows.spans.window), len(CLASSES)))
    others: list[Spans] = []
    probabilities: list[np.ndarray] = []
    for number in range(n_folds):
        trees = fit_trees(market, windows.select(fold != number), seed)
        held = np.flatnonzero(fold == number)
        part = windows.select(held)
        rows = np.isin(windows.spans.window, held)
        marked, unmarked = _fold_probabilities(market, trees, part)
        labeled[rows] = marked
        spans, p = unmarked
        others.append(replace(spans, window=held[spans.window]))
        probabilities.append(p)
    typed = windows.spans.is_typed
    spans = windows.spans.select(typed).pointed()
    given = [spans.type]
    for more in others:
        spans = spans.joined(more)
        given.append(np.full(len(more.window), NOTHING))
    return OutOfFold(spans, np.concatenate(given), np.concatenate([labeled[typed], *probabilities]))


def _fold_probabilities(
    market: MarketArrays, trees: LabelTrees, part: LabeledWindows
) -> tuple[np.ndarray, tuple[Spans, np.ndarray]]:
    """Probabilities of the labeled expansions, and the proposals that overlap none with theirs."""
    proposals = core_proposals(market, trees.proposer, part.bar0)
    labeled = part.spans.pointed()
    # Trees learn from proposals: a labeled span is read through the proposal that matches it.
    match = matches(proposals, labeled)
    start, end, direction = labeled.start.copy(), labeled.end.copy(), labeled.direction.copy()
    found = match >= 0
    start[match[found]], end[match[found]] = proposals.start[found], proposals.end[found]
    direction[match[found]] = proposals.direction[found]
    read = Spans(labeled.window, start, end, direction, labeled.type)
    rest = proposals.select(~overlaps(proposals, labeled) & ~found & part.complete[proposals.window])
    marked = span_probabilities(market, trees, part.bar0, read)
    return class_probabilities(marked), (
        rest,
        class_probabilities(span_probabilities(market, trees, part.bar0, rest)),
    )


def overlaps(spans: Spans, others: Spans) -> np.ndarray:
    """Whether each span shares a bar with one of the others in its window: (n_spans,) bool."""
    same = spans.window[:, None] == others.window[None, :]
    meets = (spans.start[:, None] <= others.end[None, :]) & (others.start[None, :] <= spans.end[:, None])
    return (same & meets).any(axis=1)


def class_probabilities(probabilities: SpanProbabilities) -> np.ndarray:
    """Probabilities of CLASSES: (n, 3) float64; rows sum to 1."""
    expansion, retracement = (np.asarray(p, float) for p in probabilities)
    return np.column_stack([expansion * (1 - retracement), expansion * retracement, 1 - expansion])
