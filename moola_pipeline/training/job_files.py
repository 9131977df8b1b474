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
from moola_pipeline.storage.atomic_write import (
    TEMPORARY_SUFFIX,
    atomic_write,
    atomic_write_bytes,
    atomic_write_json,
)
from moola_pipeline.training.checkpoints import Checkpoints
from moola_pipeline.training.pretrain import PretrainResult
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline.training.torchrun import job_file
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import WINDOW_BARS

_ARRAYS = ("prices", "segment", "features", "atr", "warm")
"""Of the bars; no one who pretrains asks for their times."""


class WorkerSettings(BaseModel):
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
class PretrainTask:
    """A pretraining and the terms of its processes; arguments as `pretrain` takes them."""

    market: MarketArrays
    windows: np.ndarray
    settings: PretrainSettings
    terms: WorkerSettings
    checkpoints: Checkpoints | None = None


def write_task(task: PretrainTask, folder: Path) -> None:
    """Write a task down; bars after its last window are left out."""
    end = int(task.windows.max(initial=0)) + WINDOW_BARS
    market = task.market.rows(0, end)
    arrays = {name: getattr(market, name) for name in _ARRAYS} | {"windows": task.windows}
    for name, array in arrays.items():
        with atomic_write(job_file(folder, name)) as temporary, temporary.open("wb") as stream:
            np.lib.format.write_array(stream, array, allow_pickle=False)
    kept = task.checkpoints
    facts = {
        "tick_points": market.tick_points,
        "settings": task.settings.model_dump(mode="json"),
        "terms": task.terms.model_dump(mode="json"),
        "checkpoints": None if kept is None else {"folder": str(kept.folder), "made_from": kept.made_from},
    }
    atomic_write_json(job_file(folder, "task"), facts)


def read_task(folder: Path) -> PretrainTask:
    """The task in a folder; its tables stay on disk, and processes share the memory that they take."""
    facts = json.loads(job_file(folder, "task").read_bytes())

    def mapped(name: str) -> np.ndarray:
        return np.load(job_file(folder, name), mmap_mode="r", allow_pickle=False)

    arrays = (mapped(name) for name in _ARRAYS)
    kept = facts["checkpoints"]
    return PretrainTask(
        MarketArrays(*arrays, tick_points=facts["tick_points"]),
        np.array(mapped("windows")),
        PretrainSettings.model_validate(facts["settings"]),
        WorkerSettings.model_validate(facts["terms"]),
        kept and Checkpoints(Path(kept["folder"]), kept["made_from"]),
    )


def write_result(result: PretrainResult, folder: Path) -> None:
    """Write a result down."""
    atomic_write_bytes(job_file(folder, "encoder"), save(result.encoder.state_dict()))
    facts = {field.name: getattr(result, field.name) for field in fields(result) if field.name != "encoder"}
    facts["hidden_units"] = result.encoder.hidden_units
    atomic_write_json(job_file(folder, "result"), facts)


def read_result(folder: Path) -> PretrainResult:
    """The result in a folder."""
    facts = json.loads(job_file(folder, "result").read_bytes())
    encoder = Encoder(facts.pop("hidden_units"))
    encoder.load_state_dict(load(job_file(folder, "encoder").read_bytes()))
    return PretrainResult(encoder.eval(), **facts)


@dataclass(frozen=True)
class WorkerError:
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
    def of(cls, raised: BaseException) -> "WorkerError":
        """An exception, in words."""
        lines = str(raised).strip().splitlines()
        text = lines[0] if lines else ""
        if isinstance(raised, LossNotFinite):
            return cls(type(raised).__name__, text, raised.loss, raised.rows)
        return cls(type(raised).__name__, text)

    def leave(self, folder: Path, rank: int) -> None:
        """Write it down for the one who waits."""
        atomic_write_json(job_file(folder, f"fault-{rank}"), asdict(self))

    def as_ours(self) -> MoolaError | None:
        """The exception again, if it is one that a user can act on."""
        if self.kind == LossNotFinite.__name__:
            return LossNotFinite.in_windows(self.loss, self.rows)
        return BadInput(self.text) if self.kind == BadInput.__name__ else None


def worker_errors(folder: Path) -> dict[int, WorkerError]:
    """The faults that processes left in a folder, by their number, the lowest first."""
    start = job_file(folder, "fault-").stem
    found: dict[int, Any] = {
        int(path.stem.removeprefix(start)): json.loads(path.read_bytes())
        for path in folder.glob(f"{start}*{TEMPORARY_SUFFIX}")
    }
    return {rank: WorkerError(**found[rank] | {"rows": tuple(found[rank]["rows"])}) for rank in sorted(found)}
