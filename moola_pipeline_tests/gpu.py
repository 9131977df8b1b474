"""python -m moola_pipeline_tests.gpu: check and time training on a GPU, in one table."""

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

from moola_pipeline.bars.instruments import NQ
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
from moola_pipeline.training.hidden_blocks import HiddenBlocks, StateDropout
from moola_pipeline.training.pretrain import PretrainResult, new_encoder, new_optimizer, pretrain
from moola_pipeline.training.pretraining_loop import BatchShare, prefetched_batches, train_epoch
from moola_pipeline.training.settings import FinetuneSettings, PretrainSettings
from moola_pipeline.training.supervised_loop import Student, SupervisedLoop, WeightAveraging
from moola_pipeline.windows.dense import pretraining_windows
from moola_pipeline.windows.market_arrays import MarketArrays

NO_GPU = "not measured on a GPU: no CUDA device here"
NO_WAITS = "a CPU has no asynchronous steps"
NEAR = 1e-3
"""Largest relative distance (L2) of the weights from those of the CPU."""
AIM_BARE, AIM_LOADER, AIM_SECONDS, LOADER_SIZE = 1.1, 10.0, 60.0, 64
FEW_WINDOWS = 1024


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    Attributes:
        name: What was measured.
        value: The result; None if not measured, with the reason in `note`.
        unit: Unit of the value.
        goal: As text; empty if there is none.
        reached: Whether the goal was reached; None without a goal.
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
        value = "not measured" if self.value is None else f"{self.value:,.4g} {self.unit}".strip()
        verdict = {True: "reached", False: "MISSED", None: ""}[self.reached]
        goal = f"{self.goal} {verdict}".strip()
        return f"{self.name:46}{value:>26}  {goal:24}{self.note}".rstrip()


@click.command()
@click.option("--device", type=click.Choice(["cuda", "cpu"]), default="cuda", show_default=True)
@click.option("--small", is_flag=True, help="Run everything on two months of bars; the figures mean little.")
@click.option("--json", "place", type=click.Path(path_type=Path), help="Also write the table to this file.")
def main(device: str, small: bool, place: Path | None) -> None:
    """Check and time training on a GPU, on simulated bars."""
    if device == "cuda" and not torch.cuda.is_available():
        click.echo(NO_GPU)
        return
    set_precision(tf32=False)
    torch.set_num_threads(1)
    figures = list(measure_all(device, small))
    if device == "cpu":
        figures = [replace(figure, goal="", reached=None) for figure in figures]  # the goals are for a GPU
    machine = machine_name(device)
    click.echo("\n".join([machine, *(figure.line() for figure in figures)]))
    if place is not None:
        measured_at = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        facts = {"machine": machine, "measured_at": measured_at, "small": small}
        atomic_write_json(place, facts | {"figures": [asdict(figure) for figure in figures]})
    sys.exit(any(figure.reached is False for figure in figures) and not small)


def machine_name(device: str) -> str:
    """The hardware and versions that the figures were measured on."""
    name = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {platform.machine()}"
    return f"{name}, {precision_on(device)}, torch {torch.__version__}; SIMULATED bars"


def measure_all(device: str, small: bool) -> Iterator[Figure]:
    """All figures, one after the other."""
    bars = build_table(simulate(SMOKE_SETTINGS if small else FULL_SETTINGS).bars, None)
    source = MarketArrays.from_table(bars, NQ.tick_points)
    windows = pretraining_windows(source.segment, len(source.features))
    few = windows[: FEW_WINDOWS // 4 if small else FEW_WINDOWS]
    yield from distance_from_cpu(source, few, device)
    yield steps_that_wait(source, few, device)
    yield from waits_in_fine_tuning(source, device)
    yield from speeds(measure_pretraining(source, device, 1 if small else None))
    yield from whole_training(
        source, few if small else windows, device, PretrainSettings(epochs=1 if small else 15)
    )


def distance_from_cpu(source: MarketArrays, windows: np.ndarray, device: str) -> Iterator[Figure]:
    """Distance between training results on the device and on the CPU."""
    settings = PretrainSettings(epochs=1, dropout=0.0)
    here, there = (pretrain(source, windows, settings, place) for place in ("cpu", device))
    distance = float(np.linalg.norm(_weights(there) - _weights(here)) / np.linalg.norm(_weights(here)))
    steps = f"{-(-here.n_windows // settings.batch_windows)} steps, dropout off"
    yield Figure("weights, distance from the CPU's", distance, "", f"<= {NEAR:g}", distance <= NEAR, steps)
    losses = [result.history[0]["train_loss"] for result in (here, there)]
    difference = abs(losses[1] / losses[0] - 1)
    yield Figure(
        "mean loss, relative difference from the CPU's",
        difference,
        "",
        f"<= {NEAR:g}",
        difference <= NEAR,
        steps,
    )


def _weights(result: PretrainResult) -> np.ndarray:
    return np.concatenate([tensor.numpy().ravel() for tensor in result.encoder.state_dict().values()])


def steps_that_wait(source: MarketArrays, windows: np.ndarray, device: str) -> Figure:
    """Whether a step of pretraining synchronizes host and GPU: CUDA raises if it does."""
    name, settings = "pretraining, steps that wait for the GPU", PretrainSettings()
    if device != "cuda":
        return Figure(name, None, note=NO_WAITS)
    rng = np.random.default_rng(0)
    encoder = new_encoder(source, windows, settings)
    task = HiddenBlocks(source, encoder, windows, settings, rng)
    network = torch.nn.ModuleDict({"encoder": encoder, "decoder": task.decoder}).to(device)
    optimizer = new_optimizer(network, settings)
    dropout = StateDropout(settings.dropout, torch.Generator(device).manual_seed(0))
    waited, note = 0, 'under torch.cuda.set_sync_debug_mode("error")'
    for wrap in (iter, raise_on_wait):  # first warm up
        stream = prefetched_batches(task, windows, settings.batch_windows, rng)
        try:
            train_epoch(encoder, task, optimizer, wrap(stream), dropout)
        except RuntimeError as fault:
            waited, note = 1, str(fault).splitlines()[0]
    return Figure(name, waited, "", "0", waited == 0, note)


def raise_on_wait(batches: Iterable[BatchShare]) -> Iterator[BatchShare]:
    """The batches; CUDA raises if a step on them synchronizes."""
    try:
        for batch in batches:
            torch.cuda.set_sync_debug_mode("error")
            yield batch
    finally:
        torch.cuda.set_sync_debug_mode("default")


def waits_in_fine_tuning(source: MarketArrays, device: str) -> Iterator[Figure]:
    """Waits of a longer epoch of fine-tuning minus those of a shorter one: the waits of its steps."""
    settings = FinetuneSettings(distill_epochs=1, epochs=1, frozen_epochs=0)
    ways = {
        "pseudo-labels": lambda n: run_distill_steps(source, n, device, settings),
        "labels": lambda n: run_label_steps(source, n, device, settings),
    }
    for name, way in ways.items():
        way(2)  # warm up
        few, many = (_waits_of(partial(way, n), device) for n in (2, 6))
        value = None if device != "cuda" else (many - few) / 4
        note = NO_WAITS if value is None else "waits of six steps minus two, divided by four"
        reached = None if value is None else value == 0
        yield Figure(
            f"fine-tuning on {name}, waits per step",
            value,
            "",
            "0" if value is not None else "",
            reached,
            note,
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
    return sum("synchroniz" in str(warning.message) for warning in caught)


def run_distill_steps(source: MarketArrays, n_steps: int, device: str, settings: FinetuneSettings) -> None:
    """One epoch of `n_steps` steps on pseudo-labels."""
    views = n_steps * settings.distill_batch_windows
    pseudo_labels = pseudo_labels_of(source, views, views, np.random.default_rng(0))
    distill(unjudged(new_classifier(source).to(device)), source, pseudo_labels, settings, 0)


def run_label_steps(source: MarketArrays, n_steps: int, device: str, settings: FinetuneSettings) -> None:
    """One epoch of `n_steps` steps on labels."""
    rows = labeled_rows(source, n_steps * settings.batch_windows)
    classifier = new_classifier(source).to(device)
    held_out = list(batches(source, rows, np.arange(min(64, len(rows.kind))), 64, device))
    best = BestEpoch(classifier, held_out, 0.0, 99, lambda entry: None)
    student = Student(classifier, WeightAveraging(classifier, 0.0), best, device)
    SupervisedLoop(student, source, rows, settings, 0).learn(0, [])


def speeds(results: list[BatchSpeed]) -> Iterator[Figure]:
    """Windows per second, time of our loop over bare steps, and time of a DataLoader over our loop."""
    for speed in results:
        size = f"batches of {speed.windows}"
        yield Figure(f"pretraining, {size}", speed.windows_a_second, "windows per second")
        yield Figure(
            f"loop over bare steps, {size}", speed.ratio, "", f"<= {AIM_BARE}", speed.ratio <= AIM_BARE,
            "bare: forward, backward, clipping and step, on batches on the device",
        )  # fmt: skip
        if speed.loader_ratio:
            yield Figure(
                f"DataLoader over our loop, {size}", speed.loader_ratio, "", f">= {AIM_LOADER:g}",
                speed.loader_ratio >= AIM_LOADER, f"the fastest of {list(speed.loader)} workers",
            )  # fmt: skip


def whole_training(
    source: MarketArrays, windows: np.ndarray, device: str, settings: PretrainSettings
) -> Iterator[Figure]:
    """Seconds of a whole pretraining, from tables to test errors, and the utilization of the GPU."""
    usage = Usage()
    usage.start()
    started = time.perf_counter()
    result = pretrain(source, windows, settings, device)
    seconds = time.perf_counter() - started
    usage.stop()
    size = f"{result.n_windows:,} windows x {settings.epochs} epochs"
    yield Figure(
        "pretraining, end to end", seconds, "s", f"<= {AIM_SECONDS:g} s", seconds <= AIM_SECONDS, size
    )
    epochs = [entry["seconds"] for entry in result.history[1:] or result.history]
    yield Figure("one epoch after the first", float(np.median(epochs)), "s", note="median")
    yield _utilization(usage.points, device)


def _utilization(points: list[tuple[int, dict[str, Any]]], device: str) -> Figure:
    name = "GPU utilization"
    shares = [
        value
        for _, metrics in points
        for key, value in metrics.items()
        if "gpu" in key and "utilization" in key
    ]
    if device != "cuda":
        return Figure(name, None, note="not on a GPU")
    if not shares:
        return Figure(name, None, note="nvidia-ml-py is not installed")
    return Figure(name, float(np.mean(shares)), "%", note="mean over the training, by nvidia-ml-py")


if __name__ == "__main__":
    main()
