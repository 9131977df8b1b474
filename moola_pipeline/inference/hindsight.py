"""Hindsight mode: find the expansions in windows, and in whole tables of bars."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from moola_pipeline.inference.expansion_table import EXPANSION_COLUMNS
from moola_pipeline.inference.open_session import is_settled, last_grows, waiting_bars
from moola_pipeline.labels.schema import TYPES
from moola_pipeline.models.expansion_model import ExpansionModel, FoundSpans, SpanModel
from moola_pipeline.models.span_proposer import propose
from moola_pipeline.windows.dense import scan_windows, uncovered
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import CORE_LAST, WINDOW_BARS

HINDSIGHT = "hindsight"
CHUNK_WINDOWS = 2048


@dataclass(frozen=True)
class Predictions:
    """The model's predictions for a table of bars.

    Attributes:
        expansions: EXPANSION_COLUMNS, one row each, in order of time; times are UTC bar opens.
        not_covered: from, to (UTC bar opens, inclusive) and bars of each stretch in which no
            window can report an onset: the first 70 and the last 30 bars of a segment; in an open
            session also the bars that its next window will cover.
        n_windows: Windows read.
        n_waiting: Bars at the end of an open session that will be covered once later bars come;
            0 if the last session has closed.
    """

    expansions: pd.DataFrame
    not_covered: pd.DataFrame
    n_windows: int
    n_waiting: int = 0


def find_events(
    model: SpanModel,
    market: MarketArrays,
    bar0: np.ndarray,
    device: torch.device | str = "cpu",
    least_probability: float | None = None,
) -> pd.DataFrame:
    """Find the expansions in windows; each window is read by itself.

    Args:
        model: In evaluation mode, on `device`.
        market: The table the windows lie in.
        bar0: (n_windows,) rows of bar 0.
        device: Where the network runs.
        least_probability: Of a reported expansion; None: the model's threshold.

    Returns:
        window (index into `bar0`), start, end (bars 0..104, inclusive), direction (+1, -1),
        type (class number), probability, p_retracement (calibrated), p_balanced (equal weight on
        both types); sorted by window and start.
    """
    parts, thresholds = [], model.thresholds
    if least_probability is not None:
        thresholds = thresholds.model_copy(update={"expansion_threshold": least_probability})
    for first in range(0, len(bar0), CHUNK_WINDOWS):
        rows = bar0[first : first + CHUNK_WINDOWS]
        proposals = propose(market.measure_spans(rows), model.proposer)
        logits = model.read(market, rows, proposals, device)
        parts.append(_events(thresholds.accept(proposals, logits), first))
    return pd.concat(parts, ignore_index=True) if parts else _no_events()


def _events(found: FoundSpans, first_window: int) -> pd.DataFrame:
    """Columns as in `find_events`; window numbers begin at `first_window`."""
    spans = found.spans
    return pd.DataFrame(
        {
            "window": spans.window + first_window,
            "start": spans.start,
            "end": spans.end,
            "direction": spans.direction.astype(np.int8),
            "type": spans.type,
            "probability": found.probability,
            "p_retracement": found.p_retracement,
            "p_balanced": found.p_balanced,
        }
    )


def predict_expansions(
    model: ExpansionModel,
    table: pd.DataFrame,
    tick_points: float,
    model_version: str,
    device: torch.device | str = "cpu",
) -> Predictions:
    """Find the expansions in a table of bars, in hindsight.

    Windows tile each segment so that their bars 30-74 cover it once. The window whose core holds
    the onset reports the expansion; of two that overlap, the more probable one stays.
    Later bars never change a reported expansion: in an open session, an expansion is reported
    once its window is complete and no later expansion can replace it.

    Args:
        model: The model, on `device`.
        table: BAR_COLUMNS.
        tick_points: Smallest price step, index points.
        model_version: Written into every row.
        device: Where the network runs.
    """
    return predict_new(model, MarketArrays.from_table(table, tick_points), 0, model_version, device)


def predict_new(
    model: ExpansionModel,
    market: MarketArrays,
    first_row: int,
    model_version: str,
    device: torch.device | str = "cpu",
) -> Predictions:
    """Find the expansions whose windows begin at `first_row` or later; else like `predict_expansions`."""
    grows = last_grows(market.times)
    bar0, owned_from = scan_windows(market.segment, grows)
    new_windows = bar0 >= first_row
    bar0, owned_from = bar0[new_windows], owned_from[new_windows]
    events = find_events(model, market, bar0, device)
    window = events["window"].to_numpy(np.int64)
    owned = (events["start"] >= owned_from[window]) & (events["start"] <= CORE_LAST)
    events = _without_overlaps(events.loc[owned], bar0)
    missed = uncovered(market.segment, grows)
    if grows:
        start, end = (events[name].to_numpy(np.int64) for name in ("start_row", "end_row"))
        events = events.loc[is_settled(start, end, market.segment, missed)]
    new, missed = market.rows(first_row), missed[first_row:]
    waiting = waiting_bars(new.segment, missed) if grows else 0
    expansions = _expansion_rows(events, bar0, market.times, model_version)
    return Predictions(expansions, stretches(new, missed), len(bar0), waiting)


def no_expansions() -> Predictions:
    """Predictions without windows; the frames have their columns."""
    no_times = pd.DatetimeIndex([], tz="UTC").as_unit("ns")
    expansions = _expansion_rows(_no_events(), np.empty(0, np.int64), no_times, "")
    stretches = pd.DataFrame({"from": no_times, "to": no_times, "bars": np.empty(0, np.int64)})
    return Predictions(expansions, stretches, 0)


def _expansion_rows(
    events: pd.DataFrame, bar0: np.ndarray, times: pd.DatetimeIndex, model_version: str
) -> pd.DataFrame:
    first = bar0[events["window"].to_numpy(np.int64)]
    start, end = events["start"].to_numpy(np.int64), events["end"].to_numpy(np.int64)
    spans = {
        "window_start": times[first],
        "started_at": times[first + start],
        "ended_at": times[first + end],
        "decided_at": times[first + WINDOW_BARS - 1],
    }
    return prediction_rows(events, spans, HINDSIGHT, model_version)


def prediction_rows(
    found: pd.DataFrame, times: Mapping[str, Any], mode: str, model_version: str
) -> pd.DataFrame:
    """Rows of EXPANSION_COLUMNS.

    Args:
        found: direction, probability, type and p_retracement, one row per expansion or alarm.
        times: window_start, started_at, ended_at and decided_at of each row.
        mode: hindsight or live.
        model_version: Version of the model.
    """
    answers = {
        "direction": np.where(found["direction"] > 0, "up", "down").astype(str),
        "probability": found["probability"].to_numpy(float),
        "label": np.array(TYPES)[found["type"].to_numpy(np.int64)],
        "p_retracement": found["p_retracement"].to_numpy(float),
        "mode": mode,
        "model_version": model_version,
    }
    texts = ("direction", "label", "mode", "model_version")
    return pd.DataFrame({**times, **answers}, columns=list(EXPANSION_COLUMNS)).astype(
        dict.fromkeys(texts, "str")
    )


def _without_overlaps(events: pd.DataFrame, bar0: np.ndarray) -> pd.DataFrame:
    row = bar0[events["window"].to_numpy(np.int64)]
    events = events.assign(start_row=row + events["start"], end_row=row + events["end"])
    events = events.sort_values(["start_row", "end_row"], ignore_index=True)
    chosen: list[int] = []
    start, end, probability = (events[name].to_numpy() for name in ("start_row", "end_row", "probability"))
    for i in range(len(events)):
        while chosen and start[i] <= end[chosen[-1]] and probability[i] > probability[chosen[-1]]:
            chosen.pop()
        if not chosen or start[i] > end[chosen[-1]]:
            chosen.append(i)
    return events.iloc[chosen].reset_index(drop=True)


def stretches(market: MarketArrays, missed: np.ndarray) -> pd.DataFrame:
    """Runs of True bars within one segment: from, to (UTC bar opens) and number of bars."""
    segment = market.segment
    begins = missed & (np.diff(missed, prepend=False) | (np.diff(segment, prepend=segment[:1]) != 0))
    run = np.cumsum(begins)[missed]
    grouped = pd.Series(market.times[missed]).groupby(run)
    return pd.DataFrame(
        {"from": grouped.first().array, "to": grouped.last().array, "bars": grouped.size().to_numpy(np.int64)}
    )


def _no_events() -> pd.DataFrame:
    whole = ("window", "start", "end", "direction", "type")
    real = ("probability", "p_retracement", "p_balanced")
    return pd.DataFrame({**dict.fromkeys(whole, np.empty(0, np.int64)), **dict.fromkeys(real, np.empty(0))})
