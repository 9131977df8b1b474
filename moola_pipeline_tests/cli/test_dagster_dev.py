"""What Dagster's webserver answers under `moola ui`: its own pages and local programs, no other site."""

from typing import Any

import pytest

from moola_pipeline.cli import dagster_dev
from moola_pipeline.cli.dagster_dev import OwnPagesOnly, refusal

HOST = {"host": "127.0.0.1:3000"}
OWN = {**HOST, "origin": "http://127.0.0.1:3000", "sec-fetch-site": "same-origin"}
CROSS = {**HOST, "sec-fetch-site": "cross-site"}
LINK = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.mark.parametrize(
    "method, path, query, headers",
    [
        ("POST", "/graphql", "", HOST),  # a program on this machine
        ("POST", "/graphql", "", OWN),
        ("POST", "/graphql", "", {"host": "localhost:3000", "origin": "http://localhost:3000"}),
        ("POST", "/graphql", "", {"host": "[::1]:3000"}),
        ("GET", "/graphql", "", {**OWN, "upgrade": "websocket"}),
        ("GET", "/runs/1", "", {**HOST, "sec-fetch-site": "none", **LINK}),
        ("GET", "/runs/1", "", {**CROSS, **LINK}),  # a link on a page of MLflow
        ("GET", "/static/app.js", "", OWN),
    ],
)
def test_own_pages_programs_and_links_are_answered(
    method: str, path: str, query: str, headers: dict[str, str]
):
    assert refusal(method, path, query, headers) is None


@pytest.mark.parametrize(
    "method, path, query, headers, reason",
    [
        ("POST", "/graphql", "", {"host": "evil.test:3000"}, "The address must be that of this machine"),
        ("GET", "/runs", "", {}, "The address must be that of this machine"),
        ("POST", "/graphql", "", {**HOST, "origin": "http://evil.test"}, "got one from http://evil.test"),
        ("POST", "/graphql", "", {**HOST, "origin": "null"}, "got one from null"),
        ("POST", "/graphql", "", {**HOST, "origin": "http://127.0.0.1:5000"}, "Dagster's own pages"),
        ("POST", "/graphql", "", CROSS, "got one from another site"),
        ("GET", "/graphql", "query=x", {**CROSS, **LINK}, "got one from another site"),
        ("GET", "/runs", "", {**CROSS, **LINK, "sec-fetch-dest": "iframe"}, "got one from another site"),
        ("GET", "/logs/1", "", {**HOST, "sec-fetch-site": "same-site"}, "another site"),
        ("GET", "/graphql", "query=mutation", HOST, "A query must be sent by POST"),
    ],
)  # fmt: skip
def test_other_sites_other_names_and_queries_by_address_are_refused(
    method: str, path: str, query: str, headers: dict[str, str], reason: str
):
    assert reason in (refusal(method, path, query, headers) or "")


def asked(scope: dict[str, Any]) -> list[dict[str, Any]]:
    """What the middleware sends; the server behind it sends `answered`."""
    import asyncio

    sent: list[dict[str, Any]] = []

    async def server(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "answered"})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(OwnPagesOnly(server)({"query_string": b"", "path": "/graphql", **scope}, None, send))
    return sent


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_request_of_another_site_never_reaches_the_server(kind: str):
    evil, own = ([(b"host", host)] for host in (b"evil.test:3000", b"127.0.0.1:3000"))
    refused = asked({"type": kind, "headers": evil})
    assert {message["type"] for message in refused} <= {
        "http.response.start", "http.response.body", "websocket.close"
    }  # fmt: skip
    assert refused[0].get("status", refused[0].get("code")) in (403, 1008)
    assert asked({"type": kind, "headers": own}) == [{"type": "answered"}]


def test_what_is_no_request_passes():
    assert asked({"type": "lifespan"}) == [{"type": "answered"}]


def test_dagster_dev_starts_the_guarded_webserver_and_its_own_daemon(monkeypatch: pytest.MonkeyPatch):
    from dagster._cli import dev

    started: list[list[str]] = []

    def run(words: list[str], prog_name: str) -> None:
        start: Any = vars(dev)["open_ipc_subprocess"]
        start(["python", "-m", "dagster_webserver", "--port", "3000"])
        start(["python", "-m", "dagster._daemon", "run"])

    monkeypatch.setattr(dev, "open_ipc_subprocess", lambda parts, **options: started.append(parts))
    monkeypatch.setattr(dev, "dev_command", run)
    dagster_dev.main(["-p", "3000"])
    webserver, daemon = started
    assert webserver == ["python", "-m", "moola_pipeline.cli.dagster_dev", "webserver", "--port", "3000"]
    assert daemon == ["python", "-m", "dagster._daemon", "run"]
