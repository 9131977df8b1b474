"""The doubt study: labels chosen by doubt against labels chosen at random, on simulated markets."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from moola_pipeline.label_choice.doubt import PER_SESSION, SHARPNESS, draw_spread, window_doubt
from moola_pipeline.label_choice.trees import (
    LabelTrees,
    best_threshold,
    can_learn,
    fit_trees,
    predicted_events,
    score_proposals,
)
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.metrics.bootstrap import Interval, interval, session_weights
from moola_pipeline.metrics.definitions import event_f1_macro, event_f1_untyped
from moola_pipeline.metrics.matching import ANY_TYPE, event_counts, match_events
from moola_pipeline.metrics.scores import CLASSES, events_of
from moola_pipeline.studies.labeled_market import LabeledMarket, make_labeled_market
from moola_pipeline.studies.repeats import cached_repeat

RANDOM, DOUBT = "random", "doubt"
ARMS = (RANDOM, DOUBT)
SCORES = ("event_f1_macro", "event_f1_untyped")
N_RESAMPLES = 2000


class DoubtStudySettings(BaseModel):
    """How the doubt study is run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first_windows: int = Field(default=40, ge=1, description="labeled at random before the first choice")
    batch_windows: int = Field(default=40, ge=1, description="labeled between one choice and the next")
    batches: int = Field(default=4, ge=1)
    per_session: int = Field(default=PER_SESSION, ge=1, description="most windows of a session in a batch")
    sharpness: float = Field(default=SHARPNESS, ge=0, description="power of the doubt that weighs a draw")

    @property
    def windows(self) -> list[int]:
        """Windows labeled at each step."""
        return [self.first_windows + step * self.batch_windows for step in range(self.batches + 1)]


class ArmSteps(BaseModel):
    """One way of choosing in one repeat; one entry a step.

    Attributes:
        marks: Expansions marked so far.
        event_f1_macro, event_f1_untyped: On the test windows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    marks: list[int]
    event_f1_macro: list[float]
    event_f1_untyped: list[float]


class NeededLabels(NamedTuple):
    """Windows to open and marks to make until the mean curve reaches a score; by arm."""

    windows: dict[str, Interval]
    marks: dict[str, Interval]
    fewer_windows: Interval
    fewer_marks: Interval
    target: Interval


def run_doubt_study(
    seeds: Sequence[int],
    settings: DoubtStudySettings,
    folder: Path,
    code: str,
    on_repeat: Callable[[str], None] = lambda text: None,
) -> list[dict[str, ArmSteps]]:
    """Run the missing repeats, one simulated market each; finished ones are read from the folder.

    Args:
        seeds: Of the markets.
        settings: Number and size of the batches.
        folder: Cache of finished repeats.
        code: Digest of the code that decides a repeat.
        on_repeat: Called with a line of text before each repeat.
    """
    repeats = []
    for seed in seeds:
        facts = {"study": DOUBT, "seed": seed, "settings": settings.model_dump(), "code": code}

        def compute(seed: int = seed) -> dict[str, Any]:
            on_repeat(f"doubt, market {seed}")
            arms = doubt_repeat(make_labeled_market(seed), settings, seed)
            return {name: steps.model_dump() for name, steps in arms.items()}

        found = cached_repeat(folder, facts, compute)
        repeats.append({name: ArmSteps.model_validate(found[name]) for name in ARMS})
    return repeats


def doubt_repeat(ground: LabeledMarket, settings: DoubtStudySettings, seed: int) -> dict[str, ArmSteps]:
    """Label windows of one market in batches, by doubt and at random, and score the trees after each.

    Both arms begin with the same random windows. The proposals of the test windows alone set the
    threshold of acceptance; test labels are used for scores only.
    """
    rng = np.random.default_rng([seed, 11])
    pool = ground.pool
    first = _first_windows(pool, settings, rng)
    first_trees = fit_trees(ground.market, pool.select(np.sort(first)))
    return {
        arm: _labeled_in_batches(ground, settings, first, first_trees, arm, np.random.default_rng([seed, i]))
        for i, arm in enumerate(ARMS)
    }


def _first_windows(
    pool: LabeledWindows, settings: DoubtStudySettings, rng: np.random.Generator
) -> np.ndarray:
    """Random windows that hold both types."""
    even = np.ones(len(pool.bar0))
    for _ in range(100):
        first = draw_spread(even, pool.session, settings.first_windows, rng, settings.per_session, 0)
        if can_learn(pool.select(np.sort(first))):
            return first
    raise ValueError(f"{settings.first_windows} random windows must hold expansions of both types, got none")


def _labeled_in_batches(
    ground: LabeledMarket,
    settings: DoubtStudySettings,
    first: np.ndarray,
    trees: LabelTrees,
    arm: str,
    rng: np.random.Generator,
) -> ArmSteps:
    pool, chosen = ground.pool, first
    marks, scores = [_marks(pool, chosen)], [_scores(ground, trees)]
    for _ in range(settings.batches):
        rest = np.setdiff1d(np.arange(len(pool.bar0)), chosen)
        doubt = window_doubt(score_proposals(ground.market, trees, pool.bar0[rest]), len(rest))
        sharpness = settings.sharpness if arm == DOUBT else 0.0
        new = draw_spread(
            doubt, pool.session[rest], settings.batch_windows, rng, settings.per_session, sharpness
        )
        chosen = np.append(chosen, rest[new])
        trees = fit_trees(ground.market, pool.select(np.sort(chosen)))
        marks.append(_marks(pool, chosen))
        scores.append(_scores(ground, trees))
    return ArmSteps(marks=marks, **{name: [row[name] for row in scores] for name in SCORES})


def _marks(pool: LabeledWindows, chosen: np.ndarray) -> int:
    return int(np.isin(pool.spans.window, chosen).sum())


def _scores(ground: LabeledMarket, trees: LabelTrees) -> dict[str, float]:
    test = ground.test
    proposals = score_proposals(ground.market, trees, test.bar0)
    events = predicted_events(test, proposals, best_threshold(proposals.probabilities.expansion))
    truth, ids = events_of(test), pd.Series(test.window_id)
    typed = event_counts(match_events(truth, events), ids, CLASSES)
    untyped = event_counts(match_events(truth, events, typed=False), ids, (ANY_TYPE,))
    return {
        "event_f1_macro": float(event_f1_macro(typed)),
        "event_f1_untyped": float(event_f1_untyped(untyped)),
    }


def needed_labels(
    repeats: Sequence[Mapping[str, ArmSteps]], windows: Sequence[int], score: str = SCORES[0]
) -> NeededLabels:
    """Windows and marks that each arm needs for the score that both reach, with intervals over repeats.

    The score is the lower of both mean curves' best values. A mean curve is made rising (its running
    best) and read between steps in a straight line. Repeats are drawn with replacement for the intervals.

    Args:
        repeats: Of `run_doubt_study`, at least one.
        windows: Windows labeled at each step.
        score: One of SCORES.
    """
    weights = np.vstack([np.ones(len(repeats)), resampled_repeats(len(repeats))])
    weights /= weights.sum(axis=1, keepdims=True)
    curves = {
        arm: (
            weights @ np.array([repeat[arm].marks for repeat in repeats], float),
            np.maximum.accumulate(weights @ np.array([getattr(it[arm], score) for it in repeats]), axis=1),
        )
        for arm in ARMS
    }
    target = np.min([curve[:, -1] for _, curve in curves.values()], axis=0)
    at_windows = {
        arm: np.array([reached(windows, row, goal) for row, goal in zip(curve, target, strict=True)])
        for arm, (_, curve) in curves.items()
    }
    at_marks = {
        arm: np.array([reached(*rows) for rows in zip(marks, curve, target, strict=True)])
        for arm, (marks, curve) in curves.items()
    }

    def over_repeats(values: np.ndarray) -> Interval:
        return interval(values[1:], float(values[0]), len(repeats))

    return NeededLabels(
        {arm: over_repeats(values) for arm, values in at_windows.items()},
        {arm: over_repeats(values) for arm, values in at_marks.items()},
        over_repeats(at_windows[RANDOM] - at_windows[DOUBT]),
        over_repeats(at_marks[RANDOM] - at_marks[DOUBT]),
        over_repeats(target),
    )


def reached(labels: Sequence[int] | np.ndarray, rising: np.ndarray, target: float) -> float:
    """Where a rising curve first reaches a target, in a straight line between steps; inf if nowhere."""
    step = int(np.searchsorted(rising, target - 1e-12))
    if step == len(rising):
        return float("inf")
    if step == 0 or rising[step] == rising[step - 1]:
        return float(labels[step])
    share = (target - rising[step - 1]) / (rising[step] - rising[step - 1])
    return float(labels[step - 1] + share * (labels[step] - labels[step - 1]))


def resampled_repeats(n_repeats: int) -> np.ndarray:
    """Counts of repeats drawn with replacement: (N_RESAMPLES, n_repeats) float64."""
    rng = np.random.default_rng(0)
    return session_weights(pd.Series(range(n_repeats)), N_RESAMPLES, rng).astype(float)


def mean_over_repeats(values: Sequence[float]) -> Interval:
    """The mean of one number per repeat, with its interval over repeats."""
    weights = resampled_repeats(len(values))
    return interval(weights @ np.array(values) / len(values), float(np.mean(values)), len(values))
