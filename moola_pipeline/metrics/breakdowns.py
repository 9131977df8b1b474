"""Where a model is good and where it is not: by type, hour, part of the day, direction."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from moola_pipeline.bars.sessions import NEW_YORK
from moola_pipeline.labels.schema import TYPES
from moola_pipeline.metrics.bootstrap import resample
from moola_pipeline.metrics.definitions import THRESHOLD, event_f1_untyped, f1_of_type, type_f1_macro
from moola_pipeline.metrics.matching import event_counts, in_core, match_events, pair_events
from moola_pipeline.metrics.scores import CLASSES, ResampledWindows, Scored, mean_scores

PARTS_OF_DAY = (
    ("Asia", 18 * 60),
    ("London", 3 * 60),
    ("New York", 9 * 60 + 30),
    ("after the close", 16 * 60),
)
"""Name and first minute of each part of a session, on New York's wall clock."""
SESSION_OPEN_HOUR = 18
DIRECTIONS = {1: "up", -1: "down"}


class ScoredPredictions(NamedTuple):
    """What one model said of the ground.

    Attributes:
        p_retracement: (n_expansions,) of the labeled expansions, both types weighing the same.
        events: Expansions found: window_id, start, end, type, direction, row (of the bar table,
            of the first bar).
    """

    p_retracement: np.ndarray
    events: pd.DataFrame


class LabeledStarts(NamedTuple):
    """Where the labeled expansions lie: row (of the bar table, of the first bar) and direction, (n,)."""

    row: np.ndarray
    direction: np.ndarray


def break_down(
    resampled: ResampledWindows,
    labeled: LabeledStarts,
    answers: Sequence[ScoredPredictions],
    timestamps: pd.DatetimeIndex,
) -> dict[str, dict[str, Scored]]:
    """Scores of each group of each way to group the expansions, the mean over seeds.

    Args:
        ground: The test windows.
        labeled: Of its expansions.
        answers: One a training seed.
        timestamps: (n_bars,) UTC opens of the bar table.

    Returns:
        For "type" (of the labels and of the answers): type_f1 and event_f1. For "hour" (of the
        first bar, New York), "session" and "direction": type_f1_macro where both types occur, and
        event_f1_untyped. An expansion that was found counts in the group of its label.
    """
    found: dict[str, dict[str, Scored]] = {"type": _mean_by_type(resampled, answers)}
    hours, parts = hour_names(timestamps[labeled.row]), part_names(timestamps[labeled.row])
    ways = {
        "hour": (hours, lambda events: hour_names(timestamps[events["row"]])),
        "session": (parts, lambda events: part_names(timestamps[events["row"]])),
        "direction": (_directions(labeled.direction), lambda events: _directions(events["direction"])),
    }
    for way, (of_label, of_event) in ways.items():
        groups = _in_order(way, of_label)
        found[way] = {
            group: mean_scores(
                [_of_group(resampled, one, of_label, of_event(one.events), group) for one in answers]
            )
            for group in groups
        }
    return found


def confusion(y: np.ndarray, p_retracement: np.ndarray) -> list[list[int]]:
    """`[labeled][answered]` expansions, types in the order of TYPES."""
    table = np.zeros((len(TYPES), len(TYPES)), np.int64)
    np.add.at(table, (np.asarray(y), (np.asarray(p_retracement) > THRESHOLD).astype(int)), 1)
    return table.tolist()


def hour_names(moments: pd.DatetimeIndex) -> np.ndarray:
    """New York hour of each moment as text: `09:00`."""
    return moments.tz_convert(NEW_YORK).strftime("%H:00").to_numpy(object)


def part_names(moments: pd.DatetimeIndex) -> np.ndarray:
    """The part of the session that each moment lies in, of `PARTS_OF_DAY`."""
    local = moments.tz_convert(NEW_YORK)
    minute = (local.hour * 60 + local.minute - SESSION_OPEN_HOUR * 60) % (24 * 60)
    begins = [(first - SESSION_OPEN_HOUR * 60) % (24 * 60) for _, first in PARTS_OF_DAY]
    names = np.array([name for name, _ in PARTS_OF_DAY], dtype=object)
    return names[np.searchsorted(begins, minute, side="right") - 1]


def _mean_by_type(resampled: ResampledWindows, answers: Sequence[ScoredPredictions]) -> dict[str, Scored]:
    return {
        name: mean_scores([_of_type(resampled, one, kind) for one in answers])
        for kind, name in enumerate(TYPES)
    }


def _of_type(resampled: ResampledWindows, answers: ScoredPredictions, kind: int) -> Scored:
    y = resampled.windows.spans.type
    counts = event_counts(match_events(resampled.truth, answers.events), resampled.window_ids, CLASSES)[
        :, [kind]
    ]
    named = resample(lambda w: f1_of_type(y, answers.p_retracement, kind, w), resampled.event_weights)
    found = resample(lambda w: event_f1_untyped(counts, w), resampled.window_weights)
    n = int((y == kind).sum())
    return {"type_f1": replace(named, n=n), "event_f1": replace(found, n=n)}


def _of_group(
    resampled: ResampledWindows,
    answers: ScoredPredictions,
    of_label: np.ndarray,
    of_event: np.ndarray,
    group: str,
) -> Scored:
    inside = of_label == group
    y = resampled.windows.spans.type[inside]
    scored: Scored = {}
    if len(set(y)) == len(TYPES):
        p = answers.p_retracement[inside]
        scored["type_f1_macro"] = resample(
            lambda w: type_f1_macro(y, p, w), resampled.event_weights[:, inside]
        )
    counts = _group_counts(resampled, answers.events, inside, of_event == group)
    found = resample(lambda w: event_f1_untyped(counts, w), resampled.window_weights)
    return scored | {"event_f1_untyped": replace(found, n=int(inside.sum()))}


def _group_counts(
    resampled: ResampledWindows, events: pd.DataFrame, inside: np.ndarray, said: np.ndarray
) -> np.ndarray:
    """(n_windows, 1, 3) tp, fn of a group's labels and fp of its unmatched predictions."""
    paired = pair_events(resampled.truth, events, typed=False)
    false = in_core(events) & ~np.isin(np.arange(len(events)), paired) & said
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
    """The groups that occur, those of time in the order of a session."""
    there = set(groups)
    if way == "session":
        return [name for name, _ in PARTS_OF_DAY if name in there]
    if way == "hour":
        return sorted(there, key=lambda name: (int(name[:2]) - SESSION_OPEN_HOUR) % 24)
    return [name for name in (*DIRECTIONS.values(), "none") if name in there]
