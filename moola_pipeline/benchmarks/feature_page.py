"""Density and spread of every feature, on simulated and on registered bars, as a page."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from moola_pipeline.bars.instruments import INSTRUMENTS
from moola_pipeline.bars.manifest import read_bars
from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.bars.simulated import FULL_SETTINGS, GENERATOR_VERSION, SimulationSettings, simulate
from moola_pipeline.bars.store import BarStore, read_manifest
from moola_pipeline.bars.table import build_table
from moola_pipeline.features.gates import feature_table_figures, is_dense, is_spread, weakest_feature
from moola_pipeline.features.relativity import STRUCTURE_VALID_FROM, VALID_FROM, compute_features
from moola_pipeline.features.schema import FEATURES, MIN_DENSITY, MIN_SPREAD, N_FEATURES, Feature
from moola_pipeline.features.zigzag import ATR_BARS, ZIGZAG_K, confirmed_swings
from moola_pipeline.windows.dense import PositionFigures, figures_by_position, pretraining_windows

COMMAND = "moola bench features --out docs/features.md"
N_WINDOWS = 2000
MIRRORS = {"same": "x", "negate": "-x", "complement": "1 - x"}


class MarketFeatures(NamedTuple):
    """Density and spread of the features of one market; aggregates only.

    Attributes:
        figures: From `gates.feature_table_figures`.
        at_bar: From `figures_by_position`, on windows spread evenly over the table.
        n_windows: Number of these windows.
        legs_per_session: Confirmed swings per session.
        n_bars, n_sessions: Size of the table.
    """

    figures: pd.DataFrame
    at_bar: PositionFigures
    n_windows: int
    legs_per_session: float
    n_bars: int
    n_sessions: int


class FeatureReport(NamedTuple):
    """Both markets; `real` is None if no bars are registered."""

    simulated: MarketFeatures
    real: MarketFeatures | None


def measure_features(store: BarStore, settings: SimulationSettings = FULL_SETTINGS) -> FeatureReport:
    """Measure the features of a simulated market and of the registered bars.

    Raises:
        ChecksumMismatch: If a registered file does not match the manifest.
    """
    market = simulate(settings)
    bars = build_table(market.bars, market.rolls if len(market.rolls) else None)
    simulated = market_features(bars, INSTRUMENTS[settings.instrument].tick_points)
    files = read_manifest(store).files
    if not files:
        return FeatureReport(simulated, None)
    tick_points = INSTRUMENTS[files[0].instrument].tick_points
    return FeatureReport(simulated, market_features(read_bars(store), tick_points))


def market_features(bars: pd.DataFrame, tick_points: float) -> MarketFeatures:
    """Measure the features of a canonical bar table with at least one window."""
    prices, segment = bars[list(PRICE_COLUMNS)].to_numpy(), bars["segment"].to_numpy()
    table = compute_features(prices, segment, tick_points)
    bar0 = pretraining_windows(segment, len(segment))
    bar0 = bar0[:: max(1, len(bar0) // N_WINDOWS)]
    n_sessions = len(np.unique(bars["session"].to_numpy()))
    return MarketFeatures(
        feature_table_figures(table.values[table.structure_valid]),
        figures_by_position(table.values, bar0),
        len(bar0),
        len(confirmed_swings(prices, segment, tick_points).bar) / n_sessions,
        len(bars),
        n_sessions,
    )


def feature_facts(report: FeatureReport) -> dict[str, object]:
    """The report as plain values, by market."""

    def plain(market: MarketFeatures) -> dict[str, object]:
        return {
            "bars": market.n_bars,
            "sessions": market.n_sessions,
            "legs_per_session": market.legs_per_session,
            "features": {str(name): row.to_dict() for name, row in market.figures.iterrows()},
            "least_at_a_bar_of_the_window": {
                "non_zero_share": weakest_feature(market.at_bar.non_zero_share, MIN_DENSITY)[:2],
                "spread_share": weakest_feature(market.at_bar.spread_share, MIN_SPREAD)[:2],
            },
        }

    return {name: None if it is None else plain(it) for name, it in report._asdict().items()}


def feature_lines(report: FeatureReport) -> list[str]:
    """The figures for the terminal."""
    lines = []
    for name, market in report._asdict().items():
        if market is None:
            lines += ["", "No bars are registered: only the simulated market is measured."]
            continue
        head = f"{name}: {market.n_bars:,} bars, {market.legs_per_session:.0f} zigzag legs per session"
        lines += ["", head, market.figures.round(3).to_string()]
    return lines[1:]


def feature_page(report: FeatureReport, measured_on: str) -> str:
    """The page in docs, in Markdown; aggregates only."""
    simulated, real = report
    rows = [
        f"| {i + 1} | `{feature.name}` | {feature.formula} | {_range(feature)} | {_mirror(feature)} | "
        f"{_shares(simulated, i)} | {_shares(real, i)} |"
        for i, feature in enumerate(FEATURES)
    ]
    return "\n".join(
        (
            "# The features",
            "",
            f"Written by `{COMMAND}` on {measured_on}, simulated generator version {GENERATOR_VERSION}, "
            "default seed. The real market is the bars registered in this home, with their rolls: NQ, one "
            "minute, 2020-09 to 2025-06. Aggregates only: no bar of it is in this project.",
            "",
            f"{N_FEATURES} features per bar, float32, each computed from the bars of its segment up to this "
            "bar: a later bar never changes a feature. r is high - low, at least one tick. ATR is TA-Lib's "
            f"over {ATR_BARS} bars, at least one tick; EMA20 is TA-Lib's. A swing counts from the bar that "
            f"confirms it by a close {ZIGZAG_K:g} ATR from the extreme; before the first swing of a segment, "
            f"its running extreme is used. Features 1-12 are valid from bar {VALID_FROM} of a segment, 13 "
            f"and later from bar {STRUCTURE_VALID_FROM}. If prices are mirrored (p becomes -p), a feature x "
            "becomes the value in the column mirror.",
            "",
            "Density is the share of values other than 0 (it must exceed "
            f"{_limits(MIN_DENSITY)}). Spread is the distance from the 1st to the 99th percentile over the "
            f"declared range (it must be at least {_limits(MIN_SPREAD)}).",
            "",
            "| | feature | formula | range | mirror | simulated: density, spread, 1 / 50 / 99 % | "
            "real: density, spread, 1 / 50 / 99 % |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            "## At each bar of a window",
            "",
            "The same limits hold at each of the 105 bars of a window, measured on windows spread evenly "
            "over the table. The lowest values of all features and bars:",
            "",
            *_position_lines(report),
            "",
            "## Legs",
            "",
            *(
                f"- {name}: {it.legs_per_session:.0f} confirmed swings per session"
                for name, it in _both(report)
            ),
            "",
            "## Ranges",
            "",
            *_range_lines(report),
            "",
        )
    )


def _both(report: FeatureReport) -> list[tuple[str, MarketFeatures]]:
    return [(name, market) for name, market in report._asdict().items() if market is not None]


def _range(feature: Feature) -> str:
    return f"{feature.low:g} to {feature.high:g}"


def _mirror(feature: Feature) -> str:
    return f"`{feature.partner}`" if feature.partner else MIRRORS[feature.mirror]


def _limits(limits: np.ndarray) -> str:
    return " or ".join(f"{limit:g}" for limit in np.unique(limits))


def _shares(market: MarketFeatures | None, i: int) -> str:
    if market is None:
        return "not measured"
    it = market.figures.iloc[i]
    percentiles = f"{it['p1']:.2f} / {it['median']:.2f} / {it['p99']:.2f}"
    return f"{it['non_zero_share']:.2f}, {it['spread_share']:.2f}, {percentiles}"


def _position_lines(report: FeatureReport) -> list[str]:
    lines = []
    for name, market in _both(report):
        density_feature, density, _ = weakest_feature(market.at_bar.non_zero_share, MIN_DENSITY)
        spread_feature, spread, _ = weakest_feature(market.at_bar.spread_share, MIN_SPREAD)
        lines.append(
            f"- {name}, {market.n_windows:,} windows: density {density:.2f} (`{density_feature}`), "
            f"spread {spread:.2f} (`{spread_feature}`)"
        )
    return lines


def _range_lines(report: FeatureReport) -> list[str]:
    """Ranges whose spread is below the limit, each with a range that meets it."""
    lines = []
    for name, market in _both(report):
        figures = market.figures
        for i in np.flatnonzero(~is_spread(figures["spread_share"].to_numpy())).tolist():
            low, high = meeting_range(FEATURES[i], figures["p1"].iloc[i], figures["p99"].iloc[i])
            lines.append(
                f"- {name}: the spread of `{FEATURES[i].name}` in {_range(FEATURES[i])} is below the limit; "
                f"{low:.3g} to {high:.3g} meets it."
            )
        for i in np.flatnonzero(~is_dense(figures["non_zero_share"].to_numpy())).tolist():
            lines.append(f"- {name}: the density of `{FEATURES[i].name}` is below the limit in any range.")
    return lines or ["Every declared range meets the limits on the markets above."]


def meeting_range(feature: Feature, p1: float, p99: float) -> tuple[float, float]:
    """The declared range narrowed around 0 until the spread of p1..p99 meets the limit.

    A range that begins at 0 still begins at 0; a symmetric one stays symmetric.
    """
    share = (p99 - p1) / feature.min_spread / (feature.high - feature.low)
    return feature.low * share, feature.high * share
