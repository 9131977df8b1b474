"""Data of a report: the JSON object of `moola report --json`, and pictures that only the page has."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from moola_pipeline.report.metric_catalog import PRIMARY, WINDOW_ONLY, best, metric

HEADLINE_METRICS = {
    "type_f1_macro": "Type F1, macro",
    "event_f1_macro": "Event F1, macro",
    "aucpr_retracement": "AUCPR, retracement",
}
"""The three metrics of the front page and their headings; all in 0..1, higher is better."""


SIGNIFICANCE = 0.05


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True)


def _defined(number: Any) -> Any:
    return None if isinstance(number, float) and not math.isfinite(number) else number


Number = Annotated[float | None, BeforeValidator(_defined)]
"""A number; None if undefined, as JSON has no NaN."""


class Score(_Part):
    """A number with its 95 % interval and its n; None if undefined."""

    estimate: Number
    low: Number
    high: Number
    n: int


Scores = dict[str, Score]


class Target(_Part):
    """What type F1 must reach, and its interval exceed.

    Attributes:
        estimate: Least type F1.
        low: The lower bound of its interval must lie above this.
    """

    estimate: float = Field(default=0.75, ge=0, le=1)
    low: float = Field(default=0.65, ge=0, le=1)

    @property
    def is_default(self) -> bool:
        """Whether nobody has set another one."""
        return self == Target()

    @property
    def shown(self) -> str:
        """As text: `type F1 at least 0.75 with a lower bound above 0.65`."""
        return f"type F1 at least {self.estimate:.2f} with a lower bound above {self.low:.2f}"

    def is_met(self, score: Score | None) -> bool | None:
        """Whether a type F1 meets it; None if undefined."""
        if score is None or score.estimate is None or score.low is None:
            return None
        return score.estimate >= self.estimate and score.low > self.low


class PrimaryComparison(_Part):
    """Model minus the best baseline in one of the two primary metrics.

    Attributes:
        metric: Name of the metric.
        baseline: Name of the baseline, chosen without the scored windows.
        difference: With its paired 95 % interval.
        p_value: Two-sided, of no difference, adjusted for both comparisons by Holm; None if undefined.
        smallest_difference: A larger one always shows with so many windows, a smaller one may not.
    """

    metric: str
    baseline: str
    difference: Score
    p_value: float | None
    smallest_difference: float | None

    @property
    def standing(self) -> Literal["better", "worse", "level"] | None:
        """Of the model: level unless the adjusted p-value is at most 0.05; None if undefined."""
        if self.p_value is None or self.difference.estimate is None:
            return None
        if self.p_value > SIGNIFICANCE:
            return "level"
        return "better" if self.difference.estimate > 0 else "worse"


class Check(_Part):
    """Result of a check: a failed integrity check stops the run, a failed score check is a warning."""

    passed: bool
    kind: Literal["integrity", "score"]
    value: bool | int | float | str | None
    limit: bool | int | float | str | None


class DataFacts(_Part):
    """Bars and labels of the report, and how many model versions were scored on the test rows."""

    simulated: bool
    sha256: str
    looks_at_test: int
    labels_sha256: str | None = None
    labels_note: str | None = None


class RunFacts(_Part):
    """Run, code and settings that produced the numbers."""

    run_id: str
    created_at: AwareDatetime
    model_version: str | None
    code_version: str
    settings: dict[str, Any]


class ReliabilityBin(_Part):
    """One equal-mass bin of P(retracement): its mean, the share of retracements, and the expansions."""

    probability: float
    share: float
    n: int


class Calibration(_Part):
    """Reliability of one seed's P(retracement), and the range of a perfectly calibrated model.

    Attributes:
        bins: By rising probability.
        ece_band: 95 % band of the debiased ECE of a perfectly calibrated model at this n.
    """

    bins: list[ReliabilityBin]
    ece_band: tuple[float, float]


class MonthMix(_Part):
    """Labels of one month: expansions by type and of unknown type, empty windows, split."""

    month: str
    split: str
    consolidation: int
    retracement: int
    unknown: int = 0
    none: int


class MeanPath(_Part):
    """Mean close around the start of expansions, in ATR, mirrored so that all point up.

    Attributes:
        type: consolidation or retracement.
        source: labeled, or predicted by the served seed.
        bars: Bars since the start, negative before it.
        mean, low, high: (len(bars),) mean and its 95 % interval by session.
        n: Expansions.
    """

    type: str
    source: Literal["labeled", "predicted"]
    bars: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]
    n: int


class LearningPoint(_Part):
    """One point of the last study's learning curve: number of labels, and type F1."""

    n_labels: int
    pretrained: Score
    scratch: Score | None = None


class PreviousRun(_Part):
    """The previous report on the same market, and what has changed since."""

    run_id: str
    created_at: AwareDatetime
    metrics: Scores
    bars_changed: bool
    labels_changed: bool
    settings_changed: bool


class AlarmBudget(_Part):
    """Live alarms at the threshold for so many alarms a session.

    Attributes:
        budget: Alarms a session that the threshold allows on validation sessions.
        threshold: Least probability of an alarm.
        alarms_per_session, precision, delay_bars: On whole test sessions.
    """

    budget: int
    threshold: float
    alarms_per_session: Score
    precision: Score
    delay_bars: Score


class Details(_Part):
    """Parts below the front page; an empty part was not measured.

    Attributes:
        breakdowns: By grouping ("type", "hour" in New York, "session" part of the day, "direction")
            and group: scores.
        confusion: `[labeled][predicted]` expansions of known type given the span, in the order of TYPES.
        by_seed: Estimates by metric, one per seed; None if undefined.
        smallest_difference: Smallest detectable paired difference by metric.
        delay_curve: Live event F1 by delay after the onset, in bars.
        alarm_budgets: Live alarms by budget, 1 to 20 a session.
        null: Mean AUCPR minus prevalence over permuted training labels.
        truth: Simulated markets only: the model and the labels, scored on the ground truth.
        prior: P(retracement) with the validation prior and with a re-estimated one, on the test
            expansions as they are and weighted so that 23 % are retracements.
        not_measured: Missing parts and the reason.
    """

    breakdowns: dict[str, dict[str, Scores]] = Field(default_factory=dict)
    confusion: list[list[int]] = Field(default_factory=list)
    calibration: Calibration | None = None
    by_seed: dict[str, list[Number]] = Field(default_factory=dict)
    smallest_difference: dict[str, float] = Field(default_factory=dict)
    class_mix: list[MonthMix] = Field(default_factory=list)
    event_study: list[MeanPath] = Field(default_factory=list)
    learning_curve: list[LearningPoint] = Field(default_factory=list)
    delay_curve: dict[int, Score] = Field(default_factory=dict)
    alarm_budgets: list[AlarmBudget] = Field(default_factory=list)
    null: Score | None = None
    truth: dict[str, Scores] = Field(default_factory=dict)
    prior: dict[str, Scores] = Field(default_factory=dict)
    previous: PreviousRun | None = None
    not_measured: dict[str, str] = Field(default_factory=dict)


class ReportData(_Part):
    """All numbers of one report.

    Attributes:
        precision: Of the networks on `device`.
        n_folds: 1 with a test split; else the blocks of sessions of a cross-validation.
        metrics: Scores of the model.
        trivial_baselines: Constants and predictions that use no price.
        baselines: Methods that a person would use instead of the network.
        ablations: The same network without one of its parts.
        second_pass: The annotator's second pass over the same windows, scored as a prediction.
        differences: Model minus each baseline or ablation, paired by session.
        chosen_baselines: The best baseline by primary metric, chosen on time folds before the test.
        primaries: Model minus these baselines; every other comparison is exploratory.
        target: What type F1 must reach.
    """

    data: DataFacts
    device: str
    precision: str = ""
    profile: str
    n_folds: int = 1
    metrics: Scores
    trivial_baselines: dict[str, Scores]
    baselines: dict[str, Scores]
    ablations: dict[str, Scores]
    second_pass: Scores
    checks: dict[str, Check]
    run: RunFacts
    seeds: list[int]
    differences: dict[str, Scores] = Field(default_factory=dict)
    chosen_baselines: dict[str, str] = Field(default_factory=dict)
    primaries: list[PrimaryComparison] = Field(default_factory=list)
    target: Target = Target()
    details: Details = Details()

    @property
    def provisional(self) -> bool:
        """Whether there were too few labels for a test split."""
        return self.n_folds > 1

    def baseline_beside(self, key: str) -> tuple[str, Score] | None:
        """Name and score of the baseline that stands beside a score of the model.

        It is the chosen one, by type F1 for scores given the span and by event F1 for all others; where that
        one lacks the score, the best of those that have it.
        """
        primary = PRIMARY if metric(key).question == "identification" else WINDOW_ONLY
        name = self.chosen_baselines.get(primary)
        score = self.baselines.get(name, {}).get(key) if name is not None else None
        if name is not None and score is not None and score.estimate is not None:
            return name, score
        return best(self.baselines, key)


@dataclass(frozen=True)
class GalleryWindow:
    """One test window to draw.

    Attributes:
        session: Its trading day, as text.
        started_at: UTC open of bar 0, as text.
        open, high, low, close: (105,) float64, index points.
        truth: Labeled expansions as (first bar, last bar, type, direction), bars inclusive.
        predicted: The same, with the probability in 0..1.
        rank: best or worst predictions of the model, if chosen as such.
        note: Counts of found, missed and false expansions, as text.
    """

    window_id: str
    session: str
    started_at: str
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    truth: Sequence[tuple[int, int, str, int]]
    predicted: Sequence[tuple[int, int, str, int, float]]
    rank: Literal["best", "worst"] | None = None
    note: str = ""


@dataclass(frozen=True)
class LossCurve:
    """Losses of one training run, one number per epoch, on training and validation rows."""

    seed: int
    train: Sequence[float]
    validation: Sequence[float]


@dataclass(frozen=True)
class LossCurves:
    """Loss curves of both stages, one entry per seed."""

    pretraining: Sequence[LossCurve] = field(default_factory=tuple)
    finetuning: Sequence[LossCurve] = field(default_factory=tuple)
