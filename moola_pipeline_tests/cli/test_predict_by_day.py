"""The same answer whether bars come at once or day by day, and what waits in between."""

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


def told(found: dict) -> list[dict]:
    """The marks, with probabilities to a millionth: windows of another number are added in another order."""
    return [
        {name: round(value, 6) if isinstance(value, float) else value for name, value in one.items()}
        for one in found["expansions"]
    ]


def test_days_one_by_one_and_days_that_pile_up_give_what_all_at_once_give(
    smoke_home: Home, bars: pd.DataFrame, tmp_path: Path
):
    whole = marks(smoke_home, tmp_path, bars)
    days = [day for _, day in bars.groupby("session")]
    alone = [marks(smoke_home, tmp_path, day) for day in days]
    assert [one for day in alone for one in told(day)] == told(whole)
    assert len(told(whole)) > 10
    piled = [told(marks(smoke_home, tmp_path, pd.concat(days[: n + 1]))) for n in range(3)]
    assert all(told(whole)[: len(one)] == one for one in piled)
    assert sum(day["windows"] for day in alone) == whole["windows"]


def test_within_a_session_what_was_marked_stays_and_the_rest_comes(
    smoke_home: Home, bars: pd.DataFrame, tmp_path: Path
):
    day = pd.DataFrame(bars.loc[bars["session"] == bars["session"].iloc[0]])
    whole = told(marks(smoke_home, tmp_path, day))
    before = 0
    for n_bars in (300, 640, 1100):
        found = marks(smoke_home, tmp_path, day.head(n_bars))
        assert told(found) == whole[: len(told(found))]
        assert len(told(found)) >= before
        assert found["waiting_bars"] > 0
        before = len(told(found))
    assert before < len(whole)
