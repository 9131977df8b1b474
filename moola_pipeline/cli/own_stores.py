"""Runs that are only played keep out of the stores that machines share."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from moola_pipeline.storage.remote_stores import ARTIFACTS_VARIABLE, STORE_VARIABLE, TRACKING_VARIABLE

ELSEWHERE = (TRACKING_VARIABLE, ARTIFACTS_VARIABLE, STORE_VARIABLE)


@contextmanager
def nothing_elsewhere() -> Iterator[None]:
    """Forget the stores outside the home inside the block: what is made there would be registered in them."""
    before = {name: os.environ.pop(name) for name in ELSEWHERE if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)
