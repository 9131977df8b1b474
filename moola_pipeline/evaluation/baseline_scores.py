"""Scores of the baselines and of the teachers alone, and the choice of the best baseline on time folds."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from moola_pipeline.evaluation.baselines import (
    SEEDED,
    TYPE_BASELINES,
    BaselineInputs,
    TypeBaseline,
    fit_type_baseline,
)
from moola_pipeline.evaluation.folds import EvaluationFold, by_fold, cross_validation
from moola_pipeline.evaluation.live import rule_alarms, score_rule_alarms
from moola_pipeline.evaluation.scoring import find_by_proposer, score_fold_models, typed_events
from moola_pipeline.evaluation.span_methods import (
    EXTRA_TREES,
    SPAN_BASELINES,
    ProposedSpans,
    fit_span_method,
    propose_spans,
)
from moola_pipeline.evaluation.test_set import LabeledTestSet, baseline_inputs, baseline_inputs_before
from moola_pipeline.metrics.scores import (
    Scored,
    mean_scores,
    resample_windows,
    score_ends,
    score_events,
    score_ranking,
    score_types,
)
from moola_pipeline.report.metric_catalog import PRIMARIES, best
from moola_pipeline.training.examples import TrainingData
from moola_pipeline.training.settings import TEACHER_TREES
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.spans import Spans

PROPOSER_TYPERS = ("extra_trees_21_summaries", "logistic_21_summaries")
"""Baselines that also type the spans of the rule."""
RULE = "rule_"
CHOOSING_FOLDS = 3
"""Blocks of sessions in which the best baseline is chosen."""
CHOOSING_SEED = 0
"""Seed of the trees when the best baseline is chosen."""


def score_baselines(
    test_set: LabeledTestSet,
    folds: Sequence[EvaluationFold],
    found: Spans,
    proposed: Sequence[ProposedSpans],
    seeds: Sequence[int],
    on_baseline: Callable[[str], None] = lambda name: None,
) -> dict[str, Scored]:
    """Scores of baselines fitted on the labels, for types and, with proposed spans, for events.

    Those with trees are means over the seeds, as the model is. Live mode is scored if there is one fold.

    Args:
        test_set: The scored windows.
        folds: Windows learned from.
        found: Spans of the rule alone.
        proposed: Spans to judge, of each fold.
        seeds: Of the trees.
        on_baseline: Called with each name.
    """
    inputs = _SharedInputs(test_set, folds, found)
    runs: dict[str, list[Scored]] = {}
    for seed in seeds:
        for name in TYPE_BASELINES:
            if seed != seeds[0] and not name.startswith(SEEDED):
                continue
            on_baseline(name)
            for method, scored in inputs.score(name, seed).items():
                runs.setdefault(method, []).append(scored)
    for name in SPAN_BASELINES:
        on_baseline(name)
        its_seeds = seeds if name == EXTRA_TREES else seeds[:1]
        runs[name] = [score_span_method(test_set, folds, proposed, name, its_seeds)]
    return {name: mean_scores(scored) for name, scored in runs.items()}


def spans_by_fold(test_set: LabeledTestSet, folds: Sequence[EvaluationFold]) -> list[ProposedSpans]:
    """The spans that all methods of a fold judge."""
    parts = (TrainingData(test_set.market, fold.train, fold.validation) for fold in folds)
    return [propose_spans(part) for part in parts]


def score_span_method(
    test_set: LabeledTestSet,
    folds: Sequence[EvaluationFold],
    proposed: Sequence[ProposedSpans],
    name: str,
    seeds: Sequence[int],
    teacher_trees: int = TEACHER_TREES,
) -> Scored:
    """Mean scores over seeds of a method in place of the network; see `fit_span_method`."""
    runs = []
    for seed in seeds:
        fitted = [fit_span_method(name, spans, seed, teacher_trees) for spans in proposed]
        rng = np.random.default_rng(seed)
        runs.append(score_fold_models(test_set, folds, fitted, seed, "cpu", rng).scores)
    return mean_scores(runs)


def choose_baselines(market: MarketArrays, labels: pd.DataFrame, embargo_bars: int) -> dict[str, str]:
    """The best baseline by each primary metric, in cross-validation over training and validation.

    The test split is not read: the largest of many test scores would be too good.

    Args:
        market: The bars and their features.
        labels: The frame of `assign_splits`.
        embargo_bars: Bars between scored windows and those that are learned from.

    Raises:
        UnsoundSplit: If the labels do not part into blocks with both types each.
    """
    windows, folds = cross_validation(labels, embargo_bars, CHOOSING_FOLDS)
    once = resample_windows(windows, 1, np.random.default_rng(0))
    test_set = LabeledTestSet(market, once)
    by_rule, proposed = find_by_proposer(test_set, folds), spans_by_fold(test_set, folds)
    return best_baselines(score_baselines(test_set, folds, by_rule, proposed, (CHOOSING_SEED,)))


def best_baselines(baselines: Mapping[str, Scored]) -> dict[str, str]:
    """The best baseline by each primary metric in these scores."""
    winners = {metric: best(baselines, metric) for metric in PRIMARIES}
    return {metric: winner[0] for metric, winner in winners.items() if winner}


class _SharedInputs:
    """Inputs of the baselines for labeled and for proposed spans, computed once."""

    def __init__(self, test_set: LabeledTestSet, folds: Sequence[EvaluationFold], found: Spans) -> None:
        windows = test_set.resampled.windows
        self.test_set, self.folds, self.found = test_set, folds, found
        self.train = [baseline_inputs(test_set, fold.train.typed) for fold in folds]
        self.labeled = baseline_inputs(test_set, windows)
        rows = windows.bar0[found.window] + found.start
        self.proposed = baseline_inputs_before(test_set, rows, found.direction)
        self.net = np.abs(test_set.market.measure_spans(windows.bar0).net_of(found))
        self.alarms = rule_alarms(test_set, folds[0].train) if len(folds) == 1 else None

    def score(self, name: str, seed: int) -> dict[str, Scored]:
        """Scores of a baseline, and of the rule with its types if it types the rule's spans."""
        resampled = self.test_set.resampled
        typers = [
            fit_type_baseline(name, inputs, fold.train.typed.spans.type, seed)
            for fold, inputs in zip(self.folds, self.train, strict=True)
        ]
        window = resampled.windows.spans.window
        scored = {name: score_types(resampled, self._probabilities(typers, self.labeled, window))}
        if name in PROPOSER_TYPERS:
            scored[RULE + name] = self._score_rule(typers)
        return scored

    def _score_rule(self, typers: Sequence[TypeBaseline]) -> Scored:
        resampled = self.test_set.resampled
        types = self._probabilities(typers, self.proposed, self.found.window) > 0.5
        events = typed_events(resampled, self.found, types.astype(np.int64))
        scored = {
            **score_events(resampled, events),
            **score_ends(resampled, events),
            **score_ranking(resampled, events.assign(score=self.net)),
        }
        if self.alarms is not None:
            scored |= score_rule_alarms(self.test_set, self.alarms, typers[0])
        return scored

    def _probabilities(
        self, typers: Sequence[TypeBaseline], inputs: BaselineInputs, window: np.ndarray
    ) -> np.ndarray:
        return by_fold(self.folds, window, lambda fold, mine: typers[fold].predict_proba(inputs.select(mine)))
