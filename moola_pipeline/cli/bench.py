"""`moola bench`: how lifelike the simulated market is, and how fast the pipeline is, measured now."""

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
ELSEWHERE = (TRACKING_VARIABLE, ARTIFACTS_VARIABLE, STORE_VARIABLE)


@click.group(invoke_without_command=True)
@click.option("--job", is_flag=True, help="Run the main job, too, in a home of its own: minutes more.")
@click.option("--out", type=click.Path(path_type=Path), help="Write a page such as docs/benchmarks.md.")
@json_option
@click.pass_context
def bench(context: click.Context, job: bool, out: Path | None, as_json: bool) -> None:
    """Time import, proof, features, windows, a scan, training and start-up, on 1.8M simulated bars.

    Training is measured on a GPU as well where there is one. What the main job takes is read from
    the last whole run of the home.
    """
    if context.invoked_subcommand is not None:
        return
    from moola_pipeline.benchmarks.speed import measure_speed
    from moola_pipeline.benchmarks.speed_page import COMMAND, speed_facts, speed_lines, speed_page
    from moola_pipeline.storage.atomic_write import atomic_write_bytes

    _require_markdown(out)
    done = _measured_job() if job else _recorded_job(context.find_root().obj)
    report = measure_speed()
    command = COMMAND.replace("bench", "bench --job", 1) if job else COMMAND
    if out is not None:
        atomic_write_bytes(out, speed_page(report, done, command).encode())
    lines = [*speed_lines(report, done), *([f"written to {out}"] if out else [])]
    emit(speed_facts(report, done), lines, as_json)


def _measured_job() -> "JobReport":
    """What a fresh run of the main job takes, and where."""
    from moola_pipeline.benchmarks.job import fresh_job

    with refuse_remote_stores(), fresh_job(JOB_PROFILE) as found:
        report = _recorded_job(Home(found.home))
    if report is None:
        raise MoolaError("the main job must log all nine assets, but did not")
    return report._replace(seconds=found.seconds, looks=found.looks)


@contextmanager
def refuse_remote_stores() -> Iterator[None]:
    """Forget the stores outside the home inside the block: what is only played must not reach them."""
    before = {name: os.environ.pop(name) for name in ELSEWHERE if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)


def _recorded_job(home: Home) -> "JobReport | None":
    """What the home's last whole run logged."""
    from moola_pipeline.benchmarks.job import JobReport
    from moola_pipeline.tracking.run_records import last_whole_run

    record = last_whole_run(home)
    if record is None:
        return None
    when = f"{record.started_at:%Y-%m-%d %H:%M} UTC"
    return JobReport(record.profile, record.market, when, record.stages, None, {})


@bench.command()
@click.option("--out", type=click.Path(path_type=Path), help="Write a page such as docs/simulated_market.md.")
@json_option
@click.pass_obj
def market(home: Home, out: Path | None, as_json: bool) -> None:
    """Compare the simulated market with the registered bars, figure by figure."""
    from moola_pipeline.benchmarks.market_page import compare_markets, market_lines, market_page
    from moola_pipeline.storage.atomic_write import atomic_write_bytes

    _require_markdown(out)
    found = compare_markets(registered_store(home))
    if out is not None:
        atomic_write_bytes(out, market_page(found, _today()).encode())
    facts = {**found._asdict(), "proposer": found.proposer.model_dump()}
    emit(facts, [*market_lines(found), *([f"written to {out}"] if out else [])], as_json)


@bench.command()
@click.option("--out", type=click.Path(path_type=Path), help="Write a page such as docs/features.md.")
@json_option
@click.pass_obj
def features(home: Home, out: Path | None, as_json: bool) -> None:
    """Measure density and spread of every feature, simulated and registered."""
    from moola_pipeline.benchmarks.feature_page import (
        feature_facts,
        feature_lines,
        feature_page,
        measure_features,
    )
    from moola_pipeline.storage.atomic_write import atomic_write_bytes

    _require_markdown(out)
    found = measure_features(registered_store(home))
    if out is not None:
        atomic_write_bytes(out, feature_page(found, _today()).encode())
    emit(feature_facts(found), [*feature_lines(found), *([f"written to {out}"] if out else [])], as_json)


@bench.command()
@click.option(
    "--bars",
    type=click.IntRange(10_000_000),
    default=18_000_000,
    show_default=True,
    help="Most bars that are tried.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Draw it, such as docs/scaling.svg.")
@json_option
def scaling(bars: int, out: Path | None, as_json: bool) -> None:
    """Measure time and memory at a hundredth, a tenth and all of so many bars."""
    from moola_pipeline.benchmarks.scaling import measure_scaling, scaling_picture, scaling_table
    from moola_pipeline.storage.atomic_write import atomic_write_bytes

    if out is not None and out.suffix != ".svg":
        raise BadInput(f"--out must end in .svg, got {out.name}. Name an SVG file.")
    found = measure_scaling((bars // 100, bars // 10, bars))
    if out is not None:
        atomic_write_bytes(out, scaling_picture(found))
    facts = [
        {**one._asdict(), "bytes_a_bar": one.bytes_a_bar, "whole_epoch_estimate": one.whole_epoch}
        for one in found
    ]
    lines = [*scaling_table(found), *([f"written to {out}"] if out else [])]
    emit({"sizes": facts}, lines, as_json)


def _require_markdown(out: Path | None) -> None:
    if out is not None and out.suffix != ".md":
        raise BadInput(f"--out must end in .md, got {out.name}. Name a Markdown file.")


def _today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"
