"""The choice of market and profile, used by all assets."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from moola_pipeline.instrument_data import (
    InstrumentData,
    MarketName,
    ScenarioChoice,
    choose_instrument_data,
    choose_profile,
)
from moola_pipeline.settings import Profile, ProfileName
from moola_pipeline.staleness.plan import Planned
from moola_pipeline.storage.asset_checksums import CHECKPOINTS
from moola_pipeline.storage.home import Home
from moola_pipeline.tracking.registry import champion_version, is_registered
from moola_pipeline.tracking.runs import has_store

REPORT = "bootstrap_ci_report"
"""The asset that is stored in the reports folder."""


class Pipeline(dg.ConfigurableResource):
    """The choice of market and profile, editable in the launchpad."""

    profile: ProfileName = Field(
        "auto", description="smoke, demo, full or study; auto: full on registered bars, else demo"
    )
    market: MarketName = Field(
        "auto", description="registered or simulated; auto: registered bars if there are any"
    )
    scenario: ScenarioChoice = Field(
        "none",
        description="a variant of the simulated market, stored separately: no_signal, drifting_mix, "
        "regime_break, second_instrument, speed_eye or breaks_eye",
    )

    @property
    def home(self) -> Home:
        """The home of this process."""
        return Home.resolve()

    def chosen_profile(self) -> Profile:
        """The chosen profile."""
        return choose_profile(self.home, self.profile, self.market, self.scenario)

    def chosen_market(self) -> InstrumentData:
        """The chosen market."""
        return choose_instrument_data(self.home, self.market, self.chosen_profile(), self.scenario)

    @property
    def label(self) -> str:
        """Market and profile, as in names of folders and in messages."""
        return f"{self.chosen_market().name}-{self.chosen_profile().name}"

    @property
    def folder(self) -> Path:
        """The folder of this market's and profile's assets."""
        return self.home.store / self.label

    @property
    def report_folder(self) -> Path:
        """The folder of this market's and profile's report."""
        return self.home.reports / self.label

    def planned(self) -> Planned:
        """Inputs of the plan for this market and profile; does not create an MLflow store.

        Raises:
            IntegrityError: If the registry cannot be read.
        """
        market, tracked = self.chosen_market(), has_store(self.home)
        return Planned(
            market,
            self.chosen_profile(),
            self.artifact_path,
            champion_version(self.home, market.model_name) if tracked else None,
            tracked and is_registered(self.home, market.model_name),
        )

    def checkpoints(self, asset: str) -> Path:
        """Folder of the checkpoints of an asset's training."""
        return self.folder / CHECKPOINTS / asset

    def artifact_path(self, asset: str) -> Path:
        """Path of an asset of this market and profile, without its suffix."""
        return self.report_folder / "report" if asset == REPORT else self.folder / asset
