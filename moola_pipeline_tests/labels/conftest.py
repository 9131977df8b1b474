"""Bars and labels of a market with one session a week."""

import pandas as pd
import pytest

from moola_pipeline.labels.placement import place_labels
from moola_pipeline_tests.labels.weekly_market import weekly_bars, weekly_labels


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return weekly_bars()


@pytest.fixture(scope="module")
def placed(bars) -> pd.DataFrame:
    return place_labels(weekly_labels(bars), bars).frame
