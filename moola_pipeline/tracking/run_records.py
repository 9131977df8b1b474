"""Time and memory of past runs, by asset, from the home's MLflow store."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from moola_pipeline.staleness.stages import STAGES
from moola_pipeline.storage.home import Home
from moola_pipeline.tracking.parent_run import PARENTS
from moola_pipeline.tracking.runs import has_store, open_store
from moola_pipeline.tracking.system_metrics import PREFIX
from moola_pipeline.tracking.tracked_run import PARENT_TAG

if TYPE_CHECKING:
    from mlflow.entities import Run

MAX_PARENTS = 50


class StageRecord(NamedTuple):
    """Time and memory of one asset.

    Attributes:
        asset: Its name.
        seconds: Duration of its MLflow run.
        peak_mb: Peak memory of the process, 10**6 bytes; None if not logged.
        cpu_percent: CPU use of the process in percent of one core; None if not logged.
    """

    asset: str
    seconds: float
    peak_mb: float | None
    cpu_percent: float | None


class RunRecord(NamedTuple):
    """A run that built all nine assets.

    Attributes:
        profile, market: Its profile and market.
        started_at: UTC.
        stages: In the order of the pipeline.
    """

    profile: str
    market: str
    started_at: datetime
    stages: list[StageRecord]


def last_whole_run(home: Home) -> RunRecord | None:
    """The last run that built all nine assets; None if there was none."""
    if not has_store(home):
        return None
    client = open_store(home)
    experiments = [one.experiment_id for one in client.search_experiments()]
    newest = ["attributes.start_time DESC"]
    parents = client.search_runs(experiments, PARENTS, max_results=MAX_PARENTS, order_by=newest)
    for parent in parents:
        query = f"tags.`{PARENT_TAG}` = '{parent.info.run_id}' and attributes.status = 'FINISHED'"
        runs = {one.data.tags["asset"]: one for one in client.search_runs(experiments, query)}
        if runs.keys() >= STAGES.keys():
            tags = runs["pretrained_encoder"].data.tags
            started = datetime.fromtimestamp(parent.info.start_time / 1000, UTC)
            return RunRecord(
                tags["profile"], tags["market"], started, [_record(runs[name]) for name in STAGES]
            )
    return None


def _record(run: "Run") -> StageRecord:
    metrics = run.data.metrics
    return StageRecord(
        run.data.tags["asset"],
        ((run.info.end_time or run.info.start_time) - run.info.start_time) / 1000,
        metrics.get(f"{PREFIX}peak_memory_megabytes"),
        metrics.get(f"{PREFIX}mean_process_cpu_percentage"),
    )
