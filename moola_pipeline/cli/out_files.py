"""Files that a command writes where the user says: checked before the work, replaced whole after it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moola_pipeline.errors import BadInput


def require_out(option: str, out: Path | None, suffixes: tuple[str, ...], *others: Path | None) -> None:
    """Refuse a file that cannot be written as asked.

    Args:
        option: As the user typed it.
        out: What came; None asks for no file.
        suffixes: What its name may end in.
        others: Files that it must not replace: the one that is read, and what else is written.

    Raises:
        BadInput: If the suffix is another, or it is one of the others.
    """
    if out is None:
        return
    if out.suffix not in suffixes:
        raise BadInput(f"{option} must end in {', '.join(suffixes)}, got {out.name}. Choose one of them.")
    if any(other is not None and _same(out, other) for other in others):
        raise BadInput(f"{option} must be a file of its own, got {out} twice. Name another place.")


@contextmanager
def writing(option: str, out: Path) -> Iterator[None]:
    """Say in one line where a file could not be written.

    Raises:
        BadInput: If the system refuses.
    """
    try:
        yield
    except OSError as fault:
        raise BadInput(
            f"{option} must lie in a folder that can be written, got {out} ({fault.strerror}). "
            "Name another place."
        ) from fault


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))
