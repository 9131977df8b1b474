"""Comparison of the simulated market with the registered bars, as figures and as a page in docs."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from moola_pipeline.bars.instruments import INSTRUMENTS
from moola_pipeline.bars.manifest import read_bars
from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.bars.simulated import (
    FULL_SETTINGS,
    GENERATOR_VERSION,
    ScenarioName,
    SimulationSettings,
    simulate,
)
from moola_pipeline.bars.store import BarStore, read_manifest
from moola_pipeline.bars.table import build_table
from moola_pipeline.benchmarks.market_facts import (
    BANDS,
    N_PATHS,
    PATH_BARS,
    market_facts,
    price_paths,
    separation_auc,
)
from moola_pipeline.features.relativity import compute_features
from moola_pipeline.labels.placement import place_labels
from moola_pipeline.labels.simulated_annotator import draw_labels
from moola_pipeline.labels.spans import labeled_windows
from moola_pipeline.models.span_proposer import SpanProposer
from moola_pipeline.training.proposer_fit import fit_proposer
from moola_pipeline.windows.spans import measure_spans
from moola_pipeline.windows.window_geometry import view_rows

COMMAND = "moola bench market --out docs/simulated_market.md"

SCENARIO_TEXTS: dict[ScenarioName, str] = {
    "no_signal": "types are shuffled: the bars before an expansion carry no information about its type, so "
    "type scores must be at chance level",
    "drifting_mix": "the share of retracements falls linearly from 43 % at the first bar to 23 % at the last",
    "regime_break": "from the first session after training, volatility doubles and fewer patterns end in an "
    "expansion (40 % instead of 65 %), so more windows are empty",
    "second_instrument": "ES instead of NQ: other price level, contracts, volatility and seed",
    "speed_eye": "an annotator who goes by speed and volume, and knows of no planted expansion",
    "breaks_eye": "an annotator who goes by breaks of ranges, and knows of no planted expansion",
}


class MarketComparison(NamedTuple):
    """Figures of both markets by name; `real` and `auc` are None if no bars are registered."""

    simulated: dict[str, float]
    real: dict[str, float] | None
    auc: float | None
    proposer: SpanProposer


def compare_markets(store: BarStore, settings: SimulationSettings = FULL_SETTINGS) -> MarketComparison:
    """Measure the simulated market of these settings, and the registered bars if there are any.

    Raises:
        ChecksumMismatch: If a registered file does not match the manifest.
    """
    tick_points = INSTRUMENTS[settings.instrument].tick_points
    market = simulate(settings)
    simulated = build_table(market.bars, market.rolls if len(market.rolls) else None)
    proposer = _fitted_proposer(simulated, draw_labels(market, settings), tick_points)
    facts = market_facts(simulated, tick_points, proposer)
    if not read_manifest(store).files:
        return MarketComparison(facts, None, None, proposer)
    real = read_bars(store)
    rng = np.random.default_rng(0)
    made, traded = (price_paths(bars, tick_points, N_PATHS, rng) for bars in (simulated, real))
    real_facts = market_facts(real, tick_points, proposer)
    return MarketComparison(facts, real_facts, separation_auc(made, traded), proposer)


def _fitted_proposer(bars: pd.DataFrame, labels: pd.DataFrame, tick_points: float) -> SpanProposer:
    """The span proposer fitted on the labels of the simulated market only."""
    windows = labeled_windows(place_labels(labels, bars).frame.assign(split="all"), "all")
    prices = bars[list(PRICE_COLUMNS)].to_numpy()
    atr = compute_features(prices, bars["segment"].to_numpy(), tick_points).atr
    rows = view_rows(windows.bar0)
    return fit_proposer(measure_spans(prices[rows], atr[rows]), windows.spans)


def market_lines(found: MarketComparison) -> list[str]:
    """One line per figure, for the terminal."""
    lines = [f"{'':48}{'simulated':>10}{'real':>10}"]
    for name, value in found.simulated.items():
        real = "" if found.real is None else f"{found.real.get(name, np.nan):10.3f}"
        lines.append(f"{name:48}{value:10.3f}{real}")
    if found.auc is None:
        return [*lines, "No bars are registered: only the simulated market is measured."]
    return [
        *lines,
        f"AUC of a classifier, simulated against real {PATH_BARS}-bar paths: {found.auc:.3f} (0.5: chance)",
    ]


def market_page(found: MarketComparison, measured_on: str) -> str:
    """The page in docs, in Markdown; aggregates only."""
    rows = []
    for name, value in found.simulated.items():
        real = "not measured" if found.real is None else f"{found.real.get(name, np.nan):.3g}"
        band = " to ".join(f"{end:g}" for end in BANDS[name]) if name in BANDS else ""
        rows.append(f"| {name} | {value:.3g} | {real} | {band} |")
    separation = (
        "Not measured: no bars were registered."
        if found.auc is None
        else f"AUC **{found.auc:.3f}** (0.5: no better than chance; the goal is below 0.75)."
    )
    return "\n".join(
        (
            "# The simulated market beside the real one",
            "",
            f"Written by `{COMMAND}` on {measured_on}, generator version {GENERATOR_VERSION}, default seed. "
            "The real market is the bars registered in this home, with their rolls: NQ, one minute, 2020-09 "
            "to 2025-06. Aggregates only: no bar of it is in this project.",
            "",
            "Both markets are measured on the canonical table: no return, swing or window crosses the end of "
            "a session, a halt or a roll.",
            "",
            "| figure | simulated | real | test band for the simulated market |",
            "|---|---|---|---|",
            *rows,
            "",
            "Excess kurtosis depends on few bars: in the real market the five largest moves make up half of "
            "the fourth moment, and simulated values differ by a multiple from seed to seed. Therefore the "
            "table has it twice: unchanged, and with the five largest moves (five times as many if moves "
            "overlap) clipped to the size of the next one. Rule-found expansions are proposed by the span "
            "proposer's rule, fitted on the labels of the simulated market and used on both markets.",
            "",
            "## Separating the two markets",
            "",
            f"{N_PATHS:,} random price paths of {PATH_BARS} closes from each market. Paths lie inside a "
            "segment and do not overlap; closes are relative to the close before the path, in units of its "
            "ATR(10). Boosted trees get the closes, the steps and the sorted sizes of the steps; five folds, "
            "scored out of fold.",
            "",
            separation,
            "",
            "## Labels",
            "",
            "The simulated annotator labels what is visible: surges after a consolidation or a retracement "
            "that stand out from the bars around them. For a planted expansion, the type follows the hidden "
            "state before it; for a look-alike, the bars before it. Planted expansions hidden by noise are "
            "not labeled. Each pass has its own leniency, misses and slips. `truth.parquet`, next to the "
            "bars, holds all planted expansions. How the settings were chosen: [findings](findings.md).",
            "",
            "## Scenarios",
            "",
            "`moola run --scenario NAME` runs the main job on a simulated market that differs from this one. "
            "It has its own bars, labels, report and model (`moola-simulated-NAME`). The launchpad has the "
            "same option (resource `pipeline`, field `scenario`).",
            "",
            "| scenario | difference |",
            "|---|---|",
            *(f"| `{name}` | {text} |" for name, text in SCENARIO_TEXTS.items()),
            "",
        )
    )
