"""In place of the network: trees or logistic regression that judge and type the proposed spans.

Two baselines read the very numbers that the heads read, 53 before the start for the type and 78 for the
judge. The teachers alone, whose pseudo-labels the network learns, are an ablation: what the network adds to
them, or loses. All get proposals, calibration and thresholds as the network does.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import torch
from sklearn.ensemble import ExtraTreesClassifier

from moola_pipeline.evaluation.baselines import DEFAULT_STRENGTH, N_TREES, scaled_logistic, tuned_logistic
from moola_pipeline.models.expansion_model import Thresholds
from moola_pipeline.models.span_inference import SpanLogits
from moola_pipeline.models.span_proposer import SpanProposer, propose
from moola_pipeline.training.examples import TrainingData
from moola_pipeline.training.proposer_fit import fit_proposer
from moola_pipeline.training.pseudo_labels import Measure, expansion_examples, type_examples
from moola_pipeline.training.settings import TEACHER_TREES, FinetuneSettings
from moola_pipeline.training.teachers import (
    LabeledInputs,
    Teacher,
    before_start,
    fit_judge,
    fit_typer,
    teacher_features,
)
from moola_pipeline.training.thresholds import fit_thresholds
from moola_pipeline.training.trees import fit_trees, probability
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import encode_span

EXTRA_TREES, LOGISTIC, TEACHERS = "extra_trees_numbers", "logistic_numbers", "teachers"
SPAN_BASELINES = (EXTRA_TREES, LOGISTIC)
FEWEST_VOTES = 0.5 / N_TREES
"""Trees that all agree do not prove certainty: probabilities stay this far from 0 and 1."""


class Predictor(Protocol):
    """A fitted classifier of two classes."""

    def __call__(self, inputs: np.ndarray, /) -> np.ndarray:
        """P(1) of (n, d) numbers: (n,)."""
        ...


Fit = Callable[[LabeledInputs, int], Predictor]
"""Fits a classifier with a seed."""


class SpanClassifiers(NamedTuple):
    """The judge of proposed spans, and the typer of the bars before them."""

    judge: Predictor
    typer: Predictor


@dataclass(frozen=True)
class SpanMethod:
    """A fitted method; a `SpanModel` without a network.

    Attributes:
        measure: The numbers that it reads.
    """

    classifiers: SpanClassifiers
    measure: Measure
    proposer: SpanProposer
    thresholds: Thresholds

    def read(
        self, market: MarketArrays, bar0: np.ndarray, spans: Spans, device: torch.device | str = "cpu"
    ) -> SpanLogits:
        """Logits of spans in the windows at rows `bar0` (n_windows,)."""
        return _read(self.classifiers, self.measure, market, bar0, spans)

    def on(self, device: torch.device | str) -> AbstractContextManager[None]:
        """Nothing moves: it runs on the CPU."""
        return nullcontext()


class ProposedSpans(NamedTuple):
    """What every method judges: the data, its proposer, and the spans proposed in validation windows."""

    data: TrainingData
    proposer: SpanProposer
    validation: Spans


def propose_spans(data: TrainingData) -> ProposedSpans:
    """Fit the proposer on complete training windows, as the network's training does."""
    market, complete = data.market, data.train.complete_windows
    beta = FinetuneSettings().proposal_beta
    proposer = fit_proposer(market.measure_spans(complete.bar0), complete.spans, beta)
    return ProposedSpans(data, proposer, propose(market.measure_spans(data.validation.bar0), proposer))


def fit_span_method(
    name: str, proposed: ProposedSpans, seed: int, teacher_trees: int = TEACHER_TREES
) -> SpanMethod:
    """Fit a method on training windows, and its thresholds on validation windows.

    Args:
        name: One of SPAN_BASELINES, or TEACHERS.
        proposed: The labeled windows and the proposer.
        seed: Of the trees.
        teacher_trees: Trees of each forest that teaches the type.

    Raises:
        ValueError: If the training windows hold one type only, or all or none of the proposals match.
    """
    (data, proposer, proposals) = proposed
    market, train, validation = data.market, data.train, data.validation
    measure: Measure = teacher_features if name == TEACHERS else _numbers
    as_teachers = _of(fit_judge), _of(partial(fit_typer, n_trees=teacher_trees))
    fit_judges, fit_typers = as_teachers if name == TEACHERS else _FITS[name]
    judge = fit_judges(expansion_examples(market, train, proposer, measure), seed)
    typer = fit_typers(type_examples(market, train, measure), seed)
    classifiers = SpanClassifiers(judge, typer)
    judged, labeled = (
        _read(classifiers, measure, market, validation.bar0, spans)
        for spans in (proposals, validation.spans.pointed())
    )
    return SpanMethod(classifiers, measure, proposer, fit_thresholds(validation, proposals, judged, labeled))


def _numbers(market: MarketArrays, bar0: np.ndarray, spans: Spans) -> np.ndarray:
    return market.measure_inputs(bar0, spans)


def _read(
    classifiers: SpanClassifiers, measure: Measure, market: MarketArrays, bar0: np.ndarray, spans: Spans
) -> SpanLogits:
    """Logits of both classifiers; no span is moved, and none is judged live."""
    if not len(spans.window):
        nothing = np.empty(0)
        return SpanLogits(nothing, nothing, np.empty((0, 2)), nothing)
    inputs = measure(market, bar0, spans)
    expansion, retracement = classifiers.judge(inputs), classifiers.typer(before_start(inputs))
    pointer = np.column_stack(encode_span(spans.start, spans.end))
    return SpanLogits(_logit(expansion), _logit(retracement), pointer, np.zeros(len(inputs)))


def _logit(probability: np.ndarray) -> np.ndarray:
    inside = np.clip(np.asarray(probability, float), FEWEST_VOTES, 1 - FEWEST_VOTES)
    return np.log(inside / (1 - inside))


def _trees(known: LabeledInputs, seed: int) -> Predictor:
    forest = ExtraTreesClassifier(n_estimators=N_TREES, n_jobs=1, random_state=seed)
    return partial(probability, fit_trees(forest, known.inputs, known.target))


def _regression(known: LabeledInputs, seed: int) -> Predictor:
    return partial(probability, tuned_logistic(known.inputs, known.target))


def _regression_of_many(known: LabeledInputs, seed: int) -> Predictor:
    """Not tuned: with thousands of proposals the penalty matters little, and tuning takes long."""
    regression = scaled_logistic(DEFAULT_STRENGTH, "newton-cholesky")
    return partial(probability, regression.fit(known.inputs, known.target))


def _of(fit: Callable[[LabeledInputs, int], Teacher]) -> Fit:
    return lambda known, seed: fit(known, seed).probability


_FITS: dict[str, tuple[Fit, Fit]] = {
    EXTRA_TREES: (_trees, _trees),
    LOGISTIC: (_regression_of_many, _regression),
}
"""How the judge and the typer of each baseline are fitted."""
