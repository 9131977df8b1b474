"""The draft journal of an annotator: every action at the page, one line each, on disk before it shows."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moola_pipeline.errors import BadInput, ChecksumMismatch, IntegrityError
from moola_pipeline.labeler.marks import Annotating
from moola_pipeline.labels.schema import NO_PERSON
from moola_pipeline.storage.atomic_write import append_bytes
from moola_pipeline.storage.checksums import checksummed_line, parse_checksummed_line

FOLDER, FORMAT = "drafts", 1
REMEDY = "Restore it, or move it away: saved windows are in judgments.jsonl, only open ones are lost."
MAX_NAME = 60


def require_annotator(name: str) -> str:
    """The name if it can name a file too.

    Raises:
        BadInput: If not.
    """
    if name in NO_PERSON:
        raise BadInput(f"An annotator must be a person, got {name!r}. Choose another name with --annotator.")
    if not re.fullmatch(r"[\w][\w .-]*", name) or len(name) > MAX_NAME or name.strip() != name:
        raise BadInput(
            f"An annotator's name must be letters, digits, spaces, dots and dashes, up to {MAX_NAME}, got "
            f"{name[: MAX_NAME + 1]!r}. Choose another with --annotator."
        )
    return name


class DraftJournal:
    """The actions of one annotator, oldest first; it only grows.

    Attributes:
        path: The file.
        actions: One dict for each line behind the first.
    """

    def __init__(self, folder: Path, who: Annotating) -> None:
        """Open the journal in a label folder, or begin it.

        A last line that a killed server left unfinished was never shown as saved, and is dropped.

        Raises:
            IntegrityError: If a line was changed, or the journal is of another format, instrument, annotator
                or definition.
        """
        self.path = folder / FOLDER / f"{who.annotator}-{who.definition}.jsonl"
        heading = {
            "labeler": FORMAT,
            "instrument": who.instrument,
            "annotator": who.annotator,
            "definition": who.definition,
        }
        content = self.path.read_bytes() if self.path.exists() else b""
        whole, _, _ = content.rpartition(b"\n")
        lines = [_parsed(line, n, self.path.name) for n, line in enumerate(whole.splitlines(), 1)]
        self._size = len(whole) + 1 if whole else 0
        if not lines:
            self.actions: list[dict[str, Any]] = []
            self._append(heading)
        elif lines[0] != heading:
            raise IntegrityError(
                f"{self.path.name} must be a draft journal of format {FORMAT} for {who.instrument}, "
                f"{who.annotator} and definition {who.definition}, but begins with "
                f"{json.dumps(lines[0])[:200]}. {REMEDY}"
            )
        self.actions = lines[1:]

    def append(self, action: Mapping[str, Any]) -> None:
        """Write an action and sync it.

        Raises:
            UnwritableFile: If writing fails; the actions before stay.
        """
        self._append(action)
        self.actions.append(dict(action))

    def _append(self, record: Mapping[str, Any]) -> None:
        line = checksummed_line(json.dumps(record, ensure_ascii=False, separators=(",", ":")))
        content = f"{line}\n".encode()
        append_bytes(self.path, content, self._size)
        self._size += len(content)


def _parsed(line: bytes, number: int, name: str) -> dict[str, Any]:
    try:
        record = json.loads(parse_checksummed_line(line.decode()))
    except ChecksumMismatch as fault:
        raise ChecksumMismatch(f"{name}: line {number:,} was changed: {fault}. {REMEDY}") from None
    except (ValueError, RecursionError):
        raise IntegrityError(f"{name}: line {number:,} is no action of the labeler. {REMEDY}") from None
    if not isinstance(record, dict):
        raise IntegrityError(f"{name}: line {number:,} is no action of the labeler. {REMEDY}")
    return record
