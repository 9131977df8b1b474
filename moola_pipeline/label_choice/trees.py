"""Trees fitted on labels, and what they say about unlabeled windows: fast enough to fit again and again."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from moola_pipeline.labels.schema import TYPES
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.metrics.scores import EVENT_COLUMNS
from moola_pipeline.models.span_proposer import SpanProposer, propose
from moola_pipeline.training.proposer_fit import fit_proposer
from moola_pipeline.training.pseudo_labels import expansion_examples, type_examples
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.training.teachers import Teacher, before_start, fit_judge, fit_typer, teacher_features
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.spans import Spans

N_TREES = 75
"""Of each forest, fewer than of a teacher: they are fitted many times in one command."""
CHUNK_WINDOWS = 2_000
"""Windows measured at once: 34 MB."""
MIN_EACH_TYPE = 4
"""Fewest labeled expansions of each type that trees can learn from."""


@dataclass(frozen=True)
class LabelTrees:
    """The span proposer and the teacher trees of judge and type, fitted on the same labels."""

    proposer: SpanProposer
    judge: Teacher
    typer: Teacher


class SpanProbabilities(NamedTuple):
    """Probabilities of n spans, (n,) float32 each.

    Attributes:
        expansion: That an annotator would mark the span.
        retracement: That a retracement came before it, both types at equal weight.
    """

    expansion: np.ndarray
    retracement: np.ndarray


class ScoredProposals(NamedTuple):
    """Proposals that start in bars 30-74 of a set of windows, and their probabilities."""

    spans: Spans
    probabilities: SpanProbabilities


def can_learn(train: LabeledWindows) -> bool:
    """Whether complete windows hold enough expansions of each type for `fit_trees`."""
    return bool(min(type_counts(train)) >= MIN_EACH_TYPE)


def type_counts(train: LabeledWindows) -> list[int]:
    """Number of expansions of each of TYPES in complete windows."""
    return np.bincount(train.complete_windows.typed.spans.type, minlength=len(TYPES)).tolist()


def fit_trees(market: MarketArrays, train: LabeledWindows, seed: int = 0) -> LabelTrees:
    """Fit proposer and judge on complete windows, the typer on the expansions of all.

    Args:
        market: The bars and their features.
        train: Labeled windows of the training period.
        seed: Of the trees.

    Raises:
        ValueError: If a type has fewer than MIN_EACH_TYPE expansions.
    """
    if not can_learn(train):
        raise ValueError(
            f"labels must hold at least {MIN_EACH_TYPE} expansions of each type, got {type_counts(train)}"
        )
    beta, complete = FinetuneSettings().proposal_beta, train.complete_windows
    proposer = fit_proposer(market.measure_spans(complete.bar0), complete.spans, beta)
    return LabelTrees(
        proposer,
        fit_judge(expansion_examples(market, train, proposer), seed),
        fit_typer(type_examples(market, train), seed, N_TREES),
    )


def span_probabilities(
    market: MarketArrays, trees: LabelTrees, bar0: np.ndarray, spans: Spans
) -> SpanProbabilities:
    """Probabilities of given spans in windows at (n_windows,) rows of bar 0."""
    if not len(spans.window):
        return SpanProbabilities(np.empty(0, np.float32), np.empty(0, np.float32))
    features = teacher_features(market, bar0, spans.pointed())
    return SpanProbabilities(
        trees.judge.probability(features), trees.typer.probability(before_start(features))
    )


def core_proposals(market: MarketArrays, proposer: SpanProposer, bar0: np.ndarray) -> Spans:
    """Proposals that start in bars 30-74 of windows at (n_windows,) rows of bar 0."""
    nothing = np.empty(0, np.int64)
    found = Spans.untyped(nothing, nothing, nothing, nothing.astype(np.int8))
    for first in range(0, len(bar0), CHUNK_WINDOWS):
        spans = propose(market.measure_spans(bar0[first : first + CHUNK_WINDOWS]), proposer)
        spans = spans.select(spans.in_core)
        found = found.joined(Spans(spans.window + first, spans.start, spans.end, spans.direction, spans.type))
    return found


def score_proposals(market: MarketArrays, trees: LabelTrees, bar0: np.ndarray) -> ScoredProposals:
    """Propose spans in windows, and score each."""
    spans = core_proposals(market, trees.proposer, bar0)
    return ScoredProposals(spans, span_probabilities(market, trees, bar0, spans))


def best_threshold(expansion: np.ndarray) -> float:
    """The threshold on P(expansion) with the greatest expected F1, if the probabilities are right.

    The expected F1 of accepting the k most probable spans is taken as 2 * (sum of their
    probabilities) / (k + sum of all probabilities). No label is read.

    Args:
        expansion: (n,) probabilities; 0.5 if there are none.

    Source:
        Lipton, Elkan and Naryanaswamy (2014), Optimal thresholding of classifiers to maximize F1.
    """
    if not len(expansion):
        return 0.5
    p = np.sort(np.asarray(expansion, float))[::-1]
    expected = 2 * np.cumsum(p) / (np.arange(1, len(p) + 1) + p.sum())
    return float(p[expected.argmax()])


def predicted_events(windows: LabeledWindows, proposals: ScoredProposals, threshold: float) -> pd.DataFrame:
    """The proposals at or above a threshold on P(expansion), typed: EVENT_COLUMNS."""
    accepted = proposals.probabilities.expansion >= threshold
    spans = proposals.spans.select(accepted)
    types = (proposals.probabilities.retracement[accepted] > 0.5).astype(np.int64)
    columns = (windows.window_id[spans.window], spans.start, spans.end, types)
    return pd.DataFrame(dict(zip(EVENT_COLUMNS, columns, strict=True)))
