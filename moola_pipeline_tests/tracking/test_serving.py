"""`mlflow models serve` on loopback gives the results of `moola predict`."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from moola_pipeline.cli.services import next_free
from moola_pipeline.storage.home import PROJECT_ROOT, Home
from moola_pipeline.tracking.runs import tracking_uri
from moola_pipeline_tests.cli.calls import call, facts

MODEL = "models:/moola-simulated@champion"
ZONE = "America/New_York"
TIMEOUT_SECONDS = 120
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bars(smoke_home: Home) -> pd.DataFrame:
    """Two sessions as in a spreadsheet: naive New York times in a column with another name."""
    [path] = smoke_home.simulated.rglob("raw/bars.parquet")
    made = pd.read_parquet(path).iloc[: 2 * 1380]
    local = made["timestamp"].dt.tz_convert(ZONE).dt.strftime("%Y-%m-%d %H:%M:%S")
    return made.drop(columns="timestamp").rename(columns=str.capitalize).assign(Time=local)


@pytest.fixture(scope="module")
def address(smoke_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The champion on MLflow's own server."""
    port, log = next_free(5400), tmp_path_factory.mktemp("serve") / "log"
    words = ["models", "serve", "--env-manager", "local", "-m", MODEL, "-h", "127.0.0.1", "-p", str(port)]
    uri = tracking_uri(smoke_home)
    known = {**os.environ, "MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(PROJECT_ROOT)}
    known["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{known['PATH']}"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words],
            env=known,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait(server, f"http://127.0.0.1:{port}/ping", log)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _wait(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    until = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(log.read_text()[-3000:])


def posted(address: str, bars: pd.DataFrame, **params: str) -> list[dict]:
    body = {"dataframe_split": json.loads(str(bars.to_json(orient="split", index=False))), "params": params}
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
        return json.load(answer)["predictions"]


def on_the_shell(home: Home, bars: pd.DataFrame, folder: Path, *words: str) -> pd.DataFrame:
    path = folder / "bars.csv"
    bars.to_csv(path, index=False)
    command = ("predict", path, "--model", MODEL, "--timezone", ZONE, *words, "--json")
    return as_marks(facts(call(*command, home=home.root))["expansions"])


def as_marks(rows: list[dict]) -> pd.DataFrame:
    marks = pd.DataFrame(rows)
    for name in ("window_start", "started_at", "ended_at", "decided_at"):
        marks[name] = pd.to_datetime(marks[name], utc=True).dt.as_unit("ns")
    return marks


@pytest.mark.parametrize("mode", ["hindsight", "live"])
def test_the_server_finds_the_expansions_of_predict(
    mode: str, smoke_home: Home, address: str, bars: pd.DataFrame, tmp_path: Path
):
    served = as_marks(posted(address, bars, timezone=ZONE, mode=mode))
    expected = on_the_shell(smoke_home, bars, tmp_path, "--mode", mode)
    assert len(expected) > 10
    pd.testing.assert_frame_equal(served, expected, rtol=1e-6)


def test_bars_without_a_zone_are_refused_with_the_reason(address: str, bars: pd.DataFrame):
    with pytest.raises(urllib.error.HTTPError) as fault:
        posted(address, bars)
    assert fault.value.code == 400
    assert json.load(fault.value) == {
        "error_code": "INVALID_PARAMETER_VALUE",
        "message": "bars: the times in Time must prove their time zone, got none. Name it with --timezone, "
        "for example --timezone America/New_York.",
    }


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"timezone": "Asia/Tokyo"}, f"give --timezone {ZONE}."),
        ({"timezone": ZONE, "stamp": "close"}, "give --stamp open."),
        ({"timezone": ZONE, "instrument": "YM"}, "every bar must have prices on the tick grid"),
        ({"timezone": ZONE, "stamp": "middle"}, "--stamp must be open or close, got 'middle'"),
    ],
)
def test_the_server_refuses_as_the_command_does_in_one_line(
    params: dict[str, str], words: str, address: str, bars: pd.DataFrame
):
    with pytest.raises(urllib.error.HTTPError) as fault:
        posted(address, bars, **params)
    assert fault.value.code == 400
    message = json.load(fault.value)["message"]
    assert words in message
    assert "\n" not in message
