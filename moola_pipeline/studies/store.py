"""Cache of a study: one folder per encoder, one file per cell, named by the digest of their inputs."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from moola_pipeline.errors import IntegrityError
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.models.expansion_model import load_encoder, save_encoder
from moola_pipeline.storage.checksums import read_checksummed, write_checksummed

ENCODER_CODE = ("features/relativity.py", "windows/dense.py", "training/pretrain.py")
"""Files of the package that determine an encoder, with their imports."""
CELL_CODE = (*ENCODER_CODE, "studies/cell_runs.py")
"""Files of the package that determine a cell, with their imports."""
REMEDY = "It is computed again."


class Cell(BaseModel):
    """Predictions on the validation windows by a network trained in one way on one subset of labels.

    Attributes:
        arm: Way the encoder was made: pretrained, scratch, ...
        distilled: Whether it learned from pseudo-labels before labels.
        count: Planned number of labels.
        n_labels, n_windows: Labeled expansions and windows of the subset.
        seed: Of the subset, of the encoder and of training.
        probe: P(retracement) of each labeled validation expansion by the linear probe; empty
            without a probe.
        p_retracement: The same by the network.
        events: Predicted expansions: window index, start, end, type.
        seconds: Computing time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    arm: str
    distilled: bool
    count: int
    n_labels: int
    n_windows: int
    seed: int
    probe: list[float]
    p_retracement: list[float]
    events: list[tuple[int, int, int, int]]
    seconds: float


def content_key(facts: dict[str, Any]) -> str:
    """Digest of the inputs of a result: 16 hex digits."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Store:
    """The folder of the study of one market."""

    root: Path

    def encoder(self, key: str) -> tuple[Encoder, dict[str, Any]] | None:
        """A pretrained encoder and its facts; None if it is missing or damaged."""
        try:
            return load_encoder(self._encoder(key))
        except IntegrityError:
            return None

    def save_encoder(self, key: str, encoder: Encoder, facts: dict[str, Any]) -> None:
        """Save a pretrained encoder."""
        save_encoder(self._encoder(key), encoder, facts)

    def cell(self, key: str) -> Cell | None:
        """A computed cell; None if it is missing or damaged."""
        try:
            return Cell.model_validate(read_checksummed(self._cell(key), "must hold a cell", REMEDY))
        except (FileNotFoundError, ValidationError, IntegrityError):
            return None

    def save_cell(self, key: str, cell: Cell) -> None:
        """Save a computed cell atomically."""
        write_checksummed(self._cell(key), cell.model_dump(mode="json"))

    def _encoder(self, key: str) -> Path:
        return self.root / "encoders" / key

    def _cell(self, key: str) -> Path:
        return self.root / "cells" / f"{key}.json"
