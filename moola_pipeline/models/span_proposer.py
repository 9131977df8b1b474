"""The span proposer: a rule on net move in ATR, path efficiency and length."""

from typing import Literal

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
    count = _propose(
        measures.net_atr,
        measures.efficiency,
        (proposer.min_net_atr, proposer.min_efficiency, proposer.min_length, proposer.max_length),
        ORDERINGS.index(proposer.ordering),
        out,
    )
    window, start, end = out[:count].T
    order = np.lexsort((start, window))
    window, start, end = window[order], start[order], end[order]
    net = measures.net_atr[window, start, end - start]
    return Spans.untyped(window, start, end, np.sign(net).astype(np.int8))


@numba.njit(cache=True)
def _propose(net, efficiency, bounds, ordering, out):
    min_net, min_efficiency, min_length, max_length = bounds
    count = 0
    _, window_bars, longest = net.shape
    spans = np.empty((window_bars * longest, 2), np.int64)
    score = np.empty(window_bars * longest)
    for b in range(len(net)):
        n_spans = 0
        for s in range(window_bars):
            for n in range(min_length - 1, min(max_length, window_bars - s)):
                size = abs(net[b, s, n])
                if not (size >= min_net and efficiency[b, s, n] >= min_efficiency):
                    continue
                spans[n_spans, 0], spans[n_spans, 1] = s, s + n
                if ordering == 0:
                    score[n_spans] = -size
                elif ordering == 1:
                    score[n_spans] = -size * efficiency[b, s, n]
                elif ordering == 2:
                    score[n_spans] = -size / np.sqrt(n + 1.0)
                else:
                    score[n_spans] = s - size / 1e3
                n_spans += 1
        taken = np.zeros(window_bars, np.bool_)
        n_kept = 0
        for i in np.argsort(score[:n_spans], kind="mergesort"):
            first, last = spans[i]
            if taken[first : last + 1].any():
                continue
            taken[first : last + 1] = True
            out[count, 0], out[count, 1], out[count, 2] = b, first, last
            count += 1
            n_kept += 1
            if n_kept == MAX_PROPOSALS:
                break
    return count
