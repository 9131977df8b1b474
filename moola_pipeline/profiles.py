"""How much of everything: named settings of the whole pipeline, and the market they are run on."""

from dataclasses import dataclass
from datetime import date
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from moola_pipeline.bars.manifest import manifest_digest, read_bars
from moola_pipeline.bars.schema import INSTRUMENTS, Instrument
from moola_pipeline.bars.simulated import (
    FULL_SETTINGS,
    SMOKE_SETTINGS,
    ScenarioName,
    SimulationSettings,
    in_scenario,
)
from moola_pipeline.bars.store import BarStore, read_manifest
from moola_pipeline.errors import BadInput
from moola_pipeline.labels.chosen_splits import read_choice
from moola_pipeline.labels.importing import read_labels
from moola_pipeline.labels.registry import has_labels, registered_labels
from moola_pipeline.labels.simulated import ensure_simulated
from moola_pipeline.labels.splits import SplitSettings
from moola_pipeline.storage.atomic_write import file_sha256
from moola_pipeline.storage.home import Home
from moola_pipeline.studies.settings import StudySettings
from moola_pipeline.training.settings import FinetuneSettings, PretrainSettings

ProfileName = Literal["auto", "smoke", "demo", "full", "study"]
MarketName = Literal["auto", "registered", "simulated"]
ScenarioChoice = Literal["none", ScenarioName]


class ReportSettings(BaseModel):
    """How much the report draws and resamples."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0, description="of resamples and of the peers' trees")
    resamples: int = Field(default=2000, ge=100, description="bootstrap resamples of sessions")
    gallery_windows: int = Field(default=12, ge=0, description="test windows drawn as candles")
    live_sessions: int | None = Field(
        default=None, ge=1, description="sessions of the test windows gone through bar by bar; null: all"
    )
    scratch_seeds: int = Field(
        default=1, ge=0, description="trainings of the same network from scratch, as a peer; 0: none"
    )


class Profile(BaseModel):
    """The settings of every stage under one name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    simulation: SimulationSettings = FULL_SETTINGS
    simulated_splits: SplitSettings = SplitSettings()
    splits: SplitSettings = SplitSettings()
    pretrain: PretrainSettings = PretrainSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    report: ReportSettings = ReportSettings()
    study: StudySettings = StudySettings()


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            name="smoke",
            simulation=SMOKE_SETTINGS,
            simulated_splits=SplitSettings(
                train_end=date(2025, 5, 31), validation_end=date(2025, 6, 15), test_end=date(2025, 6, 30)
            ),
            pretrain=PretrainSettings(epochs=4, hidden_units=32, batch_windows=8, learning_rate=3e-3),
            finetune=FinetuneSettings(
                seeds=(0,),
                head_units=32,
                taught_windows=400,
                taught_live_windows=300,
                taught_epochs=4,
                taught_batch_windows=16,
                epochs=8,
                frozen_epochs=1,
                patience=8,
                batch_windows=8,
                learning_rate=3e-3,
            ),
            report=ReportSettings(resamples=500, gallery_windows=4, live_sessions=2, scratch_seeds=0),
        ),
        Profile(
            name="demo",
            pretrain=PretrainSettings(max_windows=6000, epochs=5),
            finetune=FinetuneSettings(seeds=(0,), taught_windows=4000, taught_live_windows=3000),
            report=ReportSettings(live_sessions=20),
        ),
        Profile(name="full"),
        Profile(name="study"),
    )
}


@dataclass(frozen=True)
class Market:
    """Bars and labels that belong together, registered or simulated.

    Attributes:
        name: Folder of its stored artifacts.
        store: Where its bars lie.
        simulation: How it is made; None for registered bars.
        splits: Where training, validation and test end.
        model_name: Name of its models in the registry.
        instrument: What is traded.
    """

    name: str
    store: BarStore
    simulation: SimulationSettings | None
    splits: SplitSettings
    model_name: str
    instrument: Instrument
    home: Home

    @property
    def simulated(self) -> bool:
        """Whether everything made from it must be marked SIMULATED."""
        return self.simulation is not None

    def bars(self) -> pd.DataFrame:
        """The canonical table; a simulated market is made first where it is missing.

        Raises:
            ChecksumMismatch: If a file is not what the manifest records.
        """
        self._make()
        return read_bars(self.store)

    def labels(self) -> pd.DataFrame:
        """All labels, LABEL_COLUMNS."""
        self._make()
        return (
            read_labels(self.store.root / "labels.csv")
            if self.simulated
            else registered_labels(self.home.labels)
        )

    def bars_digest(self) -> str:
        """Digest of what decides the bar table, without reading a bar."""
        self._make()
        return manifest_digest(self.store)

    def labels_digest(self) -> str:
        """SHA256 of the labels as they are kept."""
        self._make()
        folder = self.store.root if self.simulated else self.home.labels
        return file_sha256(folder / "labels.csv")

    def _make(self) -> None:
        if self.simulation is not None:
            ensure_simulated(self.store, self.simulation)


def has_bars(home: Home) -> bool:
    """Whether bars are registered in a home."""
    return bool(read_manifest(BarStore(home.data, simulated=False)).files)


def choose_profile(
    home: Home, wanted: ProfileName, market: MarketName, scenario: ScenarioChoice = "none"
) -> Profile:
    """The profile by name; `auto` is full on registered bars and demo on simulated ones."""
    if wanted == "auto":
        by_itself = market == "auto" and scenario == "none" and has_bars(home)
        wanted = "full" if market == "registered" or by_itself else "demo"
    return PROFILES[wanted]


def choose_market(
    home: Home, wanted: MarketName, profile: Profile, scenario: ScenarioChoice = "none"
) -> Market:
    """The registered market if there is one (or it is wanted), else the simulated one.

    A scenario is a simulated market, whatever is registered; it shares neither folder nor model
    with the plain one.

    Raises:
        BadInput: If there are bars without labels or labels without bars; names the command. If
            a scenario of registered bars is wanted.
    """
    if scenario != "none":
        if wanted == "registered":
            raise BadInput(
                f"A scenario must be of simulated bars, got {scenario} of registered ones. "
                "Leave out the scenario, or choose the simulated market."
            )
        return _simulated_market(home, profile, scenario)
    registered = BarStore(home.data, simulated=False)
    bars, labels = has_bars(home), has_labels(home.labels)
    if wanted == "registered" or (wanted == "auto" and (bars or labels)):
        if not bars:
            raise BadInput(
                'Bars must be registered, but none are. Run: moola bars add FILE (or leave "market" out).'
            )
        if not labels:
            raise BadInput(
                "Labels must be registered beside the bars, but none are. Run: moola labels add FILE"
            )
        instrument = INSTRUMENTS[read_manifest(registered).files[0].instrument]
        name = instrument.name.lower()
        splits = read_choice(home.data) or profile.splits
        return Market(name, registered, None, splits, f"moola-{name}", instrument, home)
    return _simulated_market(home, profile, scenario)


def _simulated_market(home: Home, profile: Profile, scenario: ScenarioChoice) -> Market:
    """The simulated market of a profile; in a scenario, all its names end in that of the scenario."""
    ending = "" if scenario == "none" else f"-{scenario}"
    settings = profile.simulation if scenario == "none" else in_scenario(profile.simulation, scenario)
    length = "smoke" if profile.simulation == SMOKE_SETTINGS else "full"
    return Market(
        name=f"simulated{ending}",
        store=BarStore(home.simulated / f"{length}{ending}", simulated=True),
        simulation=settings,
        splits=profile.simulated_splits,
        model_name=f"moola-simulated{ending}",
        instrument=INSTRUMENTS[settings.instrument],
        home=home,
    )
