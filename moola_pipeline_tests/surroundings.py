"""What a command changes around itself for the processes it starts, put back after a test."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moola_pipeline.storage.home import HOME_VARIABLE

CHANGED = (HOME_VARIABLE, "DAGSTER_HOME")


@contextmanager
def surroundings_kept() -> Iterator[None]:
    """Put back the working directory, and the variables that tell processes their home."""
    place, before = Path.cwd(), {name: os.environ.get(name) for name in CHANGED}
    try:
        yield
    finally:
        os.chdir(place)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
