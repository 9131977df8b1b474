"""Simulated market from a seeded generator, for use without real bars."""

from moola_pipeline.bars.simulated.market import (
    GENERATOR_VERSION,
    TRUTH_COLUMNS,
    SimulatedMarket,
    simulate,
)
from moola_pipeline.bars.simulated.settings import (
    FULL_SETTINGS,
    SCENARIOS,
    SMOKE_SETTINGS,
    LabelPeriod,
    ScenarioName,
    SimulationSettings,
    in_scenario,
)

__all__ = [
    "FULL_SETTINGS",
    "GENERATOR_VERSION",
    "SCENARIOS",
    "SMOKE_SETTINGS",
    "TRUTH_COLUMNS",
    "LabelPeriod",
    "ScenarioName",
    "SimulatedMarket",
    "SimulationSettings",
    "in_scenario",
    "simulate",
]
