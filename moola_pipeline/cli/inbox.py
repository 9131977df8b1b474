"""`moola bars inbox`: once what the sensor does with the watched folder."""

from itertools import chain
from typing import Any

import click

from moola_pipeline.bars.cleaning import known_instrument
from moola_pipeline.bars.inbox import InboxFile, inbox_folder, take_inbox
from moola_pipeline.bars.manifest import AddedBars
from moola_pipeline.bars.quality import Review, review_bars
from moola_pipeline.bars.store import BarStore
from moola_pipeline.cli.added import added_facts, added_lines
from moola_pipeline.cli.output import emit, json_option
from moola_pipeline.errors import BadInput
from moola_pipeline.storage.home import Home


@click.command()
@json_option
@click.pass_obj
def inbox(home: Home, as_json: bool) -> None:
    """Add the files in data/inbox, as new_bars_sensor does when it is on.

    What is added leaves the folder; what is refused moves to data/inbox/refused with the reason
    beside it, and the exit code is 2. A file written less than 30 s ago waits for the next time.
    """
    store = BarStore(home.data, simulated=False)
    files = take_inbox(store)
    shown = [_lines(store, file) for file in files] or [[f"Nothing lies in {inbox_folder(store)}."]]
    emit({"files": [_facts(store, file) for file in files]}, chain.from_iterable(shown), as_json)
    refused = [file.name for file in files if file.outcome == "refused"]
    if refused:
        raise BadInput(
            f"Files in the inbox must be bars that need no guess, but refused: {', '.join(refused)}. "
            f"Read the reasons in {inbox_folder(store) / 'refused'}, settle them, and move the files back."
        )


def _facts(store: BarStore, file: InboxFile) -> dict[str, Any]:
    kept = None if file.kept is None else str(file.kept)
    facts: dict[str, Any] = {"source": file.name, "inbox": file.outcome, "why": file.why, "kept": kept}
    if file.added is not None:
        facts |= added_facts(store, inbox_folder(store) / file.name, file.added, _review(file.added))
    return facts


def _lines(store: BarStore, file: InboxFile) -> list[str]:
    if file.added is None:
        return [file.shown]
    return list(added_lines(store, inbox_folder(store) / file.name, file.added, _review(file.added)))


def _review(added: AddedBars) -> Review:
    return review_bars(added.bars.frame, known_instrument(added.entry.instrument))
