"""The split dates of a home: chosen once, remembered for every later run, schedule and page."""

from pathlib import Path

from pydantic import ValidationError

from moola_pipeline.errors import IntegrityError
from moola_pipeline.labels.splits import SplitSettings
from moola_pipeline.storage.checksums import read_checksummed, write_checksummed

CHOICE_NAME = "splits.json"
WANTED = "must hold the chosen split dates"
REMEDY = (
    "Restore it, or delete it and choose again with: "
    "moola run --train-end DATE --validation-end DATE --test-end DATE"
)


def read_choice(folder: Path) -> SplitSettings | None:
    """The splits chosen for the registered labels of a home; None if nobody has chosen.

    Args:
        folder: Where the home's data lies.

    Raises:
        IntegrityError: If the file is not what `remember_choice` wrote.
    """
    try:
        return SplitSettings.model_validate(read_checksummed(folder / CHOICE_NAME, WANTED, REMEDY))
    except FileNotFoundError:
        return None
    except ValidationError as fault:
        first = fault.errors()[0]["msg"]
    raise IntegrityError(f"{CHOICE_NAME} {WANTED}, but {first}. {REMEDY}")


def remember_choice(folder: Path, settings: SplitSettings) -> None:
    """Make a choice the one of this home, from the next run on."""
    write_checksummed(folder / CHOICE_NAME, settings.model_dump(mode="json"))
