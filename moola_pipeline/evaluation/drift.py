"""Drift of new bars against what a version was trained on: its reference, its findings, its picture."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from moola_pipeline.features.schema import FEATURE_NAMES
from moola_pipeline.labels.schema import TYPES
from moola_pipeline.labels.spans import LabeledWindows, labeled_windows
from moola_pipeline.labels.splits import SPLITS
from moola_pipeline.metrics.drift import (
    DriftCheck,
    Reference,
    check_calibration,
    check_features,
    check_rates,
    check_type_mix,
    feature_shifts,
    fit_bins,
)
from moola_pipeline.windows.market_arrays import MarketArrays

if TYPE_CHECKING:
    from moola_pipeline.models.expansion_model import ExpansionModel

REFERENCE = "reference"
"""Where the facts of a version keep it."""
REFERENCE_SESSIONS = 60
"""Newest training sessions whose rates are the reference."""
MAX_ROWS = 400_000
MIN_COVERED_BARS = 200
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
    model: "ExpansionModel", market: MarketArrays, labels: pd.DataFrame, training_end: int
) -> Reference:
    """What a version's new bars will be compared with; no row from `training_end` on is looked at.

    Rates are those of the newest training sessions, in which the version has been trained.
    """
    from moola_pipeline.inference.hindsight import predict_new

    rows = np.flatnonzero(market.warm[:training_end])[-MAX_ROWS:]
    edges, shares = fit_bins(market.features[rows], list(FEATURE_NAMES))
    session = market.session[:training_end]
    first = np.searchsorted(session, np.unique(session)[-REFERENCE_SESSIONS:][0])
    recent = market.rows(int(first), training_end)  # features start afresh with each session
    marks = predict_new(model, recent, 0, "").expansions
    types = labeled_windows(labels, SPLITS[1]).spans.type
    share = float((types == TYPES.index("retracement")).mean()) if len(types) else 0.0
    return Reference(
        edges=edges,
        shares=shares,
        rows=len(rows),
        rates=[round(rate, 4) for rate in session_rates(marks, recent).rate.tolist()],
        retracement_share=share,
    )


def session_rates(marks: pd.DataFrame, market: MarketArrays) -> Rates:
    """How many expansions each session has for 100 of its bars that a window covers."""
    from moola_pipeline.windows.dense import uncovered

    days, number = np.unique(market.session.astype("datetime64[D]"), return_inverse=True)
    covered = np.bincount(number, weights=~uncovered(market.segment), minlength=len(days))
    row = market.times.searchsorted(pd.DatetimeIndex(marks["started_at"]))
    found = np.bincount(number[row], minlength=len(days))
    enough = covered >= MIN_COVERED_BARS
    return Rates([str(day) for day in days[enough]], 100 * found[enough] / covered[enough])


@dataclass(frozen=True)
class Drift:
    """The findings, and their picture as svg; `picture` is empty where nothing could be compared."""

    findings: list[DriftCheck]
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
    return Drift([DriftCheck(name, True, nan, nan, why) for name in NAMES], {}, Rates([], np.empty(0)), b"")


def compare(
    reference: Reference,
    new: MarketArrays,
    marks: pd.DataFrame,
    windows: LabeledWindows,
    p_retracement: np.ndarray,
    rng: np.random.Generator,
) -> Drift:
    """Hold new bars against a version's reference.

    Args:
        reference: What the version was trained on.
        new: The bars that no split has used.
        marks: The champion's in them.
        windows: Labeled windows among them; none where nobody has labeled any yet.
        p_retracement: (n,) of the expansions in these windows.
        rng: Source of the resamples.
    """
    from moola_pipeline.plotting import picture_file
    from moola_pipeline.report.feature_charts import drift_figure

    values = new.features[new.warm]
    if not len(values):
        return no_drift(f"{len(new):,} new bars: too few for a feature")
    shifts = feature_shifts(reference, values, list(FEATURE_NAMES))
    rates = session_rates(marks, new)
    is_retracement = windows.spans.type == TYPES.index("retracement")
    findings = [
        check_features(shifts, len(values)),
        check_rates(reference, rates.rate),
        check_type_mix(reference, marks["p_retracement"].to_numpy(float), rng),
        check_calibration(is_retracement, p_retracement, rng),
    ]
    figure = drift_figure(shifts, reference, rates.session, rates.rate)
    return Drift(findings, shifts, rates, picture_file(figure, ".svg"))


def load_reference(facts: Mapping[str, Any]) -> Reference | None:
    """The reference among the facts of a version; None for one registered before there was any."""
    held = facts.get(REFERENCE)
    return Reference.model_validate(held) if held else None


def _plain(one: DriftCheck) -> dict[str, Any]:
    numbers = {
        name: value if value == value else None
        for name, value in (("value", one.value), ("limit", one.limit))
    }
    return {"passed": bool(one.passed), **numbers, "said": one.said}
