"""Cache of repeats: one checksummed file each, named by the digest of what decides it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from moola_pipeline.errors import IntegrityError
from moola_pipeline.storage.checksums import read_checksummed, write_checksummed
from moola_pipeline.studies.store import REMEDY, content_key


def cached_repeat(
    folder: Path, facts: dict[str, Any], compute: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """The result of a repeat, computed if it is missing or damaged.

    Args:
        folder: Where results lie.
        facts: What decides the result: settings, seed, digest of the code.
        compute: Returns the result as plain JSON values.
    """
    path = folder / f"{content_key(facts)}.json"
    try:
        return read_checksummed(path, "must hold a repeat", REMEDY)
    except (FileNotFoundError, IntegrityError):
        write_checksummed(path, compute())
        return read_checksummed(path, "must hold a repeat", REMEDY)
