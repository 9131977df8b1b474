"""The learning curve: scores at nested numbers of labels, and a forecast that must first prove itself."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from moola_pipeline.label_choice.trees import (
    best_threshold,
    can_learn,
    fit_trees,
    predicted_events,
    score_proposals,
)
from moola_pipeline.labels.folds import N_FOLDS, session_folds
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.metrics.bootstrap import Interval, Resampled, interval, mean_over_seeds
from moola_pipeline.metrics.scores import resample_windows, score_events
from moola_pipeline.windows.market_arrays import MarketArrays

SCORE = "event_f1_macro"
POWERS = np.linspace(0.1, 1.5, 15)


class CurveSettings(BaseModel):
    """How a learning curve is measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_folds: int = Field(default=N_FOLDS, ge=2, description="blocks of sessions, each scored once")
    shares: tuple[float, ...] = Field(
        default=(0.125, 0.25, 0.5, 1.0), min_length=3, description="of a fold's labels, increasing to 1"
    )
    min_labels: int = Field(default=16, ge=1, description="shares with fewer labels are left out")
    orders: int = Field(default=2, ge=1, description="random orders of the labels; scores are their mean")
    resamples: int = Field(default=500, ge=100, description="bootstrap resamples of sessions")
    seed: int = Field(default=0, ge=0)


class CurvePoint(NamedTuple):
    """A score at a number of labels.

    Attributes:
        n_labels, n_windows: Labeled expansions and windows that trees learned from, mean over folds.
        score: Event F1 (macro) on the sessions held out, mean over orders.
    """

    n_labels: float
    n_windows: float
    score: Resampled


class Forecast(NamedTuple):
    """A forecast from a learning curve, and its proof.

    Attributes:
        n_labels: Where the forecast is for: twice the most labels measured.
        score: The forecast; None if the proof failed.
        proof: What the smaller counts forecast for the largest one.
        measured: The interval measured there.
    """

    n_labels: float
    score: Interval | None
    proof: float
    measured: Interval


def learning_curve(
    market: MarketArrays,
    windows: LabeledWindows,
    settings: CurveSettings,
    on_fit: Callable[[int, int], None] = lambda done, total: None,
) -> list[CurvePoint]:
    """Score trees that learned from a growing part of the labels of the other sessions.

    Each fold is scored by trees of the other folds. Their windows are put in a random order; a smaller
    count is a first part of a larger one.

    Args:
        market: The bars and their features.
        windows: Labeled windows of the training period; only complete ones are used.
        settings: Shares, folds, orders and resamples.
        on_fit: Called with the number of finished trainings and of all.

    Raises:
        ValueError: If there are too few sessions, fewer than three parts have enough labels, or a
            smallest part has too few of a type.
    """
    windows = windows.complete_windows
    shares = measured_shares(len(windows.spans.window), settings)
    fold = session_folds(windows.session, settings.n_folds)
    resampled = resample_windows(windows, settings.resamples, np.random.default_rng(settings.seed))
    n_points, total = len(shares), settings.orders * settings.n_folds * len(shares)
    scores: list[list[Resampled]] = [[] for _ in range(n_points)]
    sizes = np.zeros((n_points, 2))
    done = 0
    for order in range(settings.orders):
        found: list[list[pd.DataFrame]] = [[] for _ in range(n_points)]
        for number in range(settings.n_folds):
            held = windows.select(fold == number)
            rng = np.random.default_rng([settings.seed, order, number])
            parts = nested_parts(windows.select(fold != number), shares, rng)
            for point, learned in enumerate(parts):
                trees = fit_trees(market, learned, order)
                proposals = score_proposals(market, trees, held.bar0)
                threshold = best_threshold(proposals.probabilities.expansion)
                found[point].append(predicted_events(held, proposals, threshold))
                sizes[point] += len(learned.spans.window), len(learned.bar0)
                done += 1
                on_fit(done, total)
        for point, events in enumerate(found):
            scores[point].append(score_events(resampled, pd.concat(events, ignore_index=True))[SCORE])
    sizes /= settings.orders * settings.n_folds
    return [
        CurvePoint(float(n_labels), float(n_windows), mean_over_seeds(runs))
        for (n_labels, n_windows), runs in zip(sizes, scores, strict=True)
    ]


def measured_shares(n_labels: int, settings: CurveSettings) -> tuple[float, ...]:
    """The shares with enough labels.

    Raises:
        ValueError: If fewer than three shares have them.
    """
    in_fold = n_labels * (1 - 1 / settings.n_folds)
    shares = tuple(share for share in settings.shares if share * in_fold >= settings.min_labels)
    if len(shares) < 3:
        least = settings.min_labels / settings.shares[-3] / (1 - 1 / settings.n_folds)
        raise ValueError(f"a curve needs at least {least:.0f} labeled expansions, got {n_labels}")
    return shares


def nested_parts(
    windows: LabeledWindows, shares: Sequence[float], rng: np.random.Generator
) -> list[LabeledWindows]:
    """First parts of one random order of the windows, one for each share of their expansions.

    The order is drawn again, up to 50 times, until the smallest part can be learned from.

    Raises:
        ValueError: If no order drawn has enough expansions of both types in its smallest part.
    """
    expansions = np.bincount(windows.spans.window, minlength=len(windows.bar0))
    for _ in range(50):
        order = rng.permutation(len(windows.bar0))
        reached = np.cumsum(expansions[order])
        stops = [int(np.searchsorted(reached, round(share * reached[-1]))) + 1 for share in shares]
        stops = [len(order) if share == 1 else stop for share, stop in zip(shares, stops, strict=True)]
        parts = [windows.select(np.sort(order[:stop])) for stop in stops]
        if can_learn(parts[0]):
            return parts
    raise ValueError(
        f"{min(shares):.0%} of the labels must hold expansions of both types, got {int(expansions.sum())} "
        "expansions in all"
    )


def forecast(points: Sequence[CurvePoint]) -> Forecast:
    """Forecast the score at twice the labels, if the forecast from half of them to all of them held.

    The points up to half the largest count give a power law. Its value at the largest count must lie in the
    interval measured there; otherwise there is no forecast. The forecast itself uses all points; its
    interval comes from the resamples of sessions.

    Args:
        points: In order of labels; at least two at half the largest count or below.
    """
    n = np.array([point.n_labels for point in points])
    earlier = n <= 0.55 * n[-1]  # windows hold whole expansions: "half" is met to a window
    estimates = np.array([point.score.estimate for point in points])
    measured = points[-1].score.interval
    proof = float(power_law(n[earlier], estimates[None, earlier], n[-1])[0])
    goal = 2 * n[-1]
    if not measured.low <= proof <= measured.high:
        return Forecast(goal, None, proof, measured)
    by_resample = np.column_stack([point.score.values for point in points])
    estimate = float(power_law(n, estimates[None], goal)[0])
    whole = ~np.isnan(by_resample).any(axis=1)
    values = power_law(n, by_resample[whole], goal)
    return Forecast(goal, interval(values, estimate, measured.n), proof, measured)


def power_law(n: np.ndarray, score: np.ndarray, at: float) -> np.ndarray:
    """Values at `at` of the curves 1 - score = a + b / n^c that fit each row best, a and b >= 0.

    Least squares for each power c from 0.1 to 1.5; the power with the smallest error is taken.

    Args:
        n: (m,) numbers of labels, > 0, m >= 2.
        score: (rows, m) scores.
        at: Number of labels.

    Returns:
        (rows,) float64.

    Raises:
        ValueError: If there are fewer than two points.

    Source:
        Cortes and others (1994), Learning curves: asymptotic values and rate of convergence, NIPS 6.
    """
    if len(n) < 2:
        raise ValueError(f"a power law needs at least 2 numbers of labels, got {len(n)}")
    error = 1 - np.asarray(score, float)  # (rows, m)
    best, value = np.full(len(error), np.inf), np.empty(len(error))
    for power in POWERS:
        falling = np.asarray(n, float) ** -power
        offset, slope = _non_negative_line(falling, error)
        misfit = np.square(error - offset[:, None] - slope[:, None] * falling).sum(axis=1)
        better = misfit < best - 1e-15
        best[better] = misfit[better]
        value[better] = (1 - offset - slope * at**-power)[better]
    return value


def _non_negative_line(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offset and slope >= 0 of the least-squares line of each row of y (rows, m) over x (m,)."""
    centered = x - x.mean()
    slope = y @ centered / (centered @ centered)
    offset = y.mean(axis=1) - slope * x.mean()
    through_zero = np.maximum(y @ x / (x @ x), 0)
    slope, offset = np.where(offset < 0, through_zero, slope), np.maximum(offset, 0)
    flat = slope < 0
    return np.where(flat, np.maximum(y.mean(axis=1), 0), offset), np.maximum(slope, 0)
