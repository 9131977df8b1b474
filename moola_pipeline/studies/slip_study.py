"""The slip study: slips planted in labels, and how many of the labels ranked first are among them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from moola_pipeline.label_choice.contradictions import contradicted_labels, out_of_fold
from moola_pipeline.label_choice.doubt import draw_spread
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.studies.labeled_market import LabeledMarket, make_labeled_market
from moola_pipeline.studies.repeats import cached_repeat
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST, WINDOW_BARS

DEPTHS = (10, 20)
"""Numbers of labels looked at."""


class SlipStudySettings(BaseModel):
    """How many labels, and how many of them are wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: int = Field(default=174, ge=20, description="labeled expansions")
    swapped_share: float = Field(default=0.075, ge=0, le=0.5, description="labels of the other type")
    moved_share: float = Field(default=0.05, ge=0, le=0.5, description="labels moved by 4 to 8 bars")


class SlipRepeat(BaseModel):
    """Labels of one repeat.

    Attributes:
        order: Label numbers, the most doubtful first.
        type_order: The same by the type alone.
        swapped, moved: Numbers of the labels with a planted slip.
        n_labels: All of them.
        estimated: Wrong labels as the confident joint estimates them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    order: list[int]
    type_order: list[int]
    swapped: list[int]
    moved: list[int]
    n_labels: int
    estimated: float

    def precision(self, depth: int) -> float:
        """Share of planted slips among the first labels of the ranking."""
        slips = {*self.swapped, *self.moved}
        return sum(label in slips for label in self.order[:depth]) / depth

    def type_precision(self, depth: int) -> float:
        """Share of swapped types among the first labels of the ranking by type."""
        return len(set(self.swapped) & set(self.type_order[:depth])) / depth

    @property
    def swapped_share(self) -> float:
        """Share of swapped types among all labels: the expected precision of a random order."""
        return len(self.swapped) / self.n_labels

    @property
    def share(self) -> float:
        """Share of planted slips among all labels: the expected precision of a random order."""
        return len({*self.swapped, *self.moved}) / self.n_labels

    def found(self, slips: Sequence[int], depth: int) -> float:
        """Share of given slips among the first labels of the ranking."""
        return len(set(slips) & set(self.order[:depth])) / max(len(slips), 1)


class PlantedSlips(NamedTuple):
    """Labels with slips, and the numbers of the labels that have one."""

    windows: LabeledWindows
    swapped: np.ndarray
    moved: np.ndarray


def run_slip_study(
    seeds: Sequence[int],
    settings: SlipStudySettings,
    folder: Path,
    code: str,
    on_repeat: Callable[[str], None] = lambda text: None,
) -> list[SlipRepeat]:
    """Run the missing repeats, one simulated market each; arguments as in `run_doubt_study`."""
    repeats = []
    for seed in seeds:
        facts = {"study": "slips", "seed": seed, "settings": settings.model_dump(), "code": code}

        def compute(seed: int = seed) -> dict[str, Any]:
            on_repeat(f"slips, market {seed}")
            return slip_repeat(make_labeled_market(seed, with_slips=False), settings, seed).model_dump()

        repeats.append(SlipRepeat.model_validate(cached_repeat(folder, facts, compute)))
    return repeats


def slip_repeat(ground: LabeledMarket, settings: SlipStudySettings, seed: int) -> SlipRepeat:
    """Plant slips in labels of random windows, and rank the labels by out-of-fold contradiction."""
    rng = np.random.default_rng([seed, 13])
    pool = ground.pool
    order = draw_spread(np.ones(len(pool.bar0)), pool.session, len(pool.bar0), rng, len(pool.bar0), 0)
    expansions = np.bincount(pool.spans.window, minlength=len(pool.bar0))[order]
    enough = int(np.searchsorted(np.cumsum(expansions), settings.labels)) + 1
    planted = plant_slips(pool.select(np.sort(order[:enough])), settings, rng)
    answers = out_of_fold(ground.market, planted.windows, seed=seed)
    n_labels = answers.n_labels
    types = contradicted_labels(answers.given[:n_labels], answers.type_probability)
    ranking = contradicted_labels(answers.given, answers.probability)
    return SlipRepeat(
        order=ranking.order[ranking.order < n_labels].tolist(),
        type_order=types.order.tolist(),
        swapped=planted.swapped.tolist(),
        moved=planted.moved.tolist(),
        n_labels=n_labels,
        estimated=float((ranking.joint.sum(axis=1) - ranking.joint.diagonal())[:2].sum()),
    )


def plant_slips(
    windows: LabeledWindows, settings: SlipStudySettings, rng: np.random.Generator
) -> PlantedSlips:
    """Swap the type of some labels and move others by 4 to 8 bars, within bars 30-74; none gets both."""
    spans = windows.spans
    n = len(spans.window)
    n_swapped, n_moved = round(settings.swapped_share * n), round(settings.moved_share * n)
    drawn = rng.permutation(n)
    swapped, moved = np.sort(drawn[:n_swapped]), np.sort(drawn[n_swapped : n_swapped + n_moved])
    kind, start, end = spans.type.copy(), spans.start.copy(), spans.end.copy()
    kind[swapped] = 1 - kind[swapped]
    steps = rng.choice((-1, 1), n_moved) * rng.integers(4, 9, n_moved)
    first, last = start[moved] + steps, end[moved] + steps
    outside = (first < CORE_FIRST) | (first > CORE_LAST) | (last >= WINDOW_BARS)
    steps = np.where(outside, -steps, steps)
    start[moved] += steps
    end[moved] += steps
    changed = replace(spans, type=kind, start=start, end=end)
    order = np.lexsort((changed.start, changed.window))
    rank = np.argsort(order)
    return PlantedSlips(windows._replace(spans=changed.select(order)), rank[swapped], rank[moved])
