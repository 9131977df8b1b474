"""An open MLflow run: what is logged to it, its children, and its page."""

import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from moola_pipeline import __version__
from moola_pipeline.storage.checksums import FileDigest, bytes_digest
from moola_pipeline.storage.home import PROJECT_ROOT
from moola_pipeline.tracking.pages import run_page, server_url

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARENT_TAG = "mlflow.parentRunId"
DAGSTER_RUN_TAG = "dagster.run_id"
NOTE_TAG = "mlflow.note.content"
"""MLflow shows its text, markdown, as the description of a run or a logged model."""
USE_TAG = "mlflow.data.context"
DIGEST_TAG = "sha256."
"""Prefix of the tag with an artifact's SHA256 and size, for `moola verify`; its path follows."""
SEED_RUN = "seed "
"""How the name of the run of a training seed begins; the seed follows."""
_HANDED_DOWN = (DAGSTER_RUN_TAG, "market", "simulated", "profile")
"""Tags that a child takes from its parent."""


class DataInput(NamedTuple):
    """Data that a run reads.

    Attributes:
        name: bars or labels.
        digest: SHA256 of its content.
        source: Where it comes from.
        facts: Its size.
        use: training, validation or testing; empty if it is not one split.
    """

    name: str
    digest: str
    source: str
    facts: Mapping[str, Any]
    use: str = ""

    @property
    def short_digest(self) -> str:
        """The digest as far as MLflow stores it: 36 digits."""
        return self.digest[:36]


@cache
def code_state() -> tuple[str, str]:
    """Commit of the checkout and its uncommitted diff; the package version where there is none."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit.strip(), _git("diff", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return f"moola {__version__}", ""


def source_tags() -> dict[str, str]:
    """Tags of a run that say which code made it."""
    commit, _ = code_state()
    return {
        "mlflow.source.name": "moola",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": commit,
    }


@dataclass(frozen=True)
class TrackedRun:
    """An open MLflow run."""

    client: "MlflowClient"
    experiment: str
    id: str

    @property
    def url(self) -> str:
        """The run's page in the MLflow UI."""
        return f"{server_url()}/{run_page(self.experiment, self.id)}"

    @contextmanager
    def child(self, name: str, params: Mapping[str, Any]) -> Iterator["TrackedRun"]:
        """A run nested under this one; ends as FINISHED, or as FAILED."""
        own_tags = self.client.get_run(self.id).data.tags
        tags = {key: own_tags[key] for key in _HANDED_DOWN if key in own_tags}
        tags |= {PARENT_TAG: self.id, **source_tags()}
        run = self.client.create_run(self.experiment, tags=tags, run_name=name)
        child = TrackedRun(self.client, self.experiment, run.info.run_id)
        with child.ended_by_outcome():
            child.log_params(params)
            yield child

    @contextmanager
    def ended_by_outcome(self) -> Iterator[None]:
        """End the run as FINISHED, or as FAILED with the error as a tag."""
        try:
            yield
        except BaseException as fault:
            self.client.set_tag(self.id, "fault", str(fault)[:5000])
            self.client.set_terminated(self.id, "FAILED")
            raise
        self.client.set_terminated(self.id, "FINISHED")

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0, at: float | None = None) -> None:
        """Log finite numbers under their names; `at` is in seconds since 1970, now by default."""
        from mlflow.entities import Metric

        moment = int((time.time() if at is None else at) * 1000)
        entries = [
            Metric(name, float(value), moment, step) for name, value in metrics.items() if value == value
        ]
        self.client.log_batch(self.id, metrics=entries)

    def log_lines(self, lines: Mapping[str, Sequence[tuple[int, float]]]) -> None:
        """Log metrics with a past: points of each, as milliseconds since 1970 and value, by name."""
        from mlflow.entities import Metric

        entries = [
            Metric(name, value, at, step)
            for name, line in lines.items()
            for step, (at, value) in enumerate(line)
        ]
        for first in range(0, len(entries), 1000):
            self.client.log_batch(self.id, metrics=entries[first : first + 1000])

    def log_epoch(self, entry: Mapping[str, float]) -> None:
        """Log one epoch's entry of a training history."""
        named = {name: value for name, value in entry.items() if name != "epoch"}
        self.log_metrics(named, step=int(entry["epoch"]))

    def log_params(self, params: Mapping[str, Any], prefix: str = "") -> None:
        """Log settings, nested ones with dotted names; long values are cut at MLflow's limit."""
        from mlflow.entities import Param

        entries = [Param(name, text) for name, text in flattened(params, prefix).items()]
        for first in range(0, len(entries), 90):
            self.client.log_batch(self.id, params=entries[first : first + 90])

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags as text."""
        from mlflow.entities import RunTag

        self.client.log_batch(self.id, tags=[RunTag(name, str(value)) for name, value in tags.items()])

    def log_inputs(self, inputs: Sequence[DataInput]) -> None:
        """Log the data that the run reads; `sha256` in its profile has all digits of its digest."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        self.client.log_inputs(
            self.id,
            [
                DatasetInput(
                    Dataset(
                        one.name,
                        one.short_digest,
                        "local",
                        json.dumps({"uri": one.source}),
                        profile=json.dumps({**one.facts, "sha256": one.digest}),
                    ),
                    [InputTag(USE_TAG, one.use)] if one.use else [],
                )
                for one in inputs
            ],
        )

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file or a folder into the run."""
        below = f"{folder}/" if folder else ""
        if path.is_dir():
            self.client.log_artifacts(self.id, str(path), folder)
            self.set_tags(digest_tags(path, below))
        else:
            self.client.log_artifact(self.id, str(path), folder)
            self.set_tags({f"{DIGEST_TAG}{below}{path.name}": FileDigest.of(path)})

    def log_text(self, text: str, name: str) -> None:
        """Store a text as a file of the run."""
        self.client.log_text(self.id, text, name)
        self.set_tags({f"{DIGEST_TAG}{name}": bytes_digest(text.encode())})


def digest_tags(folder: Path, below: str = "") -> dict[str, str]:
    """Tags with the digest of each file in a folder; `below` precedes its path there."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        f"{DIGEST_TAG}{below}{path.relative_to(folder).as_posix()}": str(FileDigest.of(path))
        for path in files
    }


def flattened(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Settings as texts, nested ones with dotted names; long values are cut at MLflow's limit."""
    flat: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = str(value)[:6000]
    return flat


def _git(*words: str) -> str:
    command = ["git", "-C", str(PROJECT_ROOT), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
