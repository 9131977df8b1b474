"""A model on disk: it is loaded bit for bit, or refused."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load, save

from moola_pipeline.errors import ChecksumMismatch, IntegrityError
from moola_pipeline.features.schema import FEATURE_NAMES, N_FEATURES
from moola_pipeline.models.classifier import Classifier
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.models.expansion_model import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    ExpansionModel,
    Thresholds,
    load_encoder,
    load_expansion_model,
    save_encoder,
    save_expansion_model,
    sigmoid,
)
from moola_pipeline.models.live import LiveThresholds
from moola_pipeline.models.span_proposer import SpanProposer
from moola_pipeline.storage.checksums import read_checksummed, write_checksummed
from moola_pipeline.training.settings import FinetuneSettings, PretrainSettings

torch.set_num_threads(1)
RULE = SpanProposer(min_net_atr=1.1, min_efficiency=0.3, min_length=3, max_length=17, ordering="speed")
THRESHOLDS = Thresholds(
    expansion_scale=1 / 3,
    expansion_shift=-0.1,
    expansion_threshold=0.2,
    retracement_scale=0.7,
    retracement_shift=0.05,
    retracement_threshold=0.55,
    refine=True,
    live=LiveThresholds(
        min_net_atr=0.5, scale=0.9, shift=-0.2, thresholds={0: 0.9, 1: 0.8, 3: 0.5, 5: 0.4, 10: 0.3}
    ),
)
FACTS = {"seed": 3, "trained_to": "2024-12-31"}


def made_model(seed: int = 0) -> ExpansionModel:
    torch.manual_seed(seed)
    encoder = Encoder(8)
    encoder.set_scale(torch.randn(50, N_FEATURES))
    return ExpansionModel(Classifier(encoder, 8, 0.25).eval(), RULE, THRESHOLDS)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    save_expansion_model(folder, made_model(), FACTS)
    return folder


def change_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    config = read_checksummed(folder / CONFIG_FILE, "must be whole", "Train it again.")
    change(config)
    write_checksummed(folder / CONFIG_FILE, config)


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change the weights and their digest in the config."""
    weights = load((folder / WEIGHTS_FILE).read_bytes())
    change(weights)
    content = save(weights)
    (folder / WEIGHTS_FILE).write_bytes(content)
    change_config(folder, lambda config: config.update(weights_sha256=hashlib.sha256(content).hexdigest()))


def test_all_parameters_are_counted():
    model = made_model()
    weights = sum(tensor.numel() for tensor in model.classifier.state_dict().values())

    assert model.n_parameters == weights + 5 + 7 + 8
    assert len(SpanProposer.model_fields) == 5 and THRESHOLDS.n_numbers == 15
    assert THRESHOLDS.model_copy(update={"live": None}).n_numbers == 7


def test_the_default_model_has_at_most_100_000_parameters():
    network = Classifier(Encoder(PretrainSettings().hidden_units), FinetuneSettings().head_units, 0.5)

    assert ExpansionModel(network, RULE, THRESHOLDS).n_parameters <= 100_000


def test_a_saved_model_is_loaded_bit_for_bit(saved: Path):
    model = made_model()
    loaded, facts = load_expansion_model(saved)

    assert facts == FACTS
    assert loaded.proposer == model.proposer and loaded.thresholds == model.thresholds
    assert not loaded.classifier.training
    assert loaded.classifier.dropout_share == 0.25
    before, after = model.classifier.state_dict(), loaded.classifier.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    features = torch.randn(2, 125, N_FEATURES)
    with torch.no_grad():
        assert torch.equal(model.classifier.encoder(features), loaded.classifier.encoder(features))


def test_a_model_of_an_earlier_version_reads_its_inputs_as_then(tmp_path: Path):
    classifier = Classifier(Encoder(8), 8, 0.25, pieces=0).eval()
    save_expansion_model(tmp_path, ExpansionModel(classifier, RULE, THRESHOLDS), FACTS)
    change_config(tmp_path, lambda config: config.pop("pieces"))
    loaded, _ = load_expansion_model(tmp_path)
    assert loaded.classifier.pieces == 0
    assert loaded.classifier.state_dict().keys() == classifier.state_dict().keys()


@pytest.mark.parametrize("pieces", [-1, 17, 10**12, 1.5, "4", None])
def test_pieces_out_of_bounds_are_refused(saved: Path, pieces: object):
    change_config(saved, lambda config: config.update(pieces=pieces))
    with pytest.raises(IntegrityError):
        load_expansion_model(saved)


def test_a_saved_encoder_is_loaded_bit_for_bit(tmp_path: Path):
    encoder = made_model().classifier.encoder
    save_encoder(tmp_path / "encoder", encoder, FACTS)
    loaded, facts = load_encoder(tmp_path / "encoder")

    assert facts == FACTS
    assert not loaded.training
    assert all(
        torch.equal(encoder.state_dict()[name], tensor) for name, tensor in loaded.state_dict().items()
    )


def test_the_same_model_gives_the_same_bytes(saved: Path, tmp_path: Path):
    save_expansion_model(tmp_path / "again", made_model(), FACTS)

    for name in (WEIGHTS_FILE, CONFIG_FILE):
        assert (saved / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_a_model_of_another_feature_list_is_refused_by_name(saved: Path):
    change_config(saved, lambda config: config.update(features=[*FEATURE_NAMES[:-1], "rsi_14"]))
    with pytest.raises(IntegrityError) as refusal:
        load_expansion_model(saved)

    assert str(refusal.value) == (
        f"model: the model has {N_FEATURES} features, this version has {N_FEATURES}; "
        f"they differ in {FEATURE_NAMES[-1]}, rsi_14. Train it again."
    )


def test_a_model_with_the_features_in_another_order_is_refused(saved: Path):
    change_config(saved, lambda config: config["features"].reverse())
    with pytest.raises(IntegrityError, match="they differ in the order"):
        load_expansion_model(saved)


def test_a_missing_tensor_is_refused(saved: Path):
    change_weights(saved, lambda weights: weights.pop("type_head.outer.bias"))
    with pytest.raises(
        IntegrityError, match=r'model: weights and config do not match .*"type_head\.outer\.bias"'
    ):
        load_expansion_model(saved)


def test_an_encoder_that_lacks_a_tensor_is_refused(tmp_path: Path):
    save_encoder(tmp_path, Encoder(8), {})
    change_weights(tmp_path, lambda weights: weights.pop("lstm.weight_hh_l0_reverse"))
    with pytest.raises(IntegrityError, match="Missing key.*weight_hh_l0_reverse"):
        load_encoder(tmp_path)


def test_a_tensor_too_many_is_refused(saved: Path):
    change_weights(saved, lambda weights: weights.update(countdown_head=torch.zeros(1)))
    with pytest.raises(IntegrityError, match="Unexpected key.*countdown_head"):
        load_expansion_model(saved)


def test_weights_of_another_size_are_refused(saved: Path):
    change_config(saved, lambda config: config.update(hidden_units=16))
    with pytest.raises(IntegrityError, match="size mismatch for encoder"):
        load_expansion_model(saved)


def test_weights_of_another_model_are_refused_with_both_digests(saved: Path, tmp_path: Path):
    save_expansion_model(tmp_path / "other", made_model(seed=1), FACTS)
    digest = hashlib.sha256((saved / WEIGHTS_FILE).read_bytes()).hexdigest()
    other = (tmp_path / "other" / WEIGHTS_FILE).read_bytes()
    (saved / WEIGHTS_FILE).write_bytes(other)
    with pytest.raises(ChecksumMismatch) as refusal:
        load_expansion_model(saved)

    assert str(refusal.value) == (
        f"model/weights.safetensors: SHA256 is {hashlib.sha256(other).hexdigest()}, "
        f"config.json records {digest}. Train it again."
    )


@pytest.mark.parametrize("name", [WEIGHTS_FILE, CONFIG_FILE])
def test_a_missing_file_is_refused(saved: Path, name: str):
    (saved / name).unlink()
    with pytest.raises(IntegrityError, match=f"cannot read the model .*{name}"):
        load_expansion_model(saved)


def test_a_broken_config_is_refused(saved: Path):
    (saved / CONFIG_FILE).write_text("{")
    with pytest.raises(IntegrityError, match=r"^config.json of model must describe .*Train it again\.$"):
        load_expansion_model(saved)


def test_another_format_is_refused(saved: Path):
    change_config(saved, lambda config: config.update(format=2))
    with pytest.raises(IntegrityError, match=r"model: model format must be 1, got 2\. Train it again\."):
        load_expansion_model(saved)


@pytest.mark.parametrize("name", ["proposer", "thresholds", "hidden_units", "dropout", "facts"])
def test_a_config_that_lacks_an_entry_is_refused(saved: Path, name: str):
    change_config(saved, lambda config: config.pop(name))
    with pytest.raises(IntegrityError, match=f"weights and config do not match .*{name}"):
        load_expansion_model(saved)


@pytest.mark.parametrize("share", [-0.1, 1.0, "0.1"])
def test_a_dropout_out_of_bounds_is_refused(saved: Path, share: object):
    change_config(saved, lambda config: config.update(dropout=share))
    with pytest.raises(IntegrityError, match="weights and config do not match"):
        load_expansion_model(saved)


def test_an_unknown_threshold_is_refused(saved: Path):
    change_config(saved, lambda config: config["thresholds"].update(countdown_scale=1.0))
    with pytest.raises(IntegrityError, match="countdown_scale"):
        load_expansion_model(saved)


def test_thresholds_out_of_bounds_are_refused():
    with pytest.raises(ValidationError, match="expansion_threshold"):
        Thresholds(**{**THRESHOLDS.model_dump(), "expansion_threshold": 1.5})


def test_a_wait_without_a_threshold_is_refused():
    given = {"min_net_atr": 0.5, "scale": 1.0, "shift": 0.0, "thresholds": {0: 0.5, 1: 0.5}}
    with pytest.raises(ValidationError, match=r"thresholds must have the waits \(0, 1, 3, 5, 10\) bars, got"):
        LiveThresholds.model_validate(given)


def test_probabilities_worked_by_hand():
    assert sigmoid(np.array([0.0, np.log(3), -np.log(3)])) == pytest.approx([0.5, 0.75, 0.25])
    assert sigmoid(np.array([-1e4, 1e4])) == pytest.approx([0, 1])
