"""Moola in a notebook: `from moola_pipeline import api as moola`.

Bars are a DataFrame as `read_bars` returns it: one row a minute, `timestamp` (UTC bar opens), prices in
index points, `session`, `contract`, `segment`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from moola_pipeline.bars.instruments import NQ, instrument_named
from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.bars.sessions import NEW_YORK
from moola_pipeline.errors import BadInput
from moola_pipeline.features.zigzag import ATR_BARS, ZIGZAG_K

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from moola_pipeline.models.expansion_model import ExpansionModel

__all__ = ["LoadedModel", "compute_features", "load_model", "plot_marks", "predict", "read_bars", "zigzag"]


@dataclass(frozen=True)
class LoadedModel:
    """A registered version.

    Attributes:
        uri: Its address, as given.
        version: Its number.
        instrument: Instrument that it was trained on.
        simulated: Whether it was trained on simulated bars.
        facts: Everything recorded of its training.
        model: Span proposer, network and thresholds.
    """

    uri: str
    version: str
    instrument: str
    simulated: bool
    facts: Mapping[str, Any]
    model: "ExpansionModel"


def read_bars(file: str | Path, timezone: str | None = None, **options: Any) -> pd.DataFrame:
    """Read, clean and check a file of one-minute bars, as `moola predict` does.

    Args:
        file: csv, parquet, JSON or DBN, plain or compressed.
        timezone: IANA zone of times without a zone.
        options: Other fields of `VendorOptions`: format, stamp, columns, instrument.

    Returns:
        BAR_COLUMNS, times in UTC, strictly increasing.

    Raises:
        BadInput: If the file cannot be read without a guess, or is too short for one window.
    """
    from moola_pipeline.bars.vendor import read_vendor_file
    from moola_pipeline.bars.vendor_options import VendorOptions
    from moola_pipeline.inference.bar_tables import table_from_bars

    path = Path(file)
    return table_from_bars(read_vendor_file(path, VendorOptions(timezone=timezone, **options)), path.name)


def zigzag(
    bars: pd.DataFrame, k: float = ZIGZAG_K, atr_bars: int = ATR_BARS, instrument: str = NQ.name
) -> pd.DataFrame:
    """The swings of the bars; none crosses the end of a segment.

    Args:
        bars: From `read_bars`.
        k: Retracement from the extreme, in ATR, that confirms a swing, > 0.
        atr_bars: Bars of the ATR, >= 1.
        instrument: Its tick is the least ATR.

    Returns:
        time (UTC open of the bar at the extreme), price (index points), kind (high or low), confirmed_at (UTC
        open of the bar whose close confirmed it), segment; in order of confirmation.

    Raises:
        ValueError: If k or atr_bars is out of range.
    """
    from moola_pipeline.features.zigzag import confirmed_swings

    segment, tick = bars["segment"].to_numpy(), instrument_named(instrument).tick_points
    swings = confirmed_swings(bars[list(PRICE_COLUMNS)].to_numpy(float), segment, tick, k, atr_bars)
    return pd.DataFrame(
        {
            "time": bars["timestamp"].iloc[swings.bar].array,
            "price": swings.price,
            "kind": np.where(swings.is_high, "high", "low").astype(str),
            "confirmed_at": bars["timestamp"].iloc[swings.confirmed_bar].array,
            "segment": segment[swings.bar],
        }
    )


def compute_features(bars: pd.DataFrame, instrument: str = NQ.name) -> pd.DataFrame:
    """The 24 causal features of every bar: from the bars of its segment up to itself.

    Args:
        bars: From `read_bars`.
        instrument: Its tick scales the features.

    Returns:
        One row a bar, indexed by `timestamp`: FEATURE_NAMES as float32, and valid, True where all of them are
        warm (from bar 40 of a segment).
    """
    from moola_pipeline.features.relativity import compute_features as feature_table
    from moola_pipeline.features.schema import FEATURE_NAMES

    prices, segment = bars[list(PRICE_COLUMNS)].to_numpy(float), bars["segment"].to_numpy()
    table = feature_table(prices, segment, instrument_named(instrument).tick_points)
    times = pd.DatetimeIndex(bars["timestamp"], name="timestamp")
    frame = pd.DataFrame(table.values, times, list(FEATURE_NAMES))
    return frame.assign(valid=table.valid & table.structure_valid)


def load_model(uri: str = "models:/moola-nq@champion", home: str | Path | None = None) -> LoadedModel:
    """A registered model, its files checked against their digests.

    Args:
        uri: `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
        home: The home with the registry; None: MOOLA_HOME, else the project root.

    Raises:
        BadInput: If there is no such model.
        IntegrityError: If its files are gone or changed.
    """
    from moola_pipeline.storage.home import Home
    from moola_pipeline.tracking.registry import load_version
    from moola_pipeline.tracking.runs import has_store

    resolved = Home.resolve(home)
    if not has_store(resolved):
        raise BadInput(f"{resolved.root} must hold a registered model, but it does not. Run: moola run")
    model, facts = load_version(resolved, uri)
    return LoadedModel(uri, facts["model_version"], facts["instrument"], facts["simulated"], facts, model)


def predict(
    model: LoadedModel, bars: pd.DataFrame, mode: Literal["hindsight", "live"] = "hindsight", **options: Any
) -> pd.DataFrame:
    """The expansions in bars, or the live alarms that the model would have raised bar by bar.

    Args:
        model: From `load_model`.
        bars: From `read_bars`, of the instrument that the model was trained on.
        mode: hindsight reads whole windows; live decides at each close.
        options: Of `inference.live.predict_live` in live mode: max_wait, threshold.

    Returns:
        One row for each expansion or alarm, EXPANSION_COLUMNS; times are UTC bar opens. Bars that no window
        can cover (the first 70 and the last 30 of a segment in hindsight) have none.

    Raises:
        BadInput: If the mode is unknown, or the model was not trained for live mode.
    """
    from moola_pipeline.inference.live import predictor_of

    tick = instrument_named(model.instrument).tick_points
    return predictor_of(mode)(model.model, bars, tick, model.version, **options).expansions


def plot_marks(
    bars: pd.DataFrame, marks: pd.DataFrame, session: str | None = None, zone: str = NEW_YORK
) -> "Figure":
    """Candles of one session with its expansions.

    Args:
        bars: From `read_bars`.
        marks: From `predict`.
        session: The trading day, as 2025-06-27; None: the last one with a mark, else the last one.
        zone: IANA zone of the time axis.

    Raises:
        BadInput: If the session has no bars.
    """
    from moola_pipeline.bars.sessions import session_of
    from moola_pipeline.inference.platforms import drawn_marks
    from moola_pipeline.inference.plots import draw_expansions, draw_session

    days = bars["session"].to_numpy()
    marked = session_of(pd.DatetimeIndex(marks["started_at"])).to_numpy()
    newest = marked.max() if len(marked) else days[-1]
    day = newest if session is None else np.datetime64(session)
    drawn = bars.loc[days == day]
    if drawn.empty:
        raise BadInput(f"session must be a trading day of the bars, got {session}. Choose another day.")
    figure, axes = draw_session(drawn, f"session {np.datetime_as_string(day, 'D')}", zone)
    draw_expansions(axes, drawn_marks(marks.loc[marked == day], bars))
    return figure
