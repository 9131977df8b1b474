"""The study at work: what is planned, what is computed already, and what is left."""

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from moola_pipeline.models.encoder import Encoder, initialize
from moola_pipeline.report.study_results import NOISY_STUDENT
from moola_pipeline.settings import StudySettings
from moola_pipeline.studies.store import Cell, Store, content_key
from moola_pipeline.studies.trials import MEASURED, LabelSubset, measured_numbers_cell, run_cell
from moola_pipeline.training.examples import TrainingData
from moola_pipeline.training.pretrain import pretrain
from moola_pipeline.training.settings import ObjectiveName, PretrainSettings

SCRATCH, STUDENT = "scratch", NOISY_STUDENT


class Work(NamedTuple):
    """One cell that is planned."""

    arm: str
    distilled: bool
    count: int
    seed: int


@dataclass(frozen=True)
class Origin:
    """Digests that decide every result.

    Attributes:
        bars: Of the bars that pretraining may read.
        labels: By name, of bars and labels of training and validation.
        encoder_code, cell_code: Digests of the source files, by path.
    """

    bars: str
    labels: Mapping[str, str]
    encoder_code: Mapping[str, str]
    cell_code: Mapping[str, str]


@dataclass
class Progress:
    """How far a study is, told after every encoder and every cell.

    Attributes:
        total: Encoders and cells planned.
        done: Of these, computed now or before.
        seconds: Of each kind of work that was computed now.
    """

    total: int
    done: int = 0
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def took(self, kind: str, seconds: float) -> None:
        """Note that a piece of work was computed now."""
        self.seconds.setdefault(kind, []).append(seconds)

    @property
    def seconds_left(self) -> float | None:
        """By the mean of what was computed now; None as long as nothing was."""
        spent = [one for several in self.seconds.values() for one in several]
        return (self.total - self.done) * float(np.mean(spent)) if spent else None


def planned(settings: StudySettings) -> list[Work]:
    """All cells, seed by seed, so that a study cut short has fewer seeds and every row."""
    counts = settings.counts
    work = []
    for seed in settings.seeds:
        arms = ((SCRATCH, False), *((name, False) for name in settings.objectives))
        arms = (*arms, (MEASURED, False), (STUDENT, True))
        work += [Work(arm, distilled, count, seed) for count in counts for arm, distilled in arms]
        if seed in settings.distill_seeds:
            work += [Work(name, True, counts[-1], seed) for name in settings.objectives]
    return work


@dataclass(frozen=True)
class Study:
    """A study of one market.

    Attributes:
        ground: Bars and labels.
        windows: (n,) rows of bar 0 of the unlabeled training windows.
        store: Where results are kept.
        settings: What is compared.
        origin: What decides the results besides.
        device: Where networks run.
    """

    data: TrainingData
    windows: np.ndarray
    store: Store
    settings: StudySettings
    origin: Origin
    device: str = "cpu"

    def run(
        self,
        on_progress: Callable[[Progress, str], None] = lambda progress, what: None,
        on_seed: Callable[[list[Cell]], None] = lambda cells: None,
    ) -> list[Cell]:
        """Compute what is missing and return every planned cell.

        Whatever is computed is kept at once: a study that was stopped goes on where it was.

        Args:
            on_progress: Called after each encoder and each cell, with what it was.
            on_seed: Called with all cells so far whenever a seed is complete.
        """
        work = planned(self.settings)
        progress = Progress(len(work) + len(self.settings.seeds) * len(self.settings.objectives))
        cells: list[Cell] = []
        encoders: dict[str, Encoder] = {}
        given: LabelSubset | None = None
        for seed, mine in _by_seed(work):
            missing = [one for one in mine if self.store.cell(self.cell_key(one)) is None]
            progress.done += 0 if missing else len(self.settings.objectives)
            encoders = dict(self._encoders(seed, progress, on_progress)) if missing else {}
            for one in mine:
                key = self.cell_key(one)
                cell = self.store.cell(key)
                if cell is None:
                    if given is None or (given.count, given.seed) != (one.count, one.seed):
                        given = LabelSubset(self.data, one.count, one.seed, self.settings)
                    started = time.perf_counter()
                    cell = self._computed(one, given, encoders)
                    self.store.keep_cell(key, cell)
                    progress.took("cell", time.perf_counter() - started)
                cells.append(cell)
                progress.done += 1
                on_progress(progress, f"{one.arm}{' distilled' if one.distilled else ''}, {one.count} labels")
            on_seed(cells)
        return cells

    def cell_key(self, work: Work) -> str:
        """Digest of all that decides a cell."""
        settings = self.settings
        facts: dict[str, Any] = {
            "work": work._asdict(),
            "bars": self.origin.bars,
            "labels": dict(self.origin.labels),
            "code": dict(self.origin.cell_code),
            "steps": [settings.label_steps, settings.frozen_share, settings.probe_strength],
            "finetune": settings.finetune.model_dump(mode="json"),
        }
        if work.arm in settings.objectives:
            facts["encoder"] = self.encoder_key(self._pretraining(work.arm, work.seed))
        facts["steps"].append(settings.encoder_seeds)
        return content_key(facts)

    def encoder_key(self, settings: PretrainSettings) -> str:
        """Digest of all that decides an encoder."""
        code = dict(self.origin.encoder_code)
        facts = {"bars": self.origin.bars, "code": code, "pretrain": settings.model_dump(mode="json")}
        return content_key(facts)

    def _pretraining(self, objective: ObjectiveName | str, seed: int) -> PretrainSettings:
        """Settings of an encoder; seeds of the study take turns with a few of them."""
        one = seed % self.settings.encoder_seeds
        return self.settings.pretrain.model_copy(update={"objective": objective, "seed": one})

    def _encoders(
        self, seed: int, progress: Progress, on_progress: Callable[[Progress, str], None]
    ) -> Iterator[tuple[str, Encoder]]:
        """The encoder of every objective, made where it is missing; and one from random weights."""
        fresh = None
        for name in self.settings.objectives:
            settings = self._pretraining(name, seed)
            key = self.encoder_key(settings)
            kept = self.store.encoder(key)
            if kept is None:
                started = time.perf_counter()
                made = pretrain(self.data.market, self.windows, settings, self.device)
                facts = {"errors": made.errors, "settings": settings.model_dump(mode="json")}
                self.store.keep_encoder(key, made.encoder, facts | {"last_row": made.last_row})
                kept = made.encoder, facts
                progress.took("encoder", time.perf_counter() - started)
            progress.done += 1
            on_progress(progress, f"encoder {name}, seed {seed}")
            yield name, kept[0]
            fresh = fresh or copy.deepcopy(kept[0])
        if fresh is not None:
            # the very weights that every objective began with
            initialize(fresh, seed % self.settings.encoder_seeds)
            yield SCRATCH, fresh

    def _computed(self, work: Work, given: LabelSubset, encoders: Mapping[str, Encoder]) -> Cell:
        if work.arm == MEASURED:
            return measured_numbers_cell(given)
        encoder = encoders[SCRATCH if work.arm == STUDENT else work.arm]
        return run_cell(given, work.arm, encoder, work.distilled, self.device)


def _by_seed(work: list[Work]) -> Iterator[tuple[int, list[Work]]]:
    for seed in dict.fromkeys(one.seed for one in work):
        yield seed, [one for one in work if one.seed == seed]
