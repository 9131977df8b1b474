"""python -m moola_pipeline_tests.gpu: what only a machine with a GPU can show, in one table."""

import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from moola_pipeline.bars.schema import NQ
from moola_pipeline.bars.simulated import FULL_SETTINGS, SMOKE_SETTINGS, simulate
from moola_pipeline.bars.table import build_table
from moola_pipeline.benchmarks.batch_speed import BatchSpeed
from moola_pipeline.benchmarks.finetune_speed import unjudged
from moola_pipeline.benchmarks.training_rows import labeled_rows, new_classifier, pseudo_labels_of
from moola_pipeline.benchmarks.training_speed import measure_pretraining
from moola_pipeline.storage.atomic_write import atomic_write_json
from moola_pipeline.tracking.system_metrics import Usage
from moola_pipeline.training.batches import batches
from moola_pipeline.training.best_epoch import BestEpoch
from moola_pipeline.training.device import precision_on, set_precision
from moola_pipeline.training.distillation import distill
from moola_pipeline.training.objectives.hidden_blocks import HiddenBlocks
from moola_pipeline.training.objectives.objective import BatchShare, StateDropout
from moola_pipeline.training.pretrain import PretrainResult, new_encoder, new_optimizer, pretrain
from moola_pipeline.training.pretraining_loop import prefetched_batches, train_epoch
from moola_pipeline.training.settings import FinetuneSettings, PretrainSettings
from moola_pipeline.training.supervised_loop import Student, SupervisedLoop, WeightAveraging
from moola_pipeline.windows.dense import pretraining_windows
from moola_pipeline.windows.market_arrays import MarketArrays

NO_GPU = "not measured on a GPU: no CUDA device here"
NEAR = 1e-3
"""Furthest that weights may lie from the CPU's after the first steps, over the length of all of them."""
AIM_BARE, AIM_LOADER, AIM_SECONDS, LOADER_SIZE = 1.1, 10.0, 60.0, 64
FEW_WINDOWS = 1024


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    Attributes:
        name: What was measured.
        value: How much; None where it could not be measured, and `note` says why.
        unit: Of the value.
        goal: In words; empty where there is none.
        reached: Whether it was; None without a goal.
        note: How it was measured.
    """

    name: str
    value: float | None
    unit: str = ""
    goal: str = ""
    reached: bool | None = None
    note: str = ""

    def line(self) -> str:
        """The row as text."""
        shown = "not measured" if self.value is None else f"{self.value:,.4g} {self.unit}".strip()
        verdict = {True: "reached", False: "MISSED", None: ""}[self.reached]
        goal = f"{self.goal} {verdict}".strip()
        return f"{self.name:46}{shown:>26}  {goal:24}{self.note}".rstrip()


@click.command()
@click.option("--device", type=click.Choice(["cuda", "cpu"]), default="cuda", show_default=True)
@click.option("--small", is_flag=True, help="Go through all of it on two months: the figures mean little.")
@click.option("--json", "place", type=click.Path(path_type=Path), help="Write the table to this file, too.")
def main(device: str, small: bool, place: Path | None) -> None:
    """Check and time training on a GPU, on simulated bars."""
    if device == "cuda" and not torch.cuda.is_available():
        click.echo(NO_GPU)
        return
    set_precision(tf32=False)
    torch.set_num_threads(1)
    figures = list(measured(device, small))
    if device == "cpu":
        figures = [replace(figure, goal="", reached=None) for figure in figures]  # the goals are a GPU's
    where = machine(device)
    click.echo("\n".join([where, *(figure.line() for figure in figures)]))
    if place is not None:
        when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        facts = {"machine": where, "measured_at": when, "small": small}
        atomic_write_json(place, facts | {"figures": [asdict(figure) for figure in figures]})
    sys.exit(any(figure.reached is False for figure in figures) and not small)


def machine(device: str) -> str:
    """What the figures were measured on."""
    name = torch.cuda.get_device_name() if device == "cuda" else f"the processor, {platform.machine()}"
    return f"{name}, {precision_on(device)}, torch {torch.__version__}; SIMULATED bars"


def measured(device: str, small: bool) -> Iterator[Figure]:
    """All figures, one after the other."""
    bars = build_table(simulate(SMOKE_SETTINGS if small else FULL_SETTINGS).bars, None)
    source = MarketArrays.from_table(bars, NQ.tick_points)
    windows = pretraining_windows(source.segment, len(source.features))
    few = windows[: FEW_WINDOWS // 4 if small else FEW_WINDOWS]
    yield from nearness(source, few, device)
    yield steps_that_wait(source, few, device)
    yield from waits_in_fine_tuning(source, device)
    yield from speeds(measure_pretraining(source, device, 1 if small else None))
    yield from whole_training(
        source, few if small else windows, device, PretrainSettings(epochs=1 if small else 15)
    )


def nearness(source: MarketArrays, windows: np.ndarray, device: str) -> Iterator[Figure]:
    """How far a training on the device goes from the same on the CPU."""
    settings = PretrainSettings(epochs=1, dropout=0.0)
    here, there = (pretrain(source, windows, settings, place) for place in ("cpu", device))
    apart = float(np.linalg.norm(_weights(there) - _weights(here)) / np.linalg.norm(_weights(here)))
    steps = f"{-(-here.n_windows // settings.batch_windows)} steps, dropout off"
    yield Figure("weights, distance from the CPU's", apart, "", f"<= {NEAR:g}", apart <= NEAR, steps)
    losses = [result.history[0]["train_loss"] for result in (here, there)]
    off = abs(losses[1] / losses[0] - 1)
    yield Figure("mean loss, share that it is off the CPU's", off, "", f"<= {NEAR:g}", off <= NEAR, steps)


def _weights(result: PretrainResult) -> np.ndarray:
    return np.concatenate([tensor.numpy().ravel() for tensor in result.encoder.state_dict().values()])


def steps_that_wait(source: MarketArrays, windows: np.ndarray, device: str) -> Figure:
    """Whether a step of pretraining makes host and GPU wait for each other: CUDA then raises."""
    name, settings = "pretraining, steps that wait for the GPU", PretrainSettings()
    if device != "cuda":
        return Figure(name, None, note="a processor waits for nothing")
    rng = np.random.default_rng(0)
    encoder = new_encoder(source, windows, settings)
    objective = HiddenBlocks(source, encoder, windows, settings, rng, len(source.features))
    network = torch.nn.ModuleDict({"encoder": encoder, "decoder": objective.decoder}).to(device)
    optimizer = new_optimizer(network, settings)
    dropout = StateDropout(settings.dropout, torch.Generator(device).manual_seed(0))
    waited, note = 0, 'under torch.cuda.set_sync_debug_mode("error")'
    for way in (iter, watched):  # warm, then under watch
        shown = prefetched_batches(objective, windows, settings.batch_windows, rng)
        try:
            train_epoch(encoder, objective, optimizer, way(shown), dropout)
        except RuntimeError as fault:
            waited, note = 1, str(fault).splitlines()[0]
    return Figure(name, waited, "", "0", waited == 0, note)


def watched(shown: Iterable[BatchShare]) -> Iterator[BatchShare]:
    """The batches, any wait between the first and the last of them being an error."""
    try:
        for batch in shown:
            torch.cuda.set_sync_debug_mode("error")
            yield batch
    finally:
        torch.cuda.set_sync_debug_mode("default")


def waits_in_fine_tuning(source: MarketArrays, device: str) -> Iterator[Figure]:
    """Waits that a longer epoch of fine-tuning has over a shorter one: those of its steps."""
    settings = FinetuneSettings(distill_epochs=1, epochs=1, frozen_epochs=0)
    ways = {
        "pseudo_labels": lambda n: taught_for(source, n, device, settings),
        "labels": lambda n: labeled_for(source, n, device, settings),
    }
    for name, way in ways.items():
        way(2)  # warm
        few, many = (_waits_of(partial(way, n), device) for n in (2, 6))
        value = None if device != "cuda" else (many - few) / 4
        note = "a processor waits for nothing" if value is None else "six steps' less two steps'"
        reached = None if value is None else value == 0
        yield Figure(
            f"fine-tuning on {name}, waits a step", value, "", "0" if value is not None else "", reached, note
        )


def _waits_of(work: Callable[[], None], device: str) -> int:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            if device == "cuda":
                torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(one.message) for one in caught)


def taught_for(source: MarketArrays, n_steps: int, device: str, settings: FinetuneSettings) -> None:
    """One epoch of so many steps on pseudo_labels."""
    views = n_steps * settings.distill_batch_windows
    pseudo_labels = pseudo_labels_of(source, views, views, np.random.default_rng(0))
    distill(unjudged(new_classifier(source).to(device)), source, pseudo_labels, settings, 0)


def labeled_for(source: MarketArrays, n_steps: int, device: str, settings: FinetuneSettings) -> None:
    """One epoch on labels, of as many rows as so many batches hold."""
    rows = labeled_rows(source, n_steps * settings.batch_windows)
    classifier = new_classifier(source).to(device)
    held_out = list(batches(source, rows, np.arange(min(64, len(rows.kind))), 64, device))
    best = BestEpoch(classifier, held_out, 0.0, 99, lambda entry: None)
    student = Student(classifier, WeightAveraging(classifier, 0.0), best, device)
    SupervisedLoop(student, source, rows, settings, 0).learn(0, [])


def speeds(found: list[BatchSpeed]) -> Iterator[Figure]:
    """Windows a second, and what our loop takes over bare steps and a DataLoader over our loop."""
    for one in found:
        each = f"batches of {one.windows}"
        yield Figure(f"pretraining, {each}", one.windows_a_second, "windows a second")
        yield Figure(
            f"loop over bare steps, {each}", one.ratio, "", f"<= {AIM_BARE}", one.ratio <= AIM_BARE,
            "bare: forward, backward, clipping, step, on batches that are there",
        )  # fmt: skip
        if one.loader_ratio:
            yield Figure(
                f"DataLoader over our loop, {each}", one.loader_ratio, "", f">= {AIM_LOADER:g}",
                one.loader_ratio >= AIM_LOADER, f"the faster of {list(one.loader)} workers",
            )  # fmt: skip


def whole_training(
    source: MarketArrays, windows: np.ndarray, device: str, settings: PretrainSettings
) -> Iterator[Figure]:
    """Seconds of a pretraining from tables to the judged encoder, and how busy the GPU was."""
    usage = Usage()
    usage.start()
    started = time.perf_counter()
    result = pretrain(source, windows, settings, device)
    seconds = time.perf_counter() - started
    usage.stop()
    what = f"{result.n_windows:,} windows x {settings.epochs} epochs"
    yield Figure(
        "pretraining, end to end", seconds, "s", f"<= {AIM_SECONDS:g} s", seconds <= AIM_SECONDS, what
    )
    epochs = [entry["seconds"] for entry in result.history[1:] or result.history]
    yield Figure("of it, an epoch after the first", float(np.median(epochs)), "s", note="the median")
    yield _utilization(usage.points, device)


def _utilization(points: list[tuple[int, dict[str, Any]]], device: str) -> Figure:
    name = "GPU, share of the time at work"
    busy = [
        value for _, seen in points for key, value in seen.items() if "gpu" in key and "utilization" in key
    ]
    if device != "cuda":
        return Figure(name, None, note="no GPU was asked for")
    if not busy:
        return Figure(name, None, note="NVIDIA's management library (nvidia-ml-py) is not here")
    return Figure(name, float(np.mean(busy)), "%", note="as nvidia-ml-py tells it, mean of the training")


if __name__ == "__main__":
    main()
