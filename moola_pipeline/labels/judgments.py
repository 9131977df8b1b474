"""Judgments: what an annotator saw in a stretch of bars, in time; a journal of them that only grows."""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moola_pipeline.errors import ChecksumMismatch, IntegrityError, Truncated
from moola_pipeline.storage.checksums import bytes_digest, checksummed_line, parse_checksummed_line

JOURNAL_NAME = "judgments.jsonl"
NO_DIGEST = bytes_digest(b"").sha256
"""The digest before the first line."""


@dataclass(frozen=True)
class MarkedSpan:
    """One expansion that the annotator marked.

    Attributes:
        started_at, ended_at: UTC opens of its first and last bar, ISO 8601.
        type: consolidation, retracement or unknown.
        grade: A to D, or None.
        batch: Batch in the label file.
    """

    started_at: str
    ended_at: str
    type: str
    grade: str | None = None
    batch: str | None = None


@dataclass(frozen=True)
class Judgment:
    """What an annotator saw in a stretch of bars; a line of the journal.

    Attributes:
        instrument: Root of its contracts, as NQ.
        window_id: The window's name in label files.
        looked_from, looked_to: UTC opens of the first and last bar that were judged, ISO 8601.
        spans: The expansions that start there, and others marked in the window; none if it is empty.
        annotator: None if the file named none.
        definition: Number of the text that says what an expansion is.
        pass_number: 1, and more for each repetition.
        batch, grade: Of a window without an expansion.
        chosen: How the window was chosen; one of labels.schema.CHOSEN.
        made_at: When it was made or imported, UTC, ISO 8601.
        supersedes: Number of the judgment that it replaces, from 1.
        why: The annotator's reason for replacing it.
        saw_model: Whether the annotator had seen the model's marks.
        context: What was shown beside the window.
        seconds: Time from opening the window to the judgment.
        complete: Whether all expansions that start there are marked; else only the spans are known.
    """

    instrument: str
    window_id: str
    looked_from: str
    looked_to: str
    spans: tuple[MarkedSpan, ...]
    annotator: str | None
    definition: int
    pass_number: int
    batch: str | None
    grade: str | None
    chosen: str
    made_at: str
    supersedes: int | None = None
    why: str = ""
    saw_model: bool = False
    context: str = ""
    seconds: float | None = None
    complete: bool = True

    @property
    def key(self) -> tuple:
        """Window, pass, annotator and definition: a newer judgment of these supersedes this one."""
        return self.window_id, self.pass_number, self.annotator, self.definition


@dataclass(frozen=True)
class Journal:
    """The judgments of a home, oldest first, and the digest of the last line."""

    judgments: tuple[Judgment, ...] = ()
    digest: str = NO_DIGEST

    def numbers(self) -> dict[tuple, int]:
        """Number of the newest judgment of each window, pass, annotator and definition, from 1."""
        return {judgment.key: number for number, judgment in enumerate(self.judgments, 1)}

    def current(self) -> dict[int, Judgment]:
        """The judgments that hold, by number: the newest ones."""
        return {number: self.judgments[number - 1] for number in sorted(self.numbers().values())}


def read_journal(path: Path, n_lines: int, digest: str, remedy: str) -> Journal:
    """Read the first lines of a journal; lines behind them were never acknowledged.

    Args:
        path: The journal.
        n_lines: Number of recorded lines.
        digest: Recorded digest of the last of them.
        remedy: The remedy in the errors.

    Raises:
        Truncated: If lines are missing.
        ChecksumMismatch: If a line was changed, or is not the one that was recorded.
        IntegrityError: If a line is no judgment.
    """
    if not n_lines:
        return Journal()
    try:
        lines = path.read_bytes().decode().split("\n")[:-1]  # read_text would accept other line ends
    except FileNotFoundError:
        lines = []
    except UnicodeDecodeError:
        raise ChecksumMismatch(f"{path.name}: it holds bytes that are not text. {remedy}") from None
    if len(lines) < n_lines:
        raise Truncated(f"{path.name}: it must hold {n_lines:,} judgments, got {len(lines):,}. {remedy}")
    last, judgments = NO_DIGEST, []
    for number, line in enumerate(lines[:n_lines], 1):
        try:
            record = json.loads(parse_checksummed_line(line))
            if record.pop("previous") != last:
                raise ChecksumMismatch("it does not follow the line before it")
            judgments.append(_judgment(record))
        except ChecksumMismatch as fault:
            raise ChecksumMismatch(f"{path.name}: line {number:,} was changed: {fault}. {remedy}") from None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise IntegrityError(f"{path.name}: line {number:,} is no judgment. {remedy}") from None
        last = bytes_digest(line.encode()).sha256
    if last != digest:
        raise ChecksumMismatch(f"{path.name}: line {n_lines:,} is not the recorded one. {remedy}")
    return Journal(tuple(judgments), last)


def journal_lines(journal: Journal, new: Iterable[Judgment]) -> tuple[bytes, Journal]:
    """The lines of new judgments behind those of a journal, and the journal with them."""
    content, last = [], journal.digest
    new = tuple(new)
    for judgment in new:
        text = json.dumps({**_record(judgment), "previous": last}, ensure_ascii=False, separators=(",", ":"))
        line = checksummed_line(text)
        last = bytes_digest(line.encode()).sha256
        content.append(line + "\n")
    return "".join(content).encode(), Journal((*journal.judgments, *new), last)


def _record(judgment: Judgment) -> dict[str, Any]:
    record = dataclasses.asdict(judgment)
    record["spans"] = [list(dataclasses.astuple(span)) for span in judgment.spans]
    if judgment.complete:
        del record["complete"]  # lines from before this field stay as they are, byte for byte
    return record


def _judgment(record: dict[str, Any]) -> Judgment:
    return Judgment(**{**record, "spans": tuple(MarkedSpan(*span) for span in record["spans"])})
