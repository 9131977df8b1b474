"""Everything that a report compares, scored on the same resamples of sessions."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from moola_pipeline.evaluation import scoring
from moola_pipeline.evaluation.alarm_budgets import score_alarm_budgets
from moola_pipeline.evaluation.baseline_scores import (
    best_baselines,
    choose_baselines,
    score_baselines,
    score_span_method,
    spans_by_fold,
)
from moola_pipeline.evaluation.folds import EvaluationFold
from moola_pipeline.evaluation.live import alarm_candidates, score_whole_sessions
from moola_pipeline.evaluation.scoring import EvaluatedModel
from moola_pipeline.evaluation.span_methods import TEACHERS
from moola_pipeline.evaluation.test_set import LabeledTestSet
from moola_pipeline.labels.second_pass import TwiceLabeled
from moola_pipeline.labels.splits import UnsoundSplit
from moola_pipeline.metrics.scores import Scored
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.models.expansion_model import ExpansionModel
from moola_pipeline.report.checks import UNTRAINED
from moola_pipeline.training.ablations import SCRATCH, train_untrained
from moola_pipeline.training.examples import TrainingData
from moola_pipeline.training.expansion_models import train_expansion_models
from moola_pipeline.training.parallel import all_in_parallel, run_in_parallel
from moola_pipeline.training.settings import FinetuneSettings


@dataclass(frozen=True)
class ScoreInputs:
    """What is scored, and on which windows.

    Attributes:
        test_set: The scored windows.
        folds: Windows learned from; one fold if the model itself is scored.
        labels: The frame of `assign_splits`.
        embargo_bars: Bars between windows scored and learned from, when the best baseline is chosen.
        twice: Windows that were labeled twice.
        encoder: The pretrained encoder.
        models: The trained models by seed.
        scratch: The same network from scratch, by seed.
        untrained: The heads on an untrained encoder.
        served: Seed of the model that is registered.
        recipe: Settings of their training.
        live_sessions: Sessions replayed bar by bar; None: all.
    """

    test_set: LabeledTestSet
    folds: list[EvaluationFold]
    labels: pd.DataFrame
    embargo_bars: int
    twice: TwiceLabeled
    encoder: Encoder
    models: dict[int, ExpansionModel]
    scratch: dict[int, ExpansionModel]
    untrained: ExpansionModel
    served: int
    recipe: FinetuneSettings
    live_sessions: int | None

    def data(self, fold: int = 0) -> TrainingData:
        """What the models of a fold learn from."""
        return TrainingData(self.test_set.market, self.folds[fold].train, self.folds[fold].validation)

    def chosen_baselines(self) -> dict[str, str]:
        """The best baseline by primary metric on time folds; empty if the labels do not part into folds."""
        try:
            return choose_baselines(self.test_set.market, self.labels, self.embargo_bars)
        except UnsoundSplit:
            return {}


class AllScores(NamedTuple):
    """Scores of the model, the baselines and the ablations, on the same resamples of sessions.

    Attributes:
        model: The model on the test windows.
        sessions: Live, on whole sessions.
        budgets: By alarms a session, the threshold and the scores.
        chosen: The best baseline by primary metric, chosen on time folds before the test.
    """

    model: EvaluatedModel
    sessions: Scored
    budgets: dict[int, tuple[float, Scored]]
    trivial_baselines: dict[str, Scored]
    baselines: dict[str, Scored]
    ablations: dict[str, Scored]
    second_pass: Scored
    chosen: dict[str, str]

    @property
    def scores(self) -> Scored:
        """Scores of the model on the test windows."""
        return self.model.scores

    @property
    def below_network(self) -> dict[str, Scored]:
        """The comparisons of `beats_baselines`: the trivial baselines and the untrained encoder."""
        untrained = {name: scores for name, scores in self.ablations.items() if name == UNTRAINED}
        return self.trivial_baselines | untrained


OnEpoch = Callable[[str, int, dict[str, float]], None]
"""Called with the name of a block, the seed and each history entry, from any thread."""


def score_all(
    inputs: ScoreInputs, device: str, workers: int, rng: np.random.Generator, on_epoch: OnEpoch
) -> AllScores:
    """Score the trained models on the test split, or by cross-validation if there are several folds.

    Args:
        inputs: What is scored.
        device: Device of the networks.
        workers: Parallel trainings.
        rng: Source of shuffled answers.
        on_epoch: Told about the networks of a cross-validation.
    """
    score = _on_test if len(inputs.folds) == 1 else _cross_validated
    return score(inputs, device, workers, rng, on_epoch)


class _LiveScores(NamedTuple):
    """Scores of whole sessions, and by alarms a session the threshold and the scores."""

    sessions: Scored
    budgets: dict[int, tuple[float, Scored]]


def _on_test(
    inputs: ScoreInputs, device: str, workers: int, rng: np.random.Generator, on_epoch: OnEpoch
) -> AllScores:
    """Score the model; live mode and the choice of the best baseline have threads of their own."""
    test_set, folds, seeds = inputs.test_set, inputs.folds, inputs.recipe.seeds
    n_trees = inputs.recipe.teacher_trees
    served = copy.deepcopy(inputs.models[inputs.served])  # two threads must not move one network
    with (
        run_in_parallel([inputs.chosen_baselines], workers) as (choice,),
        run_in_parallel([partial(_score_live, inputs, served, device)], workers) as (live,),
    ):
        model = scoring.score_models(test_set, inputs.models, device, rng)
        by_rule = scoring.find_by_proposer(test_set, folds)
        trivial_baselines = scoring.score_trivial_baselines(test_set, folds, by_rule, model, rng)
        proposed = spans_by_fold(test_set, folds)
        baselines = score_baselines(test_set, folds, by_rule, proposed, seeds)
        ablations = {TEACHERS: score_span_method(test_set, folds, proposed, TEACHERS, seeds, n_trees)}
        networks = {UNTRAINED: {seeds[0]: inputs.untrained}, SCRATCH: inputs.scratch}
        for name, models in networks.items():
            if models:
                ablations[name] = scoring.score_models(test_set, models, device, rng).scores
        sessions, budgets = live.result()
        chosen = choice.result()
    second_pass = scoring.score_second_pass(test_set.resampled, inputs.twice)
    return AllScores(model, sessions, budgets, trivial_baselines, baselines, ablations, second_pass, chosen)


def _score_live(inputs: ScoreInputs, served: ExpansionModel, device: str) -> _LiveScores:
    """Replay the sessions of the test windows, and of validation for the thresholds of the alarm budgets."""
    test_set, limit = inputs.test_set, inputs.live_sessions
    alarms = alarm_candidates(served, test_set.market, test_set.resampled.windows, limit, device)
    validation = inputs.folds[0].validation
    budgets = score_alarm_budgets(test_set, alarms, validation, served, limit, device)
    return _LiveScores(score_whole_sessions(test_set, alarms, served), budgets)


def _cross_validated(
    inputs: ScoreInputs, device: str, workers: int, rng: np.random.Generator, on_epoch: OnEpoch
) -> AllScores:
    """Score models that learned from the other blocks of sessions, one for each block, by one seed."""
    test_set, folds, served = inputs.test_set, inputs.folds, inputs.served
    encoder, recipe = inputs.encoder, inputs.recipe.model_copy(update={"seeds": (served,)})

    def train(fold: int) -> ExpansionModel:
        report = partial(on_epoch, f"block {fold + 1} of {len(folds)}")
        return train_expansion_models(encoder, inputs.data(fold), recipe, device, report)[served].model

    def untrained(fold: int) -> ExpansionModel:
        return train_untrained(inputs.data(fold), encoder, recipe, device)

    jobs = [partial(work, fold) for work in (train, untrained) for fold in range(len(folds))]
    models = all_in_parallel(jobs, workers)
    model, ablation = (
        scoring.score_fold_models(test_set, folds, part, served, device, rng)
        for part in (models[: len(folds)], models[len(folds) :])
    )
    by_rule = scoring.find_by_proposer(test_set, folds)
    proposed = spans_by_fold(test_set, folds)
    baselines = score_baselines(test_set, folds, by_rule, proposed, (served,))
    teachers = score_span_method(test_set, folds, proposed, TEACHERS, (served,), recipe.teacher_trees)
    return AllScores(
        model,
        {},
        {},
        scoring.score_trivial_baselines(test_set, folds, by_rule, model, rng),
        baselines,
        {UNTRAINED: ablation.scores, TEACHERS: teachers},
        scoring.score_second_pass(test_set.resampled, inputs.twice),
        best_baselines(baselines),
    )
