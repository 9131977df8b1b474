"""What a simulated market is made from: dates, rates, and the windows an annotator looks at."""

from datetime import date
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class LabelPeriod(BaseModel):
    """A stretch of sessions, both ends included, and how many windows of it are labeled."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first_session: date
    last_session: date
    windows: int = Field(gt=0)
    passes: int = Field(default=1, ge=1, le=2, description="how often the annotator looks at each window")


class SimulationSettings(BaseModel):
    """A simulated market and its labels; equal settings make equal bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=12, ge=0)
    instrument: Literal["NQ", "ES"] = "NQ"
    first_session: date = date(2020, 9, 1)
    last_session: date = date(2025, 6, 30)
    pause_bars: float = Field(default=100.0, gt=0, description="mean bars between one pattern and the next")
    decoy_share: float = Field(default=0.35, ge=0, lt=1, description="share of patterns that lead to nothing")
    retracement_share: float = Field(
        default=0.4, ge=0, le=1, description="share of expansions that follow a retracement"
    )
    last_retracement_share: float | None = Field(
        default=None, ge=0, le=1, description="the share at the last bar, drifted to evenly; None: no drift"
    )
    type_shown: bool = Field(default=True, description="a type follows from what stood before its expansion")
    break_session: date | None = Field(default=None, description="session from which the market is another")
    volatility_after_break: float = Field(default=1.0, gt=0, description="over the volatility before")
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
        default=0.37, ge=0, le=1, description="share of windows laid where nothing is to be marked"
    )
    clear_from: float = Field(
        default=1.85, gt=0, description="clarity from which a surge is more likely marked than not"
    )
    softness: float = Field(
        default=0.13, ge=0, description="spread of the log leniency with which one look judges a surge"
    )
    miss_rate: float = Field(
        default=0.05, ge=0, lt=1, description="share of what is to be marked that the annotator overlooks"
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
                raise ValueError(f"label periods must not overlap, {before.last_session} comes twice")
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
ScenarioName = Literal["no_signal", "drifting_mix", "regime_break", "second_instrument"]
SCENARIOS: dict[ScenarioName, dict[str, Any]] = {
    "no_signal": {"type_shown": False},
    "drifting_mix": {"retracement_share": 0.43, "last_retracement_share": 0.23},
    "regime_break": {"volatility_after_break": 2.0, "decoy_share_after_break": 0.6},
    "second_instrument": {"instrument": "ES", "seed": 13},
}
"""Markets that are not like the default one, by the settings that are other in them."""


def in_scenario(settings: SimulationSettings, name: ScenarioName) -> SimulationSettings:
    """The settings of a market, with what is other in a scenario.

    A regime breaks where the second label period begins: the periods are those of training,
    validation and test, so a model learns from the market before the break alone.

    Raises:
        ValueError: If the regime is to break in a market with fewer than two label periods.
    """
    changes = dict(SCENARIOS[name])
    if name == "regime_break":
        if len(settings.label_periods) < 2:
            raise ValueError(f"a regime breaks between two label periods, got {len(settings.label_periods)}")
        changes["break_session"] = settings.label_periods[1].first_session
    return SimulationSettings.model_validate({**settings.model_dump(), **changes})
