"""`moola run`: train, evaluate and register a model, then predict on the newest bars."""

import logging
import os
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from moola_pipeline.cli.durations import expected_seconds
from moola_pipeline.cli.exit_codes import DEBUG_VARIABLE
from moola_pipeline.cli.options import (
    choose_annotator,
    choose_splits,
    choose_target,
    chosen_pipeline,
    label_options,
    market_options,
    split_options,
    target_options,
)
from moola_pipeline.cli.output import json_option
from moola_pipeline.cli.progress import busy, run_progress
from moola_pipeline.cli.run_outcome import show_outcome
from moola_pipeline.cli.signals import repeat_interrupt
from moola_pipeline.errors import BadInput, IntegrityError, MoolaError
from moola_pipeline.storage.atomic_write import locked
from moola_pipeline.storage.home import Home

if TYPE_CHECKING:
    import dagster as dg
    from filelock import FileLock

    from moola_pipeline.cli.progress import RunProgress
    from moola_pipeline.resources.pipeline import Pipeline
    from moola_pipeline.staleness.plan import Step


@click.command()
@market_options
@click.option(
    "--device", type=click.Choice(["auto", "cuda", "mps", "cpu"]), default="auto", show_default=True
)
@click.option(
    "--processes",
    type=click.IntRange(min=0),
    help="Number of processes that pretrain together, one GPU each or all on the CPU; 0: one per GPU.  "
    "[default: MOOLA_PROCESSES, else 1]",
)
@click.option("--tf32", is_flag=True, help="Multiply in TF32 on a GPU: faster, but less exact than float32.")
@click.option("--force", is_flag=True, help="Rebuild all assets, even if nothing has changed.")
@label_options
@split_options
@target_options
@json_option
def run(
    profile: str,
    market: str,
    scenario: str | None,
    device: str,
    processes: int | None,
    tf32: bool,
    force: bool,
    as_json: bool,
    annotator: str | None,
    definition: int | None,
    rolling: int | None,
    target: float | None,
    target_low: float | None,
    **ends: datetime | None,
) -> None:
    """Train, evaluate, register and predict. Assets that are up to date are not rebuilt.

    The home remembers the split dates, the annotator, the definition and the target that you give. The
    profile "study" trains no model: it compares pretraining methods at several numbers of labels and takes
    hours. An interrupted study resumes.
    """
    home = Home.resolve()
    if profile == "study":
        from moola_pipeline.cli.study import run_study

        if processes is not None or tf32:
            raise BadInput(
                "--processes and --tf32 need a profile that trains a model, got study. Leave them out."
            )
        with exclusive_run(home):
            run_study(home, market, scenario, device, force, as_json)
        return
    started = time.monotonic()
    with busy("Loading Dagster"):
        from moola_pipeline.resources.instance import (
            await_runs,
            await_slots,
            open_instance,
            prepare_instance,
            release_stale_runs,
        )
        from moola_pipeline.resources.pipeline import Pipeline
        from moola_pipeline.staleness.plan import everything, plan
        from moola_pipeline.tracking.recorded_files import verify_champion

        prepare_instance(home)
        quiet_libraries()
    with exclusive_run(home), open_instance(home) as instance:
        with busy("Comparing bars, labels, settings and code with the last run"):
            # Resolve `auto` now: bars or labels added during the run must not change its market.
            chosen = _resolved(Pipeline(**chosen_pipeline(profile, market, scenario)))
            pipeline = Pipeline(**chosen)  # pyright: ignore[reportArgumentType]
            choose_annotator(pipeline.chosen_market(), annotator, definition)
            split = choose_splits(home, pipeline.chosen_market(), rolling, **ends)
            aim = choose_target(home, target, target_low)
            steps = everything("--force") if force else _plan(plan, instance, pipeline)
        stale = [step.asset for step in steps if step.stale]
        if not as_json:
            _show_plan(pipeline, steps)
            if split is not None:
                click.echo(f"splits {split.shown}, saved for this home")
            if aim is not None:
                click.echo(f"target {aim.shown}, saved for this home")
        release_stale_runs(instance)
        if stale:
            await_runs(instance, lambda line: click.echo(line, err=True))
            await_slots(instance, lambda line: click.echo(line, err=True))
            compute = {"device": device, "tf32": tf32, "processes": processes}
            expected = expected_seconds(instance, pipeline, stale)
            if not as_json:
                click.echo(expected.shown)
            with run_progress(expected.by_asset, as_json) as progress:
                _materialize(instance, stale, chosen, compute, progress)
    show_outcome(home, pipeline, stale, time.monotonic() - started, as_json)
    verify_champion(home, pipeline.chosen_market().model_name)  # even if nothing was rebuilt


def _resolved(pipeline: "Pipeline") -> dict[str, str]:
    """Profile and market by name; `auto` resolved by what is registered now."""
    market = "simulated" if pipeline.chosen_market().simulated else "registered"
    return {"profile": pipeline.chosen_profile().name, "market": market, "scenario": pipeline.scenario}


@contextmanager
def exclusive_run(home: Home) -> Iterator[None]:
    """Hold the home's run lock; print a line and wait while another command holds it."""
    from filelock import Timeout

    lock = run_lock(home)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        click.echo("Another moola command is using this home. Waiting for it to finish ...", err=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def run_lock(home: Home) -> "FileLock":
    """The lock that `moola run` holds in the home while it works."""
    return locked(home.dagster / "run")


def quiet_libraries() -> None:
    """Show only errors from the logs of Dagster, MLflow and Alembic; Dagster's run log keeps the rest."""
    import warnings

    warnings.filterwarnings("ignore", module="dagster|mlflow")
    for name in ("dagster", "mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _plan(plan: Any, instance: "dg.DagsterInstance", pipeline: "Pipeline") -> list["Step"]:
    """The plan; all assets if bars or labels fail a check, so that the run raises the error."""
    from moola_pipeline.staleness.plan import everything

    try:
        return plan(instance, pipeline.planned())
    except IntegrityError as error:
        return everything(str(error))


def _show_plan(pipeline: "Pipeline", steps: list["Step"]) -> None:
    market = pipeline.chosen_market()
    marked = "SIMULATED bars" if market.simulated else f"registered {market.instrument.name} bars"
    if pipeline.scenario != "none":
        marked += f", scenario {pipeline.scenario}"
    click.echo(f"moola run  {marked}, profile {pipeline.chosen_profile().name}")
    unchanged = [step.asset for step in steps if not step.stale]
    if 0 < len(unchanged) < len(steps):
        click.echo(f"up to date: {', '.join(unchanged)}")
    for step in steps:
        if step.stale and unchanged:
            click.echo(f"rebuilding {step.asset}: {step.reason}")


def _materialize(
    instance: "dg.DagsterInstance",
    assets: list[str],
    pipeline_config: dict[str, str],
    compute_config: dict[str, Any],
    progress: "RunProgress",
) -> None:
    import dagster as dg
    from dagster._core.utils import make_new_run_id

    from moola_pipeline.assets.stage import progress_to
    from moola_pipeline.definitions import defs
    from moola_pipeline.resources.instance import run_tags

    raised: dict[str, BaseException] = {}
    run_id = make_new_run_id()
    instance.add_event_listener(run_id, partial(_show_step, progress))

    @dg.failure_hook
    def keep_exception(context: dg.HookContext) -> None:
        raised[context.step_key] = context.op_exception  # pyright: ignore[reportArgumentType]

    # No retries, unlike train_job: the user is waiting and can act on the error.
    job = defs.resolve_implicit_global_asset_job_def().with_hooks({keep_exception})
    try:
        with progress_to(progress), repeat_interrupt():
            result = job.execute_in_process(
                instance=instance,
                run_id=run_id,
                asset_selection=[dg.AssetKey(asset) for asset in assets],
                tags=run_tags(),
                run_config={
                    "resources": {
                        "pipeline": {"config": pipeline_config},
                        "compute": {"config": {k: v for k, v in compute_config.items() if v is not None}},
                    },
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                },
                raise_on_error=False,
            )
    except dg.DagsterExecutionInterruptedError:
        raise KeyboardInterrupt from None
    if not result.success:
        raise click.Abort if _interrupted(result) else _failed_check(result) or _fault(raised)


def _show_step(progress: "RunProgress", entry: "dg.EventLogEntry") -> None:
    """Show that an asset begins, ends or fails, as Dagster records it."""
    event = entry.dagster_event
    if event is None or event.step_key is None:
        return
    if event.is_step_start:
        progress.start_stage(event.step_key)
    elif event.is_step_success or event.is_step_failure:
        progress.end_stage(_failure(event))


def _failure(event: "dg.DagsterEvent") -> str:
    """How a step ended, if not well."""
    if not event.is_step_failure:
        return ""
    return "stopped" if _by_signal(event) else "failed"


def _interrupted(result: Any) -> bool:
    """Whether a signal ended a step; Dagster then runs no failure hook."""
    return any(event.is_step_failure and _by_signal(event) for event in result.all_events)


def _by_signal(failure: "dg.DagsterEvent") -> bool:
    from dagster._core.execution.plan.objects import ErrorSource

    return failure.step_failure_data.error_source is ErrorSource.INTERRUPT


def _failed_check(result: Any) -> IntegrityError | None:
    """The first blocking check that failed, with its value and limit."""
    for evaluation in result.get_asset_check_evaluations():
        if not evaluation.passed and evaluation.blocking and evaluation.check_name != "bars_match_manifest":
            value = evaluation.metadata["value"].value
            limit = evaluation.metadata["limit"].value
            measured = "" if isinstance(value, bool) else f" (value {value}, limit {limit})"
            why = f" {evaluation.description}" if evaluation.description else ""
            asset = evaluation.asset_key.to_user_string()
            return IntegrityError(f"{asset}: check {evaluation.check_name} failed{measured}.{why}")
    return None


def _fault(raised: dict[str, BaseException]) -> Exception:
    """The exception of the first failed step, or its cause, as an error with an exit code.

    Args:
        raised: Exceptions by step, oldest first.
    """
    import dagster as dg

    for step, exception in raised.items():
        chain = [exception]
        while chain[-1].__cause__ is not None:
            chain.append(chain[-1].__cause__)
        if any(isinstance(link, (dg.DagsterExecutionInterruptedError, KeyboardInterrupt)) for link in chain):
            return click.Abort()
        if os.environ.get(DEBUG_VARIABLE):
            traceback.print_exception(exception)
        moola_error = next((link for link in chain if isinstance(link, MoolaError)), None)
        kind, text = type(chain[-1]).__name__, str(chain[-1]).strip().partition("\n")[0]
        return moola_error or MoolaError(f"{step} failed: {kind}: {text}")
    return MoolaError("The run failed. Read its log in Dagster (moola ui).")
