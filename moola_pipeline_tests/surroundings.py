"""What a command changes around itself for the processes it starts, put back after a test."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def surroundings_kept() -> Iterator[None]:
    """Put back the working directory and the environment."""
    place, variables = Path.cwd(), dict(os.environ)
    try:
        yield
    finally:
        os.chdir(place)
        os.environ.clear()
        os.environ.update(variables)
