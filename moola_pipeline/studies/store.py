"""Where the study keeps what it has computed: one folder an encoder, one file a cell, named by content."""

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
"""Files of the package that decide an encoder, with what they import."""
CELL_CODE = (*ENCODER_CODE, "studies/trials.py")
"""Files of the package that decide what a cell answers, with what they import."""
AGAIN = "It is computed again."


class Cell(BaseModel):
    """What a network, trained in one way on one subset of labels, says of the validation windows.

    Attributes:
        arm: How its encoder came to be.
        taught: Whether it learned from teachers before it learned from labels.
        n_labels, n_windows: Labeled expansions and windows that it was given.
        seed: Of the subset, of the encoder and of training.
        probe: P(retracement) of each labeled validation expansion by the linear probe; empty
            where none was fitted.
        p_retracement: The same by the network.
        events: Expansions found: window index, start, end, type.
        seconds: What it took.
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
    """Digest of everything that decides a result: 16 hex digits."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Store:
    """The folder of one market's study."""

    root: Path

    def encoder(self, key: str) -> tuple[Encoder, dict[str, Any]] | None:
        """A pretrained encoder and the facts of its making; None where it is missing or broken."""
        try:
            return load_encoder(self._encoder(key))
        except IntegrityError:
            return None

    def keep_encoder(self, key: str, encoder: Encoder, facts: dict[str, Any]) -> None:
        """Keep a pretrained encoder."""
        save_encoder(self._encoder(key), encoder, facts)

    def cell(self, key: str) -> Cell | None:
        """A computed cell; None where it is missing or broken."""
        try:
            return Cell.model_validate(read_checksummed(self._cell(key), "must hold a cell", AGAIN))
        except (FileNotFoundError, ValidationError, IntegrityError):
            return None

    def keep_cell(self, key: str, cell: Cell) -> None:
        """Keep a computed cell, whole or not at all."""
        write_checksummed(self._cell(key), cell.model_dump(mode="json"))

    def _encoder(self, key: str) -> Path:
        return self.root / "encoders" / key

    def _cell(self, key: str) -> Path:
        return self.root / "cells" / f"{key}.json"
