"""A home: the folder that holds all state of one user, and where each part of it lies."""

import os
from dataclasses import dataclass
from pathlib import Path

from moola_pipeline.errors import BadInput

PROJECT_ROOT = Path(__file__).resolve().parents[2]
HOME_VARIABLE = "MOOLA_HOME"


@dataclass(frozen=True)
class Home:
    """Paths below one root; two homes share nothing, and a home may be moved."""

    root: Path

    @classmethod
    def resolve(cls, chosen: str | Path | None = None) -> "Home":
        """The home chosen, else the one in MOOLA_HOME, else the project root.

        Raises:
            BadInput: If the path, or a parent of it, is a regular file, or cannot be written.
        """
        named_by = "--home" if chosen else HOME_VARIABLE
        named = Path(chosen or os.environ.get(HOME_VARIABLE) or PROJECT_ROOT)
        try:
            root = named.expanduser().absolute()
        except RuntimeError:
            raise BadInput(
                f"{named_by} must name a folder, but there is no user {named.parts[0]}. Name another folder."
            ) from None
        for place in (root, *root.parents):
            # Path.exists raises below a folder that may not be searched; this says False.
            if os.path.exists(place):
                if not place.is_dir():
                    raise BadInput(
                        f"{named_by} must be a folder, but {place} is a file. Name another folder."
                    )
                if not os.access(place, os.W_OK | os.X_OK):
                    raise BadInput(f"{named_by} must be writable, but {place} is not. Name another folder.")
                break
        return cls(root)

    @property
    def data(self) -> Path:
        """Registered bars (raw/, manifest.json, rolls.csv) and labels (labels/)."""
        return self.root / "data"

    @property
    def labels(self) -> Path:
        """The registered labels and their ledger."""
        return self.data / "labels"

    @property
    def simulated(self) -> Path:
        """Simulated markets, one folder each, apart from everything registered."""
        return self.data / "simulated"

    @property
    def store(self) -> Path:
        """What the assets hold, one folder for each market and profile."""
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
