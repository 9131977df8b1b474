"""The model at work: windows in, expansions out; and whole tables of bars."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from moola_pipeline.inference.open_session import is_settled, last_grows, waiting_bars
from moola_pipeline.labels.schema import TYPES
from moola_pipeline.models.expansion_model import ExpansionModel, FoundSpans
from moola_pipeline.models.span_inference import read_spans
from moola_pipeline.models.span_proposer import propose
from moola_pipeline.windows.dense import scan_windows, uncovered
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import CORE_LAST, WINDOW_BARS

EXPANSION_COLUMNS = (
    "window_start",
    "started_at",
    "ended_at",
    "decided_at",
    "direction",
    "probability",
    "label",
    "p_retracement",
    "mode",
    "model_version",
)
HINDSIGHT = "hindsight"
CHUNK_WINDOWS = 2048


@dataclass(frozen=True)
class Predictions:
    """What the model says of a table of bars.

    Attributes:
        expansions: EXPANSION_COLUMNS, one row each, in order of time; times are UTC bar opens.
        not_covered: from, to (UTC bar opens, inclusive) and bars of each stretch in which no
            window can report an onset: the first 70 and the last 30 bars of a segment; of one that
            may still grow, all that its next window will cover.
        n_windows: Windows read.
        n_waiting: Bars at the end of a session that is not over which later bars will let be
            covered; 0 where the last session has closed.
    """

    expansions: pd.DataFrame
    not_covered: pd.DataFrame
    n_windows: int
    n_waiting: int = 0


def find_events(
    model: ExpansionModel,
    market: MarketArrays,
    bar0: np.ndarray,
    device: torch.device | str = "cpu",
) -> pd.DataFrame:
    """Expansions that the model reports in windows, each seen alone.

    Args:
        model: In evaluation mode, its network on `device`.
        market: The table the windows lie in.
        bar0: (n_windows,) rows of bar 0.
        device: Where the network runs.

    Returns:
        window (index into `bar0`), start, end (bars 0..104, inclusive), direction (+1, -1),
        type (class number), probability, p_retracement (calibrated), p_balanced (both types
        weighing the same); sorted by window and start.
    """
    parts = []
    for first in range(0, len(bar0), CHUNK_WINDOWS):
        rows = bar0[first : first + CHUNK_WINDOWS]
        proposals = propose(market.measure_spans(rows), model.proposer)
        reading = read_spans(model.classifier, market, rows, proposals, device)
        parts.append(_events(model.accept(proposals, reading), first))
    return pd.concat(parts, ignore_index=True) if parts else _nothing_decided()


def _events(found: FoundSpans, first_window: int) -> pd.DataFrame:
    """Columns as `find_events`; windows are numbered from `first_window` on."""
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
    """Mark every expansion in a table of bars, in hindsight.

    Each segment is tiled so that the bars 30-74 of the windows cover it once; an expansion is
    reported by the window whose core holds its onset, and of two that overlap the surer stays.
    Bars that come later change nothing that was reported: in a session that is not over, an
    expansion waits until its window is whole and no later find can take its place.

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
    """Mark the expansions whose windows begin at `first_row` or later; otherwise as `predict_expansions`."""
    grows = last_grows(market.times)
    bar0, owned_from = scan_windows(market.segment, grows)
    asked = bar0 >= first_row
    bar0, owned_from = bar0[asked], owned_from[asked]
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
    """An annotation without windows, its frames with their columns."""
    no_times = pd.DatetimeIndex([], tz="UTC").as_unit("ns")
    expansions = _expansion_rows(_nothing_decided(), np.empty(0, np.int64), no_times, "")
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
    return marked_rows(events, spans, HINDSIGHT, model_version)


def marked_rows(found: pd.DataFrame, times: Mapping[str, Any], mode: str, model_version: str) -> pd.DataFrame:
    """Rows of EXPANSION_COLUMNS.

    Args:
        found: direction, probability, type and p_retracement of each find.
        times: window_start, started_at, ended_at and decided_at of each.
        mode: In which it was found.
        model_version: By which version.
    """
    said = {
        "direction": np.where(found["direction"] > 0, "up", "down").astype(str),
        "probability": found["probability"].to_numpy(float),
        "label": np.array(TYPES)[found["type"].to_numpy(np.int64)],
        "p_retracement": found["p_retracement"].to_numpy(float),
        "mode": mode,
        "model_version": model_version,
    }
    texts = ("direction", "label", "mode", "model_version")
    return pd.DataFrame({**times, **said}, columns=list(EXPANSION_COLUMNS)).astype(
        dict.fromkeys(texts, "str")
    )


def _without_overlaps(events: pd.DataFrame, bar0: np.ndarray) -> pd.DataFrame:
    row = bar0[events["window"].to_numpy(np.int64)]
    events = events.assign(start_row=row + events["start"], end_row=row + events["end"])
    events = events.sort_values(["start_row", "end_row"], ignore_index=True)
    kept: list[int] = []
    start, end, sure = (events[name].to_numpy() for name in ("start_row", "end_row", "probability"))
    for i in range(len(events)):
        while kept and start[i] <= end[kept[-1]] and sure[i] > sure[kept[-1]]:
            kept.pop()
        if not kept or start[i] > end[kept[-1]]:
            kept.append(i)
    return events.iloc[kept].reset_index(drop=True)


def stretches(market: MarketArrays, missed: np.ndarray) -> pd.DataFrame:
    """Runs of bars marked True, broken where the segment changes."""
    segment = market.segment
    begins = missed & (np.diff(missed, prepend=False) | (np.diff(segment, prepend=segment[:1]) != 0))
    run = np.cumsum(begins)[missed]
    grouped = pd.Series(market.times[missed]).groupby(run)
    return pd.DataFrame(
        {"from": grouped.first().array, "to": grouped.last().array, "bars": grouped.size().to_numpy(np.int64)}
    )


def _nothing_decided() -> pd.DataFrame:
    whole = ("window", "start", "end", "direction", "type")
    real = ("probability", "p_retracement", "p_balanced")
    return pd.DataFrame({**dict.fromkeys(whole, np.empty(0, np.int64)), **dict.fromkeys(real, np.empty(0))})
