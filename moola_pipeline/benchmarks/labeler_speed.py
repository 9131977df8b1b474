"""Speed and memory of the labeler at five years of simulated bars: what a person waits for."""

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil

from moola_pipeline.bars.manifest import add_bars
from moola_pipeline.bars.schema import RAW_COLUMNS
from moola_pipeline.bars.simulated import SimulationSettings, simulate
from moola_pipeline.bars.store import registered_store
from moola_pipeline.bars.vendor_options import VendorOptions
from moola_pipeline.labeler.marks import WindowMarks
from moola_pipeline.labeler.opening import LabelRequest, open_labeler
from moola_pipeline.storage.atomic_write import atomic_write
from moola_pipeline.storage.home import Home

FIVE_YEARS = SimulationSettings(first_session=date(2020, 4, 1), last_session=date(2025, 6, 30))
FIRST_LIMIT, NEXT_LIMIT = 0.3, 0.05
"""Seconds in which the first window must be there, and each next one."""
NOTHING = WindowMarks(verdict="nothing")


class LabelerSpeed(NamedTuple):
    """What was measured.

    Attributes:
        bars: Number of bars.
        open_seconds: Reading and verifying the bars, and everything before the link is printed.
        first_seconds: From the request to the drawn window's data.
        next_seconds: Median, from the key that saves to the next window's data; synced.
        mark_seconds: Median, from a mark to its being on disk.
        resident_bytes: Memory of the process.
    """

    bars: int
    open_seconds: float
    first_seconds: float
    next_seconds: float
    mark_seconds: float
    resident_bytes: int


class _NoRun:
    def facts(self) -> Mapping[str, Any]:
        return {}

    def start(self) -> None:
        pass


def measure_labeler(settings: SimulationSettings = FIVE_YEARS, windows: int = 40) -> LabelerSpeed:
    """Label windows of a simulated market in a temporary home, without a browser.

    Args:
        settings: The market.
        windows: Windows to save.
    """
    with tempfile.TemporaryDirectory() as folder:
        home, path = Home(Path(folder) / "home"), Path(folder) / "bars.parquet"
        bars = simulate(settings).bars
        with atomic_write(path) as temporary:
            bars.loc[:, list(RAW_COLUMNS)].to_parquet(temporary, index=False)
        add_bars(registered_store(home), path, VendorOptions(instrument=settings.instrument))
        opening, opened = _timed(lambda: open_labeler(home, LabelRequest("bench", split="train"), _NoRun()))
        session = opened.session
        first, _ = _timed(lambda: json.dumps([session.facts(), opened.progress()]))
        saves, marks = [], []
        for _ in range(windows):
            marks.append(_timed(lambda: session.mark(NOTHING))[0])
            saves.append(_timed(lambda: _next(session, opened))[0])
        opened.ranking.wait()
        resident = psutil.Process().memory_info().rss
    save, mark = (float(np.median(times)) for times in (saves, marks))
    return LabelerSpeed(len(bars), opening, first, save, mark, resident)


def labeler_lines(speed: LabelerSpeed) -> list[str]:
    """As text, with the limits."""
    return [
        f"labeler at {speed.bars:,} simulated bars, memory {speed.resident_bytes / 2**20:,.0f} MiB",
        f"  start, bars verified     {speed.open_seconds:7.2f} s",
        f"  first window             {speed.first_seconds * 1e3:7.1f} ms  (limit {FIRST_LIMIT * 1e3:.0f})",
        f"  save, next window        {speed.next_seconds * 1e3:7.1f} ms  (limit {NEXT_LIMIT * 1e3:.0f})",
        f"  a mark                   {speed.mark_seconds * 1e3:7.1f} ms, synced",
    ]


def _next(session: Any, opened: Any) -> str:
    session.save(1.0, "")
    return json.dumps([session.facts(), opened.progress()])


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result
