"""Bars and labels of one instrument, registered or simulated, and the choice between them."""

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from moola_pipeline.bars.instruments import INSTRUMENTS, Instrument
from moola_pipeline.bars.manifest import manifest_digest, read_bars
from moola_pipeline.bars.rolls import registered_rolls
from moola_pipeline.bars.schema import content_digest
from moola_pipeline.bars.simulated import (
    SMOKE_SETTINGS,
    ScenarioName,
    SimulationSettings,
    in_scenario,
)
from moola_pipeline.bars.store import BarStore, read_manifest, registered_store
from moola_pipeline.errors import BadInput, IntegrityError
from moola_pipeline.labels.annotators import ANYBODY, LabelChoice, choose_labels, read_label_choice
from moola_pipeline.labels.chosen_splits import read_split_choice
from moola_pipeline.labels.label_rows import read_labels
from moola_pipeline.labels.registry import has_labels, project_again, registered_labels
from moola_pipeline.labels.schema import LABEL_COLUMNS
from moola_pipeline.labels.simulated import ensure_simulated, read_truth
from moola_pipeline.labels.splits import SplitSettings
from moola_pipeline.report.chosen_target import read_target_choice
from moola_pipeline.settings import PROFILES, Profile, ProfileName
from moola_pipeline.storage.atomic_write import file_sha256
from moola_pipeline.storage.home import Home

MarketName = Literal["auto", "registered", "simulated"]
ScenarioChoice = Literal["none", ScenarioName]


@dataclass(frozen=True)
class InstrumentData:
    """Bars and labels that belong together, registered or simulated.

    Attributes:
        name: Folder of its stored artifacts.
        store: The store of its bars.
        simulation: Settings of the simulation; None for registered bars.
        splits: Where training, validation and test end.
        model_name: Name of its models in the registry.
        instrument: The traded contract.
        label_choice: Annotator and definition whose labels count.
    """

    name: str
    store: BarStore
    simulation: SimulationSettings | None
    splits: SplitSettings
    model_name: str
    instrument: Instrument
    home: Home
    label_choice: LabelChoice = ANYBODY

    @property
    def simulated(self) -> bool:
        """Whether all of its outputs must be marked SIMULATED."""
        return self.simulation is not None

    def bars(self) -> pd.DataFrame:
        """The canonical table; a missing simulated market is made first.

        Raises:
            ChecksumMismatch: If a file differs from the manifest.
        """
        self._make()
        return read_bars(self.store)

    def labels(self) -> pd.DataFrame:
        """The labels of the chosen annotator under the chosen definition, LABEL_COLUMNS, every pass.

        Raises:
            BadInput: If there are none.
        """
        self._make()
        if self.simulated:
            return read_labels(self.store.root / "labels.csv")
        return choose_labels(registered_labels(self.store.labels), self.label_choice)[0]

    def rolls(self) -> pd.DataFrame | None:
        """The registered rolls; None where there are none."""
        return registered_rolls(self.store)

    def truth(self) -> pd.DataFrame | None:
        """The ground truth of a simulated market; None for registered bars."""
        return read_truth(self.store) if self.simulated else None

    def bars_digest(self) -> str:
        """Digest of the inputs of the bar table, without reading bars."""
        self._make()
        return manifest_digest(self.store)

    def labels_digest(self) -> str:
        """Digest of the labels that count."""
        self._make()
        if self.simulated:
            return file_sha256(self.store.root / "labels.csv")
        return content_digest(self.labels(), LABEL_COLUMNS)

    def _make(self) -> None:
        if self.simulation is not None:
            ensure_simulated(self.store, self.simulation)


def has_bars(home: Home) -> bool:
    """Whether bars are registered in a home."""
    return bool(read_manifest(registered_store(home)).files)


def choose_profile(
    home: Home, wanted: ProfileName, market: MarketName, scenario: ScenarioChoice = "none"
) -> Profile:
    """The profile by name, with the target chosen for the home.

    `auto` is full on registered bars and demo on simulated ones.

    Raises:
        IntegrityError: If the chosen target was changed by hand.
    """
    if wanted == "auto":
        auto_full = market == "auto" and scenario == "none" and has_bars(home)
        wanted = "full" if market == "registered" or auto_full else "demo"
    profile, target = PROFILES[wanted], read_target_choice(home.data)
    if target.is_default:
        return profile
    report = profile.report.model_copy(update={"target_f1": target.estimate, "target_low": target.low})
    return profile.model_copy(update={"report": report})


def choose_instrument_data(
    home: Home, wanted: MarketName, profile: Profile, scenario: ScenarioChoice = "none"
) -> InstrumentData:
    """The registered market if there is one or it is wanted, else the simulated one.

    A scenario is always a simulated market; its folder and model are its own.

    Raises:
        BadInput: If there are bars without labels or labels without bars; names the command. Also
            if a scenario is wanted with registered bars.
    """
    if scenario != "none":
        if wanted == "registered":
            raise BadInput(
                f"A scenario must use simulated bars, got {scenario} with registered ones. "
                "Leave out the scenario, or choose the simulated market."
            )
        return _simulated_market(home, profile, scenario)
    registered = registered_store(home)
    bars, labels = has_bars(home), has_labels(registered.labels)
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
        splits = read_split_choice(registered.root) or profile.splits
        choice = read_label_choice(registered.root)
        return InstrumentData(name, registered, None, splits, f"moola-{name}", instrument, home, choice)
    return _simulated_market(home, profile, scenario)


def _simulated_market(home: Home, profile: Profile, scenario: ScenarioChoice) -> InstrumentData:
    """The simulated market of a profile; a scenario's name is appended to all its names."""
    ending = "" if scenario == "none" else f"-{scenario}"
    settings = profile.simulation if scenario == "none" else in_scenario(profile.simulation, scenario)
    length = "smoke" if profile.simulation == SMOKE_SETTINGS else "full"
    return InstrumentData(
        name=f"simulated{ending}",
        store=BarStore(home.simulated / f"{length}{ending}", simulated=True),
        simulation=settings,
        splits=profile.simulated_splits,
        model_name=f"moola-simulated{ending}",
        instrument=INSTRUMENTS[settings.instrument],
        home=home,
    )


def labels_follow_bars(store: BarStore) -> bool:
    """Count the bars of the labels again after bars were added; whether a label changed.

    Labels that are damaged, or whose bars are not all registered, stay as they are: the next command that
    reads them names the fault.
    """
    try:
        return has_labels(store.labels) and project_again(store.labels, read_bars(store))
    except IntegrityError:
        return False
