"""`moola ui` in a process of its own, used through Dagster's GraphQL as its page uses it."""

import json
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psutil

from moola_pipeline.cli.ui import DEFINITIONS
from moola_pipeline_tests.cli.calls import start
from moola_pipeline_tests.month.moves import require
from moola_pipeline_tests.test_other_sites import posted

SENSOR, DAILY, WEEKLY = "new_bars_sensor", "daily_predictions", "weekly_retrain"
MARKS = "latest_expansions"
ACTIVE = ("NOT_STARTED", "QUEUED", "STARTING", "STARTED", "CANCELING", "MANAGED")
LOCATION = {"repositoryName": "__repository__", "repositoryLocationName": DEFINITIONS}
START_SENSOR = """mutation ($it: SensorSelector!) {
  startSensor(sensorSelector: $it) { __typename ... on PythonError { message } } }"""
START_SCHEDULE = """mutation ($it: ScheduleSelector!) {
  startSchedule(scheduleSelector: $it) { __typename ... on PythonError { message } } }"""
TICKS = """query ($it: InstigationSelector!) { instigationStateOrError(instigationSelector: $it) {
  ... on InstigationState { ticks(limit: 5) { timestamp status skipReason error { message } } }
  ... on Error { message } } }"""
RUNS = """{ runsOrError { ... on Runs { results { jobName status } } } }"""
LATEST = """query ($it: AssetKeyInput!) { assetOrError(assetKey: $it) { ... on Asset {
  assetMaterializations(limit: 1) { metadataEntries { label ... on TextMetadataEntry { text } } } } } }"""


class Tick(NamedTuple):
    """A tick of a sensor or schedule."""

    at: datetime
    status: str
    text: str


class ServedUi:
    """A running `moola ui`."""

    def __init__(self, home: Path) -> None:
        code = "from moola_pipeline.cli import main; main()"
        words = ["--home", home, "ui", "--json", "--port", "18800", "--mlflow-port", "18850"]
        self.process, shown = start(code, *words), ""
        assert self.process.stdout is not None
        while not shown.endswith("}\n"):
            line = self.process.stdout.readline()
            require(line != "", f"moola ui must start, but said: {shown}{'' if line else self.said()}")
            shown += line
        self.url = f"http://{urlsplit(json.loads(shown)['dagster']).netloc}/graphql"

    def said(self) -> str:
        """What it said on standard error; waits until it has ended."""
        return self.process.communicate(timeout=120)[1]

    def stop(self) -> str:
        """End it by Ctrl-C; what it said."""
        self.process.send_signal(signal.SIGINT)
        return self.said()

    def processes(self) -> list[psutil.Process]:
        """Its process and all that it has started."""
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def daemon(self) -> psutil.Process:
        """Dagster's daemon."""
        [found] = [process for process in self.processes() if "dagster._daemon" in process.cmdline()]
        return found

    def used(self) -> tuple[float, int]:
        """Resident MB and open files of all its processes."""
        processes = self.processes()
        resident = sum(process.memory_info().rss for process in processes) / 1e6
        return resident, sum(process.num_fds() for process in processes)

    def ask(self, query: str, it: dict[str, Any] | None = None) -> Any:
        """The answer to a query."""
        answer = posted(self.url, {"query": query, "variables": {"it": it}})
        require("errors" not in answer, f"Dagster must answer, got {answer.get('errors')}")
        return next(iter(answer["data"].values()))

    def switch_on(self) -> None:
        """Switch the sensor and both schedules on."""
        answers = [self.ask(START_SENSOR, {**LOCATION, "sensorName": SENSOR})]
        answers += [self.ask(START_SCHEDULE, {**LOCATION, "scheduleName": name}) for name in (DAILY, WEEKLY)]
        kinds = [answer["__typename"] for answer in answers]
        require(kinds == ["Sensor", *2 * ["ScheduleStateResult"]], f"all must be switched on, got {answers}")

    def ticks(self, name: str) -> list[Tick]:
        """The newest ticks of a sensor or schedule, newest first."""
        state = self.ask(TICKS, {**LOCATION, "name": name})
        require("ticks" in state, f"the ticks of {name} must be known, got {state}")
        return [
            Tick(
                datetime.fromtimestamp(tick["timestamp"], UTC),
                tick["status"],
                tick["skipReason"] or (tick["error"] or {}).get("message", ""),
            )
            for tick in state["ticks"]
        ]

    def runs(self) -> list[tuple[str, str]]:
        """Job and status of all runs, newest first."""
        return [(run["jobName"], run["status"]) for run in self.ask(RUNS)["results"]]

    def is_running(self) -> bool:
        """Whether a run is started."""
        return any(status == "STARTED" for _, status in self.runs())

    def is_busy(self) -> bool:
        """Whether a run is queued, started or cancelling."""
        return any(status in ACTIVE for _, status in self.runs())

    def marked_to(self) -> str:
        """The sessions that the champion has marked, as FIRST to LAST."""
        made = self.ask(LATEST, {"path": [MARKS]})["assetMaterializations"]
        entries = made[0]["metadataEntries"] if made else []
        return next((entry["text"] for entry in entries if entry["label"] == "sessions"), "none")
