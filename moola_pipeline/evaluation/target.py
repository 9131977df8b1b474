"""The user's target, F1 of 60 to 75 %: when it counts as met, and whether it was."""

from dataclasses import dataclass

from moola_pipeline.evaluation.report_data import ReportData, Score
from moola_pipeline.evaluation.vocabulary import PRIMARY

TARGET_ESTIMATE, TARGET_LOW = 0.75, 0.65
"""Met at that estimate or more, with an interval that stays above the second."""
TARGET_BAND = (0.60, 0.75)
"""The band as the user named it."""


@dataclass(frozen=True)
class TargetOutcome:
    """Whether the target was met.

    Attributes:
        met: None where the score was not measured.
        mark: A sign that needs no color.
        word: The same as a word.
        why: One sentence.
    """

    met: bool | None
    mark: str
    word: str
    why: str
    score: Score | None


def is_met(score: Score | None) -> bool | None:
    """Whether a type F1 meets the target; None if it is undefined."""
    if score is None or score.estimate is None or score.low is None:
        return None
    return score.estimate >= TARGET_ESTIMATE and score.low > TARGET_LOW


def target_outcome(data: ReportData) -> TargetOutcome:
    """Whether the report's type F1 meets the target, and what is lacking."""
    score = data.metrics.get(PRIMARY)
    met = is_met(score)
    rule = f"at least {TARGET_ESTIMATE:.2f}, with an interval that stays above {TARGET_LOW:.2f}"
    if met is None or score is None or score.estimate is None or score.low is None:
        return TargetOutcome(None, "–", "NOT MEASURED", f"Met means type F1 of {rule}.", score)
    if met:
        return TargetOutcome(True, "✓", "MET", f"Type F1 is {rule}.", score)
    inside = TARGET_BAND[0] <= score.estimate < TARGET_ESTIMATE
    near = " It lies in the band, but" if inside else ""
    why = f"{near} met means {rule}." if inside else f"Met means {rule}."
    return TargetOutcome(False, "✗", "NOT MET", why.strip(), score)
