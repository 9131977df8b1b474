"""Scores by type, hour, part of the session and direction."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from moola_pipeline.bars.sessions import NEW_YORK
from moola_pipeline.labels.schema import TYPES
from moola_pipeline.metrics.bootstrap import MIN_SESSIONS, resample
from moola_pipeline.metrics.definitions import THRESHOLD, event_f1_untyped, f1_of_type, type_f1_macro
from moola_pipeline.metrics.matching import event_counts, in_core, match_events, pair_events
from moola_pipeline.metrics.scores import CLASSES, ResampledWindows, Scored, mean_scores
from moola_pipeline.windows.window_geometry import UNTYPED

PARTS_OF_DAY = (
    ("Asia", 18 * 60),
    ("London", 3 * 60),
    ("New York", 9 * 60 + 30),
    ("after the close", 16 * 60),
)
"""Name and first minute of each part of a session, New York time."""
SESSION_OPEN_HOUR = 18
DIRECTIONS = {1: "up", -1: "down"}


class ScoredPredictions(NamedTuple):
    """Predictions of one model on the test windows.

    Attributes:
        p_retracement: (n_expansions,) of the labeled expansions, with balanced types.
        events: Predicted expansions: window_id, start, end, type, direction, row (of the first bar
            in the bar table).
    """

    p_retracement: np.ndarray
    events: pd.DataFrame


class LabeledStarts(NamedTuple):
    """First bars of the labeled expansions: row in the bar table and direction, both (n,)."""

    row: np.ndarray
    direction: np.ndarray


def break_down(
    resampled: ResampledWindows,
    labeled: LabeledStarts,
    answers: Sequence[ScoredPredictions],
    timestamps: pd.DatetimeIndex,
) -> dict[str, dict[str, Scored]]:
    """Scores by grouping and group, means over seeds.

    Args:
        resampled: The test windows.
        labeled: Starts of the labeled expansions.
        answers: Predictions of each training seed.
        timestamps: (n_bars,) UTC opens of the bar table.

    Returns:
        For "type" (of labels and predictions): type_f1 and event_f1. For "hour" (of the first bar,
        New York), "session" and "direction": type_f1_macro if both types occur, and event_f1_untyped.
        A matched prediction counts in the group of its label.
    """
    scored: dict[str, dict[str, Scored]] = {"type": _mean_by_type(resampled, answers)}
    hours, parts = hour_names(timestamps[labeled.row]), part_names(timestamps[labeled.row])
    ways = {
        "hour": (hours, lambda events: hour_names(timestamps[events["row"]])),
        "session": (parts, lambda events: part_names(timestamps[events["row"]])),
        "direction": (_directions(labeled.direction), lambda events: _directions(events["direction"])),
    }
    for way, (of_label, of_event) in ways.items():
        groups = _in_order(way, of_label)
        scored[way] = {
            group: mean_scores(
                [_of_group(resampled, it, of_label, of_event(it.events), group) for it in answers]
            )
            for group in groups
        }
    return scored


def confusion(y: np.ndarray, p_retracement: np.ndarray) -> list[list[int]]:
    """`[labeled][predicted]` expansions of known type, types in the order of TYPES."""
    known = np.asarray(y) != UNTYPED
    y, p_retracement = np.asarray(y)[known], np.asarray(p_retracement)[known]
    table = np.zeros((len(TYPES), len(TYPES)), np.int64)
    np.add.at(table, (y, (p_retracement > THRESHOLD).astype(int)), 1)
    return table.tolist()


def hour_names(moments: pd.DatetimeIndex) -> np.ndarray:
    """New York hour of each moment as text: `09:00`."""
    return moments.tz_convert(NEW_YORK).strftime("%H:00").to_numpy(object)


def part_names(moments: pd.DatetimeIndex) -> np.ndarray:
    """Part of the session of each moment, one of `PARTS_OF_DAY`."""
    local = moments.tz_convert(NEW_YORK)
    minute = (local.hour * 60 + local.minute - SESSION_OPEN_HOUR * 60) % (24 * 60)
    begins = [(first - SESSION_OPEN_HOUR * 60) % (24 * 60) for _, first in PARTS_OF_DAY]
    names = np.array([name for name, _ in PARTS_OF_DAY], dtype=object)
    return names[np.searchsorted(begins, minute, side="right") - 1]


def _mean_by_type(resampled: ResampledWindows, answers: Sequence[ScoredPredictions]) -> dict[str, Scored]:
    return {
        name: mean_scores([_of_type(resampled, it, kind) for it in answers])
        for kind, name in enumerate(TYPES)
    }


def _of_type(resampled: ResampledWindows, answers: ScoredPredictions, kind: int) -> Scored:
    typed, p = resampled.typed, answers.p_retracement[resampled.windows.spans.is_typed]
    y = typed.windows.spans.type
    counts = event_counts(match_events(resampled.truth, answers.events), resampled.window_ids, CLASSES)[
        :, [kind]
    ]
    type_f1 = resample(lambda w: f1_of_type(y, p, kind, w), typed.event_weights)
    event_f1 = resample(lambda w: event_f1_untyped(counts, w), resampled.window_weights)
    n = int((y == kind).sum())
    return {"type_f1": replace(type_f1, n=n), "event_f1": replace(event_f1, n=n)}


def _of_group(
    resampled: ResampledWindows,
    answers: ScoredPredictions,
    of_label: np.ndarray,
    of_event: np.ndarray,
    group: str,
) -> Scored:
    inside = of_label == group
    typed = inside & resampled.windows.spans.is_typed
    y = resampled.windows.spans.type[typed]
    session = resampled.windows.session[resampled.windows.spans.window]
    scored: Scored = {}
    if len(set(y)) == len(TYPES):
        p = answers.p_retracement[typed]
        weights = resampled.event_weights[:, typed]
        drawn = np.all([weights[:, y == kind].any(axis=1) for kind in set(y)], axis=0)
        scored["type_f1_macro"] = resample(lambda w: type_f1_macro(y, p, w), weights).where(
            drawn & _are_enough(session[typed])
        )
    counts = _group_counts(resampled, answers.events, inside, of_event == group)
    event_f1 = resample(lambda w: event_f1_untyped(counts, w), resampled.window_weights)
    drawn = resampled.window_weights @ counts.sum(axis=(1, 2)) > 0
    return scored | {
        "event_f1_untyped": replace(event_f1.where(drawn & _are_enough(session[inside])), n=int(inside.sum()))
    }


def _are_enough(sessions: np.ndarray) -> bool:
    return len(np.unique(sessions)) >= MIN_SESSIONS


def _group_counts(
    resampled: ResampledWindows, events: pd.DataFrame, inside: np.ndarray, event_inside: np.ndarray
) -> np.ndarray:
    """(n_windows, 1, 3) tp and fn of a group's labels, fp of its unmatched predictions."""
    paired = pair_events(resampled.truth, events, typed=False)
    false = in_core(events) & ~np.isin(np.arange(len(events)), paired) & event_inside
    window = pd.Index(resampled.window_ids).get_indexer(events["window_id"].to_numpy())
    counts = np.zeros((len(resampled.window_ids), 3), np.int64)
    of_label = resampled.windows.spans.window
    np.add.at(counts[:, 0], of_label[inside & (paired >= 0)], 1)
    np.add.at(counts[:, 1], window[false], 1)
    np.add.at(counts[:, 2], of_label[inside & (paired < 0)], 1)
    return counts[:, None, :]


def _directions(signs: np.ndarray | pd.Series) -> np.ndarray:
    return np.array([DIRECTIONS.get(int(sign), "none") for sign in signs], dtype=object)


def _in_order(way: str, groups: np.ndarray) -> list[str]:
    """The groups that occur; times in the order of a session."""
    present = set(groups)
    if way == "session":
        return [name for name, _ in PARTS_OF_DAY if name in present]
    if way == "hour":
        return sorted(present, key=lambda name: (int(name[:2]) - SESSION_OPEN_HOUR) % 24)
    return [name for name in (*DIRECTIONS.values(), "none") if name in present]
