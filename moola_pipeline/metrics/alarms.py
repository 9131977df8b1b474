"""Scores of live alarms: event F1 by delay, alarms per session, precision of the top alarms.

An alarm predicts an onset and a direction at the bar that has just closed. It finds a labeled
expansion of this direction if the predicted onset is within 3 bars of the labeled one and the alarm
comes at most `wait` bars after the labeled onset. The end is not known yet and is not scored. Pairs
are one to one, as many as possible. Labels are complete for onsets in bars 30-74 only: an unmatched
alarm with an onset in these bars is false, also in empty windows; in other bars it may match but is
never false.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from moola_pipeline.metrics.bootstrap import resample
from moola_pipeline.metrics.definitions import event_f1_macro, event_f1_untyped
from moola_pipeline.metrics.matching import ANY_TYPE, event_counts, outcomes, pair_typed
from moola_pipeline.metrics.scores import CLASSES, ResampledWindows, Scored, events_of
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST, ONSET_COLLAR_BARS, WAITS

SUREST = 5
"""Number of most probable alarms of a session for `precision_top5`."""


def pair_alarms(truth: pd.DataFrame, alarms: pd.DataFrame, wait: int, typed: bool = True) -> np.ndarray:
    """The alarm that finds each labeled expansion, one to one, window by window.

    Args:
        truth: window_id, start (bars 0..104), type (class number, or UNTYPED: see `pair_events`), direction
            (+1, -1).
        alarms: The same columns, and closed: the bar of the window whose close raised the alarm.
        wait: Maximum delay of an alarm after the labeled onset, bars.
        typed: False pairs regardless of type.

    Returns:
        (n_truth,) int64: index in `alarms`, -1 if there is none.
    """
    onset, direction = (truth[name].to_numpy(np.int64) for name in ("start", "direction"))
    predicted, alarm_direction, closed = (
        alarms[name].to_numpy(np.int64) for name in ("start", "direction", "closed")
    )

    def may_pair(labeled: np.ndarray, raised: np.ndarray) -> np.ndarray:
        near = np.abs(onset[labeled, None] - predicted[raised]) <= ONSET_COLLAR_BARS
        return near & (
            (direction[labeled, None] == alarm_direction[raised])
            & (closed[raised] <= onset[labeled, None] + wait)
        )

    return pair_typed(truth, alarms, may_pair, typed)


def directed(resampled: ResampledWindows) -> pd.DataFrame:
    """Labeled expansions as events with their direction; direction 0 counts as up."""
    return events_of(resampled.windows).assign(
        direction=np.where(resampled.windows.spans.direction < 0, -1, 1)
    )


def score_alarms(resampled: ResampledWindows, alarms: pd.DataFrame) -> Scored:
    """Event F1 for each maximum delay, typed and untyped.

    Args:
        resampled: The labeled windows.
        alarms: As in `pair_alarms`, and wait: the maximum delay of its system, one of WAITS.
    """
    truth, ids = directed(resampled), resampled.window_ids
    scores: Scored = {}
    for wait in WAITS:
        of_wait = alarms.loc[alarms["wait"] == wait]
        typed = event_counts(alarm_counts(truth, of_wait, wait), ids, CLASSES)
        untyped = event_counts(alarm_counts(truth, of_wait, wait, typed=False), ids, (ANY_TYPE,))
        for name, metric, counts in (
            ("event_f1_live", event_f1_macro, typed),
            ("event_f1_untyped_live", event_f1_untyped, untyped),
        ):
            scores[f"{name}_{wait}"] = resample(
                lambda drawn, metric=metric, counts=counts: metric(counts, drawn), resampled.window_weights
            )
    return scores


def alarm_counts(truth: pd.DataFrame, alarms: pd.DataFrame, wait: int, typed: bool = True) -> pd.DataFrame:
    """True positives, false positives and misses per window and type; arguments as in `pair_alarms`."""
    if not typed:
        truth, alarms = truth.assign(type=ANY_TYPE), alarms.assign(type=ANY_TYPE)
    return outcomes(truth, alarms, pair_alarms(truth, alarms, wait))


def score_sessions(
    resampled: ResampledWindows, sessions: np.ndarray, alarms: pd.DataFrame, wait: int
) -> Scored:
    """Alarms per session of a system, and the precision of its most probable alarms.

    Args:
        resampled: The labeled windows of these sessions, and of others.
        sessions: (n_sessions,) scored sessions, all of them in `resampled`.
        alarms: All alarms of one system in these sessions: session, row (of the predicted onset),
            closed (a row), direction, probability.
        wait: Maximum delay, bars.

    Returns:
        alarms_per_session, with n sessions; precision_top5: of the five most probable alarms of each
        session, those with an onset in bars 30-74 of a labeled window are n, and the share of them
        that match a label of any type is the estimate.
    """
    weights = _session_weights(resampled, sessions)
    ordered = alarms.sort_values("probability", ascending=False, kind="stable")
    top = in_cores(resampled, ordered.groupby("session").head(SUREST))
    matched = pair_alarms(directed(resampled), top, wait, typed=False)
    top = top.assign(right=np.isin(np.arange(len(top)), matched), judged=1)
    per_session = alarms.groupby("session").size().reindex(sessions, fill_value=0).to_numpy(float)
    sums = top.loc[:, ["session", "right", "judged"]].groupby("session").sum().reindex(sessions, fill_value=0)
    right, judged = sums.to_numpy(float).T
    precision = resample(lambda drawn: _share(drawn, right, judged), weights)
    return {
        "alarms_per_session": resample(lambda drawn: _share(drawn, per_session, 1.0), weights),
        f"precision_top{SUREST}": replace(precision, n=int(judged.sum())),
    }


def score_budget(
    resampled: ResampledWindows, sessions: np.ndarray, alarms: pd.DataFrame, wait: int
) -> Scored:
    """Alarms per session at one threshold, with their precision and delay.

    Args:
        resampled, sessions, alarms, wait: As in `score_sessions`.

    Returns:
        alarms_per_session, with n sessions; precision: n alarms have an onset in bars 30-74 of a labeled
        window, and the share of them that match a label of any type is the estimate; delay_bars: mean
        bars from the labeled onset to the close that raised the alarm, over the n that match.
    """
    weights, truth = _session_weights(resampled, sessions), directed(resampled)
    counted = in_cores(resampled, alarms)
    matched = pair_alarms(truth, counted, wait, typed=False)
    right, delay = np.zeros(len(counted)), np.zeros(len(counted))
    found = matched >= 0
    right[matched[found]] = 1
    late = counted["closed"].to_numpy(np.int64)[matched[found]] - truth["start"].to_numpy(np.int64)[found]
    delay[matched[found]] = late
    facts = pd.DataFrame({"session": counted["session"].to_numpy(), "right": right, "delay": delay, "n": 1.0})
    columns = ["session", "right", "delay", "n"]
    sums = facts.loc[:, columns].groupby("session").sum().reindex(sessions, fill_value=0)
    right, delay, n = sums.to_numpy(float).T
    per_session = alarms.groupby("session").size().reindex(sessions, fill_value=0).to_numpy(float)
    precision = resample(lambda drawn: _share(drawn, right, n), weights)
    delays = resample(lambda drawn: _share(drawn, delay, right), weights)
    return {
        "alarms_per_session": resample(lambda drawn: _share(drawn, per_session, 1.0), weights),
        "precision": replace(precision, n=int(n.sum())),
        "delay_bars": replace(delays, n=int(right.sum())),
    }


def _session_weights(resampled: ResampledWindows, sessions: np.ndarray) -> np.ndarray:
    """Counts of each session in every resample: (n_resamples, n_sessions)."""
    all_sessions, first_window = np.unique(resampled.windows.session, return_index=True)
    return resampled.window_weights[:, first_window[np.searchsorted(all_sessions, sessions)]]


def in_cores(resampled: ResampledWindows, alarms: pd.DataFrame) -> pd.DataFrame:
    """Alarms with an onset in bars 30-74 of a labeled window, as bars of this window.

    Args:
        resampled: The labeled windows.
        alarms: row (of the predicted onset) and closed (a row); other columns are passed through.

    Returns:
        The alarms with window_id, and with start and closed as bars of the window; the first window if
        two contain the onset.
    """
    bar0 = resampled.windows.bar0
    onset = alarms["row"].to_numpy(np.int64)[:, None] - bar0  # (n_alarms, n_windows)
    inside = (onset >= CORE_FIRST) & (onset <= CORE_LAST)
    in_core_of_any = inside.any(axis=1)
    window = inside.argmax(axis=1)[in_core_of_any]
    return alarms.loc[in_core_of_any].assign(
        window_id=resampled.windows.window_id[window],
        start=onset[in_core_of_any, window],
        closed=alarms.loc[in_core_of_any, "closed"].to_numpy(np.int64) - bar0[window],
    )


def _share(drawn: np.ndarray, part: np.ndarray, whole: np.ndarray | float) -> np.ndarray:
    """Weighted sum of a part over that of the whole; NaN if the whole is 0."""
    below = drawn @ np.broadcast_to(whole, part.shape)
    return drawn @ part / np.where(below > 0, below, np.nan)
