"""Where the files lie that a process hands to others; what starts them reads this before torch is there."""

from pathlib import Path

from moola_pipeline.storage.atomic_write import TEMPORARY_SUFFIX


def place_of(folder: Path, name: str) -> Path:
    """The file of that name in a folder that is handed over.

    Hidden and temporary by its name: no backup of a home holds it.
    """
    return folder / f".{name}{TEMPORARY_SUFFIX}"
