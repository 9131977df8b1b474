"""The labeler beside other commands: its bars are those registered now, and an annotator has one."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from moola_pipeline.bars.store import BarStore, registered_state, registered_store
from moola_pipeline.errors import BadInput
from moola_pipeline.labeler.drafts import FOLDER, require_annotator
from moola_pipeline.labeler.opening import LabelRequest, Learning, OpenedLabeler, open_labeler
from moola_pipeline.labeler.server import Surroundings
from moola_pipeline.labeler.session import LabelingSession
from moola_pipeline.labeler.task_files import read_task
from moola_pipeline.storage.atomic_write import locked
from moola_pipeline.storage.home import Home

if TYPE_CHECKING:
    from moola_pipeline.models.expansion_model import ExpansionModel


class CurrentLabeler:
    """The labeler of a home on its bars of now: opened again once bars or rolls were added beside it.

    On earlier bars it would count the bars of labels wrongly, and refuse labels of new ones. The draft
    journal brings back what was marked. An annotator has one labeler at a time: two would write into the
    same draft journal.

    Args:
        home, request, learning, champion: As `open_labeler`.

    Raises:
        BadInput: If the annotator's labeler is open already, or as `open_labeler`.
        IntegrityError: As `open_labeler`.
    """

    def __init__(
        self,
        home: Home,
        request: LabelRequest,
        learning: Learning,
        champion: Callable[[], "ExpansionModel"] | None = None,
    ) -> None:
        self._home, self._request = home, request
        self._around = learning, champion
        store = registered_store(home)
        annotator = read_task(request.task).annotator if request.task else request.annotator
        self._lock = _only_labeler(store, require_annotator(annotator)) if store.root.exists() else None
        self._seen = registered_state(store)
        try:
            self.opened = open_labeler(home, request, *self._around)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let another labeler of the annotator open."""
        if self._lock is not None:
            self._lock.release()

    def now(self) -> OpenedLabeler:
        """The labeler; raises what `open_labeler` does."""
        seen = registered_state(self.opened.store)
        if seen != self._seen:
            request = replace(self._request, windows=self.opened.session.left)
            self.opened, self._seen = open_labeler(self._home, request, *self._around), seen
        return self.opened

    def answering(self) -> tuple[LabelingSession, Surroundings]:
        """What a server answers from."""
        opened = self.now()
        return opened.session, opened.surroundings()


def _only_labeler(store: BarStore, annotator: str) -> FileLock:
    """The held lock of an annotator's labeler."""
    lock = locked(store.labels / FOLDER / annotator)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BadInput(
            f"An annotator must have one labeler at a time, but that of {annotator} is open in this home. "
            "Use its page, or end it with Ctrl-C first."
        ) from None
    return lock
