"""`dagster dev` with its options, whose webserver answers its own pages only.

Dagster's webserver takes any address for its own and runs mutations that come by GET. Without this guard
every site that the user visits could start runs or wipe assets by the address of a picture, and read
everything by a name that it lets point to this machine (DNS rebinding).
"""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs, urlsplit

OWN_NAMES = ("127.0.0.1", "localhost", "::1")
WEBSERVER = "webserver"
_GRAPHQL = "/graphql"


class OwnPagesOnly:
    """ASGI middleware that refuses requests from other sites, over HTTP and WebSocket."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on, or answer with status 403 and the reason."""
        if scope["type"] in ("http", "websocket"):
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            query = scope["query_string"].decode("latin-1")
            reason = refusal(scope.get("method", "GET"), scope["path"], query, headers)
            if reason and scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008, "reason": reason})
                return
            if reason:
                from starlette.responses import PlainTextResponse

                await PlainTextResponse(f"{reason}\n", 403)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def refusal(method: str, path: str, query: str, headers: Mapping[str, str]) -> str | None:
    """Why a request is refused; None if it comes from this machine's own pages or from a program on it.

    A link on another page may lead here, but not to a query.

    Args:
        method, path, query: Of the request.
        headers: With names in lower case.
    """
    host, origin = headers.get("host", ""), headers.get("origin")
    if urlsplit(f"//{host}").hostname not in OWN_NAMES:
        return f"The address must be that of this machine, got {host}. Open the link that moola ui printed."
    if origin is not None and origin != f"http://{host}":
        return f"Requests must come from Dagster's own pages, got one from {origin}."
    is_query = path.endswith(_GRAPHQL)
    is_link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    from_elsewhere = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
    if from_elsewhere and (is_query or method != "GET" or not is_link):
        return "Requests must come from Dagster's own pages, got one from another site."
    if is_query and method == "GET" and "query" in parse_qs(query):
        return "A query must be sent by POST."
    return None


def main(words: Sequence[str]) -> None:
    """Run `dagster dev` with these options, or, as its child, the webserver."""
    if words[:1] == [WEBSERVER]:
        _serve(words[1:])
    dev: Any = import_module("dagster._cli.dev")
    start = dev.open_ipc_subprocess

    def start_guarded(parts: list[str], **options: Any) -> Any:
        if parts[1:3] == ["-m", "dagster_webserver"]:
            parts = [parts[0], "-m", "moola_pipeline.cli.dagster_dev", WEBSERVER, *parts[3:]]
        return start(parts, **options)

    dev.open_ipc_subprocess = start_guarded
    dev.dev_command(list(words), prog_name="dagster dev")


def _serve(words: Sequence[str]) -> None:
    from dagster_webserver.cli import main as serve
    from starlette.middleware import Middleware

    app: Any = import_module("dagster_webserver.app")

    class GuardedWebserver(app.DagsterWebserver):
        def build_middleware(self) -> list[Middleware]:
            return [Middleware(OwnPagesOnly), *super().build_middleware()]

    app.DagsterWebserver = GuardedWebserver
    sys.argv = ["dagster-webserver", *words]
    serve()
    sys.exit()


if __name__ == "__main__":
    main(sys.argv[1:])
