"""`python -m moola_pipeline_tests.labels.planted_label_faults`: how often faults planted in labels are found.

Sound subsets of labels show the false alarms. The private bars and labels are read where they exist;
nothing but counts is printed.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pandas as pd

from moola_pipeline.bars.rolls import read_rolls
from moola_pipeline.bars.schema import RAW_COLUMNS
from moola_pipeline.bars.simulated import FULL_SETTINGS, simulate
from moola_pipeline.bars.table import build_table
from moola_pipeline.errors import BadInput
from moola_pipeline.labels.label_rows import read_labels
from moola_pipeline.labels.plausibility import BarMoves, MarkedSpans, find_misfit
from moola_pipeline.labels.schema import FIRST_PASS
from moola_pipeline.labels.shared_faults import refuse_swapped_ends
from moola_pipeline.labels.simulated_annotator import draw_labels
from moola_pipeline.storage.home import PROJECT_ROOT
from moola_pipeline_tests.conftest import PRIVATE_DATA_VARIABLE
from moola_pipeline_tests.labels.marked_market import on_clock, shifted

HOUR_NS = 3600 * 10**9
TRAINING_END = pd.Timestamp("2025-01-01", tz="UTC")
Plant = Callable[[MarkedSpans, np.random.Generator], MarkedSpans]


def moved_by_hours(spans: MarkedSpans, hours: int) -> MarkedSpans:
    moments = spans.window_start + hours * HOUR_NS
    return replace(spans, window_start=moments, clock=moments)


def at_random(spans: MarkedSpans, rng: np.random.Generator) -> MarkedSpans:
    """Windows moved by up to a week, each on its own."""
    moments = spans.window_start + rng.integers(-7 * 1440, 7 * 1440, len(spans.window)) * HOUR_NS // 60
    return replace(spans, window_start=moments, clock=moments)


FAULTS: dict[str, tuple[Plant, str]] = {
    "one bar late": (lambda spans, _: shifted(spans, 1), "--shift-bars -1"),
    "one bar early": (lambda spans, _: shifted(spans, -1), "--shift-bars 1"),
    "ends exclusive": (lambda spans, _: replace(spans, end=spans.end + 1), "--ends exclusive"),
    "ends exchanged": (lambda spans, _: replace(spans, start=spans.end, end=spans.start), "--ends swapped"),
    "an hour late": (lambda spans, _: moved_by_hours(spans, 1), "--timezone"),
    "five hours early": (lambda spans, _: moved_by_hours(spans, -5), "--timezone"),
    "New York as UTC": (lambda spans, _: on_clock(spans, "America/New_York"), "--timezone America/New_York"),
    "times at random": (at_random, "register the bars"),
}
"""Faults, and what the refusal must name."""


def diagnosis(spans: MarkedSpans, bars: BarMoves) -> str:
    """What is said of the spans; empty if nothing is."""
    labels = pd.DataFrame({"expansion_start": spans.start, "label": "retracement"})
    reasons = pd.Series(["span ends before it starts" if it else None for it in spans.end < spans.start])
    try:
        refuse_swapped_ends("labels.csv", labels, pd.DataFrame({"reason": reasons}))
    except BadInput as error:
        return str(error)
    misfit = find_misfit(spans, bars)
    return misfit.remedy if misfit else ""


def drawn(labels: pd.DataFrame, n_windows: int, rng: np.random.Generator) -> MarkedSpans:
    windows = sorted(set(labels["window_id"]))
    chosen = rng.choice(windows, min(n_windows, len(windows)), replace=False)
    return MarkedSpans.of_labels(labels.loc[labels["window_id"].isin(chosen.tolist())])


def share_found(
    labels: pd.DataFrame, others: pd.DataFrame, bars: BarMoves, n_windows: int, n_sound: int, n_faulty: int
) -> dict[str, int]:
    """How many planted faults were found, and how many sound subsets raised an alarm."""
    rng = np.random.default_rng(n_windows)
    alarms = sum(bool(diagnosis(drawn(labels, n_windows, rng), bars)) for _ in range(n_sound))
    counts = {"sound: alarms": alarms}
    for name, (plant, wanted) in FAULTS.items():
        said = [diagnosis(plant(drawn(labels, n_windows, rng), rng), bars) for _ in range(n_faulty)]
        counts[name] = sum(wanted in text for text in said)
    said = [diagnosis(drawn(others, n_windows, rng), bars) for _ in range(n_faulty)]
    counts["another market's labels"] = sum("register the bars" in text for text in said)
    return counts


def private_market(shared: Path) -> tuple[BarMoves, pd.DataFrame]:
    folder = shared / "real"
    raw = pd.read_parquet(folder / "nq_1m_2020-09_2025-06.parquet").rename(columns={"ts_utc": "timestamp"})
    bars = build_table(raw.loc[:, list(RAW_COLUMNS)], read_rolls(folder / "nq_rolls.csv"))
    return BarMoves.of_bars(bars), read_labels(folder / "labels.csv")


def simulated_market() -> tuple[BarMoves, pd.DataFrame]:
    market = simulate(FULL_SETTINGS)
    bars = build_table(market.bars.loc[:, list(RAW_COLUMNS)], market.rolls if len(market.rolls) else None)
    labels = draw_labels(market, FULL_SETTINGS)
    return BarMoves.of_bars(bars), labels.loc[labels["pass"] == FIRST_PASS]


@click.command()
@click.option("--sound", "n_sound", default=200, show_default=True, help="Sound subsets of each size.")
@click.option("--faulty", "n_faulty", default=50, show_default=True, help="Subsets with each fault.")
@click.option("--size", "sizes", multiple=True, type=int, default=(100, 50, 20), show_default=True)
@click.option("--market", "names", multiple=True, help="Only markets whose names begin so.")
def main(n_sound: int, n_faulty: int, sizes: tuple[int, ...], names: tuple[str, ...]) -> None:
    """Print a table: how often planted faults are found, with the option that mends them."""
    bars, labels = simulated_market()
    chosen = os.environ.get(PRIVATE_DATA_VARIABLE)
    shared = Path(chosen) if chosen else PROJECT_ROOT.parent / "shared"
    private = private_market(shared) if (shared / "real").is_dir() else None
    markets = [("simulated", bars, labels, labels if private is None else private[1])]
    if private is not None:
        later = private[1]["window_start"] >= TRAINING_END
        markets.append(("real, to 2024", private[0], private[1].loc[~later], labels))
        markets.append(("real, 2025", private[0], private[1].loc[later], labels))
    for name, bars, labels, others in markets:
        if names and not name.startswith(names):
            continue
        for n_windows in sizes:
            counts = share_found(labels, others, bars, n_windows, n_sound, n_faulty)
            click.echo(f"{name}, {n_windows} windows: " + "; ".join(f"{k} {v}" for k, v in counts.items()))


if __name__ == "__main__":
    main()
