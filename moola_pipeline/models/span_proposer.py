"""The span proposer: a rule on net move in ATR, path efficiency and length."""

from typing import Literal, NamedTuple

import numba
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from moola_pipeline.windows.spans import MAX_LENGTH, SpanMeasures, Spans

MAX_PROPOSALS = 24
ORDERINGS = ("net", "efficiency", "speed", "earliest")
Ordering = Literal["net", "efficiency", "speed", "earliest"]


class SpanProposer(BaseModel):
    """The rule's five thresholds, fitted on training labels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_net_atr: float = Field(gt=0, description="least net move of a span, in ATR of the bar before it")
    min_efficiency: float = Field(ge=0, le=1, description="least ratio of net move to path length")
    min_length: int = Field(ge=1, le=MAX_LENGTH, description="least length of a span, bars")
    max_length: int = Field(ge=1, le=MAX_LENGTH, description="greatest length of a span, bars")
    ordering: Ordering = Field(description="score that decides between overlapping spans")


def propose(measures: SpanMeasures, proposer: SpanProposer) -> Spans:
    """Spans that satisfy the rule; of overlapping spans only the one with the best score.

    Returns:
        At most 24 spans a window, sorted by window and start, `direction` the sign of the net move.
    """
    out = np.empty((len(measures.net_atr) * MAX_PROPOSALS, 3), np.int64)
    ordering = ORDERINGS.index(proposer.ordering)
    count = _propose(measures.net_atr, measures.efficiency, _bounds(proposer), ordering, out)
    return _pointed(measures, out[:count])


class RankedSpans(NamedTuple):
    """Spans of many windows by their score, for proposers that differ in their thresholds only.

    Attributes:
        measures: Of the windows.
        loosest: The rule that all of them satisfy.
        first: (n_windows + 1,) index of each window's first span.
        ends: (n, 2) first and last bar of each span.
        sizes: (n, 2) absolute net move in ATR, and efficiency.
    """

    measures: SpanMeasures
    loosest: SpanProposer
    first: np.ndarray
    ends: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, measures: SpanMeasures, loosest: SpanProposer) -> "RankedSpans":
        """The spans that satisfy a rule, by its score."""
        bounds, ordering = _bounds(loosest), ORDERINGS.index(loosest.ordering)
        return cls(measures, loosest, *_rank(measures.net_atr, measures.efficiency, bounds, ordering))

    def within(self, tighter: SpanProposer) -> "RankedSpans":
        """Those that satisfy a tighter rule as well, which are fewer to go through.

        Raises:
            ValueError: If the rule has another score, or allows spans that were not ranked.
        """
        first, kept = _narrow(self.first, self.ends, self.sizes, self._bounds_within(tighter))
        return RankedSpans(self.measures, tighter, first, self.ends[kept], self.sizes[kept])

    def propose(self, proposer: SpanProposer) -> Spans:
        """What `propose` gives for these windows.

        Raises:
            ValueError: As `within`.
        """
        out = np.empty((len(self.measures.net_atr) * MAX_PROPOSALS, 3), np.int64)
        count = _choose(self.first, self.ends, self.sizes, self._bounds_within(proposer), out)
        return _pointed(self.measures, out[:count])

    def _bounds_within(self, proposer: SpanProposer) -> tuple[float, float, int, int]:
        loosest = self.loosest
        if proposer.ordering != loosest.ordering or not (
            proposer.min_net_atr >= loosest.min_net_atr
            and proposer.min_efficiency >= loosest.min_efficiency
            and loosest.min_length <= proposer.min_length
            and proposer.max_length <= loosest.max_length
        ):
            raise ValueError(f"a rule must be within {loosest}, got {proposer}")
        return _bounds(proposer)


def _bounds(proposer: SpanProposer) -> tuple[float, float, int, int]:
    return proposer.min_net_atr, proposer.min_efficiency, proposer.min_length, proposer.max_length


def _pointed(measures: SpanMeasures, found: np.ndarray) -> Spans:
    window, start, end = found.T
    net = measures.net_atr[window, start, end - start]
    return Spans.untyped(window, start, end, np.sign(net).astype(np.int8))


@numba.njit(cache=True, nogil=True)
def _propose(net, efficiency, bounds, ordering, out):
    count = 0
    n_bars, longest = net.shape[1:]
    ends, sizes = np.empty((n_bars * longest, 2), np.int16), np.empty((n_bars * longest, 2), net.dtype)
    for b in range(len(net)):
        order = _satisfying(net[b], efficiency[b], bounds, ordering, ends, sizes)
        count = _choose_in(b, ends[order], sizes[order], bounds, n_bars, out, count)
    return count


@numba.njit(cache=True, nogil=True)
def _rank(net, efficiency, bounds, ordering):
    n_bars, longest = net.shape[1:]
    ends, sizes = np.empty((n_bars * longest, 2), np.int16), np.empty((n_bars * longest, 2), net.dtype)
    first = np.zeros(len(net) + 1, np.int64)
    for b in range(len(net)):
        first[b + 1] = first[b] + len(_satisfying(net[b], efficiency[b], bounds, ordering, ends, sizes))
    ranked_ends, ranked_sizes = np.empty((first[-1], 2), ends.dtype), np.empty((first[-1], 2), net.dtype)
    for b in range(len(net)):
        order = _satisfying(net[b], efficiency[b], bounds, ordering, ends, sizes)
        for i in range(len(order)):  # assigning arrays instead takes numba four more seconds to compile
            for side in range(2):
                ranked_ends[first[b] + i, side] = ends[order[i], side]
                ranked_sizes[first[b] + i, side] = sizes[order[i], side]
    return first, ranked_ends, ranked_sizes


@numba.njit(cache=True, nogil=True)
def _choose(first, ends, sizes, bounds, out):
    count, n_bars = 0, int(ends[:, 1].max()) + 1 if len(ends) else 0
    for b in range(len(first) - 1):
        own = slice(first[b], first[b + 1])
        count = _choose_in(b, ends[own], sizes[own], bounds, n_bars, out, count)
    return count


@numba.njit(cache=True, nogil=True)
def _narrow(first, ends, sizes, bounds):
    kept, n_kept, kept_first = np.empty(len(ends), np.int64), 0, np.zeros_like(first)
    for b in range(len(first) - 1):
        for i in range(first[b], first[b + 1]):
            if _is_within(ends[i, 0], ends[i, 1], sizes[i, 0], sizes[i, 1], bounds):
                kept[n_kept] = i
                n_kept += 1
        kept_first[b + 1] = n_kept
    return kept_first, kept[:n_kept]


@numba.njit(cache=True, nogil=True)
def _is_within(first, last, net, efficiency, bounds):
    min_net, min_efficiency, min_length, max_length = bounds
    length = last - first + 1
    return min_length <= length <= max_length and net >= min_net and efficiency >= min_efficiency


@numba.njit(cache=True, nogil=True)
def _satisfying(net, efficiency, bounds, ordering, ends, sizes):
    """Write the spans of a window that satisfy the bounds, and return their order by score."""
    min_net, min_efficiency, min_length, max_length = bounds
    n_bars, n_spans = len(net), 0
    score = np.empty(len(ends))
    for s in range(n_bars):
        for n in range(min_length - 1, min(max_length, n_bars - s)):
            size = abs(net[s, n])
            if not (size >= min_net and efficiency[s, n] >= min_efficiency):
                continue
            ends[n_spans, 0], ends[n_spans, 1] = s, s + n
            sizes[n_spans, 0], sizes[n_spans, 1] = size, efficiency[s, n]
            if ordering == 0:
                score[n_spans] = -size
            elif ordering == 1:
                score[n_spans] = -size * efficiency[s, n]
            elif ordering == 2:
                score[n_spans] = -size / np.sqrt(n + 1.0)
            else:
                score[n_spans] = s - size / 1e3
            n_spans += 1
    return np.argsort(score[:n_spans], kind="mergesort")


@numba.njit(cache=True, nogil=True)
def _choose_in(window, ends, sizes, bounds, n_bars, out, count):
    """Take spans in their order unless they overlap one that was taken; the new number of rows.

    Rows are written in the order of their starts.
    """
    taken, end_of = np.zeros(n_bars, np.bool_), np.zeros(n_bars, np.int64)
    n_kept = 0
    for i in range(len(ends)):
        first, last = ends[i]
        if not _is_within(first, last, sizes[i, 0], sizes[i, 1], bounds):
            continue
        if taken[first : last + 1].any():
            continue
        taken[first : last + 1] = True
        end_of[first] = last + 1
        n_kept += 1
        if n_kept == MAX_PROPOSALS:
            break
    for first in range(n_bars):
        if end_of[first]:
            out[count, 0], out[count, 1], out[count, 2] = window, first, end_of[first] - 1
            count += 1
    return count
