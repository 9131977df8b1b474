"""Drift of new bars against the training data of a version: reference, checks, chart."""

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
"""Key of the reference in the facts of a version."""
REFERENCE_SESSIONS = 60
"""Number of newest training sessions for the reference rates."""
MAX_ROWS = 400_000
MIN_COVERED_BARS = 200
"""A session with fewer covered bars has no rate."""
NAMES = {
    "feature_drift": "Each feature has the same distribution in the new bars as in training.",
    "expansion_rate": "The expansion rate of new sessions matches training.",
    "class_mix": "The estimated share of retracements matches the calibration data.",
    "new_label_calibration": "P(retracement) is calibrated on newly labeled expansions.",
}


@dataclass(frozen=True)
class Rates:
    """Expansions per 100 covered bars, by session."""

    session: list[str]
    rate: np.ndarray


def reference_of(
    model: "ExpansionModel", market: MarketArrays, labels: pd.DataFrame, training_end: int
) -> Reference:
    """Reference of a version for drift checks; only rows before `training_end` are read.

    Rates are those of the newest training sessions; the version was trained on them.
    """
    from moola_pipeline.inference.hindsight import predict_new

    rows = np.flatnonzero(market.warm[:training_end])[-MAX_ROWS:]
    edges, shares = fit_bins(market.features[rows], list(FEATURE_NAMES))
    session = market.session[:training_end]
    first = np.searchsorted(session, np.unique(session)[-REFERENCE_SESSIONS:][0])
    recent = market.rows(int(first), training_end)  # features restart with each session
    marks = predict_new(model, recent, 0, "").expansions
    types = labeled_windows(labels, SPLITS[1]).typed.spans.type
    share = float((types == TYPES.index("retracement")).mean()) if len(types) else 0.0
    return Reference(
        edges=edges,
        shares=shares,
        rows=len(rows),
        rates=[round(rate, 4) for rate in session_rates(marks, recent).rate.tolist()],
        retracement_share=share,
        retracement_prior=model.thresholds.type_prior,
    )


def session_rates(marks: pd.DataFrame, market: MarketArrays) -> Rates:
    """Expansions of each session per 100 bars that a window covers."""
    from moola_pipeline.windows.dense import uncovered

    days, number = np.unique(market.session.astype("datetime64[D]"), return_inverse=True)
    covered = np.bincount(number, weights=~uncovered(market.segment), minlength=len(days))
    row = market.times.searchsorted(pd.DatetimeIndex(marks["started_at"]))
    found = np.bincount(number[row], minlength=len(days))
    enough = covered >= MIN_COVERED_BARS
    return Rates([str(day) for day in days[enough]], 100 * found[enough] / covered[enough])


@dataclass(frozen=True)
class Drift:
    """Results of the drift checks and their chart as SVG; `picture` is empty without a comparison."""

    findings: list[DriftCheck]
    shifts: dict[str, float]
    rates: Rates
    picture: bytes

    def facts(self) -> dict[str, Any]:
        """Everything but the chart, for JSON."""
        return {
            "checks": {check.name: _plain(check) for check in self.findings},
            "population_stability": self.shifts,
            "expansions_for_100_bars": dict(zip(self.rates.session, self.rates.rate.tolist(), strict=True)),
        }


def no_drift(why: str) -> Drift:
    """Every check passed, with the reason why nothing could be compared."""
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
    """Compare new bars with a version's reference.

    Args:
        reference: Of the version's training data.
        new: Bars after all splits.
        marks: The champion's expansions in these bars.
        windows: Labeled windows in these bars, possibly none.
        p_retracement: (n,) of the expansions in these windows, of unknown types too.
        rng: Source of the resamples.
    """
    from moola_pipeline.plotting import picture_file
    from moola_pipeline.report.feature_charts import drift_figure

    values = new.features[new.warm]
    if not len(values):
        return no_drift(f"{len(new):,} new bars: too few to compute the features")
    shifts = feature_shifts(reference, values, list(FEATURE_NAMES))
    rates = session_rates(marks, new)
    typed = windows.spans.is_typed
    is_retracement = windows.spans.type[typed] == TYPES.index("retracement")
    findings = [
        check_features(shifts, len(values)),
        check_rates(reference, rates.rate),
        check_type_mix(reference, marks["p_retracement"].to_numpy(float), rng),
        check_calibration(is_retracement, p_retracement[typed], rng),
    ]
    figure = drift_figure(shifts, reference, rates.session, rates.rate)
    return Drift(findings, shifts, rates, picture_file(figure, ".svg"))


def load_reference(facts: Mapping[str, Any]) -> Reference | None:
    """The reference in the facts of a version; None if it was registered without one."""
    reference = facts.get(REFERENCE)
    return Reference.model_validate(reference) if reference else None


def _plain(check: DriftCheck) -> dict[str, Any]:
    numbers = {
        name: value if value == value else None
        for name, value in (("value", check.value), ("limit", check.limit))
    }
    return {"passed": bool(check.passed), **numbers, "said": check.said}
