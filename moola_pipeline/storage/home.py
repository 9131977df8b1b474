"""Home: the folder with all state of one user, and the paths in it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moola_pipeline import __version__
from moola_pipeline.errors import BadInput, IntegrityError

PROJECT_ROOT = Path(__file__).resolve().parents[2]
HOME_VARIABLE = "MOOLA_HOME"
INSTANCE_FILE = "dagster.yaml"
"""Dagster's settings, in the root of a home."""
HOME_FORMAT, FORMAT_FILE = 1, "format.json"


@dataclass(frozen=True)
class Home:
    """Paths below one root. Homes share nothing, and a home may be moved."""

    root: Path

    @classmethod
    def resolve(cls, chosen: str | Path | None = None) -> "Home":
        """The chosen home, else the one in MOOLA_HOME, else the project root.

        Raises:
            BadInput: If the path, or a parent of it, is a regular file.
        """
        named_by = "--home" if chosen else HOME_VARIABLE
        named = Path(chosen or os.environ.get(HOME_VARIABLE) or PROJECT_ROOT)
        try:
            root = named.expanduser().absolute()
        except RuntimeError:
            raise BadInput(
                f"{named_by} must name a folder, but there is no user {named.parts[0]}. Name another folder."
            ) from None
        for folder in (root, *root.parents):
            # Path.exists raises below a folder that may not be searched; this says False.
            if os.path.exists(folder):
                if not folder.is_dir():
                    raise BadInput(
                        f"{named_by} must be a folder, but {folder} is a file. Name another folder."
                    )
                break
        return cls(root)

    @property
    def data(self) -> Path:
        """All data of commands and runs, except Dagster's own."""
        return self.root / "data"

    def instrument(self, name: str) -> Path:
        """Registered bars (raw/, manifest.json, rolls.csv) and labels (labels/) of one instrument."""
        return self.data / name.lower()

    @property
    def inbox(self) -> Path:
        """The watched folder for new bar files of any instrument."""
        return self.data / "inbox"

    @property
    def simulated(self) -> Path:
        """Simulated markets, one folder each."""
        return self.data / "simulated"

    @property
    def store(self) -> Path:
        """Stored assets, one folder for each market and profile."""
        return self.data / "store"

    @property
    def reports(self) -> Path:
        """Reports as HTML and JSON."""
        return self.data / "reports"

    @property
    def studies(self) -> Path:
        """Pretraining studies, one folder for each market."""
        return self.data / "studies"

    @property
    def tracking(self) -> Path:
        """The MLflow database and its artifacts."""
        return self.data / "mlflow"

    @property
    def dagster(self) -> Path:
        """Dagster's databases and logs."""
        return self.root / ".dagster"


def ensure_format(home: Home) -> None:
    """Refuse a home written by a later version; record the current format in a new home.

    Raises:
        IntegrityError: If a later version wrote it, or its format cannot be read.
    """
    from moola_pipeline.storage.atomic_write import locked
    from moola_pipeline.storage.checksums import write_checksummed

    path = home.data / FORMAT_FILE
    with locked(path):
        if (recorded := home_format(home)) > HOME_FORMAT:
            raise IntegrityError(
                f"{home.root} must have format {HOME_FORMAT} or earlier, got {recorded}. Install the version "
                "of moola that wrote it, or use another --home."
            )
        if not path.exists():
            write_checksummed(path, {"format": HOME_FORMAT, "moola": __version__})


def home_format(home: Home) -> int:
    """The format of a home; the current one if none is recorded.

    Raises:
        IntegrityError: If it cannot be read.
    """
    from moola_pipeline.storage.checksums import read_checksummed

    path, remedy = home.data / FORMAT_FILE, "Delete it, then run: moola run"
    try:
        return format_in(read_checksummed(path, "must hold the home's format", remedy))
    except FileNotFoundError:
        return HOME_FORMAT
    except ValueError:
        raise IntegrityError(
            f"{FORMAT_FILE} must hold the home's format, but it does not. Delete it."
        ) from None


def format_in(record: Mapping[str, Any]) -> int:
    """The format in a record.

    Raises:
        ValueError: If there is none.
    """
    value = record.get("format")
    if type(value) is not int or value < 1:
        raise ValueError(f"format must be an integer >= 1, got {str(value)[:40]}")
    return value
