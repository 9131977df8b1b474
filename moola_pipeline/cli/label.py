"""`moola label`: label windows of bars on a page in the browser."""

import getpass
import os
import secrets
import signal
import sys
import webbrowser
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from moola_pipeline.cli.options import SPLITS
from moola_pipeline.cli.output import emit, json_option
from moola_pipeline.cli.services import LOOPBACK, is_free, next_free
from moola_pipeline.errors import BadInput
from moola_pipeline.storage.home import Home

if TYPE_CHECKING:
    from moola_pipeline.labeler.current import CurrentLabeler
    from moola_pipeline.models.expansion_model import ExpansionModel

PORT = 8400


@click.command()
@click.option("--for", "split", type=click.Choice(SPLITS), help="Draw windows of this split only.")
@click.option("--windows", type=click.IntRange(min=1), metavar="N", help="End after N saved windows.")
@click.option("--annotator", metavar="NAME", help="Who labels.  [default: the user's name]")
@click.option(
    "--definition",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    help="The definition that the labels follow.  [default: the newest]",
)
@click.option("--session", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE", help="Mark a whole session.")
@click.option(
    "--doubtful", "listed", flag_value="doubtful", help="Look again at labels that trees contradict."
)
@click.option(
    "--disagree", "listed", flag_value="disagree", help="Look again where another annotator differs."
)
@click.option(
    "--review", "listed", flag_value="review", help="Go through the champion's newest marks and near misses."
)
@click.option("--alike", metavar="WINDOW", help="Label windows like a labeled one.")
@click.option(
    "--task",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help='Label the windows of a task file, made with "moola labels task".',
)
@click.option(
    "--port", type=click.IntRange(1, 65_535), help=f"Port of the page.  [default: the first free from {PORT}]"
)
@click.option("--open/--no-open", "open_page", default=True, help="Open the page in the browser.")
@json_option
@click.pass_obj
def label(
    home: Home,
    split: str | None,
    windows: int | None,
    annotator: str | None,
    definition: int | None,
    session: datetime | None,
    port: int | None,
    open_page: bool,
    as_json: bool,
    **lists: Any,
) -> None:
    """Label windows of the registered bars on a page in the browser, until Ctrl-C.

    Windows come from all splits, spread over months and hours; each is saved as it is judged. The page is
    served on this machine only; its link holds a token. Started again, it resumes where it ended.
    """
    # A background job of a shell script inherits an ignored SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if port is not None and not is_free(port):
        raise BadInput(f"--port must be free, but another program listens on {port}. Choose another one.")
    from moola_pipeline.cli.label_run import LabelRun
    from moola_pipeline.labeler.current import CurrentLabeler
    from moola_pipeline.labeler.opening import LabelRequest

    fixed = [name for name, value in {"--annotator": annotator, "--definition": definition}.items() if value]
    if lists["task"] and fixed:
        raise BadInput(f"A task says who labels and by which definition, got {' and '.join(fixed)} too.")
    request = LabelRequest(annotator or getpass.getuser(), definition, split, windows, session, **lists)
    given = [name for name, value in {"--for": split, "--session": session, **lists}.items() if value]
    if len(given) > 1:
        raise BadInput(
            "Only one of --for, --session, --alike, --task and the lists may be given. Leave the others out."
        )
    learning = LabelRun(home)
    try:
        labeler = CurrentLabeler(home, request, learning, lambda: _champion(home))
        try:
            _serve(labeler, port or next_free(PORT), open_page, as_json)
        finally:
            labeler.close()
    finally:
        learning.close()


def _serve(labeler: "CurrentLabeler", port: int, open_page: bool, as_json: bool) -> None:
    from moola_pipeline.labeler.server import LabelerServer, make_app

    token = secrets.token_urlsafe(24)
    link = f"http://{LOOPBACK}:{port}/{token}/"
    app, note = make_app(labeler.answering, token, port), labeler.opened.note

    def announce() -> None:
        lines = [
            *([note] if note else []),
            f"Label at  {link}",
            "The link is for this start only. Ctrl-C ends; all that is shown as saved is kept.",
        ]
        emit({"link": link, "note": note}, lines, as_json)
        sys.stdout.flush()
        if open_page and _has_browser():
            webbrowser.open(link)

    LabelerServer(app, port, announce).run()


@cache
def _champion(home: Home) -> "ExpansionModel":
    from moola_pipeline.bars.store import home_instrument
    from moola_pipeline.cli.run import quiet_libraries
    from moola_pipeline.tracking.registry import champion_version, load_version
    from moola_pipeline.tracking.runs import has_store

    quiet_libraries()
    name = f"moola-{home_instrument(home).lower()}"
    if not has_store(home) or champion_version(home, name) is None:
        raise BadInput("There must be a champion to show its marks, but there is none. Run: moola run")
    return load_version(home, f"models:/{name}@champion")[0]


def _has_browser() -> bool:
    """Whether a browser with windows can be expected; one in the terminal would take it over."""
    displays: Mapping[str, str] = os.environ
    return sys.platform in ("darwin", "win32") or bool(
        displays.get("DISPLAY") or displays.get("WAYLAND_DISPLAY")
    )
