"""Drift of new bars against what a version was trained on: its reference, its findings, its picture."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import nanoseconds
from moola_pipeline.features.relativity import FeatureTable
from moola_pipeline.features.schema import FEATURE_NAMES
from moola_pipeline.labels.schema import TYPES
from moola_pipeline.labels.spans import LabeledWindows, labeled_windows
from moola_pipeline.labels.splits import SPLITS
from moola_pipeline.metrics.drift import (
    Finding,
    Reference,
    feature_shifts,
    fit_bins,
    judge_calibration,
    judge_features,
    judge_mix,
    judge_rates,
)

if TYPE_CHECKING:
    from moola_pipeline.models.expansion_model import Annotator

REFERENCE = "reference"
"""Where the facts of a version keep it."""
REFERENCE_SESSIONS = 60
"""Newest training sessions whose rates are the reference."""
MOST_ROWS = 400_000
FEWEST_COVERED_BARS = 200
"""A session with fewer has too few expansions to have a rate."""
NAMES = {
    "feature_drift": "Each feature of the new bars lies as in training (population stability).",
    "expansion_rate": "New sessions have as many expansions as those of training.",
    "class_mix": "The estimated share of retracements is the one that was calibrated to.",
    "new_label_calibration": "On newly labeled expansions, P(retracement) means what it says.",
}


@dataclass(frozen=True)
class Rates:
    """Expansions for 100 covered bars, session by session."""

    session: list[str]
    rate: np.ndarray


def reference_of(
    annotator: "Annotator",
    table: pd.DataFrame,
    features: FeatureTable,
    labels: pd.DataFrame,
    training_end: int,
    tick_points: float,
) -> Reference:
    """What a version's new bars will be compared with; no row from `training_end` on is looked at.

    Rates are those of the newest training sessions, in which the version has been trained.
    """
    from moola_pipeline.inference.hindsight import annotate

    rows = np.flatnonzero(features.structure_valid[:training_end])[-MOST_ROWS:]
    edges, shares = fit_bins(features.values[rows], list(FEATURE_NAMES))
    seen = table.iloc[:training_end]
    sessions = seen["session"].unique()[-REFERENCE_SESSIONS:]
    recent = seen.loc[seen["session"] >= sessions[0]].reset_index(drop=True)
    marks = annotate(annotator, recent, tick_points, "").expansions
    types = labeled_windows(labels, SPLITS[1]).spans.type
    share = float((types == TYPES.index("retracement")).mean()) if len(types) else 0.0
    return Reference(
        edges=edges,
        shares=shares,
        rows=len(rows),
        rates=[round(rate, 4) for rate in session_rates(marks, recent).rate.tolist()],
        retracement_share=share,
    )


def session_rates(marks: pd.DataFrame, table: pd.DataFrame) -> Rates:
    """How many expansions each session has for 100 of its bars that a window covers."""
    from moola_pipeline.windows.dense import uncovered

    days, number = np.unique(table["session"].to_numpy("datetime64[D]"), return_inverse=True)
    covered = np.bincount(number, weights=~uncovered(table["segment"].to_numpy()), minlength=len(days))
    row = np.searchsorted(nanoseconds(table), nanoseconds(marks, "started_at"))
    found = np.bincount(number[row], minlength=len(days))
    enough = covered >= FEWEST_COVERED_BARS
    return Rates([str(day) for day in days[enough]], 100 * found[enough] / covered[enough])


@dataclass(frozen=True)
class NewBars:
    """What no split has used, and what the champion said of it.

    Attributes:
        table, features: Of those rows alone.
        marks: The champion's.
        windows: Labeled windows among them; none where nobody has labeled any yet.
        p_retracement: (n,) of the expansions in these windows.
    """

    table: pd.DataFrame
    features: FeatureTable
    marks: pd.DataFrame
    windows: LabeledWindows
    p_retracement: np.ndarray


@dataclass(frozen=True)
class Drift:
    """The findings, and their picture as svg; `picture` is empty where nothing could be compared."""

    findings: list[Finding]
    shifts: dict[str, float]
    rates: Rates
    picture: bytes

    def facts(self) -> dict[str, Any]:
        """All of it for JSON."""
        return {
            "checks": {one.name: _plain(one) for one in self.findings},
            "population_stability": self.shifts,
            "expansions_for_100_bars": dict(zip(self.rates.session, self.rates.rate.tolist(), strict=True)),
        }


def no_drift(why: str) -> Drift:
    """Where nothing can be compared, every check says so and passes."""
    nan = float("nan")
    return Drift([Finding(name, True, nan, nan, why) for name in NAMES], {}, Rates([], np.empty(0)), b"")


def compare(reference: Reference, new: NewBars, rng: np.random.Generator) -> Drift:
    """Hold new bars against a version's reference."""
    from moola_pipeline.report.drift_chart import drift_chart

    values = new.features.values[new.features.structure_valid]
    if not len(values):
        return no_drift(f"{len(new.table):,} new bars: too few for a feature")
    shifts = feature_shifts(reference, values, list(FEATURE_NAMES))
    rates = session_rates(new.marks, new.table)
    is_retracement = new.windows.spans.type == TYPES.index("retracement")
    findings = [
        judge_features(shifts, len(values)),
        judge_rates(reference, rates.rate),
        judge_mix(reference, new.marks["p_retracement"].to_numpy(float), rng),
        judge_calibration(is_retracement, new.p_retracement, rng),
    ]
    return Drift(findings, shifts, rates, drift_chart(shifts, reference, rates.session, rates.rate))


def known_reference(facts: Mapping[str, Any]) -> Reference | None:
    """The reference among the facts of a version; None for one registered before there was any."""
    held = facts.get(REFERENCE)
    return Reference.model_validate(held) if held else None


def _plain(one: Finding) -> dict[str, Any]:
    numbers = {
        name: value if value == value else None
        for name, value in (("value", one.value), ("limit", one.limit))
    }
    return {"passed": bool(one.passed), **numbers, "said": one.said}
