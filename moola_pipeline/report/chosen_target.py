"""The target chosen for a home, stored for its later runs, schedules and reports."""

from pathlib import Path

from moola_pipeline.report.data import Target
from moola_pipeline.storage.checksums import read_choice, write_checksummed

CHOICE_NAME = "target.json"
REQUIREMENT = "must hold the chosen target"
REMEDY = "Restore it, or delete it and choose again with: moola run --target F1"


def read_target_choice(folder: Path) -> Target:
    """The target chosen for a home, else the default one.

    Args:
        folder: The home's folder of data.

    Raises:
        IntegrityError: If the file was changed after `write_target_choice` wrote it.
    """
    return read_choice(folder / CHOICE_NAME, Target, REQUIREMENT, REMEDY) or Target()


def write_target_choice(folder: Path, target: Target) -> None:
    """Store the target of later runs of this home."""
    write_checksummed(folder / CHOICE_NAME, target.model_dump(mode="json"))
