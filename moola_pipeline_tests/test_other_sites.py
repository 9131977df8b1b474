"""What a page on another site can do to Dagster and MLflow through the user's browser: nothing.

The labeler's own tests try the same on it (`labeler/test_page.py`).
"""

import http.server
import json
import signal
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from moola_pipeline_tests.cli.calls import start
from moola_pipeline_tests.labeler.served import browser

UP_SECONDS = 240
EVIL = "evil.test"
MUTATION = 'mutation { setConcurrencyLimit(concurrencyKey: "KEY", limit: 1) }'
LIMITS = "{ instance { concurrencyLimits { concurrencyKey } } }"
ATTACKS = """
async ([dagster, mlflow, mutation]) => {
  const as = (key) => mutation.replace("KEY", key);
  const graphql = dagster + "/graphql", create = mlflow + "/api/2.0/mlflow/experiments/create";
  const body = (key) => JSON.stringify({query: as(key)}), named = (name) => JSON.stringify({name});
  const ended = [];
  const attempt = (work) => ended.push(Promise.resolve().then(work).catch(() => null));
  attempt(() => new Promise((done) => {
    const picture = new Image();
    picture.onload = picture.onerror = done;
    picture.src = graphql + "?query=" + encodeURIComponent(as("picture"));
  }));
  for (const type of ["text/plain", "application/json", "application/x-www-form-urlencoded"])
    for (const mode of ["no-cors", "cors"]) {
      const options = {method: "POST", mode, headers: {"Content-Type": type}};
      attempt(() => fetch(graphql, {...options, body: body(type)}));
      attempt(() => fetch(create, {...options, body: named(type)}));
    }
  attempt(() => fetch(graphql, {
    method: "POST", mode: "no-cors", body: as("graphql"), headers: {"Content-Type": "application/graphql"}}));
  attempt(() => new Promise((done) => {
    const socket = new WebSocket(graphql.replace("http", "ws"), "graphql-ws");
    socket.onclose = done;
    socket.onopen = () => {
      socket.send(JSON.stringify({type: "connection_init"}));
      socket.send(JSON.stringify({id: "1", type: "start", payload: {query: as("socket")}}));
      setTimeout(() => socket.close(), 1000);
    };
  }));
  const frame = document.createElement("iframe");
  frame.name = "frame";
  document.body.append(frame);
  const form = Object.assign(document.createElement("form"), {
    method: "POST", action: graphql, target: "frame", enctype: "text/plain"});
  form.append(Object.assign(document.createElement("input"), {name: body("form"), value: ""}));
  document.body.append(form);
  form.submit();
  await Promise.all(ended);
  await new Promise((done) => setTimeout(done, 1000));
}
"""


@contextmanager
def ui(home: Path) -> Iterator[tuple[str, str]]:
    """`moola ui` in a new home; yields the addresses of Dagster and MLflow, without a path."""
    home.mkdir()
    code = "from moola_pipeline.cli import main; main()"
    process = start(code, "--home", home, "ui", "--json", "--port", "18700", "--mlflow-port", "18750")
    watchdog = threading.Timer(UP_SECONDS, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        urls = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
        dagster, mlflow = (f"http://{urlsplit(urls[name]).netloc}" for name in ("dagster", "mlflow"))
        yield dagster, mlflow
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
        watchdog.cancel()


@contextmanager
def evil_site(folder: Path) -> Iterator[int]:
    """A web site on another name; yields its port."""
    (folder / "index.html").write_text("<title>evil</title>")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def posted(url: str, message: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(message).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def limits(dagster: str) -> set[str]:
    answer = posted(f"{dagster}/graphql", {"query": LIMITS})
    return {limit["concurrencyKey"] for limit in answer["data"]["instance"]["concurrencyLimits"]}


def experiments(mlflow: str) -> set[str]:
    found = posted(f"{mlflow}/api/2.0/mlflow/experiments/search", {"max_results": 100})
    return {experiment["name"] for experiment in found["experiments"]}


@pytest.mark.slow
def test_another_site_changes_nothing_and_reads_nothing_while_the_own_page_works(tmp_path: Path):
    (tmp_path / "site").mkdir()
    with (
        ui(tmp_path / "home") as (dagster, mlflow),
        evil_site(tmp_path / "site") as port,
        browser(f"--host-resolver-rules=MAP {EVIL} 127.0.0.1") as chromium,
    ):
        before = experiments(mlflow)
        page = chromium.new_page()
        page.goto(f"http://{EVIL}:{port}/")
        page.evaluate(ATTACKS, [dagster, mlflow, MUTATION])
        assert limits(dagster) == set()
        assert experiments(mlflow) == before

        for url in (dagster, mlflow):  # a name that now points to this machine
            rebound = page.goto(url.replace("127.0.0.1", EVIL))
            assert rebound.status == 403
            assert page.evaluate("fetch('/graphql?query={version}').then((it) => it.status)") == 403

        page.goto(f"{dagster}/assets")
        page.wait_for_selector("text=raw_nq_bars", timeout=120_000)
        page.evaluate("(query) => fetch('/graphql', {method: 'POST', body: JSON.stringify({query}), "
                      "headers: {'Content-Type': 'application/json'}})", MUTATION)  # fmt: skip
        assert limits(dagster) == {"KEY"}  # the mutation works where it is allowed
        page.goto(mlflow)
        page.wait_for_selector("text=Experiments", timeout=60_000)
