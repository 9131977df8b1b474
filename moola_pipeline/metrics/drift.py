"""Drift checks of new bars against training: features, expansion rates, types, calibration."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

N_BINS = 10
MODERATE_SHIFT, MAJOR_SHIFT = 0.1, 0.25
"""Population stability index: below the first, no shift; from the second on, a major shift. The usual
limits of credit scoring (Siddiqi 2006)."""
CENTRAL = 0.95
"""Central share of training sessions whose rates are usual."""
UNLIKELY = 0.01
"""Warn if so many unusual sessions, or more, are less probable than this by chance."""
MAX_MIX_SHIFT = 0.1
MIN_EXPANSIONS = 20
EM_STEPS = 200
_HALF = 0.5


class Reference(BaseModel):
    """Reference for drift checks, fitted on training rows only.

    Attributes:
        edges: Deciles of each feature by name; fewer if many values are equal.
        shares: Share of the rows in each bin, one more than there are edges.
        rates: Predicted expansions per 100 covered bars, for each of the last training sessions.
        retracement_share: Share of retracements in the calibration data.
        retracement_prior: The share that P(retracement) assumes, its value where both types are equally
            likely: calibration moves it only in part to `retracement_share`. None in references of earlier
            versions, which take the latter for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    edges: dict[str, list[float]]
    shares: dict[str, list[float]]
    rows: int = Field(gt=0)
    rates: list[float]
    retracement_share: float = Field(ge=0, le=1)
    retracement_prior: float | None = Field(default=None, gt=0, lt=1)


class DriftCheck(NamedTuple):
    """Result of one drift check.

    Attributes:
        passed: False for a warning.
        value: Measured value; NaN if nothing could be measured.
        limit: Limit of the value.
        said: The result as text, with sample sizes.
    """

    name: str
    passed: bool
    value: float
    limit: float
    said: str


def fit_bins(values: np.ndarray, names: list[str]) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Deciles of each feature, and the share of rows in each bin.

    Args:
        values: (n_rows, F) of training rows.
        names: F names.
    """
    inner = np.linspace(0, 1, N_BINS + 1)[1:-1]
    edges = {name: np.unique(np.quantile(values[:, i], inner)) for i, name in enumerate(names)}
    shares = {name: bin_shares(values[:, i], edges[name]) for i, name in enumerate(names)}
    return (
        {name: values.astype(float).tolist() for name, values in edges.items()},
        {name: values.tolist() for name, values in shares.items()},
    )


def bin_shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of values in each bin, with half a value added to each so that none is 0: (n_edges + 1,)."""
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return (counts + _HALF) / (len(values) + _HALF * len(counts))


def population_stability(expected: np.ndarray, found: np.ndarray) -> float:
    """Sum of (found - expected) * log(found / expected) over bins; both (n_bins,) shares above 0."""
    expected, found = np.asarray(expected, float), np.asarray(found, float)
    return float(((found - expected) * np.log(found / expected)).sum())


def feature_shifts(reference: Reference, values: np.ndarray, names: list[str]) -> dict[str, float]:
    """Population stability index of each feature: new rows (n_rows, F) against the reference."""
    return {
        name: population_stability(
            np.array(reference.shares[name]), bin_shares(values[:, i], np.array(reference.edges[name]))
        )
        for i, name in enumerate(names)
        if name in reference.edges
    }


def check_features(shifts: Mapping[str, float], n_rows: int) -> DriftCheck:
    """Warn from MAJOR_SHIFT on; also name moderate shifts."""
    name, worst = max(shifts.items(), key=lambda item: item[1])
    moderate = [key for key, shift in shifts.items() if MODERATE_SHIFT <= shift < MAJOR_SHIFT]
    major = [key for key, shift in shifts.items() if shift >= MAJOR_SHIFT]
    text = f"{n_rows:,} new rows; largest shift: {name} {worst:.3f}"
    text += f"; major (from {MAJOR_SHIFT}): {', '.join(major)}" if major else ""
    text += f"; moderate (from {MODERATE_SHIFT}): {', '.join(moderate)}" if moderate else ""
    return DriftCheck("feature_drift", not major, worst, MAJOR_SHIFT, text)


def check_rates(reference: Reference, rates: np.ndarray) -> DriftCheck:
    """Warn if more new sessions than by chance have rates outside the usual range of training.

    Args:
        reference: Its rates define the usual range.
        rates: (n_sessions,) expansions per 100 covered bars.
    """
    if not len(rates) or len(reference.rates) < MIN_EXPANSIONS:
        few = f"{len(rates)} new sessions, {len(reference.rates)} training sessions: too few to compare"
        return DriftCheck("expansion_rate", True, float("nan"), UNLIKELY, few)
    from scipy.stats import binom  # slow import; not needed to define the checks

    tail = (1 - CENTRAL) / 2
    low, high = np.quantile(reference.rates, [tail, 1 - tail])
    outside = int(((rates < low) | (rates > high)).sum())
    chance = float(binom.sf(outside - 1, len(rates), 1 - CENTRAL))
    text = (
        f"{outside} of {len(rates)} new sessions outside {low:.2f} to {high:.2f} expansions per 100 bars; "
        f"mean {rates.mean():.2f}, in training {np.mean(reference.rates):.2f}"
    )
    return DriftCheck("expansion_rate", chance >= UNLIKELY, chance, UNLIKELY, text)


def estimate_mix(p_retracement: np.ndarray, assumed: float) -> float:
    """Maximum-likelihood share of retracements, if only the class mix has changed.

    Args:
        p_retracement: (n,) probabilities that are right where the share is `assumed`.
        assumed: Above 0 and below 1.

    Source:
        Saerens, Latinne and Decaestecker (2002), Neural Computation 14(1).
    """
    share = assumed
    for _ in range(EM_STEPS):
        gain, loss = share / assumed, (1 - share) / (1 - assumed)
        raised = gain * p_retracement
        share = float((raised / (raised + loss * (1 - p_retracement))).mean())
    return share


def check_type_mix(reference: Reference, p_retracement: np.ndarray, rng: np.random.Generator) -> DriftCheck:
    """Warn if the share moved by more than MAX_MIX_SHIFT and its interval excludes the reference."""
    usual = reference.retracement_share
    assumed = reference.retracement_prior or usual
    if len(p_retracement) < MIN_EXPANSIONS or not 0 < usual < 1:
        few = f"{len(p_retracement)} new expansions: at least {MIN_EXPANSIONS} are needed"
        return DriftCheck("class_mix", True, float("nan"), MAX_MIX_SHIFT, few)
    share = estimate_mix(p_retracement, assumed)
    drawn = rng.integers(0, len(p_retracement), (200, len(p_retracement)))
    low, high = np.quantile([estimate_mix(p_retracement[rows], assumed) for rows in drawn], [0.025, 0.975])
    shifted = abs(share - usual) > MAX_MIX_SHIFT and not low <= usual <= high
    text = (
        f"estimated share of retracements {share:.2f} [{low:.2f}, {high:.2f}] among {len(p_retracement)} new "
        f"expansions; {usual:.2f} in the calibration data"
    )
    return DriftCheck("class_mix", not shifted, share - usual, MAX_MIX_SHIFT, text)


def check_calibration(is_retracement: np.ndarray, p: np.ndarray, rng: np.random.Generator) -> DriftCheck:
    """Warn if the calibration error on new labels exceeds that of a perfectly calibrated model."""
    if len(p) < MIN_EXPANSIONS:
        few = f"{len(p)} newly labeled expansions: at least {MIN_EXPANSIONS} are needed"
        return DriftCheck("new_label_calibration", True, float("nan"), float("nan"), few)
    from moola_pipeline.metrics.calibration import ece, perfect_band  # imports scipy

    error = float(ece(is_retracement, p))
    _, high = perfect_band(p, rng)
    text = (
        f"calibration error {error:.3f} on {len(p)} newly labeled expansions; limit of a perfectly "
        f"calibrated model {high:.3f}"
    )
    return DriftCheck("new_label_calibration", error <= high, error, high, text)
