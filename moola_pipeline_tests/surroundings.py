"""Restores the working directory and environment that commands change for their child processes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moola_pipeline.storage.home import HOME_VARIABLE

CHANGED = (HOME_VARIABLE, "DAGSTER_HOME")


@contextmanager
def surroundings_kept() -> Iterator[None]:
    """Restore the working directory and the environment variables in CHANGED."""
    folder, before = Path.cwd(), {name: os.environ.get(name) for name in CHANGED}
    try:
        yield
    finally:
        os.chdir(folder)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
