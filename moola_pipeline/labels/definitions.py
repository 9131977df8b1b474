"""The texts that say what an expansion is, and each type: numbered, never changed, kept with the labels."""

from pathlib import Path

from moola_pipeline.errors import BadInput, IntegrityError
from moola_pipeline.labels.schema import FIRST_DEFINITION
from moola_pipeline.storage.atomic_write import locked
from moola_pipeline.storage.checksums import read_checksummed, write_checksummed

FOLDER = "definitions"
REMEDY = "Restore it from a backup."
MAX_CHARACTERS = 100_000
SUGGESTED = """\
An expansion is a surge: price moves one way for two to about ten bars, clearly faster than before.
It moves at least 3 ATR (write your own floor here; the page shows the move).
It starts at the first bar of the surge and ends at its last bar, before price stalls or turns.
A pause of one or two bars does not end it. A single wide bar without others is no expansion.

Consolidation: before it, price stood in a narrow range for about 15 bars.
Retracement: before it, price had given back a part of a larger move, and the surge continues that move.
If both fit, what stood directly before the surge decides.
Unknown: an expansion after neither, or one whose type cannot be told."""
"""A text to begin with; it counts only once it is added."""


def definition_texts(folder: Path) -> dict[int, str]:
    """The definitions of a label folder by number; the first has no text unless one was added.

    Raises:
        IntegrityError: If one was changed.
    """
    numbers = sorted(int(path.stem) for path in (folder / FOLDER).glob("*.json") if path.stem.isdecimal())
    return {FIRST_DEFINITION: ""} | {number: _read(folder, number) for number in numbers}


def add_definition(folder: Path, text: str) -> int:
    """Keep a new definition; return its number. The text of the first may be given once.

    Raises:
        BadInput: If it is empty, too long, or that of the newest definition.
    """
    text = text.strip()
    if not text or len(text) > MAX_CHARACTERS:
        raise BadInput(
            f"A definition must be a text of at most {MAX_CHARACTERS:,} characters, got {len(text):,}. "
            "Write what an expansion is, and each type."
        )
    with locked(folder / FOLDER / "number"):
        texts = definition_texts(folder)
        newest = max(texts)
        if texts[newest] == text:
            raise BadInput(f"A new definition must differ from the newest one, got that of {newest}.")
        number = newest if not texts[newest] else newest + 1
        write_checksummed(_path(folder, number), {"definition": number, "text": text})
    return number


def keep_definition(folder: Path, number: int, text: str) -> None:
    """Keep a definition of another home under its number there.

    Raises:
        BadInput: If that number has another text here.
    """
    with locked(folder / FOLDER / "number"):
        here = definition_texts(folder).get(number)
        if here and here != text:
            raise BadInput(
                f"Definition {number} must have the same text as where the windows come from, but this home "
                "has another one. Label them in a home of their own: --home FOLDER"
            )
        if here != text:
            write_checksummed(_path(folder, number), {"definition": number, "text": text})


def _read(folder: Path, number: int) -> str:
    path = _path(folder, number)
    record = read_checksummed(path, "must hold a definition", REMEDY)
    text = record.get("text")
    if not isinstance(text, str):
        raise IntegrityError(f"{path.name} must hold a definition, but it has no text. {REMEDY}")
    return text


def _path(folder: Path, number: int) -> Path:
    return folder / FOLDER / f"{number}.json"
