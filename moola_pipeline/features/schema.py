"""The feature schema: order, declared range, mirror, and quality limits of each feature."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Mirror = Literal["same", "negate", "complement", "swap"]
STRUCTURE_BARS = (10, 20, 40)


@dataclass(frozen=True)
class Feature:
    """One column of the feature table.

    Attributes:
        name: Column name.
        formula: Its definition; r is high - low but at least one tick, ATR is that of 10 bars.
        low, high: Declared range; values are clipped to it.
        mirror: What the feature becomes when prices are turned upside down: x, -x, 1 - x, or
            the value of `partner` ("swap").
        partner: The feature that it swaps with, else empty.
        min_density: Share of its values that must not be 0; more than this passes.
        min_spread: Least share of the declared range between its 1st and its 99th percentile.
    """

    name: str
    formula: str
    low: float
    high: float
    mirror: Mirror
    partner: str = ""
    min_density: float = 0.5
    min_spread: float = 0.2


RELATIVITY = (
    Feature("open_norm", "(open - low) / r; 0.5 where high = low", 0, 1, "complement"),
    Feature("close_norm", "(close - low) / r; 0.5 where high = low", 0, 1, "complement"),
    Feature("body_pct", "(close - open) / r", -1, 1, "negate"),
    Feature("upper_wick_pct", "(high - max(open, close)) / r", 0, 1, "swap", "lower_wick_pct"),
    Feature("lower_wick_pct", "(min(open, close) - low) / r", 0, 1, "swap", "upper_wick_pct"),
    Feature("range_z", "(high - low) / EMA20(high - low)", 0, 3, "same"),
    Feature("dist_to_prev_swing_high", "(swing high - close) / ATR", -8, 8, "swap", "dist_to_prev_swing_low"),
    Feature("dist_to_prev_swing_low", "(close - swing low) / ATR", -8, 8, "swap", "dist_to_prev_swing_high"),
    Feature("bars_since_swing_high", "bars since the swing high / 30", 0, 3, "swap", "bars_since_swing_low"),
    Feature("bars_since_swing_low", "bars since the swing low / 30", 0, 3, "swap", "bars_since_swing_high"),
    Feature("expansion_proxy", "range_z * direction of the leg * body_pct", -2, 2, "same"),
    Feature(
        "consolidation_proxy",
        "(1 - range_z / 3) * (1 - abs(body_pct)) * min(mean of the two bars_since, 1)",
        0,
        1,
        "same",
    ),
)


def _structure(n_bars: int) -> tuple[Feature, ...]:
    widest = {10: 8.0, 20: 12.0, 40: 16.0}[n_bars]
    last = f"of the last {n_bars} bars"
    return (
        Feature(f"range_{n_bars}", f"(highest high - lowest low) / ATR, {last}", 0, widest, "same"),
        Feature(
            f"net_move_{n_bars}", f"(close - close {n_bars} bars before) / ATR", -widest, widest, "negate"
        ),
        Feature(f"efficiency_{n_bars}", f"abs(net move) / path length of the closes, {last}", 0, 1, "same"),
        Feature(
            f"position_{n_bars}", f"(close - lowest low) / (highest - lowest), {last}", 0, 1, "complement"
        ),
    )


STRUCTURE = tuple(feature for n_bars in STRUCTURE_BARS for feature in _structure(n_bars))
FEATURES = RELATIVITY + STRUCTURE
FEATURE_NAMES = tuple(feature.name for feature in FEATURES)
N_RELATIVITY = len(RELATIVITY)
N_FEATURES = len(FEATURES)
RANGE_LOW = np.array([feature.low for feature in FEATURES], np.float32)
RANGE_HIGH = np.array([feature.high for feature in FEATURES], np.float32)
MIN_DENSITY = np.array([feature.min_density for feature in FEATURES])
MIN_SPREAD = np.array([feature.min_spread for feature in FEATURES])

MIRROR_SOURCE = np.array([FEATURE_NAMES.index(feature.partner or feature.name) for feature in FEATURES])
MIRROR_SIGN = np.array(
    [-1 if feature.mirror in ("negate", "complement") else 1 for feature in FEATURES], np.float32
)
MIRROR_SHIFT = np.array([1 if feature.mirror == "complement" else 0 for feature in FEATURES], np.float32)

NEUTRAL = MIRROR_SHIFT / 2
"""Values of rows that are not warm yet; mirroring does not change them."""


def mirrored(values: np.ndarray) -> np.ndarray:
    """Features of the same bars with prices upside down; `values` is (..., F), the result too."""
    return values[..., MIRROR_SOURCE] * MIRROR_SIGN + MIRROR_SHIFT
