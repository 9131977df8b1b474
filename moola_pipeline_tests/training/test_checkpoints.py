"""A killed training resumes from its last epoch, to the same weights bit for bit."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from moola_pipeline.models.encoder import Encoder
from moola_pipeline.training.checkpoints import (
    Checkpoint,
    Checkpoints,
    NumpyGenerator,
    TorchGenerator,
    digest_of,
)
from moola_pipeline.training.finetune import FinetuneResult, FinetuneRows, finetune
from moola_pipeline.training.pretrain import PretrainResult, pretrain
from moola_pipeline.training.pseudo_labels import PseudoLabels, make_pseudo_labels
from moola_pipeline.training.settings import FinetuneSettings, PretrainSettings
from moola_pipeline.windows.dense import pretraining_windows
from moola_pipeline_tests.made_bars import InstrumentData
from moola_pipeline_tests.training.conftest import RULE, SplitRows

SETTINGS = FinetuneSettings(
    head_units=8,
    distill_epochs=3,
    distill_batch_windows=8,
    distill_learning_rate=1e-2,
    epochs=4,
    batch_windows=16,
    frozen_epochs=1,
    average_decay=0.9,
)
PRETRAINING = PretrainSettings(hidden_units=8, epochs=4, batch_windows=8, dropout=0.3)


class Killed(Exception):
    """Simulates a kill within one process."""


def digest(network: torch.nn.Module) -> str:
    tensors = network.state_dict().values()
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors)).hexdigest()


def test_the_state_of_an_optimizer_keeps_integer_keys_and_tensors(tmp_path: Path):
    network = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    network(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    checkpoint = Checkpoints(tmp_path, "made").stage("one", {"epochs": 3})
    checkpoint.keep(2, {"network": network, "optimizer": optimizer})

    other = torch.nn.Linear(3, 2)
    resumed = torch.optim.AdamW(other.parameters(), 1e-2)
    assert checkpoint.restore({"network": other, "optimizer": resumed}) == 2
    assert torch.equal(other.weight, network.weight)
    restored, expected = resumed.state_dict(), optimizer.state_dict()
    assert restored["state"].keys() == expected["state"].keys() == {0, 1}
    assert torch.equal(restored["state"][0]["exp_avg_sq"], expected["state"][0]["exp_avg_sq"])


def test_restored_generators_repeat_their_draws(tmp_path: Path):
    rng, drawing = np.random.default_rng(3), torch.Generator().manual_seed(3)
    parts = {"rng": NumpyGenerator(rng), "drawing": TorchGenerator(drawing)}
    rng.normal(size=5)
    checkpoint = Checkpoints(tmp_path, "made").stage("one")
    checkpoint.keep(1, parts)
    drawn = rng.normal(size=4), torch.rand(4, generator=drawing)

    assert checkpoint.restore(parts) == 1
    assert np.array_equal(rng.normal(size=4), drawn[0])
    assert torch.equal(torch.rand(4, generator=drawing), drawn[1])


def test_a_checkpoint_with_another_key_is_ignored(tmp_path: Path):
    network = torch.nn.Linear(2, 1)
    Checkpoints(tmp_path, "made").stage("one", {"epochs": 3}, 0).keep(2, {"network": network})

    other = torch.nn.Linear(2, 1)
    before = digest(other)
    for made_from, key_parts in (
        ("made", ({"epochs": 4}, 0)),
        ("made", ({"epochs": 3}, 1)),
        ("other", ({"epochs": 3}, 0)),
    ):
        assert Checkpoints(tmp_path, made_from).stage("one", *key_parts).restore({"network": other}) == 0
        assert digest(other) == before
    assert Checkpoints(tmp_path, "made").stage("one", {"epochs": 3}, 0).restore({"network": other}) == 2


@pytest.mark.parametrize("harm", [lambda whole: whole[:-40], lambda whole: b"", lambda whole: b"x" * 99])
def test_a_damaged_checkpoint_is_ignored(tmp_path: Path, harm):
    network = torch.nn.Linear(2, 1)
    checkpoint = Checkpoints(tmp_path, "made").stage("one")
    checkpoint.keep(2, {"network": network})
    assert checkpoint.path is not None
    checkpoint.path.write_bytes(harm(checkpoint.path.read_bytes()))

    assert checkpoint.restore({"network": network}) == 0


def test_a_checkpoint_with_a_flipped_byte_is_ignored_or_unchanged(tmp_path: Path):
    network = torch.nn.Linear(2, 1)
    checkpoint = Checkpoints(tmp_path, "made").stage("one")
    checkpoint.keep(2, {"network": network})
    assert checkpoint.path is not None
    whole = checkpoint.path.read_bytes()
    for place in range(len(whole)):
        checkpoint.path.write_bytes(
            whole[:place] + bytes([whole[place] ^ 1 << place % 7]) + whole[place + 1 :]
        )
        other = torch.nn.Linear(2, 1)
        before = digest(other)
        done = checkpoint.restore({"network": other})
        assert (done, digest(other)) in ((0, before), (2, digest(network))), place


def test_without_a_path_nothing_is_saved():
    network = torch.nn.Linear(2, 1)
    Checkpoint().keep(1, {"network": network})

    assert Checkpoint().restore({"network": network}) == 0


def test_digests_differ_by_value_shape_and_type():
    zeros = np.zeros(4, np.float32)
    distinct = [
        [zeros],
        [zeros.reshape(2, 2)],
        [zeros.astype(np.float64)],
        [zeros, 1],
        [{"a": 1}],
        [{"a": 2}],
    ]

    assert len({digest_of(each) for each in distinct}) == len(distinct)
    assert digest_of([torch.zeros(4)]) == digest_of([zeros])


@pytest.fixture(scope="module")
def pseudo_labels(market: InstrumentData, train: SplitRows) -> PseudoLabels:
    return make_pseudo_labels(market.bars, train.windows, RULE, 0, 60, n_trees=30)


class Training:
    """Fine-tuning on the made market; killed after `kill_after` epochs."""

    def __init__(
        self,
        market: InstrumentData,
        encoder: Encoder,
        train: SplitRows,
        validation: SplitRows,
        pseudo_labels: PseudoLabels,
    ):
        self.market, self.encoder, self.pseudo_labels = market, encoder, pseudo_labels
        self.train, self.validation = train.rows, validation.rows

    def __call__(
        self,
        folder: Path | None,
        kill_after: int | None = None,
        settings: FinetuneSettings = SETTINGS,
        pseudo_labels: bool = True,
    ) -> FinetuneResult:
        entries = []
        rows = FinetuneRows(
            self.market.bars, self.train, self.validation, self.pseudo_labels if pseudo_labels else None
        )

        def on_epoch(entry: dict[str, float]) -> None:
            entries.append(entry)
            if len(entries) == kill_after:
                raise Killed

        return finetune(
            self.encoder,
            rows,
            settings,
            0,
            on_epoch=on_epoch,
            checkpoints=Checkpoints(folder, "made") if folder else None,
        )


@pytest.fixture(scope="module")
def training(
    market: InstrumentData,
    encoder: Encoder,
    train: SplitRows,
    validation: SplitRows,
    pseudo_labels: PseudoLabels,
) -> Training:
    return Training(market, encoder, train, validation, pseudo_labels)


@pytest.fixture(scope="module")
def whole(training: Training) -> FinetuneResult:
    return training(None)


@pytest.mark.parametrize("kill_after", [1, 2, 3, 4, 5, 7])
def test_killed_after_any_epoch_training_resumes_to_the_same_weights(
    training: Training, whole: FinetuneResult, tmp_path: Path, kill_after: int
):
    with pytest.raises(Killed):
        training(tmp_path, kill_after)
    torch.manual_seed(999)  # any state of a new process
    resumed = training(tmp_path)

    assert digest(resumed.classifier) == digest(whole.classifier)
    assert resumed.best_epoch == whole.best_epoch
    for entry, expected in zip(resumed.history, whole.history, strict=True):
        assert {**entry, "seconds": 0} == {**expected, "seconds": 0}


def test_finished_epochs_are_reported_and_not_repeated(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from moola_pipeline.training import distillation, supervised_loop

    training(tmp_path)

    def refuse(*given: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(distillation, "_losses", refuse)
    monkeypatch.setattr(supervised_loop, "losses", refuse)
    assert len(training(tmp_path).history) == 7


def test_a_training_that_stopped_early_stays_stopped(training: Training, tmp_path: Path):
    hasty = SETTINGS.model_copy(update={"epochs": 40, "patience": 2, "learning_rate": 0.5})
    whole = training(None, settings=hasty, pseudo_labels=False)
    assert len(whole.history) < 40
    with pytest.raises(Killed):
        training(tmp_path, len(whole.history) - 1, hasty, pseudo_labels=False)
    for _ in range(2):
        resumed = training(tmp_path, settings=hasty, pseudo_labels=False)
        assert len(resumed.history) == len(whole.history)
        assert digest(resumed.classifier) == digest(whole.classifier)


def test_after_a_changed_label_training_starts_anew(training: Training, tmp_path: Path):
    training(tmp_path)
    first = next(tmp_path.glob("*.checkpoint"))
    spans = training.train.spans
    known = np.flatnonzero(spans.type >= 0)[:1]
    kind = spans.type.copy()
    kind[known] = 1 - kind[known]
    original = training.train
    try:
        training.train = replace(original, spans=replace(spans, type=kind))
        with pytest.raises(Killed):
            training(tmp_path, 1)
        assert first.is_file()
    finally:
        training.train = original


def test_removed_checkpoints_leave_no_folder(training: Training, tmp_path: Path):
    folder = tmp_path / "kept"
    training(folder)
    assert {path.name for path in folder.iterdir()} == {
        "seed-0.labels.checkpoint",
        "seed-0.pseudo_labels.checkpoint",
    }
    Checkpoints(folder, "made").remove()

    assert not folder.exists()


def pretrained(
    market: InstrumentData,
    folder: Path | None,
    kill_after: int | None = None,
    settings: PretrainSettings = PRETRAINING,
) -> PretrainResult:
    entries = []

    def on_epoch(entry: dict[str, float]) -> None:
        entries.append(entry)
        if len(entries) == kill_after:
            raise Killed

    windows = pretraining_windows(market.bars.segment, len(market.bars.prices))
    checkpoints = Checkpoints(folder, "made") if folder else None
    return pretrain(market.bars, windows, settings, "cpu", on_epoch, checkpoints)


@pytest.mark.parametrize("kill_after", [1, 3, 4])
def test_pretraining_resumes_to_the_same_encoder_and_errors(
    market: InstrumentData, tmp_path: Path, kill_after: int
):
    whole = pretrained(market, None)
    with pytest.raises(Killed):
        pretrained(market, tmp_path, kill_after)
    torch.manual_seed(999)
    resumed = pretrained(market, tmp_path)

    assert digest(resumed.encoder) == digest(whole.encoder)
    assert resumed.errors == whole.errors
    assert len(resumed.history) == 4


CHILD = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from moola_pipeline_tests.training.test_checkpoints import child
child(Path(sys.argv[1]))
"""


def child(folder: Path) -> None:
    """Fine-tune in a separate process; print a line for each epoch, then the digest."""
    from moola_pipeline_tests.made_bars import made_market
    from moola_pipeline_tests.training.conftest import initialize, split_rows

    market = made_market(20)
    train, validation = (
        split_rows(market, market.windows.select(part)) for part in (np.arange(36), np.arange(36, 48))
    )
    encoder = Encoder(8)
    initialize(encoder, 0)
    result = finetune(
        encoder.eval(),
        FinetuneRows(market.bars, train.rows, validation.rows),
        SETTINGS.model_copy(update={"epochs": 6}),
        0,
        on_epoch=lambda entry: print(f"epoch {entry['epoch']:.0f}", flush=True),  # noqa: T201
        checkpoints=Checkpoints(folder, "made"),
    )
    print(digest(result.classifier), flush=True)  # noqa: T201


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)], stdout=subprocess.PIPE, text=True, env={**os.environ}
    )


def test_a_training_killed_by_the_system_resumes_in_another_process(
    tmp_path: Path, started: list[subprocess.Popen[str]]
):
    undisturbed = start(tmp_path / "undisturbed")
    killed = start(tmp_path / "killed")
    started += [undisturbed, killed]
    assert killed.stdout is not None
    for line in killed.stdout:
        if line == "epoch 2\n":
            os.kill(killed.pid, signal.SIGKILL)
            break
    killed.stdout.close()
    assert killed.wait() == -signal.SIGKILL
    assert list((tmp_path / "killed").glob("*.checkpoint"))
    again = start(tmp_path / "killed")
    started.append(again)

    lines, expected = (process.communicate(timeout=120)[0].split("\n") for process in (again, undisturbed))
    assert lines[-2] == expected[-2]
    assert len(lines[-2]) == 64
