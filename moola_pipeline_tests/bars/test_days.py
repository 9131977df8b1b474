"""Refusal of bars in the future and on holidays, with the likely cause."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from moola_pipeline.bars.timezone_inference import TimeConvention, refuse_future, refuse_holidays
from moola_pipeline.errors import BadInput
from moola_pipeline_tests.bars.examples import made_up_bars

NAIVE = TimeConvention("America/Chicago", "open", False, "nq.csv")
STATED = TimeConvention("UTC", "open", True, "nq.csv")
BARS = made_up_bars(60)
LAST = datetime(2024, 3, 8, 15, 29, tzinfo=UTC)


def refusal(now: datetime, reading: TimeConvention = NAIVE, rows: np.ndarray | None = None) -> str:
    with pytest.raises(BadInput) as caught:
        refuse_future(BARS, np.arange(1, 61) if rows is None else rows, reading, now)
    return str(caught.value)


def test_a_bar_up_to_ten_minutes_in_the_future_is_accepted():
    refuse_future(BARS, np.arange(1, 61), NAIVE, LAST - timedelta(minutes=10))


def test_a_bar_in_the_future_is_refused_with_its_row():
    assert refusal(LAST - timedelta(minutes=11)) == (
        "nq.csv: a bar must open before now (2024-03-08 15:18 UTC by this machine's clock), but 1 of 60 "
        "do not, read as America/Chicago, first in row 60 (2024-03-08 15:29 UTC). Give the right --timezone."
    )
    assert refusal(LAST - timedelta(hours=2), STATED).endswith(
        "The zone in the file is wrong: export it again."
    )


def test_the_named_row_is_the_first_in_the_file_not_in_time():
    assert "but 2 of 60 do not" in (text := refusal(LAST - timedelta(minutes=12), rows=np.arange(60, 0, -1)))
    assert "first in row 1 (2024-03-08 15:29 UTC)" in text


def test_bars_far_in_the_future_have_wrong_dates():
    assert refusal(LAST - timedelta(days=400)).endswith(
        "Correct the dates (year, order of day and month), or remove those rows."
    )


@pytest.mark.parametrize("day", ["2024-12-25", "2024-03-29"])
def test_a_file_with_bars_of_a_holiday_only_is_refused(day: str):
    with pytest.raises(BadInput) as caught:
        refuse_holidays(made_up_bars(60, f"{day} 15:00"), NAIVE)
    assert str(caught.value) == (
        f"nq.csv: bars must lie on trading days, but 60 of 60 do not, first on {day}. "
        "Correct the dates, or add the bars in one file with the days around them."
    )


def test_a_few_bars_on_a_holiday_are_accepted():
    bars = pd.concat([made_up_bars(60, "2024-12-24 15:00"), made_up_bars(60, "2024-12-25 15:00")])
    refuse_holidays(bars, NAIVE)
    refuse_holidays(BARS, NAIVE)
