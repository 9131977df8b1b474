"""Files of a pretraining in several processes: the task, its result, and errors, in one folder."""

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
"""Arrays of the bars; pretraining does not read times."""


class WorkerSettings(BaseModel):
    """Device, precision and threads of each process.

    Attributes:
        device: cpu or cuda; on cuda each process has its own GPU.
        tf32: Whether GPUs may multiply in TF32.
        threads: Torch threads in each process.
        processes: Number of processes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str
    tf32: bool
    threads: int
    processes: int


@dataclass(frozen=True)
class PretrainTask:
    """Arguments of `pretrain`, and the settings of its processes."""

    market: MarketArrays
    windows: np.ndarray
    settings: PretrainSettings
    terms: WorkerSettings
    checkpoints: Checkpoints | None = None


def write_task(task: PretrainTask, folder: Path) -> None:
    """Write a task, without bars after its last window."""
    end = int(task.windows.max(initial=0)) + WINDOW_BARS
    market = task.market.rows(0, end)
    arrays = {name: getattr(market, name) for name in _ARRAYS} | {"windows": task.windows}
    for name, array in arrays.items():
        with atomic_write(job_file(folder, name)) as temporary, temporary.open("wb") as stream:
            np.lib.format.write_array(stream, array, allow_pickle=False)
    checkpoints = task.checkpoints
    facts = {
        "tick_points": market.tick_points,
        "settings": task.settings.model_dump(mode="json"),
        "terms": task.terms.model_dump(mode="json"),
        "checkpoints": checkpoints
        and {"folder": str(checkpoints.folder), "made_from": checkpoints.made_from},
    }
    atomic_write_json(job_file(folder, "task"), facts)


def read_task(folder: Path) -> PretrainTask:
    """Read the task of a folder; its arrays are memory-mapped, so processes share them."""
    facts = json.loads(job_file(folder, "task").read_bytes())

    def mapped(name: str) -> np.ndarray:
        return np.load(job_file(folder, name), mmap_mode="r", allow_pickle=False)

    arrays = (mapped(name) for name in _ARRAYS)
    checkpoints = facts["checkpoints"]
    return PretrainTask(
        MarketArrays(*arrays, tick_points=facts["tick_points"]),
        np.array(mapped("windows")),
        PretrainSettings.model_validate(facts["settings"]),
        WorkerSettings.model_validate(facts["terms"]),
        checkpoints and Checkpoints(Path(checkpoints["folder"]), checkpoints["made_from"]),
    )


def write_result(result: PretrainResult, folder: Path) -> None:
    """Write a result."""
    atomic_write_bytes(job_file(folder, "encoder"), save(result.encoder.state_dict()))
    facts = {field.name: getattr(result, field.name) for field in fields(result) if field.name != "encoder"}
    facts["hidden_units"] = result.encoder.hidden_units
    atomic_write_json(job_file(folder, "result"), facts)


def read_result(folder: Path) -> PretrainResult:
    """Read the result of a folder."""
    facts = json.loads(job_file(folder, "result").read_bytes())
    encoder = Encoder(facts.pop("hidden_units"))
    encoder.load_state_dict(load(job_file(folder, "encoder").read_bytes()))
    return PretrainResult(encoder.eval(), **facts)


@dataclass(frozen=True)
class WorkerError:
    """The exception that ended a process.

    Attributes:
        kind: Name of its class.
        text: First line of its text.
        loss, rows: Attributes of a `LossNotFinite`.
    """

    kind: str
    text: str
    loss: float = 0.0
    rows: tuple[int, ...] = ()

    @classmethod
    def of(cls, raised: BaseException) -> "WorkerError":
        """The record of an exception."""
        lines = str(raised).strip().splitlines()
        text = lines[0] if lines else ""
        if isinstance(raised, LossNotFinite):
            return cls(type(raised).__name__, text, raised.loss, raised.rows)
        return cls(type(raised).__name__, text)

    def write(self, folder: Path, rank: int) -> None:
        """Write it for the parent process."""
        atomic_write_json(job_file(folder, f"fault-{rank}"), asdict(self))

    def to_exception(self) -> MoolaError | None:
        """The exception again, if a user can act on it."""
        if self.kind == LossNotFinite.__name__:
            return LossNotFinite.in_windows(self.loss, self.rows)
        return BadInput(self.text) if self.kind == BadInput.__name__ else None


def worker_errors(folder: Path) -> dict[int, WorkerError]:
    """Errors that processes wrote to a folder, by rank, lowest first."""
    start = job_file(folder, "fault-").stem
    facts: dict[int, Any] = {
        int(path.stem.removeprefix(start)): json.loads(path.read_bytes())
        for path in folder.glob(f"{start}*{TEMPORARY_SUFFIX}")
    }
    return {rank: WorkerError(**facts[rank] | {"rows": tuple(facts[rank]["rows"])}) for rank in sorted(facts)}
