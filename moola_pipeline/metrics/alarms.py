"""Alarms judged: in time or too late, by how long one may wait; how many a session, and the surest ones.

An alarm claims an onset and a direction at the bar that has just closed. It finds a labeled expansion
of this direction when the claimed onset lies within 3 bars of the labeled one and the alarm came at
most `wait` bars after the labeled onset; the end has not been seen and is not judged. Pairs are one to
one, as many as possible. Labels are complete for onsets in bars 30-74 alone: an alarm that claims one
of these bars and finds nothing is false, in empty windows too; elsewhere it may match but is never
false.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from moola_pipeline.metrics.bootstrap import resample
from moola_pipeline.metrics.definitions import event_f1_macro, event_f1_untyped
from moola_pipeline.metrics.matching import ANY_TYPE, assigned, candidates, event_counts, in_core, outcomes
from moola_pipeline.metrics.scores import CLASSES, ResampledWindows, Scored, events_of
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST, ONSET_COLLAR_BARS, WAITS

SUREST = 5
"""Alarms of a session whose precision is told."""


def pair_alarms(truth: pd.DataFrame, alarms: pd.DataFrame, wait: int, typed: bool = True) -> np.ndarray:
    """Which alarm found each labeled expansion, one to one, window by window.

    Args:
        truth: window_id, start (bars 0..104), type (class number), direction (+1, -1).
        alarms: The same columns, and closed: the bar of the window whose close raised the alarm.
        wait: Bars after the labeled onset by which an alarm must have come.
        typed: False pairs regardless of type.

    Returns:
        (n_truth,) int64: place in `alarms`, -1 where there is none.
    """
    onset, direction = (truth[name].to_numpy(np.int64) for name in ("start", "direction"))
    claimed, pointing, closed = (alarms[name].to_numpy(np.int64) for name in ("start", "direction", "closed"))
    complete, core = in_core(truth), in_core(alarms)
    paired = np.full(len(truth), -1, np.int64)
    for labeled, raised in candidates(truth, alarms, typed):
        labeled = labeled[complete[labeled]]
        near = np.abs(onset[labeled, None] - claimed[raised]) <= ONSET_COLLAR_BARS
        near &= (direction[labeled, None] == pointing[raised]) & (
            closed[raised] <= onset[labeled, None] + wait
        )
        rows, columns = assigned(near, core[raised])
        paired[labeled[rows]] = raised[columns]
    return paired


def directed(resampled: ResampledWindows) -> pd.DataFrame:
    """Labeled expansions as events with their direction; one that ended where it began points up."""
    return events_of(resampled.windows).assign(
        direction=np.where(resampled.windows.spans.direction < 0, -1, 1)
    )


def score_alarms(resampled: ResampledWindows, alarms: pd.DataFrame) -> Scored:
    """Event F1 of each system that waits at most so many bars, typed and untyped.

    Args:
        ground: The labeled windows.
        alarms: As in `pair_alarms`, and wait: which system raised it, one of WAITS.
    """
    truth, ids = directed(resampled), resampled.window_ids
    scores: Scored = {}
    for wait in WAITS:
        mine = alarms.loc[alarms["wait"] == wait]
        typed = event_counts(alarm_counts(truth, mine, wait), ids, CLASSES)
        untyped = event_counts(alarm_counts(truth, mine, wait, typed=False), ids, (ANY_TYPE,))
        for name, metric, counts in (
            ("event_f1_live", event_f1_macro, typed),
            ("event_f1_untyped_live", event_f1_untyped, untyped),
        ):
            scores[f"{name}_{wait}"] = resample(
                lambda drawn, metric=metric, counts=counts: metric(counts, drawn), resampled.window_weights
            )
    return scores


def alarm_counts(truth: pd.DataFrame, alarms: pd.DataFrame, wait: int, typed: bool = True) -> pd.DataFrame:
    """Found, false and missed per window and type; arguments as in `pair_alarms`."""
    if not typed:
        truth, alarms = truth.assign(type=ANY_TYPE), alarms.assign(type=ANY_TYPE)
    return outcomes(truth, alarms, pair_alarms(truth, alarms, wait))


def score_sessions(
    resampled: ResampledWindows, sessions: np.ndarray, alarms: pd.DataFrame, wait: int
) -> Scored:
    """How often a system calls in a whole session, and how right its surest calls are.

    Args:
        ground: The labeled windows of these sessions, and of others.
        sessions: (n_sessions,) the sessions gone through, each one of `resampled`'s.
        alarms: All alarms of one system in them: session, row (of the claimed onset), closed (a row),
            direction, probability.
        wait: Bars that it may wait.

    Returns:
        alarms_per_session, its n the sessions; precision_top5, the share of those among the five
        surest alarms of each session that claim an onset in bars 30-74 of a labeled window and are
        right about it, whatever type they name; its n are these alarms.
    """
    known, first_window = np.unique(resampled.windows.session, return_index=True)
    weights = resampled.window_weights[:, first_window[np.searchsorted(known, sessions)]]
    ordered = alarms.sort_values("probability", ascending=False, kind="stable")
    asked = in_cores(resampled, ordered.groupby("session").head(SUREST))
    met = pair_alarms(directed(resampled), asked, wait, typed=False)
    asked = asked.assign(right=np.isin(np.arange(len(asked)), met), judged=1)
    per_session = alarms.groupby("session").size().reindex(sessions, fill_value=0).to_numpy(float)
    sums = (
        asked.loc[:, ["session", "right", "judged"]].groupby("session").sum().reindex(sessions, fill_value=0)
    )
    right, judged = sums.to_numpy(float).T
    precision = resample(lambda drawn: _share(drawn, right, judged), weights)
    return {
        "alarms_per_session": resample(lambda drawn: _share(drawn, per_session, 1.0), weights),
        f"precision_top{SUREST}": replace(precision, n=int(judged.sum())),
    }


def in_cores(resampled: ResampledWindows, alarms: pd.DataFrame) -> pd.DataFrame:
    """Those alarms that claim an onset in bars 30-74 of a labeled window, placed in this window.

    Args:
        ground: The labeled windows.
        alarms: row (of the claimed onset) and closed (a row); further columns stay.

    Returns:
        The same with window_id, start and closed as bars of the window. Where two windows hold the
        onset, it is placed in the first.
    """
    bar0 = resampled.windows.bar0
    onset = alarms["row"].to_numpy(np.int64)[:, None] - bar0  # (n_alarms, n_windows)
    inside = (onset >= CORE_FIRST) & (onset <= CORE_LAST)
    held, window = inside.any(axis=1), inside.argmax(axis=1)
    mine = window[held]
    return alarms.loc[held].assign(
        window_id=resampled.windows.window_id[mine],
        start=onset[held, mine],
        closed=alarms.loc[held, "closed"].to_numpy(np.int64) - bar0[mine],
    )


def _share(drawn: np.ndarray, part: np.ndarray, whole: np.ndarray | float) -> np.ndarray:
    """Sum of a part over that of the whole, rows counted as drawn; NaN where nothing was."""
    below = drawn @ np.broadcast_to(whole, part.shape)
    return drawn @ part / np.where(below > 0, below, np.nan)
