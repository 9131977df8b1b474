"""Code shared by all assets: settings, MLflow run, fingerprint, progress, metadata, checks."""

from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Optional, Protocol, TypeVar, get_origin

import dagster as dg
import pandas as pd
from pydantic import BaseModel, Field, create_model

from moola_pipeline.assets.metadata import row_count
from moola_pipeline.errors import LossNotFinite
from moola_pipeline.instrument_data import InstrumentData
from moola_pipeline.labels.splits import SPLITS
from moola_pipeline.resources.pipeline import Pipeline
from moola_pipeline.settings import Profile
from moola_pipeline.staleness.data_digests import DataDigests, read_data_digests
from moola_pipeline.staleness.fingerprints import (
    FINGERPRINT,
    MADE_FROM,
    Ingredients,
    ingredients,
    stage_settings,
)
from moola_pipeline.staleness.records import MARKET, PROFILE, recorded
from moola_pipeline.staleness.stages import STAGES
from moola_pipeline.storage.crash_injection import crash_point
from moola_pipeline.tracking.runs import AssetRun, Tracking
from moola_pipeline.tracking.system_metrics import Usage, measured
from moola_pipeline.tracking.tracked_run import DataInput


class ProgressListener(Protocol):
    """Receives the progress of the asset that is being built."""

    def count(self, done: int, total: int, note: str) -> None:
        """`done` of `total` epochs are done."""

    def note(self, text: str) -> None:
        """What is done now."""


_listeners: list[ProgressListener] = []


@contextmanager
def progress_to(listener: ProgressListener) -> Iterator[None]:
    """Pass the progress of the assets built inside to a listener; without one it is not shown."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def show_epoch(done: int, total: int, note: str = "") -> None:
    """Show the epoch, and with it the share of the asset's work that is done."""
    for listener in _listeners:
        listener.count(done, total, f"epoch {done}/{total}  {note}".rstrip())


def show_work(note: str) -> None:
    """Show what is done now, for work whose share is not known."""
    for listener in _listeners:
        listener.note(note)


Settings = TypeVar("Settings", bound=BaseModel)


def launchpad_config(settings: type[BaseModel], name: str, fixed: Container[str] = ()) -> Any:
    """A Dagster config with the fields of `settings`, all optional; a value overrides the profile.

    Args:
        settings: The settings class.
        name: Name of the config class.
        fixed: Fields to leave out, because an upstream asset has already used them.
    """
    fields: dict[str, Any] = {
        key: (
            Optional[_in_launchpad(field.annotation)],  # noqa: UP045
            Field(default=None, description=field.description),
        )
        for key, field in settings.model_fields.items()
        if key not in fixed
    }
    return create_model(name, __base__=dg.Config, **fields)


def _in_launchpad(annotation: Any) -> Any:
    """The nearest type that Dagster's launchpad supports; the settings class validates the value."""
    if get_origin(annotation) is Literal:
        return str
    return list[int] if get_origin(annotation) is tuple else annotation


def active_settings(config: dg.Config, profile: Settings) -> Settings:
    """The profile's settings with the overrides from the launchpad.

    Raises:
        ValidationError: If an override is out of bounds.
    """
    overrides = {key: value for key, value in config.model_dump().items() if value is not None}
    return type(profile).model_validate({**profile.model_dump(), **overrides})


@dataclass(frozen=True)
class OpenStage:
    """An asset that is being built.

    Attributes:
        market, profile: Market and profile of the run.
        run: Its MLflow run; `run.parent` is that of the Dagster run.
        made_from: Its ingredients.
        usage: Its use of memory, CPU and GPU.
    """

    asset: str
    market: InstrumentData
    profile: Profile
    run: AssetRun
    made_from: Ingredients
    usage: Usage

    @property
    def data_digests(self) -> dict[str, str]:
        """Digests of the market's data, by the names of `read_data_digests`."""
        return self.made_from.market.digests

    @property
    def scored_labels(self) -> DataInput:
        """The labels on which models are scored: of the test split, or all if there is none."""
        return inputs_of(self.made_from.market)[-1]

    def result(
        self,
        value: Any,
        metadata: Mapping[str, Any],
        checks: list[dg.AssetCheckResult] | None = None,
        data_version: str | None = None,
        device: str = "cpu",
    ) -> dg.MaterializeResult:
        """The materialization: value, metadata common to all assets, checks."""
        fingerprint = self.made_from.fingerprint
        self.run.set_tags({FINGERPRINT: fingerprint, "device": device})
        for check in checks or []:
            self.run.set_tags({f"check.{check.check_name}": "passed" if check.passed else "FAILED"})
        return dg.MaterializeResult(
            value=value,
            metadata={
                "mlflow_run": dg.MetadataValue.url(self.run.url),
                "mlflow_run_id": self.run.id,
                MARKET: self.market.name,
                "simulated": self.market.simulated,
                PROFILE: self.profile.name,
                "device": device,
                "peak_memory_mb": round(self.usage.peak_megabytes, 1),
                FINGERPRINT: fingerprint,
                MADE_FROM: dg.MetadataValue.json(self.made_from.model_dump(mode="json")),
                **row_count(value),
                **metadata,
            },
            check_results=checks or [],
            data_version=dg.DataVersion(data_version or fingerprint),
        )


@contextmanager
def open_stage(
    context: dg.AssetExecutionContext,
    pipeline: Pipeline,
    tracking: Tracking,
    overrides: Mapping[str, BaseModel] | None = None,
    params: Mapping[str, Any] | None = None,
    upstream: Mapping[str, str | None] | None = None,
) -> Iterator[OpenStage]:
    """Open the asset's MLflow run and compute its fingerprint.

    Args:
        context: The asset's context.
        pipeline: Market and profile.
        tracking: Opens the MLflow run.
        overrides: Settings that may differ from the profile's, by their name in `stage_settings`.
        params: Logged beside the overrides.
        upstream: Further data versions, such as the champion's.
    """
    asset = context.asset_key.to_user_string()
    market, profile = pipeline.chosen_market(), pipeline.chosen_profile()
    in_force = {name: value.model_dump(mode="json") for name, value in (overrides or {}).items()}
    settings = {**stage_settings(market, profile), **in_force}
    records = {name: recorded(context.instance, name, market.name) for name in STAGES[asset].upstream}
    known = {name: one.data_version if one else None for name, one in records.items()}
    own = ingredients(asset, read_data_digests(market), settings, {**known, **(upstream or {})})
    tags = {"market": market.name, "simulated": market.simulated, "profile": profile.name}
    params = {**in_force, **(params or {})}
    logged = tracking.run(context, market.model_name, params, tags, inputs_of(own.market))
    with logged as run, measured(run) as usage:
        crash_point(f"{asset}.before_compute")
        yield OpenStage(asset, market, profile, run, own, usage)
        crash_point(f"{asset}.after_compute")


USES = dict(zip(SPLITS, ("training", "validation", "testing"), strict=True))
"""MLflow's words for the splits."""


def inputs_of(data: DataDigests) -> list[DataInput]:
    """Bars and labels of each split; the last one are the labels on which models are scored."""
    sources = {"bars": "manifest.json", "labels": "labels.csv"}
    parts = [(name, f"{name}.{split}", use) for split, use in USES.items() for name in sources]
    if not data.rows[f"labels.{SPLITS[-1]}"]:  # all are scored, by cross-validation
        parts.append(("labels", "labels", ""))
    return [
        DataInput(name, data.digests[part], sources[name], {"rows": data.rows[part]}, use)
        for name, part, use in parts
        if data.rows[part]
    ]


@contextmanager
def windows_by_time(bars: pd.DataFrame) -> Iterator[None]:
    """Report the windows of a non-finite loss by the UTC open of their first bar.

    Args:
        bars: The bar table.

    Raises:
        LossNotFinite: With the times of the windows.
    """
    try:
        yield
    except LossNotFinite as fault:
        opened = (f"{bars['timestamp'].iloc[row]:%Y-%m-%d %H:%M}" for row in fault.rows)
        named = f"that open at {', '.join(opened)} UTC"
        raise LossNotFinite.in_windows(fault.loss, fault.rows, named) from fault


def integrity(asset: str, name: str, description: str) -> dg.AssetCheckSpec:
    """A check that blocks downstream assets."""
    return dg.AssetCheckSpec(name, asset=asset, blocking=True, description=description)


def score(asset: str, name: str, description: str) -> dg.AssetCheckSpec:
    """A check that only warns: a bad score is a result, not an error."""
    return dg.AssetCheckSpec(name, asset=asset, blocking=False, description=description)


def verdict(
    name: str, passed: bool, value: Any, limit: Any, description: str = "", warn: bool = False
) -> dg.AssetCheckResult:
    """The result of a check, with the value and its limit."""
    return dg.AssetCheckResult(
        check_name=name,
        passed=bool(passed),
        severity=dg.AssetCheckSeverity.WARN if warn else dg.AssetCheckSeverity.ERROR,
        description=description or None,
        metadata={"value": _plain(value), "limit": _plain(limit)},
    )


def plain_value(entry: dg.MetadataValue) -> bool | int | float | str | None:
    """The value of a metadata entry, if it is a plain one."""
    value = entry.value
    return value if isinstance(value, (bool, int, float, str)) else None


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str)) else str(value)
