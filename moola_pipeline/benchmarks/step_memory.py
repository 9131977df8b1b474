"""What a step of pretraining takes in memory and time, encoder states kept or computed again."""

import json
import time
from typing import NamedTuple

import torch

from moola_pipeline.benchmarks.batch_speed import devices, learn, settle
from moola_pipeline.benchmarks.measured_process import answer_of, resident_mb
from moola_pipeline.features.schema import N_FEATURES
from moola_pipeline.models.encoder import Encoder, states_of
from moola_pipeline.training.device import set_precision
from moola_pipeline.training.settings import PretrainSettings
from moola_pipeline.windows.window_geometry import VIEW_BARS

SIZES = (64, 512)
"""Windows in a batch, increasing: a later one must rise above the peak of the one before."""
STEPS = 8
_STEPS = (
    "import sys; from moola_pipeline.benchmarks.step_memory import print_steps; print_steps(*sys.argv[1:])"
)
_MB = 2**20


class StepMemory(NamedTuple):
    """One way to step, in a process of its own.

    Attributes:
        device: cpu or cuda.
        recomputed: Whether encoder states were computed again instead of kept.
        windows: In the batch.
        seconds: Of a step, the best of some.
        peak_mb: The most that a step took above what lay there before it, MB of 2**20 bytes: of the
            process on a processor, of tensors on a GPU.
    """

    device: str
    recomputed: bool
    windows: int
    seconds: float
    peak_mb: float


def measure_steps(sizes: tuple[int, ...] = SIZES, steps: int = STEPS) -> list[StepMemory]:
    """Both ways at each size, increasing, on each device; the best of so many steps."""
    words = str(steps), *map(str, sizes)
    return [
        StepMemory(device, recomputed, size, **found[str(size)])
        for device in devices()
        for recomputed in (False, True)
        for found in [answer_of(_STEPS, device, str(int(recomputed)), *words)]
        for size in sizes
    ]


def print_steps(device: str, recomputed: str, steps: str, *sizes: str) -> None:
    """The body of the process that steps."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    set_precision(tf32=False)
    encoder = Encoder(PretrainSettings().hidden_units).to(device)
    head = torch.nn.Linear(2 * encoder.hidden_units, N_FEATURES).to(device)
    learned = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(learned, fused=device == "cuda")

    def loss_of(features: torch.Tensor) -> torch.Tensor:
        states = states_of(encoder, features, recomputed == "1")
        return torch.nn.functional.mse_loss(head(states), features)

    def batch(windows: int) -> torch.Tensor:
        return torch.randn(windows, VIEW_BARS, N_FEATURES).to(device)

    learn(optimizer, [batch(2)], loss_of)  # warm
    before = _held_mb(device)
    found = {}
    for windows in map(int, sizes):
        shown, seconds = batch(windows), []
        for _ in range(int(steps)):
            settle(device)
            started = time.perf_counter()
            learn(optimizer, [shown], loss_of)
            settle(device)
            seconds.append(time.perf_counter() - started)
        found[windows] = {"seconds": min(seconds), "peak_mb": _peak_mb(device) - before}
    print(json.dumps(found))  # noqa: T201


def _held_mb(device: str) -> float:
    return torch.cuda.memory_allocated() / _MB if device == "cuda" else resident_mb("VmRSS")


def _peak_mb(device: str) -> float:
    return torch.cuda.max_memory_allocated() / _MB if device == "cuda" else resident_mb("VmHWM")


def steps_page(found: list[StepMemory]) -> tuple[str, ...]:
    """The section of the page, in Markdown."""
    return (
        "**Gradient checkpointing.** Encoder states kept for the gradient, or computed a second time "
        "(`gradient_checkpointing`): a step of the encoder with a decoder of one layer on random windows, "
        "in a process of its own. Peak: what a step takes above network and optimizer, MB.",
        "",
        "| device | windows a batch | kept: ms a step | peak | again: ms a step | peak | time | memory |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(kept, again) for kept, again in _pairs(found)),
        "",
    )


def steps_lines(found: list[StepMemory]) -> list[str]:
    """One line for each device and size."""
    return [
        f"{f'gradient checkpointing, {kept.device}, batches of {kept.windows}':58}"
        f"{again.seconds / kept.seconds:9.2f} times as long, {kept.peak_mb:.0f} MB become {again.peak_mb:.0f}"
        for kept, again in _pairs(found)
    ]


def _pairs(found: list[StepMemory]) -> list[tuple[StepMemory, StepMemory]]:
    again = {(one.device, one.windows): one for one in found if one.recomputed}
    return [(one, again[one.device, one.windows]) for one in found if not one.recomputed]


def _row(kept: StepMemory, again: StepMemory) -> str:
    return (
        f"| {kept.device} | {kept.windows} | {kept.seconds * 1e3:.1f} | {kept.peak_mb:.0f} "
        f"| {again.seconds * 1e3:.1f} | {again.peak_mb:.0f} | {again.seconds / kept.seconds:.2f} "
        f"| {again.peak_mb / max(kept.peak_mb, 1e-9):.2f} |"
    )
