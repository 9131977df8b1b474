"""Market facts: examples worked by hand, and the simulated market within its bands."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from moola_pipeline.bars.simulated import SCENARIOS, simulate
from moola_pipeline.bars.simulated.settings import SimulationSettings
from moola_pipeline.bars.store import BarStore
from moola_pipeline.bars.table import build_table
from moola_pipeline.benchmarks.market_facts import BANDS, market_facts, returns_over, without_largest
from moola_pipeline.benchmarks.market_page import SCENARIO_TEXTS, compare_markets, market_lines, market_page
from moola_pipeline.labels.simulated import ensure_simulated
from moola_pipeline.models.span_proposer import SpanProposer
from moola_pipeline_tests.labels.test_simulated import period

PROPOSER = SpanProposer(min_net_atr=2, min_efficiency=0.6, min_length=2, max_length=14, ordering="efficiency")
MONTH = SimulationSettings(
    first_session=date(2025, 3, 3),
    last_session=date(2025, 3, 31),
    label_periods=(period("2025-03-03", "2025-03-31", 60),),
)


def test_no_return_crosses_the_end_of_a_segment():
    log_close, segment = np.array([0.0, 1.0, 3.0, 10.0, 10.5]), np.array([0, 0, 0, 1, 1])
    assert returns_over(log_close, segment, 1).tolist() == [1.0, 2.0, 0.5]
    assert returns_over(log_close, segment, 2).tolist() == [3.0]


def test_the_largest_moves_of_both_signs_are_clipped_to_the_next():
    moves = np.array([1.0, -9.0, 2.0, 30.0, -4.0])
    assert without_largest(moves, 2).tolist() == [1.0, -4.0, 2.0, 4.0, -4.0]
    assert without_largest(moves, 5) is moves


def test_a_random_walk_has_its_theoretical_facts():
    rng = np.random.default_rng(5)
    close = 20_000 + 0.25 * np.cumsum(rng.integers(-8, 9, 30_000))
    opens = np.concatenate([[20_000.0], close[:-1]])
    bars = pd.DataFrame(
        {
            "timestamp": pd.date_range("2024-03-04", periods=30_000, freq="min", tz="UTC").as_unit("ns"),
            "open": opens,
            "high": np.maximum(opens, close) + 0.5,
            "low": np.minimum(opens, close) - 0.5,
            "close": close,
            "volume": pd.array(np.ones(30_000, int), dtype="Int64"),
        }
    )
    facts = market_facts(build_table(bars, None), 0.25, PROPOSER)

    assert facts["excess kurtosis of returns, 1 minute"] == pytest.approx(
        -1.2, abs=0.05
    )  # uniform over 17 values
    assert facts["variance ratio, 5 minutes"] == pytest.approx(1, abs=0.05)
    assert facts["autocorrelation of absolute returns, lag 30"] == pytest.approx(0, abs=0.03)
    assert facts["range of a bar in ticks, 50 % quantile"] == pytest.approx(4 + 4, abs=1)
    step_bp = 0.25 * np.sqrt((17**2 - 1) / 12) / 20_000 * 1e4
    assert facts["volatility at 10:00 New York, bp"] == pytest.approx(step_bp, rel=0.1)


def test_without_registered_bars_only_the_simulated_market_is_measured(tmp_path):
    found = compare_markets(BarStore(tmp_path / "data", simulated=False), MONTH)
    assert (found.real, found.auc) == (None, None)
    assert market_lines(found)[-1] == "No bars are registered: only the simulated market is measured."
    page = market_page(found, "2025-01-01")
    assert SCENARIO_TEXTS.keys() == SCENARIOS.keys()
    assert all(f"| `{name}` |" in page for name in SCENARIOS)
    assert "| not measured |" in page and "Not measured: no bars were registered." in page


def test_two_markets_of_one_generator_can_hardly_be_separated(tmp_path):
    store = BarStore(tmp_path / "other", simulated=True)
    ensure_simulated(store, MONTH.model_copy(update={"seed": 99}))
    found = compare_markets(store, MONTH)
    assert found.real is not None and found.real.keys() == found.simulated.keys()
    assert found.auc is not None and found.auc == pytest.approx(0.5, abs=0.1)


@pytest.mark.slow
def test_the_simulated_market_lies_in_its_bands(tmp_path):
    facts = compare_markets(BarStore(tmp_path / "data", simulated=False)).simulated
    assert facts.keys() >= BANDS.keys()
    outside = {name: facts[name] for name, (low, high) in BANDS.items() if not low <= facts[name] <= high}
    assert outside == {}


def test_a_market_of_twice_the_volatility_lies_outside_the_bands():
    wild = MONTH.model_copy(update={"break_session": MONTH.first_session, "volatility_after_break": 2.0})
    market = simulate(wild)
    facts = market_facts(build_table(market.bars, market.rolls), 0.25, PROPOSER)
    outside = [name for name, (low, high) in BANDS.items() if not low <= facts[name] <= high]
    assert "ATR(10) over price in bp, 50 % quantile" in outside
