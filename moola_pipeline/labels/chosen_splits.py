"""The split dates chosen for a home, stored for its later runs, schedules and reports."""

from pathlib import Path

from moola_pipeline.labels.splits import SplitSettings
from moola_pipeline.storage.checksums import read_choice, write_checksummed

CHOICE_NAME = "splits.json"
REQUIREMENT = "must hold the chosen split dates"
REMEDY = (
    "Restore it, or delete it and choose again with: "
    "moola run --train-end DATE --validation-end DATE --test-end DATE"
)


def read_split_choice(folder: Path) -> SplitSettings | None:
    """The splits chosen for the registered labels of a home; None if none were chosen.

    Args:
        folder: The home's data folder.

    Raises:
        IntegrityError: If the file was changed after `write_split_choice` wrote it.
    """
    return read_choice(folder / CHOICE_NAME, SplitSettings, REQUIREMENT, REMEDY)


def write_split_choice(folder: Path, settings: SplitSettings) -> None:
    """Store the splits that later runs of this home use."""
    write_checksummed(folder / CHOICE_NAME, settings.model_dump(mode="json"))


def keep_proposed(folder: Path, settings: SplitSettings) -> None:
    """Store dates that were proposed for the bars, so that later bars do not move them.

    Default dates are not stored, and a stored choice stays.

    Args:
        folder: The home's data folder.
        settings: See `labels.splits.proposed_dates`.
    """
    if settings.proposed and settings != SplitSettings(proposed=True) and read_split_choice(folder) is None:
        write_split_choice(folder, settings)
