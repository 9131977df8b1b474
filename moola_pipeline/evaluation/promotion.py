"""Whether a challenger takes the champion's place: both asked about windows that neither has seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from moola_pipeline.labels.schema import TYPES
from moola_pipeline.labels.spans import LabeledWindows, labeled_windows
from moola_pipeline.metrics.bootstrap import N_RESAMPLES
from moola_pipeline.metrics.scores import resample_windows, score_types
from moola_pipeline.report.data import Check
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import CONTEXT_BARS, WINDOW_BARS

if TYPE_CHECKING:
    from moola_pipeline.models.expansion_model import ExpansionModel

MARGIN = 0.02
"""Type F1 by which a challenger may at most be worse than the champion."""
MIN_SESSIONS = 20
"""Resampled sessions say too little when they are few: a challenger that is worse by the whole margin
was promoted in 27 of 100 trials on 5 sessions, in 8 on 10, in 5 on 20 (2.5 are meant)."""
MIN_OF_EACH_TYPE = 10
"""F1 is macro: a type with fewer expansions moves it by more than the margin with every single answer."""
RULE = (
    f"on labeled windows that neither version has seen, the paired 95 % interval of challenger minus "
    f"champion lies above -{MARGIN} type F1 ({N_RESAMPLES:,} resamples of sessions, at least "
    f"{MIN_SESSIONS} sessions and {MIN_OF_EACH_TYPE} expansions of each type), and no check fails"
)
FIRST_RULE = "the first champion of a model needs every integrity check passed, and nothing else"
_UNSEEN = "unseen"


class Difference(BaseModel):
    """Challenger minus champion in type F1 with its paired 95 % interval, and what it rests on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    estimate: float
    low: float
    high: float
    expansions: int
    windows: int
    sessions: int


@dataclass(frozen=True)
class PromotionDecision:
    """What was decided on a version.

    Attributes:
        promote: Whether it becomes champion.
        against: The champion at the time of judging.
    """

    promote: bool
    by: Literal["rule", "hand"]
    against: str | None
    rule: str
    reason: str
    interval: Difference | None = None
    rolls_back: bool = False


def in_figures(found: Difference) -> str:
    """A difference as text: `+0.012 [-0.004, +0.031], 60 expansions, 24 sessions`."""
    return (
        f"{found.estimate:+.3f} [{found.low:+.3f}, {found.high:+.3f}], "
        f"{found.expansions} expansions, {found.sessions} sessions"
    )


@dataclass(frozen=True)
class Contender:
    """A version and what is known of it.

    Attributes:
        last_bar_seen: Open of the last bar it was trained or validated on.
    """

    version: str
    model: "ExpansionModel"
    last_bar_seen: pd.Timestamp


def decide_first_version(checks: Mapping[str, Check]) -> PromotionDecision:
    """Where there is no champion."""
    failed = _failed(checks, integrity_only=True)
    if failed:
        reason = f"there is no champion, but an integrity check of this run failed ({', '.join(failed)})"
        return PromotionDecision(False, "rule", None, FIRST_RULE, reason)
    return PromotionDecision(
        True, "rule", None, FIRST_RULE, "there was no champion and every integrity check passed"
    )


def decide_lost_champion(version: str, champion: str, fault: str) -> PromotionDecision:
    """Where the champion cannot be loaded: nothing can be compared, so nothing moves by itself."""
    reason = (
        f"version {champion} stays champion, but it cannot be compared: {fault.rstrip('.')}; "
        f"or choose by hand: moola registry promote {version}"
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
        market: The bars on which they are compared.
        labels: The frame of `assign_splits`; its splits do not count here.
        rng: Source of the resamples.
    """
    old, new = champion.version, challenger.version
    if old == new:
        return PromotionDecision(False, "rule", old, RULE, f"version {old} is champion already")
    last_seen = max(challenger.last_bar_seen, champion.last_bar_seen)
    unseen = unseen_windows(market, labels, last_seen)
    if lacking := _too_few(unseen):
        reason = f"version {old} stays champion: behind {last_seen:%Y-%m-%d} lie only {lacking}"
        return PromotionDecision(False, "rule", old, RULE, reason)
    found = compare(challenger.model, champion.model, market, unseen, rng)
    said = f"challenger minus champion {in_figures(found)}"
    failed = _failed(checks, integrity_only=False)
    # An interval that is not defined lies above nothing.
    faults = [] if found.low > -MARGIN else [f"the interval does not lie above -{MARGIN}"]
    faults += [f"a check failed ({', '.join(failed)})"] if failed else []
    if faults:
        reason = f"version {old} stays champion: {' and '.join(faults)}; {said}"
        return PromotionDecision(False, "rule", old, RULE, reason, found)
    reason = f"version {new} is no worse than version {old} by more than {MARGIN}; {said}"
    return PromotionDecision(True, "rule", old, RULE, reason, found)


def unseen_windows(market: MarketArrays, labels: pd.DataFrame, last_bar_seen: pd.Timestamp) -> LabeledWindows:
    """Labeled windows all of whose bars lie behind a bar, by more than one window's length.

    The embargo is the one between splits: no bar that a model was fitted on shapes an answer here.
    """
    seen = int(np.searchsorted(market.times.asi8, last_bar_seen.value, side="right")) - 1
    first_read = labels["bar0"] - CONTEXT_BARS
    behind = labels.loc[first_read - seen > WINDOW_BARS]
    return labeled_windows(behind.assign(split=_UNSEEN), _UNSEEN)


def compare(
    challenger: "ExpansionModel",
    champion: "ExpansionModel",
    market: MarketArrays,
    windows: LabeledWindows,
    rng: np.random.Generator,
) -> Difference:
    """Type F1 of the challenger minus that of the champion, resampled together by session."""
    resampled = resample_windows(windows, N_RESAMPLES, rng)
    new, old = (
        score_types(resampled, _p_retracement(one, market, windows))["type_f1_macro"]
        for one in (challenger, champion)
    )
    found = new.minus(old).interval
    return Difference(
        estimate=found.estimate,
        low=found.low,
        high=found.high,
        expansions=len(windows.spans.type),
        windows=len(windows.bar0),
        sessions=len(np.unique(windows.session)),
    )


def _p_retracement(model: "ExpansionModel", market: MarketArrays, windows: LabeledWindows) -> np.ndarray:
    """P(retracement) of the labeled expansions, span and direction told, both types weighing the same."""
    # brings torch and scikit-learn, which the definitions load without
    from moola_pipeline.evaluation.test_set import oracle_span_probabilities

    return oracle_span_probabilities(model, market, windows)[1]


def _too_few(windows: LabeledWindows) -> str | None:
    kinds = np.bincount(windows.spans.type, minlength=len(TYPES))
    sessions = len(np.unique(windows.session[windows.spans.window]))
    if sessions >= MIN_SESSIONS and kinds.min() >= MIN_OF_EACH_TYPE:
        return None
    held = " and ".join(f"{n} {kind}" for n, kind in zip(kinds, TYPES, strict=True))
    return (
        f"{held} expansions in {sessions} sessions that neither version has seen, at least "
        f"{MIN_OF_EACH_TYPE} of each type in {MIN_SESSIONS} sessions are needed"
    )


def _failed(checks: Mapping[str, Check], integrity_only: bool) -> list[str]:
    return [
        name
        for name, check in checks.items()
        if not check.passed and (check.kind == "integrity" or not integrity_only)
    ]
