"""The commands of Dagster's chart, of its run pods and its step pods, run as the image runs them."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import dagster as dg
import pytest
import yaml

from moola_pipeline_tests.deploy import chart

pytestmark = pytest.mark.slow
UP_SECONDS, END_SECONDS = 240, 60
NETWORK = ("MOOLA_ARTIFACTS_URI", "MOOLA_STORE_URI", "MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL")
"""Of the values: a bucket that is not here. `test_cluster.py` runs with one."""
ASSET = "raw_nq_bars"


@dataclass(frozen=True)
class Image:
    """What the Dockerfile makes, below another root.

    Attributes:
        root: Stands for `/`.
        folder: WORKDIR, with the files that COPY puts there.
        environment: ENV, and DAGSTER_HOME of the chart; nothing of this shell.
    """

    root: Path
    folder: Path
    environment: dict[str, str]

    @property
    def dagster_home(self) -> Path:
        """Where the chart mounts dagster.yaml."""
        return self.root / chart.DAGSTER_HOME.lstrip("/")

    def start(self, command: list[str], more: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a container's command in the image's environment."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={**self.environment, **(more or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def run(self, command: list[str], more: Mapping[str, str] | None = None) -> str:
        """Run a container's command to its end; returns what it prints."""
        with self.start(command, more) as process:
            output, _ = process.communicate(timeout=UP_SECONDS)
        assert process.returncode == 0, output
        return output


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    root = tmp_path_factory.mktemp("image")
    [workdir] = [line.split()[1] for line in chart.recipe() if line.startswith("WORKDIR")]
    folder = root / workdir.lstrip("/")
    folder.mkdir(parents=True)
    for line in chart.recipe():
        if line.startswith("COPY"):
            for name in line.split()[2:-1]:
                source = chart.PROJECT_ROOT / name
                (shutil.copytree if source.is_dir() else shutil.copyfile)(source, folder / name)
    given = chart.image_environment()
    (root / given["MOOLA_HOME"].lstrip("/")).mkdir(parents=True)
    programs = Path(sys.executable).parent  # stands for the .venv of the image
    environment = {
        **given,
        "MOOLA_HOME": str(root / given["MOOLA_HOME"].lstrip("/")),
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(folder),  # stands for `pip install -e`
        "DAGSTER_HOME": str(root / chart.DAGSTER_HOME.lstrip("/")),
        "HOME": str(root),
        "OMP_NUM_THREADS": "1",
    }
    assert set(given) == {"MOOLA_HOME", "PATH", "PYTHONUNBUFFERED"}, "each variable of ENV is set here too"
    return Image(root, folder, environment)


@pytest.fixture(scope="module")
def instance(image: Image) -> Iterator[dg.DagsterInstance]:
    with chart.instance_in(image.dagster_home) as opened:
        yield opened


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(
    image: Image, command: list[str], more: Mapping[str, str], is_up: Callable[[], bool]
) -> Iterator[subprocess.Popen[str]]:
    """A server while it answers; ends it as Kubernetes does, by SIGTERM, and requires that it ends."""
    process = image.start(command, more)
    try:
        deadline = time.monotonic() + UP_SECONDS
        while not is_up():
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, f"{command} does not answer"
            time.sleep(0.5)
        yield process
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=END_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="module")
def code_location(image: Image, instance: dg.DagsterInstance) -> Iterator[int]:
    """Port of the code location, started with all variables of the values."""
    port = free_port()
    environment = {
        one["name"]: one["value"] for one in chart.deployment()["env"] if one["name"] != "MOOLA_HOME"
    }
    environment |= {
        "DAGSTER_CURRENT_IMAGE": chart.IMAGE,
        "DAGSTER_CLI_API_GRPC_CONTAINER_CONTEXT": json.dumps(chart.container_context()),
    }

    def is_ready() -> bool:
        with image.start(chart.health_command(port)) as probe:
            probe.communicate(timeout=UP_SECONDS)
        return probe.returncode == 0

    with served(image, chart.grpc_command(port), environment, is_ready):
        yield port


@pytest.fixture(scope="module")
def workspace(image: Image, code_location: int) -> Path:
    path = image.root / "dagster-workspace" / "workspace.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(chart.workspace(code_location)))
    return path


def test_the_code_location_serves_all_assets_to_the_webserver(image: Image, workspace: Path):
    port = free_port()
    query = "{assetNodes {assetKey {path} groupName}}"

    def answer() -> dict:
        body = json.dumps({"query": query}).encode()
        request = Request(f"http://127.0.0.1:{port}/graphql", body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=60) as response:
            return json.load(response)

    def is_up() -> bool:
        with suppress(OSError):
            return bool(answer()["data"]["assetNodes"])
        return False

    with served(image, chart.webserver_command(port, workspace), {}, is_up):
        nodes = answer()["data"]["assetNodes"]
    assert {node["assetKey"]["path"][0] for node in nodes} >= {ASSET, "latest_expansions"}
    assert len(nodes) == 9


def test_the_daemon_runs_on_the_code_location(image: Image, instance: dg.DagsterInstance, workspace: Path):
    def has_ticked() -> bool:
        beats = instance.run_storage.get_daemon_heartbeats()
        return {"SENSOR", "SCHEDULER"} <= beats.keys()

    with served(image, chart.daemon_command(workspace), {}, has_ticked) as process:
        assert process.poll() is None
    assert not [beat for beat in instance.run_storage.get_daemon_heartbeats().values() if beat.errors]


@pytest.mark.parametrize("pod", ["run", "step"])
def test_a_pod_builds_an_asset_in_the_home(pod: str, image: Image, instance: dg.DagsterInstance):
    run, launcher = chart.launched(instance, image.folder, ASSET)
    job = chart.run_job(run, launcher) if pod == "run" else chart.step_job(run, launcher, instance)
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert "command" not in container
    assert container["args"][:3] == ["dagster", "api", f"execute_{pod}"]
    given = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    own = {
        name: value for name, value in given.items() if name not in (*NETWORK, "MOOLA_HOME", "DAGSTER_HOME")
    }
    if pod == "run":
        del own["MOOLA_EXECUTOR"]  # would ask Kubernetes for a pod for each step; the next case is that pod
    image.run(container["args"], own)
    made = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    [event] = made
    assert event.asset_materialization is not None
    assert event.asset_materialization.asset_key == dg.AssetKey(ASSET)
    assert list(Path(image.environment["MOOLA_HOME"]).rglob(f"{ASSET}.parquet"))
