"""Which window comes next: a mix over splits, months and hours, or a given list."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import nanoseconds
from moola_pipeline.labeler.chart_bars import ChartBars, new_york_seconds
from moola_pipeline.labeler.marks import Annotating, LabelWindow
from moola_pipeline.labels.judgments import Journal, Judgment
from moola_pipeline.labels.schema import CHOSEN, EXCLUDED_GRADE, FIRST_PASS, REPLAY, SECOND_PASS, TYPES
from moola_pipeline.labels.splits import SPLITS, UNUSED, SplitSettings, training_rows_end, used_rows_end
from moola_pipeline.windows.window_geometry import CORE_FIRST, WINDOW_BARS

SPLIT_BLOCK = {"train": 12, "validation": 3, "test": 5}
"""Windows of each split in a block of twenty: 60, 15 and 25 of a hundred."""
TRAINING_BLOCK = {"doubt": 6, "random": 3, "repeat": 1}
"""How ten training windows are chosen once a first model is possible."""
SHARED = 0.3
"""Share of windows that another annotator has judged, if there is one."""
REPEAT_AFTER_WINDOWS, REPEAT_AFTER = 40, timedelta(days=1)
CANDIDATES = 4_000
"""Rows that a draw looks at."""


class Chooser(Protocol):
    """A source of windows."""

    def owns(self, window: LabelWindow) -> bool:
        """Whether an open window is one of its own, to be shown again until it is saved."""
        ...

    def next(self, journal: Journal, opened: Sequence[LabelWindow]) -> LabelWindow | None:
        """The next window, given all judgments and the windows opened before; None at the end."""
        ...

    def place(self, window: LabelWindow) -> tuple[int | None, int | None]:
        """Number of a window from 1, and how many there are; None where they are not known."""
        ...


class ListedWindows:
    """Windows of a given list, in its order."""

    def __init__(self, windows: Sequence[LabelWindow]) -> None:
        self.windows = windows

    def owns(self, window: LabelWindow) -> bool:
        """Whether the window is in the list."""
        return any(window.name == listed.name for listed in self.windows)

    def next(self, journal: Journal, opened: Sequence[LabelWindow]) -> LabelWindow | None:
        """The first one that has not been opened."""
        names = {window.name for window in opened}
        return next((window for window in self.windows if window.name not in names), None)

    def place(self, window: LabelWindow) -> tuple[int | None, int | None]:
        """Its place in the list, and the length of the list."""
        names = [listed.name for listed in self.windows]
        return (names.index(window.name) + 1 if window.name in names else None), len(names)


@dataclass(frozen=True)
class SplitRows:
    """Rows of the bar table in which windows of each split may start.

    Attributes:
        ranges: First row, and end row (exclusive) of the bars, by split.
    """

    ranges: dict[str, tuple[int, int]]

    @classmethod
    def of(cls, table: pd.DataFrame, settings: SplitSettings) -> "SplitRows":
        """The rows of a table with fixed split dates."""
        opened = nanoseconds(table)
        first, ranges = 0, {}
        for name, end in zip(SPLITS, settings.ends, strict=True):
            limit = (
                training_rows_end(table, settings)
                if name == SPLITS[0]
                else used_rows_end(table, settings, name)
            )
            ranges[name] = (first, limit)
            after = np.datetime64(end + timedelta(days=1), "ns").astype(np.int64)
            first = int(np.searchsorted(opened, after))
        return cls(ranges)

    def split_of(self, bar0: int) -> str:
        """The split of a window."""
        for name, (first, end) in self.ranges.items():
            if first <= bar0 and bar0 + WINDOW_BARS <= end:
                return name
        return UNUSED


@dataclass(frozen=True)
class MixedWindows:
    """Windows of all splits, drawn at random over months and hours; those of training by doubt too.

    Attributes:
        bars: The bars.
        rows: Where each split lies.
        who: The annotator.
        only: The one split to draw from; None for all.
        doubtful: Rows of bar 0 that a model doubts most, best first; empty before a first model.
        seed: Of the draws.
    """

    bars: ChartBars
    rows: SplitRows
    who: Annotating
    only: str | None = None
    doubtful: Callable[[], Iterable[int]] = tuple
    seed: int = 0

    def next(self, journal: Journal, opened: Sequence[LabelWindow]) -> LabelWindow | None:
        """Draw the next window; the same judgments and opened windows give the same one."""
        drawn = self._drawn(journal, opened)
        n = len(drawn.names)
        rng = np.random.default_rng([self.seed, n, *self.who.annotator.encode()])
        wanted = self.only or planned(SPLIT_BLOCK, n, self.seed)
        others = [] if self.only else [split for split in SPLITS if split != wanted]
        for split in (wanted, *others):
            window = self._in_split(split, drawn, rng)
            if window is not None:
                return window
        return None

    def owns(self, window: LabelWindow) -> bool:
        """Whether the window was drawn, from a split that is drawn from."""
        return not window.visit and window.chosen != REPLAY and self.only in (None, window.split)

    def place(self, window: LabelWindow) -> tuple[int | None, int | None]:
        """Not known: windows are drawn without end."""
        return None, None

    def has_room(self, split: str, journal: Journal) -> bool:
        """Whether a window can be drawn from a split."""
        return self._random(split, self._drawn(journal, ()), np.random.default_rng(0)) is not None

    def counts(self, journal: Journal) -> dict[str, int]:
        """Usable first-pass windows of the annotator in each split."""
        counts: dict[str, int] = dict.fromkeys([*SPLITS], 0)
        for one in self._usable(journal):
            split = self.rows.split_of(self._bar0(one))
            counts[split] = counts.get(split, 0) + 1
        return counts

    def n_expansions(self, journal: Journal) -> int:
        """Expansions of known type in these windows that start in the bars that were judged."""
        return sum(
            mark.type in TYPES and one.looked_from <= mark.started_at <= one.looked_to
            for one in self._usable(journal)
            for mark in one.spans
        )

    def _usable(self, journal: Journal) -> list[Judgment]:
        held = journal.current().values()
        return [
            one
            for one in held
            if self._is_mine(one) and one.pass_number == FIRST_PASS and one.grade != EXCLUDED_GRADE
        ]

    def _drawn(self, journal: Journal, opened: Sequence[LabelWindow]) -> "_Drawn":
        held = list(journal.current().values())
        mine = [one for one in held if self._is_mine(one)]
        names = {f"{one.window_id}/{one.pass_number}" for one in mine if one.chosen != CHOSEN[0]}
        shown = {one.name: self.bars.row_at(one.opened_at) or 0 for one in opened}
        own = {f"{one.window_id}/{one.pass_number}": self._bar0(one) for one in mine} | {
            one.name: shown[one.name] for one in opened if not one.visit
        }
        bar0 = [self._bar0(one) for one in held] + [*shown.values()]
        return _Drawn(held, mine, names | {*shown}, np.unique(bar0), np.array([*own.values()], np.int64))

    def _free(self, split: str, rows: np.ndarray, drawn: "_Drawn") -> np.ndarray:
        """The rows (n,) that can be bar 0 of a new window: whole, and apart from all others."""
        first, end = self.rows.ranges[split]
        rows = rows[(rows >= first) & (rows + WINDOW_BARS <= end)]
        rows = rows[self.bars.is_whole(rows)]
        after = np.searchsorted(drawn.bar0, rows - WINDOW_BARS, side="right")
        rows = rows[after == np.searchsorted(drawn.bar0, rows + WINDOW_BARS)]
        if split == SPLITS[0]:
            return rows
        replayed = [self._bar0(one) for one in drawn.held if one.chosen == REPLAY]
        return rows[~np.isin(self.bars.session[rows], self.bars.session[replayed])]

    def _in_split(self, split: str, drawn: "_Drawn", rng: np.random.Generator) -> LabelWindow | None:
        window = self._shared(split, drawn) if rng.random() < SHARED else None
        if window is None and split == SPLITS[0]:
            n = sum(self.rows.split_of(bar0) == split for bar0 in drawn.own_bar0.tolist())
            kind = planned(TRAINING_BLOCK, n, self.seed + 1)
            window = self._repeat(drawn) if kind == "repeat" else None
            if window is None and kind != "random":
                window = self._doubted(drawn)
        return window or self._random(split, drawn, rng)

    def _random(self, split: str, drawn: "_Drawn", rng: np.random.Generator) -> LabelWindow | None:
        """A window of the month, and in it of the hour, of which the annotator has judged the fewest."""
        first, end = self.rows.ranges[split]
        if end - first < WINDOW_BARS:
            return None
        rows = self._free(split, rng.integers(first, end, CANDIDATES), drawn)
        if not len(rows):
            rows = self._free(split, np.arange(first, end), drawn)
        if not len(rows):
            return None
        judged = drawn.own_bar0[(drawn.own_bar0 >= first) & (drawn.own_bar0 < end)]
        for unit in (_month, _hour):
            rows = rows[_fewest(unit(self.bars.opened[rows]), unit(self.bars.opened[judged]))]
        return self._window(int(rng.choice(rows)), "random", split)

    def _doubted(self, drawn: "_Drawn") -> LabelWindow | None:
        rows = self._free(SPLITS[0], np.array([*self.doubtful()], np.int64), drawn)
        return self._window(int(rows[0]), "doubt", SPLITS[0]) if len(rows) else None

    def _repeat(self, drawn: "_Drawn") -> LabelWindow | None:
        """The training window judged longest ago that was not repeated yet."""
        latest = datetime.now(UTC) - REPEAT_AFTER
        for one in drawn.mine[: max(len(drawn.mine) - REPEAT_AFTER_WINDOWS, 0)]:
            again = LabelWindow(
                one.window_id,
                self.bars.stamp(self._bar0(one)),
                "repeat",
                SECOND_PASS,
                SPLITS[0],
            )
            early_enough = datetime.fromisoformat(one.made_at) <= latest
            is_new = _is_first_draw(one) and again.name not in drawn.names
            if is_new and early_enough and self.rows.split_of(self._bar0(one)) == SPLITS[0]:
                return again
        return None

    def _shared(self, split: str, drawn: "_Drawn") -> LabelWindow | None:
        """A window that another annotator has drawn and judged, and this one has not."""
        for one in drawn.held:
            window = LabelWindow(one.window_id, self.bars.stamp(self._bar0(one)), one.chosen, split=split)
            others = one.definition == self.who.definition and one.annotator != self.who.annotator
            is_new = _is_first_draw(one) and window.name not in drawn.names
            if others and is_new and self.rows.split_of(self._bar0(one)) == split:
                return window
        return None

    def _window(self, bar0: int, chosen: str, split: str) -> LabelWindow:
        name = window_name(self.who, self.bars, bar0)
        return LabelWindow(name, self.bars.stamp(bar0), chosen, split=split)

    def _is_mine(self, one: Judgment) -> bool:
        return (one.annotator, one.definition) == (self.who.annotator, self.who.definition)

    def _bar0(self, one: Judgment) -> int:
        row = self.bars.row_at(one.looked_from)
        return 0 if row is None else row - CORE_FIRST


class _Drawn(NamedTuple):
    """What has been drawn: judgments that hold, and windows that are open.

    Attributes:
        mine: Judgments of the annotator.
        names: Of the windows that he need not be given again.
        bar0, own_bar0: (n,) rows of bar 0 of all windows, and of those that he was given.
    """

    held: list[Judgment]
    mine: list[Judgment]
    names: set[str]
    bar0: np.ndarray
    own_bar0: np.ndarray


def _is_first_draw(one: Judgment) -> bool:
    drawn = one.chosen in ("random", "doubt") and one.pass_number == FIRST_PASS
    return drawn and one.grade != EXCLUDED_GRADE


def _month(opened: np.ndarray) -> np.ndarray:
    return opened.astype("M8[ns]").astype("M8[M]").astype(np.int64)


def _hour(opened: np.ndarray) -> np.ndarray:
    return new_york_seconds(opened) // 3600 % 24


def _fewest(values: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """True (n,) where a value is one of those that occur least in `judged`."""
    kinds, inverse = np.unique(values, return_inverse=True)
    counts = np.array([np.count_nonzero(judged == kind) for kind in kinds])
    return (counts == counts.min())[inverse]


def window_name(who: Annotating, bars: ChartBars, bar0: int) -> str:
    """The id of a new window: its instrument and the UTC open of its bar 0."""
    return f"{who.instrument.lower()}-{bars.stamp(bar0)[:16].replace('-', '').replace(':', '')}"


def planned(block: dict[str, int], number: int, seed: int) -> str:
    """What comes at a place, if each block of places holds these counts in a drawn order."""
    size = sum(block.values())
    names = [name for name, count in block.items() for _ in range(count)]
    return names[int(np.random.default_rng([seed, number // size]).permutation(size)[number % size])]
