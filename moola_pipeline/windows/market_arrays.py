"""Bars with their features as arrays, from which training and inference cut windows."""

from dataclasses import dataclass, field, fields, replace
from functools import cached_property

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.features.averages import segment_bounds
from moola_pipeline.features.relativity import FeatureTable, compute_features
from moola_pipeline.features.schema import mirrored
from moola_pipeline.windows.span_inputs import span_inputs
from moola_pipeline.windows.spans import SpanMeasures, Spans, measure_spans
from moola_pipeline.windows.window_geometry import WINDOW_BARS, gather_rows


@dataclass(frozen=True)
class MarketArrays:
    """A table of bars and the features of each bar, causal and by segment.

    Attributes:
        prices: (n_bars, 4) float64 open, high, low, close, index points.
        segment: (n_bars,) int, non-decreasing.
        features: (n_bars, F) float32, columns as `FEATURE_NAMES`.
        atr: (n_bars,) float32, ATR(10), index points; 0 while it warms up.
        warm: (n_bars,) bool, True where all features are warm.
        tick_points: Smallest price step, index points.
        times: (n_bars,) UTC bar opens; empty for bars made from prices alone.
        session: (n_bars,) datetime64[ns], trading days; empty as `times`.
    """

    prices: np.ndarray
    segment: np.ndarray
    features: np.ndarray
    atr: np.ndarray
    warm: np.ndarray
    tick_points: float
    times: pd.DatetimeIndex = field(default_factory=lambda: pd.DatetimeIndex([], tz="UTC").as_unit("ns"))
    session: np.ndarray = field(default_factory=lambda: np.empty(0, "datetime64[ns]"))

    @classmethod
    def from_table(
        cls, table: pd.DataFrame, tick_points: float, features: FeatureTable | None = None
    ) -> "MarketArrays":
        """The arrays of a canonical bar table.

        Args:
            table: BAR_COLUMNS.
            tick_points: Smallest price step, index points.
            features: Of the same table; computed if None.
        """
        prices = table[list(PRICE_COLUMNS)].to_numpy(np.float64)
        segment = table["segment"].to_numpy(np.int64)
        computed = features or compute_features(prices, segment, tick_points)
        times, session = pd.DatetimeIndex(table["timestamp"]), table["session"].to_numpy("datetime64[ns]")
        arrays = (prices, segment, computed.values, computed.atr, computed.structure_valid)
        return cls(*arrays, tick_points, times, session)

    @classmethod
    def from_prices(cls, prices: np.ndarray, segment: np.ndarray, tick_points: float) -> "MarketArrays":
        """Bars without times; arguments as in `compute_features`."""
        computed = compute_features(prices, segment, tick_points)
        return cls(prices, segment, computed.values, computed.atr, computed.structure_valid, tick_points)

    def __len__(self) -> int:
        """Number of bars."""
        return len(self.prices)

    def rows(self, first: int, stop: int | None = None) -> "MarketArrays":
        """The bars of rows `first` to `stop - 1`, or to the end; nothing is copied."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "tick_points"}
        return replace(self, **{name: array[first:stop] for name, array in arrays.items()})

    def views(self, bar0: np.ndarray) -> np.ndarray:
        """Prices of windows with their context: (B, 125, 4), a copy."""
        return gather_rows(self.prices, bar0)

    def feature_views(self, bar0: np.ndarray, down: np.ndarray, bars: int = WINDOW_BARS) -> np.ndarray:
        """Features of windows with their context, those marked `down` mirrored: (B, 20 + bars, F) float32.

        Args:
            bar0: (B,) rows of bar 0.
            down: (B,) bool.
            bars: Of each window; no later bar is read.
        """
        features = gather_rows(self.features, bar0, bars)
        features[down] = mirrored(features[down])
        return features

    def measure_spans(self, bar0: np.ndarray) -> SpanMeasures:
        """Net move and efficiency of every span of up to 20 bars in windows at (B,) rows of bar 0."""
        return measure_spans(self.views(bar0), gather_rows(self.atr, bar0))

    def measure_inputs(self, bar0: np.ndarray, spans: Spans, bars: int = WINDOW_BARS) -> np.ndarray:
        """Span inputs of the classifier's heads, beside its states: (n_spans, 78) float32.

        Args:
            bar0: (n_windows,) rows of bar 0.
            spans: Spans in these windows.
            bars: Of each window; no later bar is read.
        """
        views, atr = gather_rows(self.prices, bar0, bars), gather_rows(self.atr, bar0, bars)
        return span_inputs(views, atr, spans, bar0[spans.window] + spans.start)

    def net_moves(self, bar0: np.ndarray, spans: Spans) -> np.ndarray:
        """Move from the first open of spans to their last close, ATR at the bar before: (n_spans,) float64.

        0 where ATR has not warmed up.
        """
        first, last = bar0[spans.window] + spans.start, bar0[spans.window] + spans.end
        size, moved = self.atr[first - 1], self.prices[last, 3] - self.prices[first, 0]
        return np.divide(moved, size, out=np.zeros_like(moved), where=size > 0)

    def segment_starts(self, bar0: np.ndarray) -> np.ndarray:
        """First row of the segment of each window: (B,) int64."""
        return self._starts[np.searchsorted(self._starts, np.asarray(bar0), side="right") - 1]

    @cached_property
    def _starts(self) -> np.ndarray:
        # Cached: finding them in five years of bars takes half as long as the features of a batch.
        return segment_bounds(self.segment)[0]
