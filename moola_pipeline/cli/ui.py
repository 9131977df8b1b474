"""`moola ui`: Dagster and MLflow side by side, on this machine only."""

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from moola_pipeline.assets.metadata import LINEAGE
from moola_pipeline.cli.output import emit, json_option
from moola_pipeline.cli.run import quiet_libraries, run_lock
from moola_pipeline.cli.services import (
    LOOPBACK,
    RunningService,
    Service,
    ServiceEnded,
    next_free,
    running,
    wait_until_up,
    wait_while_up,
)
from moola_pipeline.errors import BadInput
from moola_pipeline.resources.instance import open_instance, prepare_instance, release_stale_runs
from moola_pipeline.storage.atomic_write import atomic_write_json, locked
from moola_pipeline.storage.home import PROJECT_ROOT, Home
from moola_pipeline.tracking.pages import URL_VARIABLE, experiments_page
from moola_pipeline.tracking.runs import artifacts_uri, open_store, tracking_uri

DEFINITIONS = "moola_pipeline.definitions"
GUARDED_DAGSTER = "moola_pipeline.cli.dagster_dev"
DAGSTER_PORT, MLFLOW_PORT = 3000, 5000
PORT = click.IntRange(1, 65_535)


@click.command()
@click.option("--port", type=PORT, default=DAGSTER_PORT, show_default=True, help="Port of Dagster.")
@click.option("--mlflow-port", type=PORT, default=MLFLOW_PORT, show_default=True, help="Port of MLflow.")
@json_option
@click.pass_obj
def ui(home: Home, port: int, mlflow_port: int, as_json: bool) -> None:
    """Serve Dagster and MLflow on this machine until Ctrl-C.

    If a port is taken, the next free port is used.
    """
    # A background job of a shell script inherits an ignored SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    prepare_instance(home)
    quiet_libraries()
    with only_ui(home) as addresses_file:
        open_store(home)
        release_runs_of_earlier_ui(home)
        dagster_port = next_free(port)
        tracking_port = next_free(mlflow_port, frozenset({dagster_port}))
        addresses = {"dagster": _dagster(dagster_port).url, "mlflow": _mlflow(tracking_port).url}
        atomic_write_json(addresses_file, addresses)
        _serve(home, (_dagster(dagster_port), _mlflow(tracking_port)), as_json)


@contextmanager
def only_ui(home: Home) -> Iterator[Path]:
    """Hold the lock of the one `moola ui` of a home; yields the file for its addresses.

    Raises:
        BadInput: If one runs already; names its addresses.
    """
    from filelock import Timeout

    path = home.dagster / "ui.json"
    lock = locked(path)  # free again if its process is killed
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BadInput(
            f"A home must have one moola ui at a time, but {home.root} has one already: {_addresses(path)}. "
            "Open it, or stop it first."
        ) from None
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def release_runs_of_earlier_ui(home: Home) -> None:
    """Record runs as failed that ended with their `moola ui`: Dagster's queue would wait for them forever.

    While a `moola run` works, it has done so itself.
    """
    from filelock import Timeout

    with suppress(Timeout), run_lock(home).acquire(timeout=0), open_instance(home) as instance:
        release_stale_runs(instance)


def _addresses(path: Path) -> str:
    """The addresses that a running `moola ui` has written."""
    try:
        return " and ".join(f"{name} {url}" for name, url in json.loads(path.read_bytes()).items())
    except (OSError, ValueError):  # it is just starting or ending
        return "it has no address yet"


def _serve(home: Home, services: tuple[Service, Service], as_json: bool) -> None:
    """Run Dagster and MLflow until one ends or the user stops them."""
    click.echo("Starting Dagster and MLflow ...", err=True)
    with running(services, _environment(home, services[1].url), home.root) as started:
        try:
            wait_until_up(started)
            _announce(f"{services[0].url}{LINEAGE}", experiments_page(services[1].url), as_json)
            wait_while_up(started)
        except ServiceEnded:
            _show_last_lines(started)
            raise
        except KeyboardInterrupt:
            click.echo("Stopping Dagster and MLflow ...", err=True)
            raise


def _dagster(port: int) -> Service:
    command = [sys.executable, "-m", GUARDED_DAGSTER, "-h", LOOPBACK, "-p", str(port), "-m", DEFINITIONS]
    return Service("Dagster", [*command, "-d", str(PROJECT_ROOT)], port, "/server_info")


def _mlflow(port: int) -> Service:
    command = [sys.executable, "-m", "mlflow", "server", "--host", LOOPBACK, "--port", str(port)]
    return Service("MLflow", [*command, "--workers", "1"], port, "/health")


def _environment(home: Home, mlflow_url: str) -> Mapping[str, str]:
    """Environment of the servers. Store addresses stand here: all users can read a command line."""
    return {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": tracking_uri(home),
        "MLFLOW_ARTIFACTS_DESTINATION": artifacts_uri(home),
        URL_VARIABLE: mlflow_url,
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its job runner would be one more process
        "PYTHONUNBUFFERED": "1",
    }


def _announce(dagster_url: str, mlflow_url: str, as_json: bool) -> None:
    lines = [f"Dagster  {dagster_url}", f"MLflow   {mlflow_url}", "Ctrl-C stops both."]
    emit({"dagster": dagster_url, "mlflow": mlflow_url}, lines, as_json)
    sys.stdout.flush()


def _show_last_lines(started: list[RunningService]) -> None:
    for service in started:
        if service.process.poll() is not None:
            click.echo("".join(service.lines), err=True, nl=False)
