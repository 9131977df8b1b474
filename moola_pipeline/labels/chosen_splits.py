"""The split dates of a home: chosen once, remembered for every later run, schedule and page."""

import json
from pathlib import Path

from pydantic import ValidationError

from moola_pipeline.errors import IntegrityError
from moola_pipeline.labels.splits import SplitSettings
from moola_pipeline.publish import publish_json

CHOICE_NAME = "splits.json"


def read_choice(folder: Path) -> SplitSettings | None:
    """The splits chosen for the registered labels of a home; None if nobody has chosen.

    Args:
        folder: Where the home's data lies.

    Raises:
        IntegrityError: If the file is not what `remember_choice` wrote.
    """
    try:
        return SplitSettings.model_validate(json.loads((folder / CHOICE_NAME).read_bytes()))
    except FileNotFoundError:
        return None
    except (ValidationError, ValueError) as fault:
        first = fault.errors()[0]["msg"] if isinstance(fault, ValidationError) else "it is no JSON"
    raise IntegrityError(
        f"{CHOICE_NAME} must hold the chosen split dates, but {first}. Restore it, or delete it and choose "
        "again with: moola run --train-end DATE --validation-end DATE --test-end DATE"
    )


def remember_choice(folder: Path, settings: SplitSettings) -> None:
    """Make a choice the one of this home, from the next run on."""
    publish_json(folder / CHOICE_NAME, settings.model_dump(mode="json"))
