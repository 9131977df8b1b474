"""The simulated market beside the registered one, as figures and as a page of docs."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from moola_pipeline.bars.manifest import read_bars
from moola_pipeline.bars.schema import INSTRUMENTS, PRICE_COLUMNS
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
    auc_of_telling_apart,
    market_facts,
    price_paths,
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

SCENARIOS_TOLD: dict[ScenarioName, str] = {
    "no_signal": "types are shuffled: nothing that stood before an expansion tells which it was, so type "
    "scores must be those of chance",
    "drifting_mix": "the share of retracements falls evenly from 43 % at the first bar to 23 % at the last",
    "regime_break": "from the session after training on, volatility doubles and fewer patterns end in an "
    "expansion (40 % instead of 65 %), so more windows are empty",
    "second_instrument": "ES instead of NQ: other level, contracts and volatility, another seed",
}


class MarketComparison(NamedTuple):
    """Figures of both markets by name; `real` and `auc` are None where no bars are registered."""

    simulated: dict[str, float]
    real: dict[str, float] | None
    auc: float | None
    proposer: SpanProposer


def compare_markets(store: BarStore, settings: SimulationSettings = FULL_SETTINGS) -> MarketComparison:
    """Measure the simulated market of these settings, and the registered one if there is one.

    Raises:
        ChecksumMismatch: If a registered file is not what the manifest records.
    """
    tick_points = INSTRUMENTS[settings.instrument].tick_points
    market = simulate(settings)
    simulated = build_table(market.bars, market.rolls if len(market.rolls) else None)
    proposer = _rule_of(simulated, draw_labels(market, settings), tick_points)
    facts = market_facts(simulated, tick_points, proposer)
    if not read_manifest(store).files:
        return MarketComparison(facts, None, None, proposer)
    real = read_bars(store)
    rng = np.random.default_rng(0)
    made, traded = (price_paths(bars, tick_points, N_PATHS, rng) for bars in (simulated, real))
    real_facts = market_facts(real, tick_points, proposer)
    return MarketComparison(facts, real_facts, auc_of_telling_apart(made, traded), proposer)


def _rule_of(bars: pd.DataFrame, labels: pd.DataFrame, tick_points: float) -> SpanProposer:
    """The rule fitted on the labels of the simulated market; real labels have no part in it."""
    windows = labeled_windows(place_labels(labels, bars).frame.assign(split="all"), "all")
    prices = bars[list(PRICE_COLUMNS)].to_numpy()
    atr = compute_features(prices, bars["segment"].to_numpy(), tick_points).atr
    rows = view_rows(windows.bar0)
    return fit_proposer(measure_spans(prices[rows], atr[rows]), windows.spans)


def market_lines(found: MarketComparison) -> list[str]:
    """One line a figure, for the terminal."""
    lines = [f"{'':48}{'simulated':>10}{'real':>10}"]
    for name, value in found.simulated.items():
        real = "" if found.real is None else f"{found.real.get(name, np.nan):10.3f}"
        lines.append(f"{name:48}{value:10.3f}{real}")
    if found.auc is None:
        return [*lines, "No bars are registered: the real side is left out."]
    return [*lines, f"AUC of telling {PATH_BARS}-bar price paths apart: {found.auc:.3f} (0.5: impossible)"]


def market_page(found: MarketComparison, measured_on: str) -> str:
    """The page of docs, in Markdown; aggregates only."""
    rows = []
    for name, value in found.simulated.items():
        real = "not measured" if found.real is None else f"{found.real.get(name, np.nan):.3g}"
        band = " to ".join(f"{end:g}" for end in BANDS[name]) if name in BANDS else ""
        rows.append(f"| {name} | {value:.3g} | {real} | {band} |")
    apart = (
        "Not measured: no bars were registered."
        if found.auc is None
        else f"AUC **{found.auc:.3f}** (0.5: they cannot be told apart; the goal is below 0.75)."
    )
    return "\n".join(
        (
            "# The simulated market beside the real one",
            "",
            f"Written by `{COMMAND}` on {measured_on}, generator version {GENERATOR_VERSION}, default seed. "
            "The real side is measured on the bars registered in the home at hand, with their rolls: NQ, one "
            "minute, 2020-09 to 2025-06. Aggregates only: no row of it is in this project.",
            "",
            "Both sides pass through the same canonical table: no return, swing or window reaches over the "
            "end of a session, a halt or a roll.",
            "",
            "| figure | simulated | real | band a test holds the simulated side in |",
            "|---|---|---|---|",
            *rows,
            "",
            "Excess kurtosis hangs on few bars: of the real bars the five largest moves make half of the "
            "fourth moment, and from seed to seed it varies manifold. So it stands there twice: as it is, "
            "and with the five largest moves (five times as many overlapping ones) cut down to the next. "
            "Expansions are those a rule proposes; it is fitted on the labels of the simulated market and "
            "measures both sides alike.",
            "",
            "## Telling them apart",
            "",
            f"{N_PATHS:,} price paths of {PATH_BARS} closes from each market, drawn at random inside "
            "segments, none overlapping another, as the way from the close of the bar before, over its "
            "ATR(10). Boosted trees see the closes, the steps, and the steps' sizes in order; five folds, "
            "scored out of fold.",
            "",
            apart,
            "",
            "## Labels",
            "",
            "The annotator marks what can be seen: surges that stand out of the bars after a consolidation "
            "or a retracement. It knows the hidden state before a planted one; a look-alike it judges by "
            "the bars before. Planted ones that noise has swallowed are not marked. Each pass judges with "
            "a leniency, misses and slips of its own. `truth.parquet` beside the bars holds all that was "
            "planted. How the settings were chosen: [findings](findings.md).",
            "",
            "## Scenarios",
            "",
            "`moola run --scenario NAME` runs the main job on a simulated market that is unlike this one. It "
            "has its own bars, labels, report and model (`moola-simulated-NAME`); the launchpad offers the "
            "same choice (resource `pipeline`, field `scenario`).",
            "",
            "| scenario | what is other |",
            "|---|---|",
            *(f"| `{name}` | {told} |" for name, told in SCENARIOS_TOLD.items()),
            "",
        )
    )
