"""Predictions are the same whether bars come at once or day by day."""

from pathlib import Path

import pandas as pd
import pytest

from moola_pipeline.storage.home import Home
from moola_pipeline_tests.cli.calls import call, facts

MODEL = ("--model", "models:/moola-simulated@champion")


@pytest.fixture(scope="module")
def bars(smoke_home: Home) -> pd.DataFrame:
    """Three whole sessions of the simulated market."""
    [path] = smoke_home.simulated.rglob("raw/bars.parquet")
    bars = pd.read_parquet(path)
    session = (bars["timestamp"].dt.tz_convert("America/New_York") + pd.Timedelta(hours=6)).dt.date
    return bars.loc[session.isin(sorted(session.unique())[:3])].assign(session=session)


def marks(home: Home, folder: Path, bars: pd.DataFrame) -> dict:
    path = folder / "bars.parquet"
    bars.drop(columns="session").to_parquet(path, index=False)
    return facts(call("predict", path, *MODEL, "--json", home=home.root))


def rounded(output: dict) -> list[dict]:
    """Expansions with rounded probabilities: another batch size changes the order of summation."""
    return [
        {name: round(value, 6) if isinstance(value, float) else value for name, value in one.items()}
        for one in output["expansions"]
    ]


def test_single_days_and_growing_files_give_the_expansions_of_one_file(
    smoke_home: Home, bars: pd.DataFrame, tmp_path: Path
):
    whole = marks(smoke_home, tmp_path, bars)
    days = [day for _, day in bars.groupby("session")]
    single_days = [marks(smoke_home, tmp_path, day) for day in days]
    assert [one for day in single_days for one in rounded(day)] == rounded(whole)
    assert len(rounded(whole)) > 10
    growing_files = [rounded(marks(smoke_home, tmp_path, pd.concat(days[: n + 1]))) for n in range(3)]
    assert all(rounded(whole)[: len(one)] == one for one in growing_files)
    assert sum(day["windows"] for day in single_days) == whole["windows"]


def test_more_bars_of_a_session_add_expansions_and_change_none(
    smoke_home: Home, bars: pd.DataFrame, tmp_path: Path
):
    day = pd.DataFrame(bars.loc[bars["session"] == bars["session"].iloc[0]])
    whole = rounded(marks(smoke_home, tmp_path, day))
    before = 0
    for n_bars in (300, 640, 1100):
        output = marks(smoke_home, tmp_path, day.head(n_bars))
        assert rounded(output) == whole[: len(rounded(output))]
        assert len(rounded(output)) >= before
        assert output["waiting_bars"] > 0
        before = len(rounded(output))
    assert before < len(whole)
