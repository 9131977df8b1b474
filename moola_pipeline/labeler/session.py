"""A labeling session: the open windows of an annotator, what is marked in them, and undo across them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from moola_pipeline.errors import BadInput, IntegrityError, MoolaError
from moola_pipeline.labeler.chart_bars import ChartBars
from moola_pipeline.labeler.choosing import Chooser
from moola_pipeline.labeler.drafts import REMEDY, DraftJournal
from moola_pipeline.labeler.marks import (
    WITHDRAWN,
    Annotating,
    LabelWindow,
    SavedMarks,
    WindowMarks,
    judgment_of,
)
from moola_pipeline.labeler.opened_windows import SAVED, History, OpenedWindow
from moola_pipeline.labels.judgment_rows import LabelRow
from moola_pipeline.labels.judgments import Journal, Judgment
from moola_pipeline.labels.registry import add_judgments, open_judgments

REGISTERED_BY = ("save", "undo", "redo")
"""Actions after which the registered judgment of a window may differ."""


class LabelingSession:
    """Windows, marks and history; every change is in the draft journal before it counts.

    Attributes:
        current: Name of the window on the page; None when no window is left.
        windows: By name, in the order opened.
        left: Windows to save before the session ends; None: no end.
    """

    def __init__(
        self,
        bars: ChartBars,
        folder: Path,
        who: Annotating,
        chooser: Chooser,
        limit: int | None = None,
    ) -> None:
        """Take up the session where its draft journal ends.

        Args:
            bars: The bars.
            folder: The label folder of the home.
            who: Annotator and definition.
            chooser: Source of further windows.
            limit: Windows to save before the session ends; None: no end.

        Raises:
            IntegrityError: If the draft journal is broken, or that of another home.
        """
        self.bars, self.folder, self.who, self.chooser = bars, folder, who, chooser
        self.windows: dict[str, OpenedWindow] = {}
        self.current: str | None = None
        self._history = History()
        self.left = limit
        self._visited: set[str] = set()
        self._unwritten: list[dict[str, Any]] = []
        self._known = open_judgments(folder, bars.opened)
        self._drafts = DraftJournal(folder, who)
        for action in self._drafts.actions:
            self._replay(action)
        self._finish_last_action()
        self._resume()

    @property
    def journal(self) -> Journal:
        """All registered judgments."""
        return self._known.journal

    @property
    def rows(self) -> tuple[LabelRow, ...]:
        """The rows of all judgments that hold."""
        return self._known.rows

    @property
    def revision(self) -> int:
        """Number of actions so far."""
        return len(self._drafts.actions)

    @property
    def opened(self) -> list[LabelWindow]:
        """Every window that was opened."""
        return [opened.window for opened in self.windows.values()]

    def shown(self) -> OpenedWindow:
        """The window on the page.

        Raises:
            BadInput: If no window is left.
        """
        if self.current is None:
            raise BadInput("There must be a window to work on, but none is left. Start the labeler again.")
        return self.windows[self.current]

    def mark(self, marks: WindowMarks) -> None:
        """Replace the marks of the window on the page."""
        opened = self.shown()
        if marks != opened.marks:
            self._act({"kind": "marks", "window": self.current, "marks": marks.model_dump(mode="json")})

    def save(self, seconds: float, context: str) -> None:
        """Register the marks of the window on the page, and go to the next one.

        Args:
            seconds: Time at the window.
            context: What was shown beside it.

        Raises:
            BadInput: If marks are missing, or contradict those of another window; nothing is saved.
        """
        opened = self.shown()
        if missing := opened.marks.missing:
            raise BadInput(missing)
        self._visited.add(opened.window.name)
        if opened.status != SAVED:
            how = {"seconds": round(seconds, 1), "context": context}
            self._act({"kind": "save", "window": self.current, **how})
            self.left = None if self.left is None else self.left - 1
        self._resume(after=self.current)

    def undo(self) -> None:
        """Take the last action back, in whichever window it was."""
        if self._history.can_undo:
            self._act({"kind": "undo"})

    def redo(self) -> None:
        """Do the action again that was taken back last."""
        if self._history.can_redo:
            self._act({"kind": "redo"})

    def saw_model(self) -> None:
        """Record that the model's marks are shown for the window on the page.

        Raises:
            BadInput: If it is not saved: the marks would no longer be the annotator's own.
        """
        if self.shown().status != SAVED:
            raise BadInput("The model's marks are shown after saving. Press Enter, then Backspace and M.")
        if not self.shown().saw_model:
            self._act({"kind": "saw", "window": self.current})

    def back(self) -> None:
        """Go to the window opened before."""
        names = [*self.windows]
        place = names.index(self.current) if self.current is not None else len(names)
        self.current = names[max(place - 1, 0)] if names else None

    def facts(self, with_view: bool = True) -> dict[str, Any]:
        """What the page shows.

        Args:
            with_view: Whether to include the bars of the window.
        """
        facts: dict[str, Any] = {
            "revision": self.revision,
            "can_undo": self._history.can_undo,
            "can_redo": self._history.can_redo,
            "window": None,
        }
        if self.current is None:
            return facts
        opened, names = self.windows[self.current], [*self.windows]
        number, total = self.chooser.place(opened.window)
        facts["window"] = {
            "name": self.current,
            "number": number or names.index(self.current) + 1,
            "total": total,
            "marks": opened.marks.model_dump(mode="json"),
            "status": opened.status,
            "note": opened.window.note,
            "said": [[name, marks.model_dump(mode="json")["spans"]] for name, marks in opened.window.said],
        }
        if with_view:
            facts["view"] = self.bars.view(self._bar0(opened.window))
        return facts

    def _act(self, action: dict[str, Any]) -> None:
        """Write an action, let it count, and register what it saved or took back."""
        self._write(action)
        self._apply(action)
        if action["kind"] in REGISTERED_BY:
            try:
                self._register(self._changed())
            except MoolaError:
                self._refuse(action["kind"])
                raise

    def _write(self, action: dict[str, Any]) -> None:
        while self._unwritten:
            self._drafts.append(self._unwritten[0])
            self._unwritten.pop(0)
        self._drafts.append(action)

    def _refuse(self, kind: str) -> None:
        """Take back an action that could not be registered; the journal says so as soon as it can."""
        action = {"kind": "refused", "action": kind}
        self._apply(action)
        self._unwritten.append(action)

    def _apply(self, action: Mapping[str, Any]) -> None:
        match action["kind"]:
            case "open":
                window = LabelWindow.of_record(action["window"])
                saved = SavedMarks(window.before) if action["registered"] else None
                self._show(OpenedWindow(window, window.before, saved, window.shows_model))
            case "marks":
                marks = WindowMarks.model_validate_json(json.dumps(action["marks"]))
                self._change(action["window"], marks=marks)
            case "save":
                before = self.windows[action["window"]]
                self._visited.add(action["window"])
                how = (action["seconds"], action["context"], before.saw_model)
                self._change(action["window"], saved=SavedMarks(before.marks, *how))
            case "saw":
                name = action["window"]
                self.windows[name] = replace(self.windows[name], saw_model=True)
            case "undo":
                self._show(self._history.undo())
            case "redo":
                self._show(self._history.redo())
            case "refused" if action["action"] == "undo":
                self._apply({"kind": "redo"})
            case "refused":
                self._apply({"kind": "undo"})
                if action["action"] == "save":
                    self._history.forget_undone()
            case other:
                raise ValueError(other)

    def _change(self, name: str, **changes: Any) -> None:
        before = self.windows[name]
        after = replace(before, **changes)
        self._history.add(before, after)
        self._show(after)

    def _show(self, opened: OpenedWindow) -> None:
        self.current = opened.window.name
        self.windows[self.current] = opened

    def _changed(self) -> OpenedWindow:
        """The window of the last action."""
        return self.windows[self.current or ""]

    def _held(self, window: LabelWindow) -> Judgment | None:
        """The registered judgment of a window; None if there is none."""
        key = (window.window_id, window.pass_number, self.who.annotator, self.who.definition)
        number = self._known.journal.numbers().get(key)
        return None if number is None else self._known.journal.judgments[number - 1]

    def _register(self, opened: OpenedWindow) -> None:
        """Make the registered judgment of a window that of its saved marks."""
        if not self._is_held(opened):
            wanted = judgment_of(self.who, opened.window, opened.saved, self.bars)
            self._known = add_judgments(self.folder, [wanted], self._known)

    def _replay(self, action: Mapping[str, Any]) -> None:
        try:
            self._apply(action)
        except (KeyError, IndexError, TypeError, ValueError):
            raise IntegrityError(
                f"{self._drafts.path.name} must hold actions that follow each other, but one does not. "
                f"{REMEDY}"
            ) from None
        if action["kind"] == "open" and self.bars.row_at(self.shown().window.opened_at) is None:
            raise IntegrityError(
                f"{self._drafts.path.name} must be the draft journal of this home, but no bar opens at "
                f"{self.shown().window.opened_at} (UTC). Add its bars, or move the journal away."
            )

    def _finish_last_action(self) -> None:
        """Register what was saved or taken back when the server was killed.

        A judgment other than the one before the action was made elsewhere since, and stays.
        """
        actions = self._drafts.actions
        kind = actions[-1]["kind"] if actions else ""
        if kind in REGISTERED_BY and self._is_held(self._history.before_last(kind)):
            try:
                self._register(self._changed())
            except BadInput:
                self._refuse(kind)

    def _is_held(self, opened: OpenedWindow) -> bool:
        """Whether the registered judgment of a window is that of its saved marks."""
        held = self._held(opened.window)
        if held is None:
            return opened.saved is None
        return _content(held) == _content(judgment_of(self.who, opened.window, opened.saved, self.bars))

    def _resume(self, after: str | None = None) -> None:
        """Show the next window that is not saved, else a new one."""
        names = [*self.windows]
        start = names.index(after) + 1 if after is not None else 0
        waiting = [name for name in names[start:] + names[:start] if self._is_waiting(name)]
        if self.left is not None and self.left <= 0:
            self.current = None
        elif waiting:
            self.current = waiting[0]
        else:
            window = self.chooser.next(self._known.journal, self.opened)
            if window is None:
                self.current = None
            else:
                held = self._held(window)
                self._act(
                    {
                        "kind": "open",
                        "window": window.record(),
                        "registered": held is not None and held.why != WITHDRAWN,
                    }
                )

    def _is_waiting(self, name: str) -> bool:
        """Whether a window is to be judged still, in this session."""
        opened = self.windows[name]
        is_open = opened.status != SAVED or (opened.window.visit and name not in self._visited)
        return bool(is_open) and self.chooser.owns(opened.window)

    def _bar0(self, window: LabelWindow) -> int:
        return self.bars.row_at(window.opened_at) or 0


def _content(judgment: Judgment) -> tuple:
    """What two judgments must have in common to be the same."""
    return judgment.spans, judgment.grade, judgment.looked_from, judgment.why == WITHDRAWN
