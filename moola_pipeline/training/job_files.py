"""What several processes need to pretrain together, and what they give back, as files of one folder."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load, save

from moola_pipeline.errors import BadInput, LossNotFinite, MoolaError
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.storage.atomic_write import TEMPORARY_SUFFIX, publish_bytes, publish_json, publishing
from moola_pipeline.training.checkpoints import Checkpoints
from moola_pipeline.training.pretrain import PretrainResult
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline.training.torchrun import place_of
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import WINDOW_BARS

_ARRAYS = ("prices", "segment", "features", "atr", "warm")
"""Of the bars; no one who pretrains asks for their times."""


class Terms(BaseModel):
    """How each process works.

    Attributes:
        device: cpu or cuda; on cuda each process has a GPU of its own.
        tf32: Whether GPUs may multiply in TF32.
        threads: Of torch in each process.
        processes: How many there are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str
    tf32: bool
    threads: int
    processes: int


@dataclass(frozen=True)
class Task:
    """A pretraining and the terms of its processes; arguments as `pretrain` takes them."""

    market: MarketArrays
    windows: np.ndarray
    settings: PretrainSettings
    terms: Terms
    checkpoints: Checkpoints | None = None


def hand_over(task: Task, folder: Path) -> None:
    """Write a task down; bars after its last window are left out."""
    end = int(task.windows.max(initial=0)) + WINDOW_BARS
    market = task.market.rows(0, end)
    arrays = {name: getattr(market, name) for name in _ARRAYS} | {"windows": task.windows}
    for name, array in arrays.items():
        with publishing(place_of(folder, name)) as temporary, temporary.open("wb") as stream:
            np.lib.format.write_array(stream, array, allow_pickle=False)
    kept = task.checkpoints
    facts = {
        "tick_points": market.tick_points,
        "settings": task.settings.model_dump(mode="json"),
        "terms": task.terms.model_dump(mode="json"),
        "checkpoints": None if kept is None else {"folder": str(kept.folder), "made_from": kept.made_from},
    }
    publish_json(place_of(folder, "task"), facts)


def taken_over(folder: Path) -> Task:
    """The task in a folder; its tables stay on disk, and processes share the memory that they take."""
    facts = json.loads(place_of(folder, "task").read_bytes())

    def mapped(name: str) -> np.ndarray:
        return np.load(place_of(folder, name), mmap_mode="r", allow_pickle=False)

    arrays = (mapped(name) for name in _ARRAYS)
    kept = facts["checkpoints"]
    return Task(
        MarketArrays(*arrays, tick_points=facts["tick_points"]),
        np.array(mapped("windows")),
        PretrainSettings.model_validate(facts["settings"]),
        Terms.model_validate(facts["terms"]),
        kept and Checkpoints(Path(kept["folder"]), kept["made_from"]),
    )


def give_back(result: PretrainResult, folder: Path) -> None:
    """Write a result down."""
    publish_bytes(place_of(folder, "encoder"), save(result.encoder.state_dict()))
    facts = {field.name: getattr(result, field.name) for field in fields(result) if field.name != "encoder"}
    facts["hidden_units"] = result.encoder.hidden_units
    publish_json(place_of(folder, "result"), facts)


def given_back(folder: Path) -> PretrainResult:
    """The result in a folder."""
    facts = json.loads(place_of(folder, "result").read_bytes())
    encoder = Encoder(facts.pop("hidden_units"))
    encoder.load_state_dict(load(place_of(folder, "encoder").read_bytes()))
    return PretrainResult(encoder.eval(), **facts)


@dataclass(frozen=True)
class Fault:
    """Why a process gave up.

    Attributes:
        kind: Name of the exception's class.
        text: What it says.
        loss, rows: Of a loss that is not finite.
    """

    kind: str
    text: str
    loss: float = 0.0
    rows: tuple[int, ...] = ()

    @classmethod
    def of(cls, raised: BaseException) -> "Fault":
        """An exception, in words."""
        lines = str(raised).strip().splitlines()
        text = lines[0] if lines else ""
        if isinstance(raised, LossNotFinite):
            return cls(type(raised).__name__, text, raised.loss, raised.rows)
        return cls(type(raised).__name__, text)

    def leave(self, folder: Path, rank: int) -> None:
        """Write it down for the one who waits."""
        publish_json(place_of(folder, f"fault-{rank}"), asdict(self))

    def as_ours(self) -> MoolaError | None:
        """The exception again, if it is one that a user can act on."""
        if self.kind == LossNotFinite.__name__:
            return LossNotFinite.in_windows(self.loss, self.rows)
        return BadInput(self.text) if self.kind == BadInput.__name__ else None


def faults_in(folder: Path) -> dict[int, Fault]:
    """The faults that processes left in a folder, by their number, the lowest first."""
    start = place_of(folder, "fault-").stem
    found: dict[int, Any] = {
        int(path.stem.removeprefix(start)): json.loads(path.read_bytes())
        for path in folder.glob(f"{start}*{TEMPORARY_SUFFIX}")
    }
    return {rank: Fault(**found[rank] | {"rows": tuple(found[rank]["rows"])}) for rank in sorted(found)}
