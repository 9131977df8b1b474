"""Where assets are kept: one file or folder each, named formats, never pickle."""

import json
import shutil
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from moola_pipeline.errors import MissingArtifact
from moola_pipeline.features.relativity import FeatureTable
from moola_pipeline.publish import publish_bytes, publish_json, publishing
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.resources.seals import prove, seal


class StoreIOManager(dg.ConfigurableIOManager):
    """Keeps each asset under the folder of its market and profile."""

    pipeline: dg.ResourceDependency[Pipeline]

    @abstractmethod
    def write(self, place: Path, value: Any) -> None:
        """Keep a value at `place`."""

    @abstractmethod
    def read(self, place: Path) -> Any:
        """The value kept at `place`."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Keep an asset's value, and the digests of its files."""
        place = self.pipeline.place(context.asset_key.to_user_string())
        self.write(place, obj)
        seal(place)

    def load_input(self, context: dg.InputContext) -> Any:
        """The value of an upstream asset.

        Raises:
            MissingArtifact: If it has not been materialized for this market and profile.
            ChecksumMismatch: If its files are no longer those that were kept.
        """
        asset = context.asset_key.to_user_string()
        place = self.pipeline.place(asset)
        try:
            prove(place)
            return self.read(place)
        except FileNotFoundError as fault:
            raise MissingArtifact(
                f"{asset} must be materialized first for {self.pipeline.label}, but it is not there. "
                "Materialize it, or run: moola run"
            ) from fault


class FrameIOManager(StoreIOManager):
    """Data frames as parquet."""

    def write(self, place: Path, value: pd.DataFrame) -> None:
        """Keep a frame."""
        with publishing(place.with_suffix(".parquet")) as temporary:
            value.to_parquet(temporary)

    def read(self, place: Path) -> pd.DataFrame:
        """The frame."""
        return pd.read_parquet(place.with_suffix(".parquet"))


class FeatureIOManager(StoreIOManager):
    """The feature table as safetensors."""

    def write(self, place: Path, value: FeatureTable) -> None:
        """Keep a table."""
        from safetensors.numpy import save_file

        with publishing(place.with_suffix(".safetensors")) as temporary:
            save_file(vars(value), temporary)

    def read(self, place: Path) -> FeatureTable:
        """The table."""
        from safetensors.numpy import load_file

        return FeatureTable(**load_file(place.with_suffix(".safetensors")))


class JsonIOManager(StoreIOManager):
    """Plain facts as JSON."""

    def write(self, place: Path, value: Mapping[str, Any]) -> None:
        """Keep a mapping."""
        publish_json(place.with_suffix(".json"), dict(value))

    def read(self, place: Path) -> dict[str, Any]:
        """The mapping."""
        return json.loads(place.with_suffix(".json").read_bytes())


class EncoderIOManager(StoreIOManager):
    """The pretrained encoder: weights, config, and how it was trained."""

    def write(self, place: Path, value: Any) -> None:
        """Keep a `PretrainedEncoder`."""
        from moola_pipeline.models.annotator import save_encoder

        save_encoder(place, value.encoder, value.facts)

    def read(self, place: Path) -> Any:
        """The `PretrainedEncoder`."""
        from moola_pipeline.models.annotator import load_encoder
        from moola_pipeline.resources.artifacts import PretrainedEncoder

        _require(place)
        return PretrainedEncoder(*load_encoder(place))


class ClassifierIOManager(StoreIOManager):
    """The fine-tuned classifiers, one folder for each training seed."""

    def write(self, place: Path, value: Any) -> None:
        """Keep `TrainedClassifiers`; seeds of an earlier training go once the new ones are there."""
        from moola_pipeline.models.annotator import save_annotator

        for seed, annotator in value.annotators.items():
            save_annotator(place / f"seed-{seed}", annotator, {})
        publish_json(place / "training.json", value.facts)
        kept = {f"seed-{seed}" for seed in value.annotators}
        for stale in set(place.glob("seed-*")) - {place / name for name in kept}:
            shutil.rmtree(stale)

    def read(self, place: Path) -> Any:
        """The `TrainedClassifiers`."""
        from moola_pipeline.models.annotator import load_annotator
        from moola_pipeline.resources.artifacts import TrainedClassifiers

        facts = json.loads((place / "training.json").read_bytes())
        annotators = {seed: load_annotator(place / f"seed-{seed}")[0] for seed in facts["seeds"]}
        return TrainedClassifiers(annotators, facts)


class ReportIOManager(StoreIOManager):
    """The report: its numbers as JSON, its page as HTML."""

    def write(self, place: Path, value: Any) -> None:
        """Keep a `WrittenReport`; the page first, the numbers last."""
        publish_bytes(place.with_suffix(".html"), value.page.encode())
        publish_bytes(place.with_suffix(".json"), value.data.model_dump_json(indent=2).encode())

    def read(self, place: Path) -> Any:
        """The `WrittenReport`."""
        from moola_pipeline.evaluation.report_data import ReportData
        from moola_pipeline.resources.artifacts import WrittenReport

        data = ReportData.model_validate_json(place.with_suffix(".json").read_bytes())
        return WrittenReport(data, place.with_suffix(".html").read_text())


def _require(folder: Path) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(folder)
