"""Errors of `moola run` in training, and that a killed run resumes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from moola_pipeline.cli.exit_codes import BAD_INPUT, FAILED
from moola_pipeline.settings import PROFILES
from moola_pipeline.storage.atomic_write import file_sha256
from moola_pipeline.storage.home import Home
from moola_pipeline.training import distillation
from moola_pipeline.training import finetune as finetuning
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline_tests.cli.calls import call
from moola_pipeline_tests.homes import SMOKE

STORED = "simulated-smoke"


def smoke_with(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    """Other settings of fine-tuning in the smoke profile."""
    smoke = PROFILES["smoke"]
    finetune = smoke.finetune.model_copy(update=changes)
    monkeypatch.setitem(PROFILES, "smoke", smoke.model_copy(update={"finetune": finetune}))


def test_a_training_split_too_small_for_its_batch_is_one_line(
    smoke_copy: Home, monkeypatch: pytest.MonkeyPatch
):
    smoke_with(monkeypatch, epochs=9)
    check = finetuning._check

    def strict(rows: finetuning.FinetuneRows, settings: FinetuneSettings) -> None:
        check(rows, settings.model_copy(update={"batch_windows": 10_000}))

    monkeypatch.setattr(finetuning, "_check", strict)
    result = call(*SMOKE, home=smoke_copy.root)

    assert result.exit_code == BAD_INPUT
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert "training needs at least 10000 rows (one batch), got" in errors[0]
    assert errors[0].endswith("Label more windows or lower batch_windows.")


def test_a_nan_loss_is_one_line_with_the_times_of_the_windows(
    smoke_copy: Home, monkeypatch: pytest.MonkeyPatch
):
    smoke_with(monkeypatch, distill_epochs=3)
    losses = distillation._losses
    monkeypatch.setattr(distillation, "_losses", lambda *given: losses(*given) * torch.tensor(float("nan")))
    result = call(*SMOKE, home=smoke_copy.root)

    assert result.exit_code == FAILED
    (error,) = (line for line in result.stderr.splitlines() if line.startswith("Error: "))
    assert error.startswith("Error: the loss must be finite, got nan for the windows that open at 2025-")
    assert error.endswith("Check these bars (moola bars check), or lower the learning rate.")


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_weights_and_leaves_no_checkpoint(smoke_home: Home, tmp_path: Path):
    home = Home(tmp_path / "home")
    words = [sys.executable, "-m", "moola_pipeline", "--home", str(home.root), *SMOKE]
    checkpoints = home.store / STORED / "checkpoints" / "finetuned_classifier"
    first = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 300
    while not list(checkpoints.glob("*.checkpoint")) and time.monotonic() < until and first.poll() is None:
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    assert list(checkpoints.glob("*.checkpoint"))

    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    for model in ("pretrained_encoder", "finetuned_classifier/seed-0"):
        weights = Path(STORED) / model / "weights.safetensors"
        assert file_sha256(home.store / weights) == file_sha256(smoke_home.store / weights), model
    assert not (home.store / STORED / "checkpoints").exists() or not list(
        checkpoints.parent.rglob("*.checkpoint")
    )
