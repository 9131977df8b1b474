"""Readers of settings: overrides, split dates, options of the command line and of the inbox, variables."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np

from moola_pipeline.bars.inbox import _read_options
from moola_pipeline.cli.options import active_splits
from moola_pipeline.cli.predict import predict
from moola_pipeline.cli.run import run
from moola_pipeline.cli.vendor_files import chosen_options
from moola_pipeline.settings import PROFILES
from moola_pipeline.storage.bucket import require_bucket
from moola_pipeline.storage.home import HOME_VARIABLE, Home
from moola_pipeline.storage.remote_stores import (
    ARTIFACTS_VARIABLE,
    STORE_VARIABLE,
    TRACKING_VARIABLE,
    remote_artifacts_uri,
    remote_tracking_uri,
)
from moola_pipeline.tracking.runs import artifacts_uri, tracking_uri
from moola_pipeline_tests.fuzzing.damage import damaged_bytes, damaged_json
from moola_pipeline_tests.fuzzing.harness import Reader

IN_LAUNCHPAD = ("pretrain", "finetune", "report")
STAGES = ("pretrain", "finetune", "report", "study", "splits", "simulation")


def _profiles() -> list[bytes]:
    return [
        json.dumps({stage: profile.model_dump(mode="json")[stage]}).encode()
        for profile in PROFILES.values()
        for stage in STAGES
    ]


def _override(content: bytes, _: Path) -> None:
    """Validate settings as a profile and as the launchpad do."""
    from moola_pipeline.assets.stage import active_settings, launchpad_config

    given = json.loads(content)
    for stage, values in given.items():
        settings = getattr(PROFILES["full"], stage)
        type(settings).model_validate(values)
        if stage in IN_LAUNCHPAD:
            active_settings(launchpad_config(type(settings), f"{stage}_config")(**values), settings)


def damaged_override(rng: np.random.Generator, content: bytes) -> bytes:
    """Other values under the same setting names; the launchpad refuses other names and invalid JSON."""
    given = json.loads(content)
    ((stage, values),) = given.items()
    try:
        found = json.loads(damaged_json(rng, json.dumps(values).encode()))
    except (ValueError, RecursionError):
        found = values
    return json.dumps({stage: found if isinstance(found, dict) else values}).encode()


def _dates() -> list[bytes]:
    return [
        b'{"train_end": "2024-12-31", "validation_end": "2025-03-31", "test_end": "2025-06-30"}',
        b'{"rolling": "3"}',
        b'{"train_end": "2024-06-30"}',
    ]


def _split_dates(content: bytes, folder: Path) -> None:
    """Parse dates like `moola run --train-end ...`."""
    words = [word for name, text in _texts(content).items() for word in (f"--{name.replace('_', '-')}", text)]
    given = run.make_context("run", words).params
    ends = {name: given[name] for name in ("train_end", "validation_end", "test_end")}
    active_splits(Home(folder), given["rolling"], **ends)


def _words() -> list[bytes]:
    lines = (
        "nq.csv --format csv --timezone UTC --stamp open --columns time=ts,close=Last --instrument NQ",
        "nq.csv --model models:/moola-nq@champion --mode live --max-wait 3 --json",
        "nq.csv --out marks.csv --plot marks.png --rolls rolls.csv",
    )
    return [line.encode() for line in lines]


def damaged_words(rng: np.random.Generator, content: bytes) -> bytes:
    """A command line with damaged words."""
    words = content.split(b" ")
    at = int(rng.integers(len(words)))
    words[at] = damaged_bytes(rng, words[at])
    if rng.random() < 0.2:
        words.insert(at, words[int(rng.integers(len(words)))])
    return b" ".join(words)


def _options(content: bytes, _: Path) -> None:
    words = os.fsdecode(content.replace(b"\0", b"")).split(" ")
    try:
        context = predict.make_context("predict", words)
    except click.exceptions.Exit:
        return  # --help
    given = {name: context.params[name] for name in ("format", "timezone", "stamp", "columns", "instrument")}
    chosen_options(**given)


def _inbox() -> list[bytes]:
    return [
        b'{"timezone": "America/New_York", "stamp": "close"}',
        b'{"format": "csv", "columns": "time=ts,close=Last", "instrument": "ES"}',
        b'{"columns": {"time": "ts"}, "timezone": "UTC"}',
    ]


def _inbox_options(content: bytes, folder: Path) -> None:
    path = folder / "options.json"
    path.write_bytes(content)
    _read_options(path)


def _variables() -> list[bytes]:
    database = "postgresql+psycopg2://moola:hunter2@db.example:5432/mlflow"
    return [
        json.dumps({TRACKING_VARIABLE: database, ARTIFACTS_VARIABLE: "s3://moola/mlflow"}).encode(),
        json.dumps({STORE_VARIABLE: "s3://moola/store?region=us-east-1", HOME_VARIABLE: "home"}).encode(),
        json.dumps({HOME_VARIABLE: "~/moola", STORE_VARIABLE: "s3://moola"}).encode(),
    ]


def _environment(content: bytes, folder: Path) -> None:
    """Read the environment variables; no server is contacted."""
    given = {
        name: text.replace("\0", "") for name, text in _texts(content).items() if name.startswith("MOOLA_")
    }
    with _set(given):
        home = Home.resolve()
        remote_tracking_uri()
        remote_artifacts_uri()
        tracking_uri(home)
        artifacts_uri(home)
        if uri := os.environ.get(STORE_VARIABLE):
            require_bucket(uri)


@contextmanager
def _set(variables: dict[str, str]) -> Iterator[None]:
    names = (TRACKING_VARIABLE, ARTIFACTS_VARIABLE, STORE_VARIABLE, HOME_VARIABLE)
    before = {name: os.environ.pop(name, None) for name in names}
    os.environ.update({name: variables[name] for name in names if name in variables})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _texts(content: bytes) -> dict[str, str]:
    """The string values of a JSON object that can be environment variables; {} if it is no object."""
    try:
        found: Any = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    pairs = found.items() if isinstance(found, dict) else ()
    return {name: text for name, text in pairs if isinstance(text, str) and _is_passable(name + text)}


def _is_passable(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


SETTING_READERS = (
    Reader("settings", _profiles, damaged_override, _override),
    Reader("split-dates", _dates, damaged_json, _split_dates),
    Reader("options", _words, damaged_words, _options),
    Reader("inbox-options", _inbox, damaged_json, _inbox_options),
    Reader("variables", _variables, damaged_json, _environment),
)
