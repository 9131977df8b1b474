"""Settings of a simulated market and its labels."""

from datetime import date
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class LabelPeriod(BaseModel):
    """A range of sessions, both ends included, and its number of labeled windows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first_session: date
    last_session: date
    windows: int = Field(gt=0)
    passes: int = Field(default=1, ge=1, le=2, description="how often the annotator labels each window")


class SimulationSettings(BaseModel):
    """A simulated market and its labels; equal settings give equal bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=12, ge=0)
    instrument: Literal["NQ", "ES"] = "NQ"
    first_session: date = date(2020, 9, 1)
    last_session: date = date(2025, 6, 30)
    pause_bars: float = Field(default=100.0, gt=0, description="mean bars between one pattern and the next")
    decoy_share: float = Field(default=0.35, ge=0, lt=1, description="share of patterns without an expansion")
    retracement_share: float = Field(
        default=0.4, ge=0, le=1, description="share of expansions that follow a retracement"
    )
    last_retracement_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="retracement_share at the last bar, reached linearly; None: constant",
    )
    type_shown: bool = Field(default=True, description="the bars before an expansion determine its type")
    break_session: date | None = Field(default=None, description="first session of the second regime")
    volatility_after_break: float = Field(
        default=1.0, gt=0, description="volatility after the break over that before"
    )
    decoy_share_after_break: float = Field(default=0.35, ge=0, lt=1)
    missing_share: float = Field(
        default=0.0002, ge=0, lt=0.1, description="share of minutes without a trade, most of them at night"
    )
    label_periods: tuple[LabelPeriod, ...] = (
        LabelPeriod(first_session=date(2020, 9, 1), last_session=date(2024, 12, 31), windows=207),
        LabelPeriod(first_session=date(2025, 1, 1), last_session=date(2025, 3, 31), windows=100, passes=2),
        LabelPeriod(first_session=date(2025, 4, 1), last_session=date(2025, 6, 30), windows=140, passes=2),
    )
    empty_share: float = Field(
        default=0.37, ge=0, le=1, description="share of windows without an expansion to mark"
    )
    eye: Literal["surges", "speed", "breaks"] = Field(
        default="surges", description="what the annotator goes by; only the first knows planted expansions"
    )
    clear_from: float = Field(
        default=1.85, gt=0, description="clarity above which a surge is more likely marked than not"
    )
    softness: float = Field(default=0.13, ge=0, description="spread of the log leniency of one labeling pass")
    miss_rate: float = Field(
        default=0.05, ge=0, lt=1, description="share of expansions to mark that the annotator misses"
    )
    slip_rate: float = Field(default=0.2, ge=0, le=1, description="share of marked ends that are a bar off")
    type_slip_rate: float = Field(default=0.05, ge=0, lt=0.5, description="share of types marked wrongly")

    @model_validator(mode="after")
    def _dates_in_order(self) -> Self:
        ends = [self.first_session, *(p.first_session for p in self.label_periods)]
        if self.last_session < self.first_session or min(ends) < self.first_session:
            raise ValueError(f"sessions must lie between {self.first_session} and {self.last_session}")
        for before, after in zip(self.label_periods, self.label_periods[1:], strict=False):
            if after.first_session <= before.last_session:
                raise ValueError(f"label periods must not overlap, {before.last_session} is in two")
        return self


SMOKE_SETTINGS = SimulationSettings(
    first_session=date(2025, 5, 1),
    label_periods=(
        LabelPeriod(first_session=date(2025, 5, 1), last_session=date(2025, 5, 31), windows=70),
        LabelPeriod(first_session=date(2025, 6, 1), last_session=date(2025, 6, 15), windows=40, passes=2),
        LabelPeriod(first_session=date(2025, 6, 16), last_session=date(2025, 6, 30), windows=50, passes=2),
    ),
)
FULL_SETTINGS = SimulationSettings()
ScenarioName = Literal[
    "no_signal", "drifting_mix", "regime_break", "second_instrument", "speed_eye", "breaks_eye"
]
SCENARIOS: dict[ScenarioName, dict[str, Any]] = {
    "no_signal": {"type_shown": False},
    "drifting_mix": {"retracement_share": 0.43, "last_retracement_share": 0.23},
    "regime_break": {"volatility_after_break": 2.0, "decoy_share_after_break": 0.6},
    "second_instrument": {"instrument": "ES", "seed": 13},
    "speed_eye": {"eye": "speed"},
    "breaks_eye": {"eye": "breaks"},
}
"""Settings in which each scenario differs from the default market."""


def in_scenario(settings: SimulationSettings, name: ScenarioName) -> SimulationSettings:
    """The settings of a market, changed to a scenario.

    The regime breaks at the start of the second label period. The periods are those of training,
    validation and test, so a model is trained only on the market before the break.

    Raises:
        ValueError: If the scenario is `regime_break` with fewer than two label periods.
    """
    changes = dict(SCENARIOS[name])
    if name == "regime_break":
        if len(settings.label_periods) < 2:
            raise ValueError(
                f"regime_break needs at least 2 label periods, got {len(settings.label_periods)}"
            )
        changes["break_session"] = settings.label_periods[1].first_session
    return SimulationSettings.model_validate({**settings.model_dump(), **changes})
