"""The features page lists the features of the schema with the measured figures."""

import re

import numpy as np
import pytest

from moola_pipeline.bars.simulated import SMOKE_SETTINGS
from moola_pipeline.bars.store import registered_store
from moola_pipeline.benchmarks.feature_page import (
    COMMAND,
    FeatureReport,
    feature_facts,
    feature_lines,
    feature_page,
    measure_features,
    meeting_range,
)
from moola_pipeline.features.gates import is_dense, is_spread
from moola_pipeline.features.schema import FEATURE_NAMES, FEATURES
from moola_pipeline.storage.home import PROJECT_ROOT, Home

PAGE = PROJECT_ROOT / "docs" / "features.md"
ROW = re.compile(r"^\| (\d+) \| `(\w+)` \| (.+?) \| (\S+) to (\S+) \| (.+?) \| .+ \| .+ \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> FeatureReport:
    home = Home(tmp_path_factory.mktemp("home"))
    return measure_features(registered_store(home), SMOKE_SETTINGS)


def test_the_page_lists_the_features_of_the_schema_with_their_formulas_and_ranges():
    rows = ROW.findall(PAGE.read_text())
    assert [(int(row[0]), *row[1:3]) for row in rows] == [
        (i + 1, feature.name, feature.formula) for i, feature in enumerate(FEATURES)
    ]
    assert [(float(row[3]), float(row[4])) for row in rows] == [(it.low, it.high) for it in FEATURES]
    assert COMMAND in PAGE.read_text()


def test_the_page_holds_figures_of_both_markets():
    page = PAGE.read_text()
    assert "not measured" not in page
    assert len(re.findall(r"confirmed swings per session", page)) == 2


def test_the_simulated_market_passes_every_gate_in_the_table_and_at_each_bar_of_a_window(
    report: FeatureReport,
):
    market = report.simulated
    assert market.n_windows > 500
    assert is_dense(market.figures["non_zero_share"].to_numpy()).all()
    assert is_spread(market.figures["spread_share"].to_numpy()).all()
    assert is_dense(market.at_bar.non_zero_share).all()
    assert is_spread(market.at_bar.spread_share).all()


def test_without_registered_bars_only_the_simulated_market_is_measured(report: FeatureReport):
    assert report.real is None
    assert feature_lines(report)[-1] == "No bars are registered: only the simulated market is measured."
    page = feature_page(report, "2026-01-01")
    assert page.count("not measured") == len(FEATURES)
    assert list(ROW.findall(page)[0][:2]) == ["1", "open_norm"]
    facts = feature_facts(report)
    assert facts["real"] is None
    assert list(facts["simulated"]["features"]) == list(FEATURE_NAMES)  # pyright: ignore


def test_the_page_suggests_a_range_where_the_spread_is_below_the_limit(report: FeatureReport):
    figures = report.simulated.figures.copy()
    figures.loc["range_z", ["p1", "p99", "spread_share"]] = 0.1, 0.4, 0.1
    page = feature_page(FeatureReport(report.simulated._replace(figures=figures), None), "2026-01-01")
    assert "- simulated: the spread of `range_z` in 0 to 3 is below the limit; 0 to 1.5 meets it." in page
    assert "Every declared range meets" not in page


def test_a_symmetric_range_stays_symmetric_when_narrowed():
    feature = next(it for it in FEATURES if it.name == "expansion_proxy")
    low, high = meeting_range(feature, -0.1, 0.1)
    assert (low, high) == pytest.approx((-0.5, 0.5))
    assert np.isclose(0.2 / (high - low), feature.min_spread)
