"""What `moola label` opens: bars, annotator, definition, and the windows that were asked for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pandas as pd

from moola_pipeline.bars.instruments import INSTRUMENTS
from moola_pipeline.bars.manifest import read_bars
from moola_pipeline.bars.store import BarStore, read_manifest, registered_store
from moola_pipeline.errors import BadInput
from moola_pipeline.labeler.chart_bars import ChartBars
from moola_pipeline.labeler.choosing import ListedWindows, MixedWindows, SplitRows
from moola_pipeline.labeler.doubt_ranking import DoubtRanking
from moola_pipeline.labeler.drafts import require_annotator
from moola_pipeline.labeler.marks import Annotating, LabelWindow
from moola_pipeline.labeler.progress import SelfAgreement, progress_facts
from moola_pipeline.labeler.reopened import (
    LISTS,
    LabeledBars,
    alike_windows,
    model_spans,
    reviewed_windows,
    session_windows,
)
from moola_pipeline.labeler.server import Surroundings
from moola_pipeline.labeler.session import LabelingSession
from moola_pipeline.labeler.task_files import Task, make_task, read_task, require_instrument, task_windows
from moola_pipeline.labels.chosen_splits import keep_proposed, read_split_choice
from moola_pipeline.labels.definitions import SUGGESTED, add_definition, definition_texts, keep_definition
from moola_pipeline.labels.judgment_rows import frame_of
from moola_pipeline.labels.registry import RegisteredJudgments, open_judgments
from moola_pipeline.labels.schema import COMPLETE, DRAWN
from moola_pipeline.labels.splits import SPLITS, SplitSettings, proposed_dates, resolve_dates
from moola_pipeline.settings import PROFILES
from moola_pipeline.storage.home import Home

if TYPE_CHECKING:
    from moola_pipeline.models.expansion_model import ExpansionModel


@dataclass(frozen=True)
class LabelRequest:
    """What the user asked for.

    Attributes:
        annotator: Who labels.
        definition: Number; None for the newest.
        split: The one split to draw from; None for all.
        windows: Windows to save before the session ends; None: no end.
        session: Trading day to mark whole; None to draw windows.
        listed: doubtful, disagree or review: the list to open; None for drawn windows.
        alike: Labeled window whose like are opened; None for others.
        task: Task file whose windows are opened, for its annotator; None for others.
    """

    annotator: str
    definition: int | None = None
    split: str | None = None
    windows: int | None = None
    session: datetime | None = None
    listed: Literal["doubtful", "disagree", "review"] | None = None
    alike: str | None = None
    task: Path | None = None


class Learning(Protocol):
    """The run that learns from the labels."""

    def facts(self) -> Mapping[str, Any]:
        """`state` and `text` for the page."""
        ...

    def start(self) -> None:
        """Start it."""
        ...


@dataclass(frozen=True)
class OpenedLabeler:
    """A labeling session and what its page shows around it; `note` names splits without windows."""

    store: BarStore
    session: LabelingSession
    mixed: MixedWindows
    ranking: DoubtRanking
    again: SelfAgreement
    data: LabeledBars
    learning: Learning
    champion: Callable[[], "ExpansionModel"]
    note: str

    def surroundings(self) -> Surroundings:
        """What the page can ask for."""
        return Surroundings(
            self.heading, self.progress, self.define, self.model, self.learning.facts, self.learning.start
        )

    def heading(self) -> dict[str, Any]:
        """Annotator, definition and its text, and whether the first-use page comes first."""
        who = self.session.who
        texts = definition_texts(self.store.labels)
        judged = any(one.annotator == who.annotator for one in self.session.journal.judgments)
        return {
            "title": f"{who.annotator} · {who.instrument} · definition {who.definition}",
            "definition": who.definition,
            "definition_text": texts[max(texts)] or SUGGESTED,
            "first_use": not judged,
        }

    def progress(self) -> dict[str, Any]:
        """Labels by split, and self-agreement; ranks doubtful windows again if it is time."""
        own, journal = self.session.who.rows_in(self.session.rows), self.session.journal
        self.ranking.refresh(own, len(journal.judgments))
        self.again.refresh(own)
        counts, expansions = self.mixed.counts(journal), self.mixed.n_expansions(journal)
        return {**progress_facts(counts, expansions), "again": self.again.text}

    def model(self, bar0: int) -> list[dict[str, Any]]:
        """Marks of the champion in the window at a row."""
        return [span.model_dump(mode="json") for span in model_spans(self.data, self.champion(), bar0)]

    def define(self, text: str) -> int:
        """Keep a definition; the first text is that of the labels made now."""
        return add_definition(self.store.labels, text)


@dataclass(frozen=True)
class _Prepared:
    """What a home gives to draw windows from."""

    store: BarStore
    table: pd.DataFrame
    bars: ChartBars
    who: Annotating
    settings: SplitSettings
    ranking: DoubtRanking
    mixed: MixedWindows
    known: RegisteredJudgments

    def require_room(self) -> str:
        """Refuse if no window is left to draw; else a line about the splits that have none, or nothing."""
        mixed = self.mixed
        wanted = SPLITS if mixed.only is None else (mixed.only,)
        empty = [split for split in wanted if not mixed.has_room(split, self.known.journal)]
        others = [split for split in SPLITS if split not in empty]
        if not empty:
            return ""
        remedy = (
            f"the splits ({self.settings.shown}): moola run --train-end DATE --validation-end DATE "
            "--test-end DATE"
        )
        if len(empty) < len(wanted):
            return (
                f"No window is left for {' and '.join(empty)}; those of {' and '.join(others)} go on. "
                f"To get more, add bars, or move {remedy}"
            )
        start = (
            f"Draw from another: moola label --for {others[0]}, or move" if others else "Add bars, or move"
        )
        raise BadInput(
            f"There must be windows to draw, but none is left for {' and '.join(empty)}. {start} {remedy}"
        )


def open_labeler(
    home: Home,
    request: LabelRequest,
    learning: Learning,
    champion: Callable[[], "ExpansionModel"] | None = None,
) -> OpenedLabeler:
    """Open the labeler of a home.

    Args:
        home: With registered bars.
        request: What the user asked for.
        learning: The run that learns from the labels.
        champion: Loads the model that serves.

    Raises:
        BadInput: If no bars are registered, the definition does not exist, no window can be drawn, or the
            task is for other bars.
        IntegrityError: If bars, labels or the draft journal are not those that were recorded.
    """
    task = None if request.task is None else read_task(request.task)
    ready = _prepare(home, request, task)
    known, who = ready.known, ready.who
    facts = (ready.ranking.tick_points, known.journal.numbers())
    data = LabeledBars(ready.table, ready.bars, frame_of(known.rows), who, ready.settings, *facts)
    chooser = _listed(request, data, task, champion or _no_champion)
    note = ready.require_room() if chooser is None else ""
    if task is not None:
        keep_definition(ready.store.labels, task.definition, task.definition_text)
    session = LabelingSession(ready.bars, ready.store.labels, who, chooser or ready.mixed, request.windows)
    again = SelfAgreement(ready.table)
    around = (ready.mixed, ready.ranking, again, data, learning, champion or _no_champion)
    return OpenedLabeler(ready.store, session, *around, note)


def draw_task(home: Home, request: LabelRequest, n: int) -> Task:
    """Draw windows for an annotator who labels on another machine.

    Args:
        home: With registered bars.
        request: Its annotator, definition and split are those of the task.
        n: Number of windows; fewer if no more are left.

    Raises:
        BadInput, IntegrityError: As `open_labeler`.
    """
    ready = _prepare(home, request, None)
    ready.require_room()
    ready.ranking.refresh(ready.who.rows_in(ready.known.rows), len(ready.known.journal.judgments))
    ready.ranking.wait()
    windows: list[LabelWindow] = []
    while len(windows) < n and (window := ready.mixed.next(ready.known.journal, windows)) is not None:
        windows.append(window)
    text = definition_texts(ready.store.labels)[ready.who.definition]
    return make_task(ready.who, text, windows, ready.bars)


def _prepare(home: Home, request: LabelRequest, task: Task | None) -> _Prepared:
    store = registered_store(home)
    files = read_manifest(store).files
    if not files:
        raise BadInput("Bars must be registered before windows can be labeled. Run: moola bars add FILE")
    instrument = INSTRUMENTS[files[0].instrument]
    if task is None:
        annotator, number = request.annotator, _known_definition(store, request.definition)
    else:
        require_instrument(task, instrument.name)
        annotator, number = task.annotator, task.definition
    who = Annotating(instrument.name, require_annotator(annotator), number)
    table = read_bars(store)
    bars = ChartBars(table)
    chosen = proposed_dates(table, read_split_choice(store.root) or PROFILES["full"].splits)
    keep_proposed(store.root, chosen)
    settings = _fixed(chosen, bars)
    ranking = DoubtRanking(table, instrument.tick_points, settings)
    mixed = MixedWindows(bars, SplitRows.of(table, settings), who, request.split, lambda: ranking.rows)
    known = open_judgments(store.labels, bars.opened)
    return _Prepared(store, table, bars, who, settings, ranking, mixed, known)


def _known_definition(store: BarStore, wanted: int | None) -> int:
    """The number of the definition that is asked for, else of the newest."""
    texts = definition_texts(store.labels)
    number = wanted or max(texts)
    if number not in texts:
        raise BadInput(
            f"--definition must be one of {', '.join(map(str, texts))}, got {number}. "
            "Add a text with: moola labels define FILE"
        )
    return number


def _listed(
    request: LabelRequest, data: LabeledBars, task: Task | None, champion: Callable[[], "ExpansionModel"]
) -> ListedWindows | None:
    """The windows that a request lists; None if they are to be drawn."""
    if task is not None:
        return ListedWindows(task_windows(task, data.bars))
    if request.session is not None:
        return ListedWindows(session_windows(data, request.session))
    if request.alike is not None:
        return ListedWindows(alike_windows(data, request.alike))
    match request.listed:
        case "review":
            return ListedWindows(reviewed_windows(data, champion()))
        case None:
            return None
        case listed:
            return ListedWindows(LISTS[listed](data))


def _no_champion() -> "ExpansionModel":
    raise BadInput("There must be a champion to show its marks, but there is none. Run: moola run")


def _fixed(settings: SplitSettings, bars: ChartBars) -> SplitSettings:
    """Rolling split dates as if every month with bars were labeled: they do not move while one labels."""
    if settings.rule != "rolling":
        return settings
    opened = pd.DatetimeIndex(bars.opened[:: max(len(bars) // 5_000, 1)].astype("M8[ns]"), tz="UTC")
    months = pd.DataFrame({"window_start": opened, "session": opened, "window_id": opened.astype("str")})
    return resolve_dates(settings, months.assign(chosen=DRAWN[1], complete=COMPLETE))
