"""What an annotator marks in a window, as the page sends it; and the judgment that it becomes."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from moola_pipeline.labeler.chart_bars import ChartBars
from moola_pipeline.labels.judgment_rows import LabelRow
from moola_pipeline.labels.judgments import Judgment, MarkedSpan
from moola_pipeline.labels.schema import EXCLUDED_GRADE
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST, WINDOW_BARS

WITHDRAWN = "withdrawn by undo"
"""Reason of the judgment that takes one back: the window counts as not usable until it is judged again."""


class Strict(BaseModel):
    """A message: immutable, and nothing unknown in it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SpanMark(Strict):
    """First and last bar of an expansion in its window; the type is None until one is chosen."""

    start: int = Field(ge=CORE_FIRST, le=CORE_LAST)
    end: int = Field(ge=CORE_FIRST, lt=WINDOW_BARS)
    type: Literal["consolidation", "retracement", "unknown"] | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"an expansion must end at bar {self.start} or later, got {self.end}")
        return self


class WindowMarks(Strict):
    """All marks of a window; `verdict` says that there is nothing, or that the window cannot be used."""

    spans: tuple[SpanMark, ...] = Field(default=(), max_length=CORE_LAST - CORE_FIRST + 1)
    verdict: Literal["nothing", "unusable"] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.verdict and self.spans:
            raise ValueError(f"a window called {self.verdict} must hold no expansion, got {len(self.spans)}")
        ordered = sorted(self.spans, key=lambda span: (span.start, span.end))
        for one, other in pairwise(ordered):
            shared = min(one.end, other.end) - other.start + 1
            shorter = min(one.end - one.start, other.end - other.start) + 1
            if shared > 1 or 2 * shared > shorter:
                raise ValueError(f"expansions must share a border bar at most, got {shared} shared bars")
        return self

    @property
    def missing(self) -> str | None:
        """What must be done before the window can be saved; None if nothing."""
        if any(span.type is None for span in self.spans):
            return "Every mark needs a type: C, R or U."
        if not self.spans and self.verdict is None:
            return "Mark the expansions, or press N if nothing is here."
        return None


NO_MARKS = WindowMarks()


@dataclass(frozen=True)
class LabelWindow:
    """A window to label.

    Attributes:
        window_id: Its name in label files.
        opened_at: UTC open of bar 0, ISO 8601.
        chosen: How it was chosen; one of labels.schema.CHOSEN.
        pass_number: 1, and more for each repetition.
        split: train, validation, test or unused.
        before: What is registered for it, or proposed by a model; marked when it opens.
        note: Shown beside the chart.
        said: Marks of others, by who made them: drawn beside the annotator's own.
        visit: Name of the list that it was opened from; empty for drawn windows.
        shows_model: Whether a model's marks are shown with it.
    """

    window_id: str
    opened_at: str
    chosen: str
    pass_number: int = 1
    split: str = "train"
    before: WindowMarks = NO_MARKS
    note: str = ""
    said: tuple[tuple[str, WindowMarks], ...] = ()
    visit: str = ""
    shows_model: bool = False

    @property
    def name(self) -> str:
        """Window, pass and visit as one word."""
        return "/".join([self.window_id, str(self.pass_number), *([self.visit] if self.visit else [])])

    def record(self) -> dict[str, Any]:
        """As JSON data."""
        said = [[name, marks.model_dump(mode="json")] for name, marks in self.said]
        return {**vars(self), "before": self.before.model_dump(mode="json"), "said": said}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "LabelWindow":
        """The inverse of `record`.

        Raises:
            TypeError, ValueError: If it is none.
        """
        said = tuple((str(name), _marks(marks)) for name, marks in record["said"])
        return cls(**{**record, "before": _marks(record["before"]), "said": said})


def _marks(record: Any) -> WindowMarks:
    return WindowMarks.model_validate_json(json.dumps(record))


@dataclass(frozen=True)
class SavedMarks:
    """Marks as they were saved, and how.

    Attributes:
        marks: All of the window.
        seconds: Time at the window.
        context: What was shown beside it.
        saw_model: Whether the model's marks were seen before.
    """

    marks: WindowMarks
    seconds: float | None = None
    context: str = ""
    saw_model: bool = False


@dataclass(frozen=True)
class Annotating:
    """Who labels, and under which definition.

    Attributes:
        instrument: Root of its contracts, as NQ.
        annotator: Name of the annotator.
        definition: Number of the text that says what an expansion is.
    """

    instrument: str
    annotator: str
    definition: int

    def rows_in(self, rows: Iterable[LabelRow]) -> list[LabelRow]:
        """The rows of this annotator under this definition."""
        return [row for row in rows if row.key[2:] == (self.annotator, self.definition)]


def judgment_of(who: Annotating, window: LabelWindow, saved: SavedMarks | None, bars: ChartBars) -> Judgment:
    """The judgment of saved marks; of None the one that takes an earlier one back."""
    bar0 = bars.row_at(window.opened_at)
    if bar0 is None:
        raise ValueError(f"window {window.window_id} must start at a bar, got {window.opened_at}")
    marks = saved.marks if saved else NO_MARKS
    spans = tuple(
        MarkedSpan(bars.stamp(bar0 + span.start), bars.stamp(bar0 + span.end), span.type or "unknown")
        for span in sorted(marks.spans, key=lambda span: span.start)
    )
    excluded = saved is None or marks.verdict == "unusable"
    return Judgment(
        instrument=who.instrument,
        window_id=window.window_id,
        looked_from=bars.stamp(bar0 + CORE_FIRST),
        looked_to=bars.stamp(bar0 + CORE_LAST),
        spans=spans,
        annotator=who.annotator,
        definition=who.definition,
        pass_number=window.pass_number,
        batch=None,
        grade=EXCLUDED_GRADE if excluded else None,
        chosen=window.chosen,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        why="" if saved else WITHDRAWN,
        saw_model=bool(saved and saved.saw_model),
        context=saved.context if saved else "",
        seconds=saved.seconds if saved else None,
    )


def marks_of(judgment: Judgment, bars: ChartBars) -> WindowMarks:
    """The marks of a judgment; those that the page could not make are left out."""
    looked = bars.row_at(judgment.looked_from)
    if judgment.grade == EXCLUDED_GRADE or looked is None:
        return NO_MARKS if judgment.why == WITHDRAWN else WindowMarks(verdict="unusable")
    spans = []
    for mark in judgment.spans:
        first, last = bars.row_at(mark.started_at), bars.row_at(mark.ended_at)
        if first is None or last is None:
            continue
        start, end = (row - looked + CORE_FIRST for row in (first, last))
        if CORE_FIRST <= start <= CORE_LAST and end < WINDOW_BARS:
            spans.append(SpanMark.model_validate({"start": start, "end": end, "type": mark.type}))
    return WindowMarks(spans=tuple(spans), verdict=None if spans else "nothing")
