"""The labeler's server: one page on loopback, for one annotator, behind a token in its link."""

import secrets
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from moola_pipeline.errors import BadInput, MoolaError
from moola_pipeline.labeler.messages import (
    MAX_MESSAGE_BYTES,
    MESSAGES,
    DefineMessage,
    MarkMessage,
    OpenTab,
    PageMessage,
    RunMessage,
    SaveMessage,
    StepMessage,
    TabBeat,
)
from moola_pipeline.labeler.session import LabelingSession

LOOPBACK = "127.0.0.1"
PAGE = resources.files("moola_pipeline.labeler") / "page"
MEDIA_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".txt": "text/plain",
}
FILES = {entry.name: entry for entry in PAGE.iterdir() if entry.name.endswith(tuple(MEDIA_TYPES))}
"""What the page may load, by name: a name is looked up here and never becomes a path."""
TAB_SECONDS = 6.0
"""A tab that was silent for so long has gone: another one may work without asking."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Surroundings:
    """What the page can ask for beyond the session; each is given by the command.

    Attributes:
        heading: Annotator, definition and its text, and whether the first-use page comes first.
        progress: Labels by split, and what they are enough for.
        define: Keeps a new definition text and returns its number.
        model: Marks of the model in a window, by the row of its bar 0.
        next_run: What `moola run` would do.
        start_run: Starts it.
    """

    heading: Callable[[], Mapping[str, Any]]
    progress: Callable[[], Mapping[str, Any]]
    define: Callable[[str], int]
    model: Callable[[int], list[dict[str, Any]]]
    next_run: Callable[[], Mapping[str, Any]]
    start_run: Callable[[], None]


class Conflict(MoolaError):
    """The tab must not act: another one works, or this one shows what is no longer so."""


@dataclass
class Tabs:
    """Which tab works."""

    working: str | None = None
    heard: float = field(default=-TAB_SECONDS)

    def open(self, tab: str, take_over: bool) -> None:
        """Let a tab work.

        Raises:
            Conflict: If another one does.
        """
        if self.working not in (None, tab) and time.monotonic() - self.heard < TAB_SECONDS and not take_over:
            raise Conflict("The labeler is open in another tab.")
        self.working, self.heard = tab, time.monotonic()

    def require(self, tab: str) -> None:
        """Refuse a tab that does not work.

        Raises:
            Conflict: If another one does.
        """
        if self.working != tab:
            raise Conflict("Another tab has taken over.")
        self.heard = time.monotonic()

    def close(self, tab: str) -> None:
        """Forget a tab that closes."""
        if self.working == tab:
            self.working = None


def make_app(labeler: Callable[[], tuple[LabelingSession, Surroundings]], token: str, port: int) -> ASGIApp:
    """The application; it answers below /TOKEN/ only.

    Args:
        labeler: The labeling session, and what else the page can ask for; called for each request.
        token: Secret in the link.
        port: Port on loopback, for the Host and Origin headers.
    """
    tabs = Tabs()

    async def page(_: Request) -> Response:
        return _file("index.html")

    async def file(request: Request) -> Response:
        return _file(request.path_params["name"])

    async def state(_: Request) -> Response:
        try:
            session, around = labeler()
            next_run = dict(around.next_run()) if session.current is None else {}
            return JSONResponse({"heading": dict(around.heading()), "next_run": next_run})
        except (MoolaError, OSError) as fault:
            return _refused(fault)

    async def message(request: Request) -> Response:
        try:
            received = _parse(await _body(request))
            session, around = labeler()
            if isinstance(received, StepMessage) and received.kind == "model":
                return JSONResponse(await run_in_threadpool(_model_marks, session, around, tabs, received))
            return JSONResponse(_answer(session, around, tabs, received))
        except (MoolaError, OSError) as fault:
            return _refused(fault)

    routes = [
        Route("/", page),
        Route("/page/{name}", file),
        Route("/state", state),
        Route("/message", message, methods=["POST"]),
    ]
    return Guard(Starlette(routes=routes), token, port)


class LabelerServer(uvicorn.Server):
    """A server of the application on loopback, which says when it listens and answers Ctrl-C."""

    def __init__(self, app: ASGIApp, port: int, on_ready: Callable[[], None] = lambda: None) -> None:
        settings = uvicorn.Config(
            app, LOOPBACK, port, log_level="error", access_log=False, server_header=False, lifespan="off"
        )
        super().__init__(settings)
        self.on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then call `on_ready`."""
        await super().startup(sockets)
        if self.started:
            self.on_ready()


class Guard:
    """Lets a request pass that knows the token and comes from this page or from the address line."""

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self.app, self.token = app, token
        self.hosts = (f"{LOOPBACK}:{port}", f"localhost:{port}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(headers, scope["path"])
        if refusal is not None:
            await PlainTextResponse(f"{refusal}\n", 403, HEADERS)(scope, receive, send)
            return
        inner = {**scope, "path": scope["path"][len(self.token) + 1 :], "root_path": ""}

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        await self.app(inner, receive, with_headers)

    def _refusal(self, headers: Mapping[str, str], path: str) -> str | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if host not in self.hosts:
            return "The address must be that of this machine. Open the link that moola label printed."
        if origin is not None and origin != f"http://{host}":
            return "Requests must come from the labeler's own page."
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return "Requests must come from the labeler's own page."
        _, token, *rest = [*path.split("/", 2), "", ""]
        if not rest or not secrets.compare_digest(token.encode(), self.token.encode()):
            return "The link must hold the token of this start. Open the link that moola label printed."
        return None


def _refused(fault: MoolaError | OSError) -> Response:
    """The error in one line; 409 for a conflict, 400 for what the user can correct, else 500."""
    match fault:
        case Conflict():
            return JSONResponse({"error": str(fault), "conflict": True}, status_code=409)
        case BadInput():
            return JSONResponse({"error": str(fault)}, status_code=400)
        case MoolaError():
            return JSONResponse({"error": str(fault)}, status_code=500)
    reason = fault.strerror or type(fault).__name__
    return JSONResponse({"error": f"Nothing was saved: {reason}."}, status_code=500)


def _file(name: str) -> Response:
    entry = FILES.get(name)
    if entry is None:
        return PlainTextResponse("There is no such file.\n", 404)
    media = next(media for suffix, media in MEDIA_TYPES.items() if name.endswith(suffix))
    return Response(entry.read_bytes(), media_type=media)


async def _body(request: Request) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise BadInput("A message must be JSON, with the content type application/json.")
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > MAX_MESSAGE_BYTES:
            raise BadInput(f"A message must have at most {MAX_MESSAGE_BYTES:,} bytes.")
    return content


def _parse(content: bytes) -> Any:
    try:
        return MESSAGES.validate_json(content)
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
    raise BadInput(f"A message must be as the page sends it, but {where or 'it'}: {reason}.")


def _answer(session: LabelingSession, around: Surroundings, tabs: Tabs, received: Any) -> dict[str, Any]:
    """Act on a message; what the page shows then."""
    match received:
        case OpenTab():
            tabs.open(received.tab, received.take_over)
        case TabBeat():
            if received.closing:
                tabs.close(received.tab)
            else:
                tabs.require(received.tab)
            return {}
        case _:
            _require_current(session, tabs, received)
            _act(session, around, received)
    with_view = received.kind == "open" or session.current != received.window
    return {**session.facts(with_view), "progress": dict(around.progress())}


def _require_current(session: LabelingSession, tabs: Tabs, received: PageMessage) -> None:
    tabs.require(received.tab)
    if (received.revision, received.window) != (session.revision, session.current):
        raise Conflict("The page was out of date; it shows the present state now. Do it again.")


def _act(session: LabelingSession, around: Surroundings, received: Any) -> None:
    match received:
        case MarkMessage():
            session.mark(received.marks)
        case SaveMessage():
            session.save(received.seconds, ", ".join(sorted(set(received.context))))
        case DefineMessage():
            around.define(received.text)
        case RunMessage():
            around.start_run()
        case StepMessage(kind="undo"):
            session.undo()
        case StepMessage(kind="redo"):
            session.redo()
        case StepMessage(kind="back"):
            session.back()


def _model_marks(
    session: LabelingSession, around: Surroundings, tabs: Tabs, received: StepMessage
) -> dict[str, Any]:
    _require_current(session, tabs, received)
    session.saw_model()
    spans = around.model(session.bars.row_at(session.shown().window.opened_at) or 0)
    return {**session.facts(with_view=False), "model": spans, "progress": dict(around.progress())}
