"""Windows that were opened, and the changes of them that undo and redo go back and forth over."""

from dataclasses import dataclass

from moola_pipeline.labeler.marks import LabelWindow, SavedMarks, WindowMarks

DRAFT, SAVED, CHANGED = "draft", "saved", "changed"


@dataclass(frozen=True)
class OpenedWindow:
    """A window that was opened, its marks now, and those that were saved last.

    Attributes:
        window: The window.
        marks: What the page shows.
        saved: What is registered; None if nothing is.
        saw_model: Whether the model's marks were shown.
    """

    window: LabelWindow
    marks: WindowMarks
    saved: SavedMarks | None = None
    saw_model: bool = False

    @property
    def status(self) -> str:
        """draft, saved or changed."""
        if self.saved is None:
            return DRAFT
        return SAVED if self.saved.marks == self.marks else CHANGED


class History:
    """Changes of windows, in their order."""

    def __init__(self) -> None:
        self._changes: list[tuple[OpenedWindow, OpenedWindow]] = []  # before and after
        self._n_done = 0

    @property
    def can_undo(self) -> bool:
        """Whether a change can be taken back."""
        return self._n_done > 0

    @property
    def can_redo(self) -> bool:
        """Whether a change was taken back that can be done again."""
        return self._n_done < len(self._changes)

    def add(self, before: OpenedWindow, after: OpenedWindow) -> None:
        """Add a change; those that were taken back cannot be done again."""
        self.forget_undone()
        self._changes.append((before, after))
        self._n_done += 1

    def undo(self) -> OpenedWindow:
        """Take the last change back; its window before it."""
        self._n_done -= 1
        return self._changes[self._n_done][0]

    def redo(self) -> OpenedWindow:
        """Do the change again that was taken back last; its window after it."""
        self._n_done += 1
        return self._changes[self._n_done - 1][1]

    def forget_undone(self) -> None:
        """Forget the changes that were taken back."""
        del self._changes[self._n_done :]

    def before_last(self, action: str) -> OpenedWindow:
        """The window of the last change, undo or redo, as it was before that action."""
        return self._changes[self._n_done][1] if action == "undo" else self._changes[self._n_done - 1][0]
