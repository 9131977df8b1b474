"""Promotion: compare challenger and champion on windows that neither was trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from moola_pipeline.labels.schema import TYPES
from moola_pipeline.labels.spans import LabeledWindows, labeled_windows
from moola_pipeline.labels.splits import is_drawn
from moola_pipeline.metrics.bootstrap import N_RESAMPLES
from moola_pipeline.metrics.scores import resample_windows, score_types
from moola_pipeline.report.data import Check
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import CONTEXT_BARS, WINDOW_BARS

if TYPE_CHECKING:
    from moola_pipeline.models.expansion_model import ExpansionModel

MARGIN = 0.02
"""Largest type F1 by which a challenger may be worse than the champion."""
MIN_SESSIONS = 20
"""With few sessions the interval is too narrow: a challenger that is worse by the whole margin was
promoted in 27 of 100 trials with 5 sessions, in 8 with 10, in 5 with 20 (nominal: 2.5)."""
MIN_OF_EACH_TYPE = 10
"""In macro F1, one prediction on a rarer type moves the score by more than the margin."""
RULE = (
    f"on labeled windows that neither version was trained on, the paired 95 % interval of challenger minus "
    f"champion lies above -{MARGIN} type F1 ({N_RESAMPLES:,} resamples of sessions, at least "
    f"{MIN_SESSIONS} sessions and {MIN_OF_EACH_TYPE} expansions of each type), and no integrity check fails"
)
FIRST_RULE = "the first champion of a model only has to pass every integrity check"
_UNSEEN = "unseen"


class Difference(BaseModel):
    """Type F1 of challenger minus champion with its paired 95 % interval and sample sizes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    estimate: float
    low: float
    high: float
    expansions: int
    windows: int
    sessions: int


@dataclass(frozen=True)
class PromotionDecision:
    """Decision on a version.

    Attributes:
        promote: Whether it becomes champion.
        against: The champion at the time of the decision.
    """

    promote: bool
    by: Literal["rule", "hand"]
    against: str | None
    rule: str
    reason: str
    interval: Difference | None = None
    rolls_back: bool = False


def difference_text(difference: Difference) -> str:
    """A difference as text: `+0.012 [-0.004, +0.031], 60 expansions, 24 sessions`."""
    return (
        f"{difference.estimate:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}], "
        f"{difference.expansions} expansions, {difference.sessions} sessions"
    )


@dataclass(frozen=True)
class Contender:
    """A version to compare.

    Attributes:
        last_bar_seen: Open of the last bar that it was trained or validated on.
    """

    version: str
    model: "ExpansionModel"
    last_bar_seen: pd.Timestamp


def decide_first_version(checks: Mapping[str, Check]) -> PromotionDecision:
    """Decide if there is no champion."""
    failed = _failed(checks, "integrity")
    if failed:
        reason = f"there is no champion, but an integrity check of this run failed ({', '.join(failed)})"
        return PromotionDecision(False, "rule", None, FIRST_RULE, reason)
    return PromotionDecision(
        True, "rule", None, FIRST_RULE, "there was no champion and every integrity check passed"
    )


def decide_lost_champion(version: str, champion: str, fault: str) -> PromotionDecision:
    """Keep the champion if it cannot be loaded: there is nothing to compare with."""
    reason = (
        f"version {champion} stays champion, but it cannot be compared: {fault.rstrip('.')}; "
        f"or promote by hand: moola registry promote {version}"
    )
    return PromotionDecision(False, "rule", champion, RULE, reason)


def decide_promotion(
    challenger: Contender,
    champion: Contender,
    checks: Mapping[str, Check],
    market: MarketArrays,
    labels: pd.DataFrame,
    rng: np.random.Generator,
) -> PromotionDecision:
    """Compare a challenger with the champion by RULE.

    Args:
        challenger, champion: Both in evaluation mode, on the CPU.
        checks: Of the challenger's report.
        market: The bars.
        labels: The frame of `assign_splits`; its splits are ignored.
        rng: Source of the resamples.
    """
    old, new = champion.version, challenger.version
    if old == new:
        return PromotionDecision(False, "rule", old, RULE, f"version {old} is already champion")
    last_seen = max(challenger.last_bar_seen, champion.last_bar_seen)
    unseen = unseen_windows(market, labels, last_seen)
    if lacking := _too_few(unseen):
        reason = f"version {old} stays champion: after {last_seen:%Y-%m-%d} there are only {lacking}"
        return PromotionDecision(False, "rule", old, RULE, reason)
    difference = compare(challenger.model, champion.model, market, unseen, rng)
    numbers = f"challenger minus champion {difference_text(difference)}"
    failed, warned = (_failed(checks, kind) for kind in ("integrity", "score"))
    # NaN compares False: without an interval the challenger is not promoted.
    faults = [] if difference.low > -MARGIN else [f"the interval does not lie above -{MARGIN}"]
    faults += [f"an integrity check failed ({', '.join(failed)})"] if failed else []
    numbers += f"; not reached: {', '.join(warned)}" if warned else ""
    if faults:
        reason = f"version {old} stays champion: {' and '.join(faults)}; {numbers}"
        return PromotionDecision(False, "rule", old, RULE, reason, difference)
    reason = f"version {new} is at most {MARGIN} worse than version {old}; {numbers}"
    return PromotionDecision(True, "rule", old, RULE, reason, difference)


def unseen_windows(market: MarketArrays, labels: pd.DataFrame, last_bar_seen: pd.Timestamp) -> LabeledWindows:
    """Complete windows that start more than one window's length after a bar, context included.

    Windows that a model chose are left out, as in validation and test. Their spans are the expansions of
    known type: versions are compared by type F1.
    The embargo is the one between splits: no prediction reads a bar that the model was fitted on.
    """
    last_row = int(np.searchsorted(market.times.asi8, last_bar_seen.value, side="right")) - 1
    first_read = labels["bar0"] - CONTEXT_BARS
    later = labels.loc[(first_read - last_row > WINDOW_BARS) & is_drawn(labels)]
    return labeled_windows(later.assign(split=_UNSEEN), _UNSEEN).typed


def compare(
    challenger: "ExpansionModel",
    champion: "ExpansionModel",
    market: MarketArrays,
    windows: LabeledWindows,
    rng: np.random.Generator,
) -> Difference:
    """Type F1 of challenger minus champion, on the same resamples of sessions.

    Args:
        challenger, champion: In evaluation mode, on the CPU.
        market: The bars.
        windows: Labeled windows with the expansions of known type.
        rng: Source of the resamples.
    """
    resampled = resample_windows(windows, N_RESAMPLES, rng)
    new, old = (
        score_types(resampled, _p_retracement(model, market, windows))["type_f1_macro"]
        for model in (challenger, champion)
    )
    difference = new.minus(old).interval
    return Difference(
        estimate=difference.estimate,
        low=difference.low,
        high=difference.high,
        expansions=len(windows.spans.type),
        windows=len(windows.bar0),
        sessions=len(np.unique(windows.session)),
    )


def _p_retracement(model: "ExpansionModel", market: MarketArrays, windows: LabeledWindows) -> np.ndarray:
    """P(retracement) given the span and direction of the labeled expansions, with balanced types."""
    # imports torch and scikit-learn; the Dagster definitions load without them
    from moola_pipeline.evaluation.test_set import oracle_span_probabilities

    return oracle_span_probabilities(model, market, windows)[1]


def _too_few(windows: LabeledWindows) -> str | None:
    kinds = np.bincount(windows.spans.type, minlength=len(TYPES))
    sessions = len(np.unique(windows.session[windows.spans.window]))
    if sessions >= MIN_SESSIONS and kinds.min() >= MIN_OF_EACH_TYPE:
        return None
    counts = " and ".join(f"{n} {kind}" for n, kind in zip(kinds, TYPES, strict=True))
    return (
        f"{counts} expansions in {sessions} sessions that neither version was trained on; at least "
        f"{MIN_OF_EACH_TYPE} of each type in {MIN_SESSIONS} sessions are needed"
    )


def _failed(checks: Mapping[str, Check], kind: Literal["integrity", "score"]) -> list[str]:
    return [name for name, check in checks.items() if check.kind == kind and not check.passed]
