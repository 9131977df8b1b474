"""The pretraining study: plan, progress and computation of its cells."""

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from moola_pipeline.models.encoder import Encoder, initialize
from moola_pipeline.report.study_results import NOISY_STUDENT, PRETRAINED
from moola_pipeline.settings import StudySettings
from moola_pipeline.studies.cell_runs import MEASURED, LabelSubset, measured_numbers_cell, run_cell
from moola_pipeline.studies.store import Cell, Store, content_key
from moola_pipeline.training.examples import TrainingData
from moola_pipeline.training.pretrain import pretrain
from moola_pipeline.training.settings import PretrainSettings

SCRATCH, STUDENT = "scratch", NOISY_STUDENT


class CellPlan(NamedTuple):
    """A planned cell."""

    arm: str
    distilled: bool
    n_labels: int
    seed: int


@dataclass(frozen=True)
class Origin:
    """Digests of data and code on which the results depend.

    Attributes:
        bars: Of the bars for pretraining.
        labels: By name, of bars and labels of training and validation.
        encoder_code, cell_code: Of the source files, by path.
    """

    bars: str
    labels: Mapping[str, str]
    encoder_code: Mapping[str, str]
    cell_code: Mapping[str, str]


@dataclass
class Progress:
    """Progress of a study, reported after every encoder and every cell.

    Attributes:
        total: Number of planned encoders and cells.
        done: Number of them computed in this run or before.
        seconds: Computing times of this run, by kind of work.
    """

    total: int
    done: int = 0
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def note_seconds(self, kind: str, seconds: float) -> None:
        """Add the computing time of an encoder or a cell."""
        self.seconds.setdefault(kind, []).append(seconds)

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the mean time in this run; None before the first computation."""
        times = [seconds for kind in self.seconds.values() for seconds in kind]
        return (self.total - self.done) * float(np.mean(times)) if times else None


def planned(settings: StudySettings) -> list[CellPlan]:
    """All cells, ordered by seed: an interrupted study has every row, with fewer seeds."""
    counts = settings.counts
    work = []
    for seed in settings.seeds:
        arms = ((SCRATCH, False), (PRETRAINED, False), (MEASURED, False), (STUDENT, True))
        work += [CellPlan(arm, distilled, count, seed) for count in counts for arm, distilled in arms]
        if seed in settings.distill_seeds:
            work.append(CellPlan(PRETRAINED, True, counts[-1], seed))
    return work


@dataclass(frozen=True)
class Study:
    """A study of one market.

    Attributes:
        data: Bars and labels.
        windows: (n,) rows of bar 0 of the unlabeled training windows.
        store: Cache of results.
        settings: The compared counts and seeds.
        origin: Digests of data and code.
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
        """Compute the missing cells and return every planned cell.

        Results are saved at once, so an interrupted study resumes where it stopped.

        Args:
            on_progress: Called after each encoder and each cell, with its description.
            on_seed: Called with all cells so far when a seed is complete.
        """
        work = planned(self.settings)
        progress = Progress(len(work) + len(self.settings.seeds))
        cells: list[Cell] = []
        encoders: dict[str, Encoder] = {}
        subset: LabelSubset | None = None
        for seed, plans in _by_seed(work):
            missing = [plan for plan in plans if self.store.cell(self.cell_key(plan)) is None]
            progress.done += 0 if missing else 1
            encoders = self._encoders(seed, progress, on_progress) if missing else {}
            for plan in plans:
                key = self.cell_key(plan)
                cell = self.store.cell(key)
                if cell is None:
                    if subset is None or (subset.count, subset.seed) != (plan.n_labels, plan.seed):
                        subset = LabelSubset(self.data, plan.n_labels, plan.seed, self.settings)
                    started = time.perf_counter()
                    cell = self._computed(plan, subset, encoders)
                    self.store.save_cell(key, cell)
                    progress.note_seconds("cell", time.perf_counter() - started)
                cells.append(cell)
                progress.done += 1
                on_progress(
                    progress, f"{plan.arm}{' distilled' if plan.distilled else ''}, {plan.n_labels} labels"
                )
            on_seed(cells)
        return cells

    def cell_key(self, work: CellPlan) -> str:
        """Digest of the inputs of a cell."""
        settings = self.settings
        facts: dict[str, Any] = {
            "work": work._asdict(),
            "bars": self.origin.bars,
            "labels": dict(self.origin.labels),
            "code": dict(self.origin.cell_code),
            "steps": [settings.label_steps, settings.frozen_share, settings.probe_strength],
            "finetune": settings.finetune.model_dump(mode="json"),
        }
        if work.arm == PRETRAINED:
            facts["encoder"] = self.encoder_key(self._pretraining(work.seed))
        facts["steps"].append(settings.encoder_seeds)
        return content_key(facts)

    def encoder_key(self, settings: PretrainSettings) -> str:
        """Digest of the inputs of an encoder."""
        code = dict(self.origin.encoder_code)
        facts = {"bars": self.origin.bars, "code": code, "pretrain": settings.model_dump(mode="json")}
        return content_key(facts)

    def _pretraining(self, seed: int) -> PretrainSettings:
        """Settings of an encoder; the study's seeds share `encoder_seeds` encoders."""
        return self.settings.pretrain.model_copy(update={"seed": seed % self.settings.encoder_seeds})

    def _encoders(
        self, seed: int, progress: Progress, on_progress: Callable[[Progress, str], None]
    ) -> dict[str, Encoder]:
        """The pretrained encoder, trained if missing, and one with random weights."""
        settings = self._pretraining(seed)
        key = self.encoder_key(settings)
        saved = self.store.encoder(key)
        if saved is None:
            started = time.perf_counter()
            result = pretrain(self.data.market, self.windows, settings, self.device)
            facts = {"errors": result.errors, "settings": settings.model_dump(mode="json")}
            self.store.save_encoder(key, result.encoder, facts | {"last_row": result.last_row})
            saved = result.encoder, facts
            progress.note_seconds("encoder", time.perf_counter() - started)
        progress.done += 1
        on_progress(progress, f"encoder, seed {seed}")
        scratch = copy.deepcopy(saved[0])
        initialize(scratch, settings.seed)  # the weights that pretraining began with
        return {PRETRAINED: saved[0], SCRATCH: scratch}

    def _computed(self, plan: CellPlan, subset: LabelSubset, encoders: Mapping[str, Encoder]) -> Cell:
        if plan.arm == MEASURED:
            return measured_numbers_cell(subset)
        encoder = encoders[SCRATCH if plan.arm == STUDENT else plan.arm]
        return run_cell(subset, plan.arm, encoder, plan.distilled, self.device)


def _by_seed(work: list[CellPlan]) -> Iterator[tuple[int, list[CellPlan]]]:
    for seed in dict.fromkeys(plan.seed for plan in work):
        yield seed, [plan for plan in work if plan.seed == seed]
