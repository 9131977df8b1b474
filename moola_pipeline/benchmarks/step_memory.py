"""Memory and time of a pretraining step, with and without activation checkpointing."""

import json
import time
from typing import NamedTuple

import torch

from moola_pipeline.benchmarks.batch_speed import devices, learn, settle
from moola_pipeline.benchmarks.measured_process import json_output_of, resident_mb
from moola_pipeline.features.schema import N_FEATURES
from moola_pipeline.models.encoder import Encoder, states_of
from moola_pipeline.training.device import set_precision
from moola_pipeline.training.optimizer import AdamW
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline.windows.window_geometry import VIEW_BARS

SIZES = (64, 512)
"""Windows per batch, increasing: the peak memory of a process never falls."""
STEPS = 8
_STEPS = (
    "import sys; from moola_pipeline.benchmarks.step_memory import print_steps; print_steps(*sys.argv[1:])"
)
_MB = 2**20


class StepMemory(NamedTuple):
    """Memory and time of one kind of step, measured in a separate process.

    Attributes:
        device: cpu or cuda.
        recomputed: Whether encoder states were recomputed instead of stored.
        windows: Windows per batch.
        seconds: Per step, the best of the repeats.
        peak_mb: Peak memory of a step above that before it, MB of 2**20 bytes: resident memory on a
            CPU, tensors on a GPU.
    """

    device: str
    recomputed: bool
    windows: int
    seconds: float
    peak_mb: float


def measure_steps(sizes: tuple[int, ...] = SIZES, steps: int = STEPS) -> list[StepMemory]:
    """Measure both ways at each size, increasing, on each device; the best of `steps` steps."""
    words = str(steps), *map(str, sizes)
    return [
        StepMemory(device, recomputed, size, **found[str(size)])
        for device in devices()
        for recomputed in (False, True)
        for found in [json_output_of(_STEPS, device, str(int(recomputed)), *words)]
        for size in sizes
    ]


def print_steps(device: str, recomputed: str, steps: str, *sizes: str) -> None:
    """Main function of the measured process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    set_precision(tf32=False)
    encoder = Encoder(PretrainSettings().hidden_units).to(device)
    head = torch.nn.Linear(2 * encoder.hidden_units, N_FEATURES).to(device)
    learned = [*encoder.parameters(), *head.parameters()]
    optimizer = AdamW(learned, fused=device == "cuda")

    def loss_of(features: torch.Tensor) -> torch.Tensor:
        states = states_of(encoder, features, recomputed == "1")
        return torch.nn.functional.mse_loss(head(states), features)

    def batch(windows: int) -> torch.Tensor:
        return torch.randn(windows, VIEW_BARS, N_FEATURES).to(device)

    learn(optimizer, [batch(2)], loss_of)  # warm up
    before = _current_mb(device)
    found = {}
    for windows in map(int, sizes):
        features, seconds = batch(windows), []
        for _ in range(int(steps)):
            settle(device)
            started = time.perf_counter()
            learn(optimizer, [features], loss_of)
            settle(device)
            seconds.append(time.perf_counter() - started)
        found[windows] = {"seconds": min(seconds), "peak_mb": _peak_mb(device) - before}
    print(json.dumps(found))  # noqa: T201


def _current_mb(device: str) -> float:
    return torch.cuda.memory_allocated() / _MB if device == "cuda" else resident_mb("VmRSS")


def _peak_mb(device: str) -> float:
    return torch.cuda.max_memory_allocated() / _MB if device == "cuda" else resident_mb("VmHWM")


def steps_page(found: list[StepMemory]) -> tuple[str, ...]:
    """The section of the page, in Markdown."""
    return (
        "**Gradient checkpointing.** Encoder states are stored for the gradient, or recomputed "
        "(`gradient_checkpointing`). One step of the encoder and a one-layer decoder on random windows, "
        "in a separate process. Peak: memory of a step beyond network and optimizer, MB.",
        "",
        "| device | windows per batch | stored: ms per step | peak | recomputed: ms per step | peak "
        "| time ratio | memory ratio |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(stored, recomputed) for stored, recomputed in _pairs(found)),
        "",
    )


def steps_lines(found: list[StepMemory]) -> list[str]:
    """One line for each device and size."""
    return [
        f"{f'gradient checkpointing, {stored.device}, batches of {stored.windows}':58}"
        f"{recomputed.seconds / stored.seconds:9.2f} times the seconds, "
        f"{recomputed.peak_mb:.0f} MB instead of {stored.peak_mb:.0f} MB"
        for stored, recomputed in _pairs(found)
    ]


def _pairs(found: list[StepMemory]) -> list[tuple[StepMemory, StepMemory]]:
    recomputed = {(step.device, step.windows): step for step in found if step.recomputed}
    return [(step, recomputed[step.device, step.windows]) for step in found if not step.recomputed]


def _row(stored: StepMemory, recomputed: StepMemory) -> str:
    return (
        f"| {stored.device} | {stored.windows} | {stored.seconds * 1e3:.1f} | {stored.peak_mb:.0f} "
        f"| {recomputed.seconds * 1e3:.1f} | {recomputed.peak_mb:.0f} "
        f"| {recomputed.seconds / stored.seconds:.2f} "
        f"| {recomputed.peak_mb / max(stored.peak_mb, 1e-9):.2f} |"
    )
