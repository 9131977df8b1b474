"""The format of a home: one of an earlier version is brought up to date, a copy set aside first."""

import json
from collections.abc import Iterator
from pathlib import Path

from moola_pipeline import __version__
from moola_pipeline.errors import IntegrityError
from moola_pipeline.home import Home
from moola_pipeline.publish import locked
from moola_pipeline.records import proves_itself, publish_record, read_record, record_in
from moola_pipeline.resources.seals import SEAL_SUFFIX, prove, seal

HOME_FORMAT = 2
"""1: records without digests of their own, seals without sizes. 2: both."""
FORMAT_NAME = "format.json"
RECORDS = ("manifest.json", "labels/ledger.json", "splits.json", "simulated/*/manifest.json")


def home_format(home: Home) -> int:
    """The format that a home is kept in.

    Raises:
        IntegrityError: If it cannot be read.
    """
    try:
        said = read_record(home.data / FORMAT_NAME, "must name the home's format", "Delete it: moola run")
        return int(said["format"])
    except FileNotFoundError:
        return 1 if _is_earlier(home) else HOME_FORMAT
    except (KeyError, TypeError, ValueError):
        raise IntegrityError(
            f"{FORMAT_NAME} must name the home's format, but it does not. Delete it."
        ) from None


def bring_up_to_date(home: Home) -> Path | None:
    """Let this version open the home: earlier formats are rewritten, a backup of them set aside first.

    Returns:
        The backup; None if the home was of this format.

    Raises:
        IntegrityError: If a later version has written the home.
    """
    with locked(home.data / FORMAT_NAME):
        found = home_format(home)
        if found > HOME_FORMAT:
            raise IntegrityError(
                f"{home.root} must be of format {HOME_FORMAT} or earlier, got {found}. Install the version "
                "of moola that has written it, or use another --home."
            )
        aside = None
        if found < HOME_FORMAT:
            aside = _backup_of(home, found)
            _add_digests(home)
        if not (home.data / FORMAT_NAME).exists() or found < HOME_FORMAT:
            publish_record(home.data / FORMAT_NAME, {"format": HOME_FORMAT, "moola": __version__})
    return aside


def _backup_of(home: Home, found: int) -> Path:
    from moola_pipeline.resources.backup import back_up

    aside = home.root / f"before-format-{HOME_FORMAT}-of-{found}.zip"
    if not aside.exists():
        back_up(home, aside)
    return aside


def _add_digests(home: Home) -> None:
    """What cannot be proven is left as it is, for `moola verify` to name."""
    for path in _records(home):
        content = path.read_bytes()
        try:
            found = record_in(content, path.name, "")
        except IntegrityError:
            continue
        if not proves_itself(path):
            publish_record(path, found)
    for path in [*home.store.rglob(f"*{SEAL_SUFFIX}"), *home.reports.rglob(f"*{SEAL_SUFFIX}")]:
        place = path.with_name(path.name.removesuffix(SEAL_SUFFIX))
        try:
            prove(place)
        except (IntegrityError, FileNotFoundError):
            continue
        if json.loads(path.read_bytes()).get("format") is None:
            seal(place)


def _records(home: Home) -> Iterator[Path]:
    for pattern in RECORDS:
        yield from home.data.glob(pattern)


def _is_earlier(home: Home) -> bool:
    """Whether anything is kept as it was before records had digests."""
    if any(any(home.data.glob(pattern)) for pattern in ("store/*/*", "mlflow/mlflow.db")):
        return True
    return any(not proves_itself(path) for path in _records(home))
