"""A month of use in a temporary home, step by step, with the real sensor, schedule and jobs."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import pandas as pd

from moola_pipeline.automation.jobs import PREDICTING
from moola_pipeline.bars.manifest import add_bars
from moola_pipeline.bars.schema import RAW_COLUMNS
from moola_pipeline.bars.sessions import session_of
from moola_pipeline.bars.simulated import LabelPeriod, SimulationSettings, simulate
from moola_pipeline.bars.store import registered_store
from moola_pipeline.cli.bench import without_remote_stores
from moola_pipeline.errors import MoolaError
from moola_pipeline.labels.chosen_splits import write_split_choice
from moola_pipeline.labels.simulated_annotator import draw_labels
from moola_pipeline.labels.splits import SplitSettings
from moola_pipeline.resources.instance import open_instance, prepare_instance
from moola_pipeline.storage.atomic_write import atomic_write, atomic_write_bytes
from moola_pipeline.storage.home import Home
from moola_pipeline.tracking.promotion_log import champion_periods_on
from moola_pipeline.tracking.registry import load_version
from moola_pipeline_tests.month.moves import (
    MODEL,
    carry_out,
    champion_of,
    decide_promotion,
    launch_config,
    promote,
    promotion_log,
    register_variant,
    require,
    roll_back,
    schedule_tick,
    sensor_tick,
    take_labels,
)
from moola_pipeline_tests.surroundings import surroundings_kept

MONTHS = ((2025, 3, 60), (2025, 4, 60), (2025, 5, 60), (2025, 6, 60), (2025, 7, 110))
"""Labeled months and their numbers of windows; the last month is added later. A comparison needs 20
sessions; a month has more."""
BARS, NEXT_BARS, LABELS, NEXT_LABELS = "bars.parquet", "july.parquet", "labels.csv", "july.csv"
FIRST_NEXT = date(2025, 7, 1)


class Step(NamedTuple):
    """Result of a step in one line, and its duration."""

    name: str
    passed: bool
    text: str
    seconds: float


@dataclass
class Rehearsal:
    """The home of a rehearsal and the steps so far."""

    home: Home
    show: Callable[[Step], None]
    steps: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, str]]:
        """Time a step and show its `text`; a MoolaError fails the step."""
        result, started = {"text": ""}, time.monotonic()
        try:
            yield result
            passed = True
        except MoolaError as error:
            result["text"], passed = str(error), False
        self.steps.append(Step(name, passed, result["text"], round(time.monotonic() - started, 1)))
        self.show(self.steps[-1])


def rehearse(folder: Path, show: Callable[[Step], None]) -> list[Step]:
    """Simulate a month of use: training, new bars, new labels, promotions, rollbacks, moving the home.

    Args:
        folder: Empty; the home is made in it and moved inside it.
        show: Called with each step after it.
    """
    files, home = folder / "files", Home(folder / "home")
    play = Rehearsal(home, show)
    with play.step("make a simulated market to register as real bars") as result:
        result["text"] = make_files(files)
    prepare_instance(home)
    with open_instance(home) as instance:
        _until_in_use(play, files, instance)
        _new_month(play, files, instance)
        _new_labels(play, files, instance)
    _contests(play)
    _moved(play, folder / "moved")
    return play.steps


def make_files(folder: Path) -> str:
    """Write vendor bars and labels of MONTHS, the last month in separate files."""
    periods = tuple(
        LabelPeriod(first_session=first, last_session=_month_end(first), windows=n)
        for first, n in ((date(year, month, 3 if month == 3 else 1), n) for year, month, n in MONTHS)
    )
    settings = SimulationSettings(
        seed=3,
        first_session=periods[0].first_session,
        last_session=periods[-1].last_session,
        label_periods=periods,
    )
    market = simulate(settings)
    bars, labels = market.bars.loc[:, list(RAW_COLUMNS)], draw_labels(market, settings)
    later = (session_of(bars["timestamp"]) >= pd.Timestamp(FIRST_NEXT)).to_numpy()
    for name, part in ((BARS, bars.loc[~later]), (NEXT_BARS, bars.loc[later])):
        with atomic_write(folder / name) as temporary:
            part.to_parquet(temporary, index=False)
    first_time = bars.loc[later, "timestamp"].iloc[0]
    new = pd.to_datetime(labels["window_start"], utc=True) >= first_time
    for name, part in ((LABELS, labels.loc[~new]), (NEXT_LABELS, labels.loc[new])):
        atomic_write_bytes(folder / name, part.to_csv(index=False).encode())
    return f"{len(bars):,} bars, {len(labels)} labels; {int(later.sum()):,} bars of July come later"


def _month_end(first: date) -> date:
    return (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)


def _until_in_use(play: Rehearsal, files: Path, instance: dg.DagsterInstance) -> None:
    with play.step("train on the months to June: the first champion") as result:
        add_bars(registered_store(play.home), files / BARS)
        take_labels(play.home, files / LABELS)
        rolling = SplitSettings(rule="rolling", rolling_test_months=1, rolling_validation_months=1)
        write_split_choice(registered_store(play.home).root, rolling)
        made = carry_out(instance, "train_job", launch_config(), None)
        require(len(made) == 9, f"nine assets must be made, got {len(made)}")
        champion = champion_of(play.home)
        require(champion == "1", f"version 1 must be champion, got {champion}")
        result["text"] = f"version {champion} is champion"


def _new_month(play: Rehearsal, files: Path, instance: dg.DagsterInstance) -> None:
    inbox = play.home.data / "inbox"
    with play.step("July in the inbox: the sensor launches a run, nothing is retrained") as result:
        inbox.mkdir(parents=True, exist_ok=True)
        atomic_write_bytes(inbox / NEXT_BARS, (files / NEXT_BARS).read_bytes())
        request = sensor_tick(instance)
        require(not isinstance(request, str), f"the sensor must launch a run, got {request}")
        made = carry_out(instance, "predict_job", request.run_config, None)  # pyright: ignore[reportAttributeAccessIssue]
        require(made == list(PREDICTING), f"bars, labels, features and expansions must be made, got {made}")
        [path] = play.home.store.glob("*/latest_expansions.parquet")
        marks = pd.read_parquet(path)
        first_time = pd.Timestamp(FIRST_NEXT, tz="UTC") - pd.Timedelta(hours=2)
        require(len(marks) > 0, "July must have expansions, got none")
        require(bool((marks["window_start"] >= first_time).all()), "expansions must lie in the new bars only")
        result["text"] = f"{len(marks)} expansions in the new bars; made: {', '.join(made)}"
    with play.step("the same file again: no run") as result:
        atomic_write_bytes(inbox / NEXT_BARS, (files / NEXT_BARS).read_bytes())
        reason = sensor_tick(instance)
        require(isinstance(reason, str), "the sensor must not launch another run")
        result["text"] = str(reason)


def _new_labels(play: Rehearsal, files: Path, instance: dg.DagsterInstance) -> None:
    with play.step("no new labels: the weekly training does not run") as result:
        reason = schedule_tick(instance)
        require(isinstance(reason, str), "weekly_retrain must not start on the same labels")
        result["text"] = str(reason)
    with play.step("labels of July: the weekly training runs, the promotion rule decides") as result:
        take_labels(play.home, files / NEXT_LABELS)
        request = schedule_tick(instance)
        require(not isinstance(request, str), f"weekly_retrain must start a run, got {request}")
        assets = request.asset_selection  # pyright: ignore[reportAttributeAccessIssue]
        made = carry_out(instance, "train_job", request.run_config, assets)  # pyright: ignore[reportAttributeAccessIssue]
        require("finetuned_classifier" in made, f"the classifier must be trained again, got {made}")
        entry = promotion_log(play.home)[-1]
        require(entry.version == "2", f"the last log entry must be about version 2, got {entry.version}")
        require(entry.interval is not None, f"July must suffice for a comparison, got: {entry.reason}")
        result["text"] = f"version 2 {entry.verdict}: {entry.reason}"


def _contests(play: Rehearsal) -> None:
    """Promotion decisions about a worse and a better challenger, and rollbacks."""
    home, before = play.home, champion_of(play.home)
    with play.step("a worse challenger (its types swapped) is not promoted") as result:
        worse = register_variant(home, str(before), turned=True)
        entry = decide_promotion(home, worse)
        require(entry.verdict == "stayed", f"version {worse} must stay challenger, got {entry.verdict}")
        result["text"] = entry.reason
    with play.step("a better challenger is promoted") as result:
        promote(home, worse, "a mistake by hand")
        better = register_variant(home, str(before), turned=False)
        entry = decide_promotion(home, better)
        require(entry.verdict == "promoted", f"version {better} must be promoted, got: {entry.reason}")
        result["text"] = entry.reason
    with play.step("two rollbacks restore the first champion") as result:
        for expected in (worse, str(before)):
            restored = roll_back(home)
            require(restored == expected, f"the rollback must restore version {expected}, got {restored}")
        result["text"] = f"version {before} is champion again"
    with play.step("the log lists the champions of each day") as result:
        today = datetime.now(UTC).date()
        entries = promotion_log(home)
        days = {sorted({entry.at.date() for entry in entries})[0] - timedelta(days=1): [], today: entries}
        for day, expected in days.items():
            found = [period.version for period in champion_periods_on(entries, day)]
            require(bool(found) == bool(expected), f"{day} must have {len(expected)} entries, got {found}")
        result["text"] = (
            f"{today}: {', '.join(period.version for period in champion_periods_on(entries, today))}"
        )


def _moved(play: Rehearsal, target: Path) -> None:
    with play.step("a moved home still loads its champion") as result:
        os.chdir(target.parent)
        play.home.root.rename(target)
        _, facts = load_version(Home(target), f"models:/{MODEL}@champion")
        result["text"] = f"version {facts['model_version']} from its new folder"


def rehearse_in_a_temporary_home(show: Callable[[Step], None]) -> list[Step]:
    """`rehearse` in a temporary folder."""
    with surroundings_kept(), without_remote_stores():
        before = Path.cwd()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            try:
                return rehearse(Path(folder), show)
            finally:
                os.chdir(before)
