"""`moola bench`: speed and memory of the pipeline, and how realistic the simulated market is."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from moola_pipeline.bars.store import registered_store
from moola_pipeline.cli.output import emit, json_option
from moola_pipeline.errors import BadInput, MoolaError
from moola_pipeline.storage.home import Home
from moola_pipeline.storage.remote_stores import ARTIFACTS_VARIABLE, STORE_VARIABLE, TRACKING_VARIABLE

if TYPE_CHECKING:
    from moola_pipeline.benchmarks.job import JobReport

JOB_PROFILE = "demo"
REMOTE_VARIABLES = (TRACKING_VARIABLE, ARTIFACTS_VARIABLE, STORE_VARIABLE)


@click.group(invoke_without_command=True)
@click.option("--job", is_flag=True, help="Also time the main job in a temporary home; takes minutes more.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write a Markdown page, such as docs/benchmarks.md."
)
@json_option
@click.pass_context
def bench(context: click.Context, job: bool, out: Path | None, as_json: bool) -> None:
    """Time import, checks, features, windows, a scan, training and start-up on 1.8M simulated bars.

    Training is timed on a GPU too, if there is one. The times of the main job come from the last
    complete run of the home.
    """
    if context.invoked_subcommand is not None:
        return
    from moola_pipeline.benchmarks.speed import measure_speed
    from moola_pipeline.benchmarks.speed_page import COMMAND, speed_facts, speed_lines, speed_page
    from moola_pipeline.storage.atomic_write import atomic_write_bytes

    _require_markdown(out)
    job_report = _measured_job() if job else _recorded_job(context.find_root().obj)
    report = measure_speed()
    command = COMMAND.replace("bench", "bench --job", 1) if job else COMMAND
    if out is not None:
        atomic_write_bytes(out, speed_page(report, job_report, command).encode())
    lines = [*speed_lines(report, job_report), *([f"written to {out}"] if out else [])]
    emit(speed_facts(report, job_report), lines, as_json)


def _measured_job() -> "JobReport":
    """Run the main job in a temporary home and time its stages."""
    from moola_pipeline.benchmarks.job import fresh_job

    with without_remote_stores(), fresh_job(JOB_PROFILE) as fresh:
        report = _recorded_job(Home(fresh.home))
    if report is None:
        raise MoolaError("the main job must log all nine assets, but did not")
    return report._replace(seconds=fresh.seconds, looks=fresh.looks)


@contextmanager
def without_remote_stores() -> Iterator[None]:
    """Unset the addresses of remote stores inside the block: a trial run must not write to them."""
    before = {name: os.environ.pop(name) for name in REMOTE_VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)


def _recorded_job(home: Home) -> "JobReport | None":
    """Times that the home's last complete run logged."""
    from moola_pipeline.benchmarks.job import JobReport
    from moola_pipeline.tracking.run_records import last_whole_run

    record = last_whole_run(home)
    if record is None:
        return None
    when = f"{record.started_at:%Y-%m-%d %H:%M} UTC"
    return JobReport(record.profile, record.market, when, record.stages, None, {})


@bench.command()
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write a Markdown page, such as docs/simulated_market.md."
)
@json_option
@click.pass_obj
def market(home: Home, out: Path | None, as_json: bool) -> None:
    """Compare the simulated market with registered bars."""
    from moola_pipeline.benchmarks.market_page import compare_markets, market_lines, market_page
    from moola_pipeline.storage.atomic_write import atomic_write_bytes

    _require_markdown(out)
    comparison = compare_markets(registered_store(home))
    if out is not None:
        atomic_write_bytes(out, market_page(comparison, _today()).encode())
    facts = {**comparison._asdict(), "proposer": comparison.proposer.model_dump()}
    emit(facts, [*market_lines(comparison), *([f"written to {out}"] if out else [])], as_json)


@bench.command()
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write a Markdown page, such as docs/features.md."
)
@json_option
@click.pass_obj
def features(home: Home, out: Path | None, as_json: bool) -> None:
    """Measure density and spread of every feature.

    Measured on simulated and on registered bars.
    """
    from moola_pipeline.benchmarks.feature_page import (
        feature_facts,
        feature_lines,
        feature_page,
        measure_features,
    )
    from moola_pipeline.storage.atomic_write import atomic_write_bytes

    _require_markdown(out)
    measured = measure_features(registered_store(home))
    if out is not None:
        atomic_write_bytes(out, feature_page(measured, _today()).encode())
    emit(
        feature_facts(measured), [*feature_lines(measured), *([f"written to {out}"] if out else [])], as_json
    )


@bench.command()
@click.option(
    "--bars",
    type=click.IntRange(10_000_000),
    default=18_000_000,
    show_default=True,
    help="Largest number of bars.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Write a chart, such as docs/scaling.svg.")
@json_option
def scaling(bars: int, out: Path | None, as_json: bool) -> None:
    """Measure time and memory with 1 %, 10 % and 100 % of the bars."""
    from moola_pipeline.benchmarks.scaling import measure_scaling, scaling_picture, scaling_table
    from moola_pipeline.storage.atomic_write import atomic_write_bytes

    if out is not None and out.suffix != ".svg":
        raise BadInput(f"--out must end in .svg, got {out.name}. Name an SVG file.")
    sizes = measure_scaling((bars // 100, bars // 10, bars))
    if out is not None:
        atomic_write_bytes(out, scaling_picture(sizes))
    facts = [
        {**size._asdict(), "bytes_a_bar": size.bytes_a_bar, "whole_epoch_estimate": size.whole_epoch}
        for size in sizes
    ]
    lines = [*scaling_table(sizes), *([f"written to {out}"] if out else [])]
    emit({"sizes": facts}, lines, as_json)


@bench.command()
@json_option
def labeler(as_json: bool) -> None:
    """Measure how long one waits in the labeler at five years of simulated bars."""
    from moola_pipeline.benchmarks.labeler_speed import labeler_lines, measure_labeler

    speed = measure_labeler()
    emit(speed._asdict(), labeler_lines(speed), as_json)


def _require_markdown(out: Path | None) -> None:
    if out is not None and out.suffix != ".md":
        raise BadInput(f"--out must end in .md, got {out.name}. Name a Markdown file.")


def _today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"
