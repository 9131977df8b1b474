"""IO managers: each asset in one file or folder, in open formats, never pickle."""

import io
import json
import shutil
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd
from pydantic import PrivateAttr

from moola_pipeline.bars.schema import PRICE_COLUMNS, content_digest
from moola_pipeline.errors import IntegrityError, MissingArtifact, MissingFile, UnreadableFile
from moola_pipeline.features.relativity import FeatureTable, compute_features
from moola_pipeline.features.schema import FEATURE_NAMES
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.staleness.fingerprints import code_version
from moola_pipeline.storage.asset_checksums import prove, remedy_of, write_checksums
from moola_pipeline.storage.atomic_write import atomic_write_bytes, atomic_write_json
from moola_pipeline.storage.bucket import pull, push
from moola_pipeline.storage.checksums import unreadable
from moola_pipeline.storage.crash_injection import crash_point

if TYPE_CHECKING:
    import torch

    from moola_pipeline.models.encoder import Encoder
    from moola_pipeline.models.expansion_model import ExpansionModel
    from moola_pipeline.report.data import ReportData

UNTRAINED_FOLDER = "untrained"
"""Folder of the heads on an untrained encoder, beside the folders of the seeds."""
SEED_FOLDERS = "seed-*", "scratch-*"


@dataclass(frozen=True)
class PretrainedEncoder:
    """An encoder and the facts of its training: settings, errors, history, first and last bar, digests."""

    encoder: "Encoder"
    facts: dict[str, Any]


@dataclass(frozen=True)
class TrainedClassifiers:
    """One model for each training seed, and its ablations.

    Attributes:
        models: By seed.
        scratch: The same network from scratch, by seed.
        untrained: The heads on an untrained encoder.
        facts: seeds, served (the seed with the lowest validation loss), histories, settings,
            first and last bar, digests.
    """

    models: "dict[int, ExpansionModel]"
    scratch: "dict[int, ExpansionModel]"
    untrained: "ExpansionModel"
    facts: dict[str, Any]

    @property
    def served(self) -> "ExpansionModel":
        """The model that is registered."""
        return self.models[self.facts["served"]]


@dataclass(frozen=True)
class WrittenReport:
    """The numbers of a report, and its HTML page."""

    data: "ReportData"
    page: str


EXACT = ("raw_nq_bars", "labeled_expansions")
"""Assets that may hold float64: prices lie exactly on the tick grid."""


class StoreIOManager(dg.ConfigurableIOManager):
    """Stores each asset in the folder of its market and profile."""

    pipeline: dg.ResourceDependency[Pipeline]

    @abstractmethod
    def write(self, artifact_path: Path, value: Any) -> None:
        """Store a value at `artifact_path`."""

    @abstractmethod
    def read(self, artifact_path: Path) -> Any:
        """The value stored at `artifact_path`."""

    def floats(self, value: Any) -> Iterator[tuple[str, str]]:
        """Name and dtype of each floating-point array that must be float32."""
        yield from ()

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Store an asset's value and the digests of its files.

        Raises:
            IntegrityError: If an array must be float32 and is not.
        """
        asset = context.asset_key.to_user_string()
        self._require_float32(asset, obj)
        artifact_path = self.pipeline.artifact_path(asset)
        self.write(artifact_path, obj)
        write_checksums(artifact_path)
        crash_point(f"{asset}.after_keep")
        push(self.pipeline.home, artifact_path)

    def load_input(self, context: dg.InputContext) -> Any:
        """The value of an upstream asset.

        Raises:
            MissingFile: If its checksum file is gone.
            MissingArtifact: If it has not been materialized for this market and profile.
            Truncated, ChecksumMismatch: If its files were changed.
            UnreadableFile: If the system cannot read a file.
            IntegrityError: If an array must be float32 and is not.
        """
        asset = context.asset_key.to_user_string()
        artifact_path = self.pipeline.artifact_path(asset)
        pull(self.pipeline.home, artifact_path)
        try:
            prove(artifact_path)
            value = self.read(artifact_path)
        except (MissingFile, UnreadableFile):
            raise
        except FileNotFoundError as fault:
            raise MissingArtifact(
                f"{asset} must be materialized first for {self.pipeline.label}, but it does not exist. "
                "Materialize it, or run: moola run"
            ) from fault
        except OSError as fault:
            raise unreadable(artifact_path, fault, remedy_of(artifact_path)) from fault
        self._require_float32(asset, value)
        return value

    def _require_float32(self, asset: str, value: Any) -> None:
        if asset in EXACT:
            return
        for name, dtype in self.floats(value):
            if dtype.removeprefix("torch.") != "float32":
                raise IntegrityError(
                    f"{asset}: {name} must be float32 between assets, got {dtype}. Cast it in the asset."
                )


class FrameIOManager(StoreIOManager):
    """Data frames as parquet."""

    def write(self, artifact_path: Path, value: pd.DataFrame) -> None:
        """Store a frame."""
        atomic_write_bytes(artifact_path.with_suffix(".parquet"), value.to_parquet())

    def read(self, artifact_path: Path) -> pd.DataFrame:
        """The frame."""
        return _read_frame(artifact_path.with_suffix(".parquet"))

    def floats(self, value: pd.DataFrame) -> Iterator[tuple[str, str]]:
        """Floating-point columns."""
        kinds = {str(name): str(dtype) for name, dtype in value.dtypes.items()}
        yield from ((name, kind) for name, kind in kinds.items() if kind.lower().startswith("float"))


class FeatureIOManager(StoreIOManager):
    """Stores the inputs of the feature table, not its values: computing takes half the time of loading.

    A process keeps the table that it computed last: the next asset reads the same one.
    """

    _kept: tuple[dict[str, Any], FeatureTable] | None = PrivateAttr(default=None)

    def write(self, artifact_path: Path, value: FeatureTable) -> None:
        """Store the digest of the bars, the code version, and the tick size."""
        bars = self._bars(artifact_path)
        if len(bars) != len(value.values):
            raise IntegrityError(
                f"{artifact_path.name} must have a row for each of the {len(bars):,} stored bars, "
                f"got {len(value.values):,}. Rebuild the bars: moola run"
            )
        made_from = {
            "bars_sha256": content_digest(bars),
            "code_version": code_version(artifact_path.name),
            "tick_points": self.pipeline.chosen_market().instrument.tick_points,
            "features": list(FEATURE_NAMES),
            "shape": list(value.values.shape),
        }
        atomic_write_json(artifact_path.with_suffix(".json"), made_from)

    def read(self, artifact_path: Path) -> FeatureTable:
        """The table of the stored bars, by the code it was made with.

        Raises:
            IntegrityError: If bars or code are no longer those.
        """
        made_from = json.loads(artifact_path.with_suffix(".json").read_bytes())
        bars = self._bars(artifact_path)
        now = {"bars_sha256": content_digest(bars), "code_version": code_version(artifact_path.name)}
        for name, what in (("bars_sha256", "bars"), ("code_version", "code")):
            if now[name] != made_from[name]:
                raise IntegrityError(
                    f"{artifact_path.name} was built from {what} {made_from[name][:12]}, "
                    f"got {now[name][:12]}. "
                    "Rebuild it: moola run"
                )
        if self._kept is None or self._kept[0] != made_from:
            prices, segment = bars[list(PRICE_COLUMNS)].to_numpy(), bars["segment"].to_numpy()
            self._kept = made_from, compute_features(prices, segment, made_from["tick_points"])
        return self._kept[1]

    def floats(self, value: FeatureTable) -> Iterator[tuple[str, str]]:
        """Values and ATR."""
        yield from (("values", str(value.values.dtype)), ("atr", str(value.atr.dtype)))

    def _bars(self, artifact_path: Path) -> pd.DataFrame:
        """The prices and segments that the features are computed from."""
        bars = artifact_path.with_name("raw_nq_bars")
        pull(self.pipeline.home, bars)
        prove(bars)
        return _read_frame(bars.with_suffix(".parquet"), [*PRICE_COLUMNS, "segment"])


class JsonIOManager(StoreIOManager):
    """Plain facts as JSON."""

    def write(self, artifact_path: Path, value: Mapping[str, Any]) -> None:
        """Store a mapping."""
        atomic_write_json(artifact_path.with_suffix(".json"), dict(value))

    def read(self, artifact_path: Path) -> dict[str, Any]:
        """The mapping."""
        return json.loads(artifact_path.with_suffix(".json").read_bytes())


class EncoderIOManager(StoreIOManager):
    """The pretrained encoder: weights, config, and how it was trained."""

    def write(self, artifact_path: Path, value: Any) -> None:
        """Store a `PretrainedEncoder`."""
        from moola_pipeline.models.expansion_model import save_encoder

        save_encoder(artifact_path, value.encoder, value.facts)

    def read(self, artifact_path: Path) -> Any:
        """The `PretrainedEncoder`."""
        from moola_pipeline.models.expansion_model import load_encoder

        _require(artifact_path)
        return PretrainedEncoder(*load_encoder(artifact_path))

    def floats(self, value: Any) -> Iterator[tuple[str, str]]:
        """Weights and buffers."""
        yield from _float_tensors(value.encoder)


class ClassifierIOManager(StoreIOManager):
    """The fine-tuned classifiers and their ablations, one folder for each network."""

    def write(self, artifact_path: Path, value: Any) -> None:
        """Store `TrainedClassifiers`; folders of earlier seeds are removed last."""
        from moola_pipeline.models.expansion_model import save_expansion_model

        networks = _by_folder(value)
        for folder, model in networks.items():
            save_expansion_model(artifact_path / folder, model, {})
        atomic_write_json(artifact_path / "training.json", value.facts)
        stored = (path for pattern in SEED_FOLDERS for path in artifact_path.glob(pattern))
        for stale in [path for path in stored if path.name not in networks]:
            shutil.rmtree(stale)

    def read(self, artifact_path: Path) -> Any:
        """The `TrainedClassifiers`."""
        from moola_pipeline.models.expansion_model import load_expansion_model

        facts = json.loads((artifact_path / "training.json").read_bytes())

        def network(folder: str) -> "ExpansionModel":
            return load_expansion_model(artifact_path / folder)[0]

        models = {seed: network(f"seed-{seed}") for seed in facts["seeds"]}
        scratch = {seed: network(f"scratch-{seed}") for seed in facts.get("scratch_seeds", [])}
        return TrainedClassifiers(models, scratch, network(UNTRAINED_FOLDER), facts)

    def floats(self, value: Any) -> Iterator[tuple[str, str]]:
        """Weights and buffers of every network."""
        for folder, model in _by_folder(value).items():
            for name, dtype in _float_tensors(model.classifier):
                yield f"{folder} {name}", dtype


def _by_folder(classifiers: TrainedClassifiers) -> "dict[str, ExpansionModel]":
    seeds = {f"seed-{seed}": model for seed, model in classifiers.models.items()}
    scratch = {f"scratch-{seed}": model for seed, model in classifiers.scratch.items()}
    return {**seeds, **scratch, UNTRAINED_FOLDER: classifiers.untrained}


class ReportIOManager(StoreIOManager):
    """The report: its numbers as JSON, its page as HTML."""

    def write(self, artifact_path: Path, value: Any) -> None:
        """Store a `WrittenReport`: first the page, then the numbers."""
        atomic_write_bytes(artifact_path.with_suffix(".html"), value.page.encode())
        atomic_write_bytes(artifact_path.with_suffix(".json"), value.data.model_dump_json(indent=2).encode())

    def read(self, artifact_path: Path) -> Any:
        """The `WrittenReport`."""
        from moola_pipeline.report.data import ReportData

        data = ReportData.model_validate_json(artifact_path.with_suffix(".json").read_bytes())
        return WrittenReport(data, artifact_path.with_suffix(".html").read_text())


def _read_frame(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a frame through Python, so that a failed read raises an OSError with its reason."""
    return pd.read_parquet(io.BytesIO(path.read_bytes()), columns=columns)


def _require(folder: Path) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(folder)


def _float_tensors(module: "torch.nn.Module") -> Iterator[tuple[str, str]]:
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            yield name, str(tensor.dtype)
