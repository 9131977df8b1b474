"""Which commands create a home, which only read one, and how a home that cannot be written is read."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from moola_pipeline.errors import BadInput
from moola_pipeline.storage.atomic_write import atomic_write, files_below
from moola_pipeline.storage.home import HOME_VARIABLE, INSTANCE_FILE, Home

CREATING = {"run", "bars add", "restore"}
"""Commands that create a home which does not exist; every other command refuses it."""
READING = {
    "status",
    "report",
    "study",
    "predict",
    "zigzag",
    "verify",
    "bars list",
    "bars check",
    "bars rolls propose",
    "labels check",
    "labels history",
    "labels compare",
    "labels export",
    "labels next",
    "labels doubtful",
    "labels alike",
    "labels budget",
    "registry list",
    "registry history",
}
"""Commands that work in a home which cannot be written."""
HOMELESS = {
    "bench",
    "bench features",
    "bench labeler",
    "bench market",
    "bench scaling",
    "doctor",
    "selftest",
}
"""Commands that keep nothing in the home, or report on it themselves."""
COPIED = (".db", ".db-wal", ".db-journal", ".lock")
"""Endings of files that SQLite and locks open for writing."""
REMADE = ".db-shm"
"""Ending of the index that SQLite makes anew for a copied journal."""
_linked: dict[str, str] = {}
"""Roots of temporary homes, and of the homes whose files they link to."""


@contextmanager
def accessible_home(context: click.Context) -> Iterator[None]:
    """Give the command the home that it needs, for as long as it runs.

    Raises:
        BadInput: If the home does not exist and the command does not create one, or if it cannot be
            written and the command must.
    """
    home, command = context.obj, context.command_path.partition(" ")[2]
    if not isinstance(home, Home) or command in HOMELESS:
        yield
    elif not os.path.exists(home.root):  # Path.exists raises below a folder that may not be searched
        if command not in CREATING:
            raise BadInput(
                f"The home must exist, but {home.root} is not there. Correct --home (or {HOME_VARIABLE}), or "
                "create it: moola run (bars add creates it too)"
            )
        _require_writable(next(folder for folder in home.root.parents if os.path.exists(folder)))
        click.echo(f"The home {home.root} does not exist yet: it will be created.", err=True)
        yield
    elif not os.access(home.root, os.R_OK | os.X_OK):
        raise BadInput(f"The home must be readable, but {home.root} is not. Name another folder with --home.")
    elif command in READING and not is_writable(home):
        with linked_home(home) as links:
            context.obj = links
            yield
    else:
        _require_writable(home.root)
        yield


def is_writable(home: Home) -> bool:
    """Whether this user may write into a home and its folders."""
    folders = (home.root, home.data, home.tracking, home.dagster)
    return all(_may_write(folder) for folder in folders if os.path.exists(folder))


@contextmanager
def linked_home(home: Home) -> Iterator[Home]:
    """A temporary home of links to the files of another, with copies of its databases.

    Reading takes locks, and SQLite writes beside its databases: both happen in the temporary home.
    """
    working_folder = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="moola-") as folder:
        links = Home(Path(folder).resolve())
        _linked[str(links.root)] = str(home.root)
        settings = [home.root / INSTANCE_FILE] if (home.root / INSTANCE_FILE).exists() else []
        for path in (*settings, *files_below(home.data, "*"), *files_below(home.dagster, "*.db*")):
            _link_or_copy(path, links.root / path.relative_to(home.root))
        os.environ[HOME_VARIABLE] = str(links.root)
        try:
            yield links
        finally:
            os.chdir(working_folder)
            os.environ[HOME_VARIABLE] = str(home.root)


def real_paths(text: str) -> str:
    """The text, with paths in a temporary home of links replaced by those of the home."""
    for links, home in _linked.items():
        text = text.replace(links, home)
    return text


def _link_or_copy(source: Path, target: Path) -> None:
    if source.name.endswith(REMADE):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.name.endswith(COPIED):
        with atomic_write(target) as temporary:
            shutil.copyfile(source, temporary)
    else:
        target.symlink_to(source)


def _require_writable(folder: Path) -> None:
    if not _may_write(folder):
        raise BadInput(f"The home must be writable, but {folder} is not. Name another folder with --home.")


def _may_write(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK)
