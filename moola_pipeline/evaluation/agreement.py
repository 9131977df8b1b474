"""How far two sets of labels of the same windows agree: finding, onsets and types."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from moola_pipeline.labels.placement import place_labels
from moola_pipeline.labels.schema import TYPES, is_complete
from moola_pipeline.labels.spans import LabeledWindows, labeled_windows
from moola_pipeline.metrics.bootstrap import Interval, interval, session_weights
from moola_pipeline.metrics.matching import in_core, may_match, pair_typed
from moola_pipeline.metrics.scores import events_of

_ALL = "all"
N_RESAMPLES = 2_000


@dataclass(frozen=True)
class Agreement:
    """Agreement of two annotators, or of two definitions, with 95 % intervals over sessions.

    Attributes:
        windows: Windows that both judged whole.
        finding: Untyped event F1 of one against the other; it is symmetric.
        onset: Mean distance of the onsets of matched marks, bars.
        types: Share of the matched marks with known types whose types are equal.
        differing: window_id and `differences`: marks of either without a match, and matched ones of
            different types; the most first.
    """

    windows: int
    finding: Interval
    onset: Interval
    types: Interval
    differing: pd.DataFrame


def measure_agreement(
    first: pd.DataFrame, second: pd.DataFrame, bars: pd.DataFrame, rng: np.random.Generator
) -> Agreement:
    """Compare two sets of labels on the windows that both judged whole.

    Args:
        first, second: LABEL_COLUMNS of one annotator under one definition each; the first pass counts.
        bars: BAR_COLUMNS.
        rng: Source of the resamples.
    """
    one, other = (place_labels(rows, bars).frame.assign(split=_ALL) for rows in (first, second))
    one, other = (frame.loc[is_complete(frame)] for frame in (one, other))
    place = ["window_id", "bar0"]
    both = pd.merge(one[place].drop_duplicates(), other[place].drop_duplicates())["window_id"]
    mine, yours = (labeled_windows(frame.loc[frame["window_id"].isin(both)], _ALL) for frame in (one, other))
    counts = _counts(mine, yours)
    weights = session_weights(pd.Series(mine.session), N_RESAMPLES, rng) if len(both) else np.zeros((0, 0))
    found, missed, onset, typed, equal = counts
    differences = missed + typed - equal
    order = np.argsort(-differences, kind="stable")
    order = order[differences[order] > 0]
    return Agreement(
        len(mine.bar0),
        _ratio(2 * found, 2 * found + missed, weights),
        _ratio(onset, found, weights),
        _ratio(equal, typed, weights),
        pd.DataFrame({"window_id": mine.window_id[order], "differences": differences[order]}),
    )


def _counts(mine: LabeledWindows, yours: LabeledWindows) -> np.ndarray:
    """Matches, marks without one, bars between onsets, typed and equal types, of each window (5, n)."""
    left, right = events_of(mine), events_of(yours)
    one, other = (events[["start", "end"]].to_numpy(np.int64) for events in (left, right))
    # the collar of ends grows with the longer mark, so that both orders agree
    pairs = pair_typed(
        left, right, lambda a, b: may_match(one[a], other[b]) | may_match(other[b], one[a]).T, typed=False
    )
    matched = np.flatnonzero(pairs >= 0)
    partner = pairs[matched]
    counts = np.zeros((5, len(mine.bar0)), np.int64)
    own = mine.spans.window
    np.add.at(counts[0], own[matched], 1)
    np.add.at(counts[1], own[(pairs < 0) & in_core(left)], 1)
    alone = ~np.isin(np.arange(len(right)), pairs) & in_core(right)
    np.add.at(counts[1], yours.spans.window[alone], 1)
    starts, types = (
        np.stack([left[name].to_numpy()[matched], right[name].to_numpy()[partner]])
        for name in ("start", "type")
    )
    np.add.at(counts[2], own[matched], np.abs(starts[0] - starts[1]))
    known = np.isin(types, range(len(TYPES))).all(axis=0)
    np.add.at(counts[3], own[matched[known]], 1)
    np.add.at(counts[4], own[matched[known & (types[0] == types[1])]], 1)
    return counts


def _ratio(numerator: np.ndarray, denominator: np.ndarray, weights: np.ndarray) -> Interval:
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = (weights @ numerator) / (weights @ denominator) if len(weights) else np.empty(0)
        estimate = float(np.divide(numerator.sum(), denominator.sum()))
    return interval(drawn, estimate, int(denominator.sum()))
