"""Checkpoints after each epoch, from which a killed training resumes bit for bit."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from moola_pipeline.features.schema import FEATURE_NAMES
from moola_pipeline.storage.atomic_write import atomic_write_bytes

FORMAT = 1
SUFFIX = ".checkpoint"
_TENSOR, _PAIRS = "__tensor__", "__pairs__"


class Stateful(Protocol):
    """An object with a state: a network, optimizer, schedule or generator."""

    def state_dict(self) -> dict[str, Any]:
        """The state: tensors, plain values, and lists and dicts of them."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Restore a state."""
        ...


@dataclass(frozen=True)
class NumpyGenerator:
    """The state of a NumPy generator."""

    rng: np.random.Generator

    def state_dict(self) -> dict[str, Any]:
        """The bit generator's state."""
        return dict(self.rng.bit_generator.state)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Draw on from that state."""
        self.rng.bit_generator.state = state_dict


@dataclass(frozen=True)
class TorchGenerator:
    """The state of a torch generator, on any device."""

    generator: torch.Generator

    def state_dict(self) -> dict[str, Any]:
        """The generator's state."""
        return {"state": self.generator.get_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Draw on from that state."""
        self.generator.set_state(state_dict["state"])


@dataclass(frozen=True)
class Checkpoints:
    """A folder with one checkpoint file for each stage of a training.

    Attributes:
        folder: Folder of the files.
        made_from: Digest of bars and code; part of each key.
    """

    folder: Path
    made_from: str

    def stage(self, name: str, *key_parts: Any) -> "Checkpoint":
        """The checkpoint of one stage.

        Args:
            name: Name of the stage and of its file.
            key_parts: Everything else that decides the result: settings, arrays and tensors.
        """
        parts = (self.made_from, name, list(FEATURE_NAMES), torch.__version__, *key_parts)
        return Checkpoint(self.folder / f"{name}{SUFFIX}", digest_of(parts))

    def remove(self) -> None:
        """Remove all checkpoints of the folder, and the folder if it is then empty."""
        for path in self.folder.glob(f"*{SUFFIX}"):
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()


@dataclass(frozen=True)
class Checkpoint:
    """The last finished epoch of one stage.

    Attributes:
        path: A safetensors file: tensors, and all other values as JSON in the header. It is one file,
            so a kill leaves either this epoch or the one before complete. None: nothing is saved.
        key: Digest of everything that decides the result; a file with another key is ignored.
    """

    path: Path | None = None
    key: str = ""

    def keep(self, epochs_done: int, parts: Mapping[str, Stateful]) -> None:
        """Replace the file by the current state of `parts`."""
        if self.path is None:
            return
        tensors: dict[str, torch.Tensor] = {}
        plain = {name: _without_tensors(part.state_dict(), tensors) for name, part in parts.items()}
        header = {"format": FORMAT, "key": self.key, "epochs_done": epochs_done, "parts": plain}
        text = json.dumps(header)
        atomic_write_bytes(self.path, save(tensors, {"checkpoint": text, "sha256": _digest(text, tensors)}))

    def restore(self, parts: Mapping[str, Stateful]) -> int:
        """Restore the state of `parts` from the file.

        Returns:
            Epochs done; 0 without any change if the file is missing, broken or has another key.
        """
        header, tensors = self._read()
        if header is None or set(header["parts"]) != set(parts):
            return 0
        for name, part in parts.items():
            part.load_state_dict(_with_tensors(header["parts"][name], tensors))
        return int(header["epochs_done"])

    def _read(self) -> tuple[dict[str, Any] | None, dict[str, torch.Tensor]]:
        if self.path is None or not self.path.is_file():
            return None, {}
        try:
            with safe_open(self.path, "pt") as file:
                facts = file.metadata() or {}
                header = json.loads(facts["checkpoint"])
                if (header["format"], header["key"]) != (FORMAT, self.key):
                    return None, {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                if facts["sha256"] != _digest(facts["checkpoint"], tensors):
                    return None, {}
                return header, tensors
        except (SafetensorError, OSError, ValueError, KeyError):
            return None, {}  # a damaged file only costs its epochs


def _digest(header: str, tensors: Mapping[str, torch.Tensor]) -> str:
    return digest_of([header, *(part for name in sorted(tensors) for part in (name, tensors[name]))])


def digest_of(parts: Iterable[Any]) -> str:
    """SHA256 of arrays, tensors, and the JSON of plain values; 64 hex digits.

    Raises:
        TypeError: If a value is none of these.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, torch.Tensor):
            part = part.detach().cpu().numpy()
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype} {part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        else:
            digest.update(json.dumps(part, sort_keys=True).encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _without_tensors(state: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """The state as JSON, with each tensor moved to `tensors` and replaced by its name."""
    if isinstance(state, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = state.detach().cpu().clone().contiguous()
        return {_TENSOR: name}
    if isinstance(state, Mapping):
        # Pairs, because JSON would turn the integer keys of an optimizer's state into text.
        return {_PAIRS: [[key, _without_tensors(value, tensors)] for key, value in state.items()]}
    if isinstance(state, (list, tuple)):
        return [_without_tensors(value, tensors) for value in state]
    return state


def _with_tensors(state: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(state, dict):
        if _TENSOR in state:
            return tensors[state[_TENSOR]].clone()
        return {key: _with_tensors(value, tensors) for key, value in state[_PAIRS]}
    return [_with_tensors(value, tensors) for value in state] if isinstance(state, list) else state
