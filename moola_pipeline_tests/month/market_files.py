"""The files that come to an installation: bars of every session day, and labels every week."""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import RAW_COLUMNS
from moola_pipeline.bars.sessions import session_of, session_schedule
from moola_pipeline.bars.simulated import LabelPeriod, SimulationSettings, simulate
from moola_pipeline.labels.simulated_annotator import draw_labels
from moola_pipeline.storage.atomic_write import atomic_write, atomic_write_bytes

FIRST_BARS, FIRST_LABELS = "bars.parquet", "labels.csv"
STRETCHES = ((date(2025, 10, 30), date(2025, 11, 5)), (date(2026, 3, 2), date(2026, 3, 20)))
"""Days that are played, around both changes of New York's clocks; the bars between come as one file."""
LABELED = (
    (date(2025, 7, 1), date(2025, 7, 31), 60, FIRST_LABELS),
    (date(2025, 8, 1), date(2025, 8, 29), 60, FIRST_LABELS),
    (date(2025, 9, 2), date(2025, 9, 30), 60, FIRST_LABELS),
    (date(2025, 10, 1), date(2025, 10, 29), 60, "2025-11-01.csv"),
    (date(2025, 11, 3), date(2025, 11, 28), 40, "2026-03-07.csv"),
    (date(2025, 12, 1), date(2026, 1, 30), 60, "2026-03-14.csv"),
    (date(2026, 2, 2), date(2026, 2, 27), 40, "2026-03-21.csv"),
)
"""Labeled periods, their windows and their file. The month of a label leaves the new bars to be marked."""
FRIDAY = 4


@dataclass(frozen=True)
class Day:
    """A session day, or a Saturday on which labels are added.

    Attributes:
        date: In New York.
        bars: Files for the inbox.
        labels: File of labels; empty on session days.
    """

    date: date
    bars: tuple[str, ...] = ()
    labels: str = ""


def make_files(folder: Path) -> list[Day]:
    """Write the bars before the first day, those of each day, and all labels; returns the days."""
    periods = [
        LabelPeriod(first_session=first, last_session=last, windows=n) for first, last, n, _ in LABELED
    ]
    settings = SimulationSettings(
        seed=3, first_session=LABELED[0][0], last_session=STRETCHES[-1][1], label_periods=tuple(periods)
    )
    market = simulate(settings)
    bars, labels = market.bars.loc[:, list(RAW_COLUMNS)], draw_labels(market, settings)
    days = played_days()
    sessions = session_of(bars["timestamp"])
    for name, part in bars.groupby(sessions.dt.date.map(_files(days)), sort=False):
        with atomic_write(folder / str(name)) as temporary:
            part.to_parquet(temporary, index=False)
    day = pd.to_datetime(labels["window_start"], utc=True).dt.date
    for name in {name for *_, name in LABELED}:
        own = [day.between(first, last) for first, last, _, file in LABELED if file == name]
        content = labels.loc[np.logical_or.reduce(own)].to_csv(index=False)
        atomic_write_bytes(folder / name, content.encode())
    return days


def played_days() -> list[Day]:
    """The days of STRETCHES, in order."""
    days = []
    for number, (first, last) in enumerate(STRETCHES):
        absence = () if not number else (f"before {first}.parquet",)
        for session in session_schedule(first, last)["session"].dt.date:
            days.append(Day(session, (*absence, f"{session}.parquet")))
            absence, saturday = (), session + timedelta(days=1)
            if session.weekday() == FRIDAY:
                days.append(Day(saturday, labels=f"{saturday}.csv"))
    return days


def _files(days: list[Day]) -> dict[date, str]:
    """The bar file of every session."""
    (first, _), (again, last) = STRETCHES
    sessions = session_schedule(LABELED[0][0], last)["session"].dt.date
    files = {day: FIRST_BARS if day < first else f"before {again}.parquet" for day in sessions}
    return {**files, **{day.date: day.bars[-1] for day in days if day.bars}}
