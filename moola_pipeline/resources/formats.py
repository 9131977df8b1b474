"""The format of a home: one of an earlier version is brought up to date, a copy set aside first."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from moola_pipeline import __version__
from moola_pipeline.bars.manifest import prove_quarantine_from_now_on
from moola_pipeline.bars.rolls import register_rolls, registered_rolls
from moola_pipeline.bars.store import BarStore
from moola_pipeline.errors import IntegrityError
from moola_pipeline.labels.simulated import prove_from_now_on
from moola_pipeline.storage.atomic_write import locked
from moola_pipeline.storage.checksums import (
    SEAL_SUFFIX,
    prove,
    proves_itself,
    publish_record,
    read_record,
    record_in,
    seal,
)
from moola_pipeline.storage.home import Home

HOME_FORMAT = 4
"""1: records without digests of their own, seals without sizes. 2: both. 3: digests of rolls, of rows set
aside, and of a simulated market's truth, too. 4: the manifest says whether there are rolls."""
FORMAT_NAME = "format.json"
RECORDS = ("manifest.json", "labels/ledger.json", "splits.json", "simulated/*/manifest.json")
STORES = ("manifest.json", "simulated/*/manifest.json")


def home_format(home: Home) -> int:
    """The format that a home is kept in.

    Raises:
        IntegrityError: If it cannot be read.
    """
    try:
        said = read_record(home.data / FORMAT_NAME, "must name the home's format", "Delete it: moola run")
        return count_of(said)
    except FileNotFoundError:
        return 1 if _is_earlier(home) else HOME_FORMAT
    except ValueError:
        raise IntegrityError(
            f"{FORMAT_NAME} must name the home's format, but it does not. Delete it."
        ) from None


def count_of(record: Mapping[str, Any]) -> int:
    """The format that a record says it is of.

    Raises:
        ValueError: If it says none.
    """
    said = record.get("format")
    if type(said) is not int or said < 1:
        raise ValueError(f"format must be a whole number from 1, got {str(said)[:40]}")
    return said


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
    for path in [one for pattern in STORES for one in home.data.glob(pattern)]:
        store = BarStore(path.parent, simulated=path.parent != home.data)
        for recorded in (prove_quarantine_from_now_on, _with_digests):
            with suppress(IntegrityError):
                recorded(store)
    for path in [*home.store.rglob(f"*{SEAL_SUFFIX}"), *home.reports.rglob(f"*{SEAL_SUFFIX}")]:
        place = path.with_name(path.name.removesuffix(SEAL_SUFFIX))
        try:
            prove(place)
        except (IntegrityError, FileNotFoundError):
            continue
        if json.loads(path.read_bytes()).get("format") is None:
            seal(place)


def _with_digests(store: BarStore) -> None:
    """Rolls, or the truth of a simulated market, which proves its rolls by its own record."""
    if store.simulated:
        prove_from_now_on(store)
    elif (rolls := registered_rolls(store)) is not None:
        register_rolls(store, rolls)


def _records(home: Home) -> Iterator[Path]:
    for pattern in RECORDS:
        yield from home.data.glob(pattern)


def _is_earlier(home: Home) -> bool:
    """Whether anything is kept as it was before records had digests."""
    if any(any(home.data.glob(pattern)) for pattern in ("store/*/*", "mlflow/mlflow.db")):
        return True
    return any(not proves_itself(path) for path in _records(home))
