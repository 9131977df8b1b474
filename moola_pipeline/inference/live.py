"""The model at work bar by bar: at each closed bar an alarm or none, from what came before."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from moola_pipeline.errors import BadInput
from moola_pipeline.inference.hindsight import (
    CHUNK_WINDOWS,
    HINDSIGHT,
    Predictions,
    marked_rows,
    predict_expansions,
    stretches,
)
from moola_pipeline.models.expansion_model import ExpansionModel, sigmoid
from moola_pipeline.models.live import LiveThresholds, raised_alarms, read_live
from moola_pipeline.windows.dense import live_windows, unread_live
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import LIVE_BARS, MAX_WAIT, WAITS

LIVE = "live"


def predictor_of(mode: str) -> Callable[..., Predictions]:
    """What marks a table in a mode: `predict_expansions` or `predict_live`.

    Args:
        mode: hindsight or live; empty for hindsight.

    Raises:
        BadInput: If it is another.
    """
    answers = {HINDSIGHT: predict_expansions, LIVE: predict_live}
    if (mode or HINDSIGHT) not in answers:
        raise BadInput(f"mode must be {' or '.join(answers)}, got {mode}. Choose one of them.")
    return answers[mode or HINDSIGHT]


def find_alarms(
    model: ExpansionModel,
    market: MarketArrays,
    bar0: np.ndarray,
    series: np.ndarray,
    waits: tuple[int, ...] = WAITS,
    device: torch.device | str = "cpu",
) -> pd.DataFrame:
    """Alarms that the model raises, bar by bar; no bar after the one that has closed is read.

    Args:
        model: In evaluation mode, its network on `device`.
        market: The table the windows lie in.
        bar0: (n_windows,) rows of bar 0 of live windows.
        series: (n_windows,) int; within one series a move raises one alarm.
        waits: Bars after the claimed onset by which a system has spoken: some of WAITS.
        device: Where the network runs.

    Returns:
        wait (which system), series, closed (row of the bar that raised it), start (row of the claimed
        first bar), direction (+1, -1), type (class number), probability, p_retracement (calibrated),
        p_balanced (both types weighing the same); sorted by wait, series and closed.

    Raises:
        BadInput: If the model was not taught to answer live.
    """
    live = live_thresholds(model)
    parts = []
    for first in range(0, len(bar0), CHUNK_WINDOWS):
        rows = bar0[first : first + CHUNK_WINDOWS]
        candidates = read_live(model.classifier, market, rows, live.min_net_atr, device)
        parts.append(candidates._replace(window=candidates.window + first))
    if not parts:
        return _answers(model, np.empty((7, 0)))
    candidates = type(parts[0])(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    probability = sigmoid(live.scale * candidates.onset + live.shift)
    of_move = np.asarray(series)[candidates.window]
    systems = []
    for wait in waits:
        alarms = raised_alarms(candidates, of_move, probability, live.thresholds[wait], wait)
        chosen = (
            of_move,
            candidates.closed,
            candidates.start,
            candidates.direction,
            probability,
            candidates.retracement,
        )
        systems.append(np.stack([np.full(len(alarms), wait), *(column[alarms] for column in chosen)]))
    return _answers(model, np.concatenate(systems, axis=1))


def predict_live(
    model: ExpansionModel,
    table: pd.DataFrame,
    tick_points: float,
    model_version: str,
    device: torch.device | str = "cpu",
    max_wait: int = MAX_WAIT,
) -> Predictions:
    """Go through a table bar by bar and write down each alarm when it is raised.

    Later bars change nothing: what is said of the first bars of a table is what is said of them in
    the whole. A move raises one alarm: none follows in its direction whose claimed onset lies within
    10 bars of the first's. What was raised in one segment silences nothing in the next.

    Args:
        model: The model, on `device`.
        table: BAR_COLUMNS.
        tick_points: Smallest price step, index points.
        model_version: Written into every row.
        device: Where the network runs.
        max_wait: Bars after the claimed onset by which an alarm has come or never will: one of WAITS.

    Returns:
        One row an alarm in order of `decided_at`: the last bar that was read, and the one whose close
        raised it. `started_at` is the claimed first bar; `ended_at` is null, for nobody knows it yet.
        Not covered are the first 75 bars of each segment.

    Raises:
        BadInput: If the wait is none of WAITS, or the model was not taught to answer live.
    """
    market = MarketArrays.from_table(table, tick_points)
    return predict_live_new(model, market, 0, model_version, device, max_wait)


def predict_live_new(
    model: ExpansionModel,
    market: MarketArrays,
    first_row: int,
    model_version: str,
    device: torch.device | str = "cpu",
    max_wait: int = MAX_WAIT,
) -> Predictions:
    """The alarms raised at `first_row` or later; otherwise as `predict_live`."""
    if max_wait not in WAITS:
        raise BadInput(f"max_wait must be one of {', '.join(map(str, WAITS))} bars, got {max_wait}.")
    live_thresholds(model, model_version)
    segment = market.segment
    bar0 = live_windows(segment)
    # An alarm before the first row may silence one after it, but only within a segment.
    begins = np.searchsorted(segment, segment[first_row]) if first_row < len(market) else first_row
    bar0 = bar0[bar0 >= begins]
    alarms = find_alarms(model, market, bar0, segment[bar0], (max_wait,), device)
    alarms = alarms.loc[alarms["closed"] >= first_row]
    missed = unread_live(segment)[first_row:]
    return Predictions(
        _alarm_rows(alarms, market.times, model_version),
        stretches(market.rows(first_row), missed),
        int((bar0 + LIVE_BARS - 1 >= first_row).sum()),
    )


def live_thresholds(model: ExpansionModel, model_version: str = "") -> LiveThresholds:
    """The decisions of live mode.

    Raises:
        BadInput: If the model was not taught to answer live.
    """
    live = model.thresholds.live
    if live is None:
        raise BadInput(
            f"{f'version {model_version}' if model_version else 'the model'} must have been taught to "
            "answer live, but it was not. Train one with distill_live_windows above 0, or ask in hindsight."
        )
    return live


def _answers(model: ExpansionModel, raised_alarms: np.ndarray) -> pd.DataFrame:
    """Alarms with their types; `raised_alarms` is (7, n_alarms): see `find_alarms`, the type logit last."""
    wait, series, closed, start, direction, probability, logits = raised_alarms
    calibrated, balanced = model.type_probabilities(logits)
    return pd.DataFrame(
        {
            "wait": wait.astype(np.int64),
            "series": series.astype(np.int64),
            "closed": closed.astype(np.int64),
            "start": start.astype(np.int64),
            "direction": direction.astype(np.int8),
            "type": (calibrated >= model.thresholds.retracement_threshold).astype(np.int64),
            "probability": probability,
            "p_retracement": calibrated,
            "p_balanced": balanced,
        }
    )


def _alarm_rows(alarms: pd.DataFrame, times: pd.DatetimeIndex, model_version: str) -> pd.DataFrame:
    closed, start = alarms["closed"].to_numpy(np.int64), alarms["start"].to_numpy(np.int64)
    spans = {
        "window_start": times[closed - (LIVE_BARS - 1)],
        "started_at": times[start],
        "ended_at": pd.Series(pd.NaT, range(len(alarms)), times.dtype).array,
        "decided_at": times[closed],
    }
    return marked_rows(alarms, spans, LIVE, model_version)
