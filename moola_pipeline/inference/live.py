"""Live mode: at each closed bar an alarm or none, from this bar and earlier ones only."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import torch

from moola_pipeline.errors import BadInput
from moola_pipeline.inference.hindsight import (
    CHUNK_WINDOWS,
    HINDSIGHT,
    Predictions,
    predict_expansions,
    prediction_rows,
    stretches,
)
from moola_pipeline.models.expansion_model import ExpansionModel, sigmoid
from moola_pipeline.models.live import LiveThresholds, OnsetCandidates, raised_alarms, read_live
from moola_pipeline.windows.dense import live_windows, too_early_for_live
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import LIVE_BARS, MAX_WAIT, WAITS

LIVE = "live"


def predictor_of(mode: str) -> Callable[..., Predictions]:
    """The prediction function of a mode: `predict_expansions` or `predict_live`.

    Args:
        mode: hindsight or live; empty for hindsight.

    Raises:
        BadInput: If the mode is unknown.
    """
    predictors = {HINDSIGHT: predict_expansions, LIVE: predict_live}
    if (mode or HINDSIGHT) not in predictors:
        raise BadInput(f"mode must be {' or '.join(predictors)}, got {mode}. Choose one of them.")
    return predictors[mode or HINDSIGHT]


def find_alarms(
    model: ExpansionModel,
    market: MarketArrays,
    bar0: np.ndarray,
    series: np.ndarray,
    waits: tuple[int, ...] = WAITS,
    device: torch.device | str = "cpu",
    thresholds: Mapping[int, float] | None = None,
) -> pd.DataFrame:
    """Raise alarms bar by bar; each is computed from bars that have closed by then.

    Args:
        model: In evaluation mode, its network on `device`.
        market: The table the windows lie in.
        bar0: (n_windows,) rows of bar 0 of live windows.
        series: (n_windows,) int; within one series a move raises one alarm.
        waits: Maximum bars from the predicted onset to the alarm, one system each: some of WAITS.
        device: Where the network runs.
        thresholds: Least probability of an alarm by wait; None: the model's own.

    Returns:
        wait (which system), series, closed (row of the bar that raised it), start (row of the predicted
        onset), direction (+1, -1), type (class number), probability, p_retracement (calibrated),
        p_balanced (equal weight on both types); sorted by wait, series and closed.

    Raises:
        BadInput: If the model was not trained for live mode.
    """
    thresholds = thresholds or live_thresholds(model).thresholds
    if not len(bar0):
        return _alarms(model, np.empty((7, 0)))
    candidates, probability = live_candidates(model, market, bar0, device)
    return alarms_of(model, candidates, np.asarray(series)[candidates.window], probability, waits, thresholds)


def alarms_of(
    model: ExpansionModel,
    candidates: OnsetCandidates,
    series: np.ndarray,
    probability: np.ndarray,
    waits: tuple[int, ...],
    thresholds: Mapping[int, float],
) -> pd.DataFrame:
    """The alarms that candidates raise; `series` and `probability` are (n_candidates,), see `find_alarms`."""
    systems = []
    for wait in waits:
        alarms = raised_alarms(candidates, series, probability, thresholds[wait], wait)
        columns = (
            series,
            candidates.closed,
            candidates.start,
            candidates.direction,
            probability,
            candidates.retracement,
        )
        systems.append(np.stack([np.full(len(alarms), wait), *(column[alarms] for column in columns)]))
    return _alarms(model, np.concatenate(systems, axis=1))


def live_candidates(
    model: ExpansionModel, market: MarketArrays, bar0: np.ndarray, device: torch.device | str = "cpu"
) -> tuple[OnsetCandidates, np.ndarray]:
    """Onset candidates of live windows, and the probability (n,) that an expansion began at each.

    Args:
        model: In evaluation mode, its network on `device`.
        market: The table the windows lie in.
        bar0: (n_windows,) rows of bar 0, at least one.
        device: Where the network runs.

    Raises:
        BadInput: If the model was not trained for live mode.
    """
    live, parts = live_thresholds(model), []
    for first in range(0, len(bar0), CHUNK_WINDOWS):
        rows = bar0[first : first + CHUNK_WINDOWS]
        candidates = read_live(model.classifier, market, rows, live.min_net_atr, device)
        parts.append(candidates._replace(window=candidates.window + first))
    candidates = OnsetCandidates(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return candidates, sigmoid(live.scale * candidates.onset + live.shift)


def predict_live(
    model: ExpansionModel,
    table: pd.DataFrame,
    tick_points: float,
    model_version: str,
    device: torch.device | str = "cpu",
    max_wait: int = MAX_WAIT,
    threshold: float | None = None,
) -> Predictions:
    """Find the alarms that the model would have raised, bar by bar.

    Later bars change nothing: the first bars of a table give the same alarms alone as in the whole
    table. A move raises one alarm: a second one in its direction is suppressed if its predicted onset
    lies within 10 bars of the first one's. Alarms of one segment suppress none in the next.

    Args:
        model: The model, on `device`.
        table: BAR_COLUMNS.
        tick_points: Smallest price step, index points.
        model_version: Written into every row.
        device: Where the network runs.
        max_wait: Maximum bars from the predicted onset to the alarm: one of WAITS.
        threshold: Least probability of an alarm; None: the model's own for this wait.

    Returns:
        One row per alarm in order of `decided_at`, the bar whose close raised it. `started_at` is the
        predicted onset; `ended_at` is null because the end is not known yet. The first 75 bars of each
        segment are not covered.

    Raises:
        BadInput: If the wait is none of WAITS, or the model was not trained for live mode.
    """
    market = MarketArrays.from_table(table, tick_points)
    return predict_live_new(model, market, 0, model_version, device, max_wait, threshold)


def predict_live_new(
    model: ExpansionModel,
    market: MarketArrays,
    first_row: int,
    model_version: str,
    device: torch.device | str = "cpu",
    max_wait: int = MAX_WAIT,
    threshold: float | None = None,
) -> Predictions:
    """Find the alarms raised at `first_row` or later; else like `predict_live`."""
    if max_wait not in WAITS:
        raise BadInput(f"max_wait must be one of {', '.join(map(str, WAITS))} bars, got {max_wait}.")
    thresholds = live_thresholds(model, model_version).thresholds
    segment = market.segment
    bar0 = live_windows(segment)
    # An alarm before the first row may suppress a later one, but only within a segment.
    begins = np.searchsorted(segment, segment[first_row]) if first_row < len(market) else first_row
    bar0 = bar0[bar0 >= begins]
    if threshold is not None:
        thresholds = {max_wait: threshold}
    alarms = find_alarms(model, market, bar0, segment[bar0], (max_wait,), device, thresholds)
    alarms = alarms.loc[alarms["closed"] >= first_row]
    missed = too_early_for_live(segment)[first_row:]
    return Predictions(
        _alarm_rows(alarms, market.times, model_version),
        stretches(market.rows(first_row), missed),
        int((bar0 + LIVE_BARS - 1 >= first_row).sum()),
    )


def live_thresholds(model: ExpansionModel, model_version: str = "") -> LiveThresholds:
    """The thresholds of live mode.

    Raises:
        BadInput: If the model was not trained for live mode.
    """
    live = model.thresholds.live
    if live is None:
        raise BadInput(
            f"{f'version {model_version}' if model_version else 'the model'} must be trained for live "
            "mode, but it was not. Train one with distill_live_windows above 0, or use hindsight mode."
        )
    return live


def _alarms(model: ExpansionModel, columns: np.ndarray) -> pd.DataFrame:
    """Alarms with their types; `columns` is (7, n_alarms), the type logit last: see `find_alarms`."""
    wait, series, closed, start, direction, probability, logits = columns
    calibrated, balanced = model.thresholds.type_probabilities(logits)
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
    return prediction_rows(alarms, spans, LIVE, model_version)
