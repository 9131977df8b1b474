"""`moola study`: results of the last pretraining study; and `moola run --profile study`, which runs one."""

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from moola_pipeline.cli.options import chosen_pipeline, market_options
from moola_pipeline.cli.output import emit, json_option
from moola_pipeline.errors import MissingArtifact
from moola_pipeline.storage.home import Home

if TYPE_CHECKING:
    from moola_pipeline.instrument_data import InstrumentData
    from moola_pipeline.report.study_results import StudyResults
    from moola_pipeline.settings import StudySettings
    from moola_pipeline.studies.pretraining_study import Progress, Study
    from moola_pipeline.studies.store import Cell

STUDY_DATA = ("bars.validation", "labels.train", "labels.validation")
"""Data that decide a study besides the training bars."""


@click.command()
@market_options
@json_option
def study(profile: str, market: str, scenario: str | None, as_json: bool) -> None:
    """Show the last pretraining study of a market. `moola run --profile study` runs one."""
    from moola_pipeline.report.study_results import fits, read_study
    from moola_pipeline.staleness.data_digests import read_data_digests

    home = Home.resolve()
    chosen = _market(home, profile, market, scenario)
    results = read_study(home.studies / chosen.name)
    if results is None:
        raise MissingArtifact("A study must exist, but there is none. Run: moola run --profile study")
    _show(results, fits(results, read_data_digests(chosen).digests), as_json)


def run_study(home: Home, market: str, scenario: str | None, device: str, force: bool, as_json: bool) -> None:
    """Run the missing trainings of a market's study, save its table and show it.

    Args:
        home: Home that holds the study.
        market, scenario, device: Values of the options.
        force: Delete earlier results first.
        as_json: Print one JSON object.
    """
    import shutil

    from moola_pipeline.report.study_results import STUDY_FILE
    from moola_pipeline.resources.compute import Compute
    from moola_pipeline.settings import PROFILES
    from moola_pipeline.storage.checksums import write_checksummed

    chosen, settings = _market(home, "study", market, scenario), PROFILES["study"].study
    folder = home.studies / chosen.name
    if force:
        shutil.rmtree(folder, ignore_errors=True)
    prepared = _prepared(chosen, settings, Compute(device=device).prepare())
    lines = _ProgressLines()

    def save(cells: "list[Cell]") -> None:
        write_checksummed(folder / STUDY_FILE, _results(chosen, prepared, cells).model_dump(mode="json"))

    cells = prepared.run(lines.show, save)
    _show(_results(chosen, prepared, cells), True, as_json)


def _market(home: Home, profile: str, market: str, scenario: str | None) -> "InstrumentData":
    from moola_pipeline.resources.pipeline import Pipeline

    return Pipeline(**chosen_pipeline(profile, market, scenario)).chosen_market()


def _prepared(market: "InstrumentData", settings: "StudySettings", device: str) -> "Study":
    from moola_pipeline.labels.placement import split_labels
    from moola_pipeline.labels.spans import labeled_windows
    from moola_pipeline.labels.splits import resolve_dates, training_rows_end
    from moola_pipeline.staleness.data_digests import read_data_digests
    from moola_pipeline.staleness.fingerprints import code_digests
    from moola_pipeline.studies.pretraining_study import Origin, Study
    from moola_pipeline.studies.store import CELL_CODE, ENCODER_CODE, Store
    from moola_pipeline.training.examples import TrainingData
    from moola_pipeline.windows.dense import pretraining_windows
    from moola_pipeline.windows.market_arrays import MarketArrays

    table = market.bars()
    digests = read_data_digests(market).digests
    labels = split_labels(market.labels(), table, market.splits).frame
    arrays = MarketArrays.from_table(table, market.instrument.tick_points)
    train, validation = (labeled_windows(labels, split) for split in ("train", "validation"))
    end = training_rows_end(table, resolve_dates(market.splits, labels))
    return Study(
        TrainingData(arrays, train, validation),
        pretraining_windows(arrays.segment, end, settings.pretrain.stride),
        Store(market.home.studies / market.name),
        settings,
        Origin(
            digests["bars.train"],
            {name: digests[name] for name in STUDY_DATA},
            code_digests(*ENCODER_CODE),
            code_digests(*CELL_CODE),
        ),
        device,
    )


def _results(market: "InstrumentData", study: "Study", cells: "list[Cell]") -> "StudyResults":
    import numpy as np

    from moola_pipeline.report.study_results import StudyResults
    from moola_pipeline.studies.pretraining_study import planned
    from moola_pipeline.studies.store import content_key
    from moola_pipeline.studies.summary import study_rows

    validation, settings = study.data.validation, study.settings
    return StudyResults(
        market=market.name,
        simulated=market.simulated,
        created_at=datetime.now(UTC),
        digests={"bars.train": study.origin.bars, **study.origin.labels},
        code_version=content_key({**study.origin.encoder_code, **study.origin.cell_code}),
        n_windows=len(validation.bar0),
        n_sessions=len(np.unique(validation.session)),
        n_labels=len(validation.spans.window),
        settings=settings.model_dump(mode="json"),
        rows=study_rows(cells, validation, settings.resamples),
        complete=len(cells) == len(planned(settings)),
    )


def _show(results: "StudyResults", is_current: bool, as_json: bool) -> None:
    from moola_pipeline.report.study_results import study_lines

    lines = study_lines(results)
    if not is_current:
        lines.append(
            "This study used other bars or labels than the present ones. Run: moola run --profile study"
        )
    emit({**results.model_dump(mode="json"), "fits": is_current}, lines, as_json)


class _ProgressLines:
    """Progress on stderr, one line per training: a study takes hours, and its output often goes to a log."""

    def __init__(self) -> None:
        self.started = time.monotonic()

    def show(self, progress: "Progress", what: str) -> None:
        left = progress.seconds_left
        if left is None:
            return  # cached result
        spent = time.monotonic() - self.started
        note = f"{progress.done}/{progress.total}  {what}  {spent:.0f} s, about {left:.0f} s left"
        click.echo(f"study  {note}", file=sys.stderr)
