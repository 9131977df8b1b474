"""Task files: windows handed to an annotator on another machine, with the definition they follow."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, ValidationError, field_validator

from moola_pipeline.errors import BadInput
from moola_pipeline.labeler.chart_bars import ChartBars
from moola_pipeline.labeler.marks import Annotating, LabelWindow, Strict
from moola_pipeline.labels.schema import FIRST_DEFINITION
from moola_pipeline.storage.checksums import bytes_digest
from moola_pipeline.windows.window_geometry import BARS_BEFORE, WINDOW_BARS

MAX_TASK_WINDOWS = 1_000
MAX_TASK_BYTES = 2_000_000
MAX_DEFINITION = 10_000
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class TaskWindow(Strict):
    """One window of a task.

    Attributes:
        window_id: Its name in label files.
        opened_at: UTC open of bar 0, ISO 8601.
        chosen: How it was chosen.
        pass_number: 1, and more for each repetition.
        split: train, validation or test.
        bars: SHA-256 of the opens and prices of its bars, and of the 40 before.
    """

    window_id: Name
    opened_at: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
    chosen: Literal["random", "doubt", "repeat"]
    pass_number: int = Field(ge=1, le=100)
    split: Literal["train", "validation", "test"]
    bars: str = Field(pattern=r"^[0-9a-f]{64}$")

    @field_validator("opened_at")
    @classmethod
    def _is_a_time(cls, text: str) -> str:
        datetime.fromisoformat(text)
        return text


class Task(Strict):
    """Windows to label, for one annotator under one definition.

    Attributes:
        definition_text: What an expansion is; empty if the definition has no text.
    """

    moola_task: Literal[1] = 1
    instrument: Name
    annotator: Name
    definition: int = Field(ge=FIRST_DEFINITION, le=MAX_DEFINITION)
    definition_text: str = Field(max_length=100_000)
    windows: tuple[TaskWindow, ...] = Field(min_length=1, max_length=MAX_TASK_WINDOWS)


def make_task(who: Annotating, text: str, windows: Sequence[LabelWindow], bars: ChartBars) -> Task:
    """The task of windows that were drawn for an annotator."""
    return Task.model_validate(
        {
            "instrument": who.instrument,
            "annotator": who.annotator,
            "definition": who.definition,
            "definition_text": text,
            "windows": tuple(
                {
                    "window_id": window.window_id,
                    "opened_at": window.opened_at,
                    "chosen": window.chosen,
                    "pass_number": window.pass_number,
                    "split": window.split,
                    "bars": _bars_digest(bars, bars.row_at(window.opened_at) or 0),
                }
                for window in windows
            ),
        }
    )


def task_json(task: Task) -> bytes:
    """A task as the content of its file."""
    return (json.dumps(task.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n").encode()


def read_task(path: Path) -> Task:
    """Read a task file.

    Raises:
        BadInput: If it is none.
    """
    remedy = "Make one with: moola labels task FILE"
    try:
        if path.stat().st_size > MAX_TASK_BYTES:
            raise BadInput(f"{path.name} must have at most {MAX_TASK_BYTES:,} bytes to be a task. {remedy}")
        return Task.model_validate_json(path.read_bytes())
    except OSError as fault:
        raise BadInput(f"--task must be a file that can be read, got {path}: {fault.strerror}.") from None
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise BadInput(f"{path.name} must be a task file, but {where}: {first['msg']}. {remedy}") from None


def require_instrument(task: Task, instrument: str) -> None:
    """Refuse a task for another instrument than that of the home.

    Raises:
        BadInput: If it is.
    """
    if task.instrument != instrument:
        raise BadInput(
            f"The task must be for the instrument of the home, {instrument}, but is for {task.instrument}. "
            "Open it in another home: --home FOLDER"
        )


def task_windows(task: Task, bars: ChartBars) -> list[LabelWindow]:
    """The windows of a task on the bars of this home.

    Raises:
        BadInput: If bars are missing or differ.
    """
    windows = []
    for one in task.windows:
        bar0 = bars.row_at(one.opened_at)
        if bar0 is None or not bars.is_whole(np.array([bar0]))[0]:
            raise BadInput(
                f"Window {one.window_id} of the task must lie on registered bars, but they are missing at "
                f"{one.opened_at} (UTC). Add the same bars as where the task was made: moola bars add FILE"
            )
        if _bars_digest(bars, bar0) != one.bars:
            raise BadInput(
                f"Window {one.window_id} of the task must have the bars that it was made on, but prices at "
                f"{one.opened_at} (UTC) differ. Register the same bars in another home: --home FOLDER"
            )
        windows.append(
            LabelWindow(one.window_id, one.opened_at, one.chosen, one.pass_number, split=one.split)
        )
    return windows


def _bars_digest(bars: ChartBars, bar0: int) -> str:
    shown = bars.bars(bar0 - BARS_BEFORE, bar0 + WINDOW_BARS)
    return bytes_digest(shown.opened.astype("<i8").tobytes() + shown.prices.astype("<f8").tobytes()).sha256
