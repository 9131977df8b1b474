"""Whether marked spans lie on moves of the bars, or a bar beside them, on another clock, or in other bars."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import PRICE_COLUMNS, nanoseconds
from moola_pipeline.bars.zone_checks import LIKELY_ZONES
from moola_pipeline.features.averages import mean_true_range, segment_bounds
from moola_pipeline.features.zigzag import ATR_BARS
from moola_pipeline.labels.schema import expansions

MIN_SPANS, MIN_OTHER_BARS_SPANS = 10, 15
"""Fewer spans than this are not judged."""
MAX_SPANS = 2_000
"""Of more spans, so many are judged, evenly chosen."""
LEAST_SHARE = 0.5
"""Share of the mean move per bar of all spans that a bar must add to belong to its span."""
MOST_PER_BAR = 3.0
"""Moves of one bar count up to this many ATR, so that no single bar decides."""
SHIFT_T = 1.6
"""t over windows from which another place by bars counts as better than the given one."""
ZONE_T, ZONE_Z = 3.0, 3.3
"""t over windows from which another clock fits better, and z against random spans that it must reach."""
RANDOM_Z = 2.5
"""z below which spans move no more than random ones."""
LEAST_PERCENTILE = 0.65
"""Mean percentile of spans that lie on moves, at least; that of marked spans is 0.9, of random ones 0.5."""
_ENDS = {
    (-1, -1): "one bar late",
    (1, 1): "one bar early",
    (-2, -2): "two bars late",
    (2, 2): "two bars early",
    (0, -1): "one bar too long",
}
"""Bars to add to the first and last bar of each span, and how the given spans look if that fits best."""
_REFERENCES = np.concatenate([np.arange(-60, -14, 3), np.arange(15, 61, 3)])
"""Bars by which a span is moved to places that are random with respect to its move."""
_FIXED_ZONES = tuple(f"Etc/GMT{-hours:+d}" for n in range(1, 13) for hours in (-n, n))


@dataclass(frozen=True)
class MarkedSpans:
    """Spans of a label file, before they are placed; every array is (n_spans,).

    Attributes:
        window: Code of the window.
        window_start: UTC opens of bar 0, ns since 1970.
        clock: What the file writes for bar 0 on its own clock, ns since 1970 as if it were UTC.
        start, end: First and last bar, inclusive.
    """

    window: np.ndarray
    window_start: np.ndarray
    clock: np.ndarray
    start: np.ndarray
    end: np.ndarray

    def thinned(self) -> "MarkedSpans":
        """At most MAX_SPANS of the spans, evenly chosen."""
        every = -(-len(self.window) // MAX_SPANS) or 1
        return MarkedSpans(
            self.window[::every],
            self.window_start[::every],
            self.clock[::every],
            self.start[::every],
            self.end[::every],
        )

    @property
    def length(self) -> np.ndarray:
        """Bars of each span, (n_spans,)."""
        return self.end - self.start + 1

    @classmethod
    def of_labels(cls, labels: pd.DataFrame, clock: pd.Series | None = None) -> "MarkedSpans":
        """The expansions of LABEL_COLUMNS; one that several annotators marked alike counts once.

        Args:
            labels: LABEL_COLUMNS.
            clock: Times of bar 0 as the file writes them, without a zone, on the index of `labels` at
                least; None if they are UTC.
        """
        marked = expansions(labels).drop_duplicates(["window_id", "expansion_start", "expansion_end"])
        moments = marked["window_start"].astype("int64").to_numpy()
        written = moments if clock is None else clock.loc[marked.index].astype("int64").to_numpy()
        return cls(
            pd.factorize(marked["window_id"])[0],
            moments,
            written,
            marked["expansion_start"].to_numpy(np.int64),
            marked["expansion_end"].to_numpy(np.int64),
        )


@dataclass(frozen=True)
class Misfit:
    """The one fault that spans share.

    Attributes:
        looks: How spans or times look, as a clause.
        remedy: What to do, as a clause.
    """

    looks: str
    remedy: str


@dataclass(frozen=True)
class BarMoves:
    """What is read of a table of bars; every array is (n_bars,).

    Attributes:
        opened: UTC opens, ns since 1970, increasing.
        segment: Segment of each bar.
        open, close: Index points.
        atr: ATR(10), index points.
    """

    opened: np.ndarray
    segment: np.ndarray
    open: np.ndarray
    close: np.ndarray
    atr: np.ndarray

    @classmethod
    def of_bars(cls, bars: pd.DataFrame) -> "BarMoves":
        """The arrays of BAR_COLUMNS, timestamps strictly increasing."""
        segment = bars["segment"].to_numpy()
        opens, high, low, close = (bars[name].to_numpy() for name in PRICE_COLUMNS)
        atr = mean_true_range(high, low, close, *segment_bounds(segment), ATR_BARS)
        return cls(nanoseconds(bars), segment, opens, close, atr)


@dataclass(frozen=True)
class SpanFit:
    """How well spans fit a table of bars, at the given times and at others."""

    spans: MarkedSpans
    bars: BarMoves

    @property
    def n_spans(self) -> int:
        """Number of spans."""
        return len(self.spans.window)

    def percentiles(self, moments: np.ndarray, shift_bars: int = 0) -> np.ndarray:
        """Share of random places nearby where a span as long moves less, (n_spans,) in 0..1.

        0 where the moment is no bar, or the span leaves its segment: no span can lie there.

        Args:
            moments: (n_spans,) ns since 1970, UTC opens of bar 0.
            shift_bars: Bars by which each span is moved.
        """
        first = self._rows(moments) + self.spans.start + shift_bars
        there, own = self._moves(first), np.full(self.n_spans, np.nan)
        own[:] = there
        others = np.stack([self._moves(first + bars, first) for bars in _REFERENCES], axis=1)
        known = np.isfinite(others)
        with np.errstate(invalid="ignore"):
            less = (others < own[:, None]) + 0.5 * (others == own[:, None])
        share = (less * known).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        return np.where(np.isfinite(own) & known.any(axis=1), share, 0.0)

    def z_score(self, percentiles: np.ndarray) -> float:
        """How far above one half the mean percentile lies, in standard errors of random spans."""
        return float((percentiles.mean() - 0.5) * np.sqrt(12 * len(percentiles)))

    def lie_on_moves(self, percentiles: np.ndarray, least_z: float) -> bool:
        """Whether spans of these percentiles move more than random ones, surely and by much."""
        return self.z_score(percentiles) >= least_z and float(percentiles.mean()) >= LEAST_PERCENTILE

    def mean_move(self, moments: np.ndarray) -> float:
        """Mean net move at these opens of bar 0, ATR; 0 where no span can lie."""
        moves = self._moves(self._rows(moments) + self.spans.start)
        return float(np.minimum(np.nan_to_num(moves), MOST_PER_BAR * self.spans.length).mean())

    def t_score(self, differences: np.ndarray) -> float:
        """t of the mean of differences by span, summed by window; -inf if there are too few."""
        totals = np.bincount(self.spans.window, differences)
        spread = totals.std(ddof=1) if len(totals) > 1 else 0.0
        return float(totals.mean() / spread * np.sqrt(len(totals))) if spread > 0 else -np.inf

    def gain(self, start_bars: int, end_bars: int) -> np.ndarray:
        """What spans gain if their ends move by these bars, (n_spans,): ATR in their direction.

        Each bar counts its move in the direction of the span, less `least_per_bar`. The direction is that of
        the whole stretch between the given and the moved ends.
        """
        rows = self._rows(self.spans.window_start)
        first, last = rows + self.spans.start, rows + self.spans.end
        before, after = np.minimum(first, first + start_bars), np.maximum(last, last + end_bars)
        usable = self._inside(before - 2, after + 1, first) & (last + end_bars >= first + start_bars)
        first, last, before, after = (np.where(usable, row, 2) for row in (first, last, before, after))
        unit = self.bars.atr[before - 1]
        usable &= unit > 0
        direction = np.sign(self.bars.close[after] - self.bars.close[before - 1])
        total = np.zeros(self.n_spans)
        for edge, moved, sign in ((first, start_bars, -1), (last + 1, end_bars, 1)):
            for step in range(abs(moved)):
                row = edge + step if moved > 0 else edge - 1 - step
                with np.errstate(invalid="ignore", divide="ignore"):
                    move = direction * (self.bars.close[row] - self.bars.close[row - 1]) / unit
                worth = np.clip(move, -MOST_PER_BAR, MOST_PER_BAR) - self.least_per_bar
                total += sign * np.sign(moved) * worth
        return np.where(usable, total, 0.0)

    @cached_property
    def given(self) -> np.ndarray:
        """Percentiles at the given times, (n_spans,)."""
        return self.percentiles(self.spans.window_start)

    @cached_property
    def least_per_bar(self) -> float:
        """Move that a bar must add to belong to a span, ATR: LEAST_SHARE of the mean over all spans."""
        moves = self._moves(self._rows(self.spans.window_start) + self.spans.start)
        bars = self.spans.length[np.isfinite(moves)].sum()
        return float(LEAST_SHARE * np.nansum(moves) / max(bars, 1))

    def _rows(self, moments: np.ndarray) -> np.ndarray:
        """Row of each moment, far below 0 where the table has no bar at it."""
        rows = np.searchsorted(self.bars.opened, moments)
        found = rows < len(self.bars.opened)
        found[found] = self.bars.opened[rows[found]] == moments[found]
        return np.where(found, rows, -(2**31))

    def _inside(self, first: np.ndarray, last: np.ndarray, anchor: np.ndarray) -> np.ndarray:
        inside = (
            (first >= 0) & (last < len(self.bars.segment)) & (anchor >= 0) & (anchor < len(self.bars.segment))
        )
        low, high, at = (np.where(inside, row, 0) for row in (first, last, anchor))
        return (
            inside
            & (self.bars.segment[low] == self.bars.segment[at])
            & (self.bars.segment[high] == self.bars.segment[at])
        )

    def _moves(self, first: np.ndarray, anchor: np.ndarray | None = None) -> np.ndarray:
        """Net move of spans that begin at rows `first`, in ATR; NaN outside the segment of `anchor`."""
        last = first + self.spans.end - self.spans.start
        usable = self._inside(first - 1, last, first if anchor is None else anchor)
        first, last = (np.where(usable, row, 1) for row in (first, last))
        unit = self.bars.atr[first - 1]
        usable &= unit > 0
        move = np.abs(self.bars.close[last] - self.bars.open[first])
        return np.divide(move, unit, out=np.full(len(move), np.nan), where=usable)


def find_misfit(spans: MarkedSpans, bars: BarMoves, by_bars: bool = True) -> Misfit | None:
    """The one fault that explains why spans do not lie on moves of the bars; None if they do.

    Spans are compared with the same spans on other clocks, by a paired test over windows of how they rank
    among random places nearby; then with the same spans moved by bars, by what their first and last bars add.

    Args:
        spans: Spans to judge; fewer than MIN_SPANS raise nothing.
        bars: The bars that they must fit.
        by_bars: Whether a shift by one or two bars can be seen: not if marks were made on coarser bars.
    """
    fit = SpanFit(spans.thinned(), bars)
    if fit.n_spans < MIN_SPANS:
        return None
    return _other_clock(fit) or _random(fit) or (_moved_by_bars(fit) if by_bars else None)


def _other_clock(fit: SpanFit) -> Misfit | None:
    best, chosen, least = 0.0, None, fit.mean_move(fit.spans.window_start)
    for zone, moments in clocks(fit.spans):
        if fit.mean_move(moments) <= least:  # saves the comparison with random places
            continue
        there = fit.percentiles(moments)
        fits = fit.lie_on_moves(there, ZONE_Z) and fit.t_score(there - fit.given) >= ZONE_T
        if fits and there.mean() > best:
            best, chosen = float(there.mean()), zone
    if chosen is None:
        return None
    return Misfit(f"the times look like {_shown_zone(chosen)} times", f"give --timezone {chosen}")


def fitting_zone(spans: MarkedSpans, bars: BarMoves) -> str | None:
    """The zone in which the clock of spans without a zone fits the bars best; None if none fits clearly."""
    fit = SpanFit(spans.thinned(), bars)
    if fit.n_spans < MIN_SPANS:
        return None
    zones = {zone: fit.percentiles(moments) for zone, moments in clocks(spans, every=True)}
    best = max(zones, key=lambda zone: float(zones[zone].mean()))
    return best if fit.lie_on_moves(zones[best], ZONE_Z) else None


def clocks(spans: MarkedSpans, every: bool = False) -> Iterator[tuple[str, np.ndarray]]:
    """Zones in which the file's clock may run, and the UTC opens of bar 0 then; likely zones come first.

    Clocks that give the same moments as the file are left out, unless `every` is True.
    """
    clock = pd.DatetimeIndex(spans.clock)
    second = np.zeros(len(clock), bool)  # of a repeated hour
    for zone in dict.fromkeys((*LIKELY_ZONES, *_FIXED_ZONES)):
        zoned = clock.tz_localize(zone, ambiguous=second, nonexistent="shift_forward")
        moments = zoned.as_unit("ns").asi8
        if every or not np.array_equal(moments, spans.window_start):
            yield zone, moments


def _shown_zone(zone: str) -> str:
    """New York, Chicago, UTC+1 (for Etc/GMT-1)."""
    if zone.startswith("Etc/GMT"):
        return f"UTC{-int(zone.removeprefix('Etc/GMT')):+d}"
    return zone.rpartition("/")[2].replace("_", " ")


def _random(fit: SpanFit) -> Misfit | None:
    if fit.n_spans < MIN_OTHER_BARS_SPANS:
        return None
    shifts = {0, *(end for _, end in _ENDS)}
    places = (fit.percentiles(fit.spans.window_start, bars) for bars in shifts)
    if any(fit.lie_on_moves(there, RANDOM_Z) for there in places):
        return None
    return Misfit(
        "the spans move no more than random spans of these bars",
        "register the bars that were labeled (are the labels for other bars, or another instrument?)",
    )


def _moved_by_bars(fit: SpanFit) -> Misfit | None:
    gains = {ends: fit.gain(*ends) for ends in _ENDS}
    best = max(_ENDS, key=lambda ends: float(gains[ends].mean()))
    if fit.t_score(gains[best]) < SHIFT_T:
        return None
    moved, _ = best
    remedy = f"give --shift-bars {moved}" if moved else "give --ends exclusive"
    return Misfit(f"all spans look {_ENDS[best]}", remedy)
