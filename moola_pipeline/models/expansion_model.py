"""The whole model: rule, network and decisions, as it is served; and how it is kept on disk."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from moola_pipeline.errors import ChecksumMismatch, IntegrityError
from moola_pipeline.features.schema import FEATURE_NAMES
from moola_pipeline.models.classifier import Classifier, n_parameters
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.models.live import LiveThresholds
from moola_pipeline.models.span_inference import SpanLogits, refined_spans
from moola_pipeline.models.span_proposer import SpanProposer
from moola_pipeline.storage.atomic_write import atomic_write_bytes
from moola_pipeline.storage.checksums import read_checksummed, unreadable, write_checksummed
from moola_pipeline.windows.spans import Spans

FORMAT = 1
WEIGHTS_FILE, CONFIG_FILE = "weights.safetensors", "config.json"
REMEDY = "Train it again."


class Thresholds(BaseModel):
    """What turns logits into answers; fitted on validation windows, never on test."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    expansion_scale: float = Field(gt=0, description="probability = sigmoid(scale * logit + shift)")
    expansion_shift: float
    expansion_threshold: float = Field(ge=0, le=1, description="least probability that is reported")
    retracement_scale: float = Field(gt=0)
    retracement_shift: float
    retracement_threshold: float = Field(ge=0, le=1, description="where both classes weigh the same")
    refine: bool = Field(description="whether the pointer's span replaces the rule's")
    live: LiveThresholds | None = Field(
        default=None, description="of live mode; null where the network was not taught to answer live"
    )

    @property
    def n_numbers(self) -> int:
        """How many numbers were fitted."""
        return len(Thresholds.model_fields) - 1 + (self.live.n_numbers if self.live else 0)


@dataclass(frozen=True)
class FoundSpans:
    """Expansions that the model reports, by window and start.

    Attributes:
        spans: n typed spans.
        probability: (n,) float64 that each is an expansion.
        p_retracement: (n,) float64, calibrated to the validation mix.
        p_balanced: (n,) float64, both types weighing the same.
    """

    spans: Spans
    probability: np.ndarray
    p_retracement: np.ndarray
    p_balanced: np.ndarray


@dataclass(frozen=True)
class ExpansionModel:
    """A rule that proposes, a network that judges and types, and the decisions of both."""

    classifier: Classifier
    proposer: SpanProposer
    thresholds: Thresholds

    @property
    def n_parameters(self) -> int:
        """Network weights, rule thresholds and decisions, all counted."""
        return n_parameters(self.classifier) + len(SpanProposer.model_fields) + self.thresholds.n_numbers

    def accept(self, proposals: Spans, logits: SpanLogits) -> FoundSpans:
        """The proposals that are sure enough, with their types and, if so decided, the pointer's ends."""
        thresholds = self.thresholds
        probability = sigmoid(thresholds.expansion_scale * logits.expansion + thresholds.expansion_shift)
        calibrated, balanced = self.type_probabilities(logits.retracement)
        is_retracement = calibrated >= thresholds.retracement_threshold
        spans = replace(
            refined_spans(proposals, logits, thresholds.refine), type=is_retracement.astype(np.int64)
        )
        sure = np.flatnonzero(probability >= thresholds.expansion_threshold)
        kept = sure[np.lexsort((spans.start[sure], spans.window[sure]))]
        return FoundSpans(spans.select(kept), probability[kept], calibrated[kept], balanced[kept])

    def type_probabilities(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """P(retracement) calibrated to the validation mix, and with both types weighing the same."""
        scaled = self.thresholds.retracement_scale * logits
        return sigmoid(scaled + self.thresholds.retracement_shift), sigmoid(scaled)


def save_expansion_model(folder: Path, model: ExpansionModel, facts: dict[str, Any]) -> None:
    """Write weights.safetensors, then config.json with rule, decisions and `facts` of its making."""
    classifier = model.classifier
    settings = {
        "hidden_units": classifier.encoder.hidden_units,
        "head_units": classifier.head_units,
        "dropout": classifier.dropout_share,
        "proposer": model.proposer.model_dump(),
        "thresholds": model.thresholds.model_dump(),
    }
    _save(folder, classifier, settings, facts)


def load_expansion_model(folder: Path) -> tuple[ExpansionModel, dict[str, Any]]:
    """Read a model written by `save_expansion_model`; every tensor must be there and none besides.

    Returns:
        The model, in evaluation mode on the CPU, and the facts of its making.

    Raises:
        IntegrityError: If a file is missing or broken, or was made for another feature schema.
        ChecksumMismatch: If the weights are not those that the config was written for.
    """
    config, weights = _read(folder)
    with _agreement(folder):
        encoder = Encoder(config["hidden_units"])
        classifier = Classifier(encoder, config["head_units"], config["dropout"])
        classifier.load_state_dict(weights, strict=True)
        proposer, thresholds = SpanProposer(**config["proposer"]), Thresholds(**config["thresholds"])
        facts = config["facts"]
    return ExpansionModel(classifier.eval(), proposer, thresholds), facts


def save_encoder(folder: Path, encoder: Encoder, facts: dict[str, Any]) -> None:
    """Write an encoder's weights, then its config with `facts` of its making."""
    _save(folder, encoder, {"hidden_units": encoder.hidden_units}, facts)


def load_encoder(folder: Path) -> tuple[Encoder, dict[str, Any]]:
    """Read an encoder written by `save_encoder`; strict, as `load_expansion_model` is."""
    config, weights = _read(folder)
    with _agreement(folder):
        encoder = Encoder(config["hidden_units"])
        encoder.load_state_dict(weights, strict=True)
        facts = config["facts"]
    return encoder.eval(), facts


def _save(folder: Path, module: nn.Module, settings: dict[str, Any], facts: dict[str, Any]) -> None:
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    weights = save(tensors)
    config = {
        "format": FORMAT,
        "features": list(FEATURE_NAMES),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        **settings,
        "facts": facts,
    }
    atomic_write_bytes(folder / WEIGHTS_FILE, weights)
    write_checksummed(folder / CONFIG_FILE, config)


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        config = read_checksummed(folder / CONFIG_FILE, f"of {folder.name} must describe the model", REMEDY)
        content = (folder / WEIGHTS_FILE).read_bytes()
    except FileNotFoundError as fault:
        raise IntegrityError(f"{folder.name}: the model cannot be read ({fault}). {REMEDY}") from fault
    except OSError as fault:
        raise unreadable(folder, fault, REMEDY) from fault
    require_schema(folder.name, config)
    # Two files cannot be replaced at once: a stop in between leaves new weights beside an old config.
    digest = hashlib.sha256(content).hexdigest()
    if digest != config.get("weights_sha256"):
        raise ChecksumMismatch(
            f"{folder.name}/{WEIGHTS_FILE}: SHA256 is {digest}, {CONFIG_FILE} records "
            f"{config.get('weights_sha256')}. {REMEDY}"
        )
    with _agreement(folder):
        return config, load(content)


@contextmanager
def _agreement(folder: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, RuntimeError, ValueError, LookupError, TypeError, OverflowError) as fault:
        reason = " ".join(str(fault).split())
        raise IntegrityError(f"{folder.name}: weights and config disagree ({reason}). {REMEDY}") from fault


def require_schema(name: str, config: dict[str, Any]) -> None:
    """Refuse a model of another format or feature list, by name."""
    if config.get("format") != FORMAT:
        raise IntegrityError(f"{name}: model format must be {FORMAT}, got {config.get('format')}. {REMEDY}")
    if config.get("features") != list(FEATURE_NAMES):
        listed = config.get("features")
        theirs = [str(one) for one in listed] if isinstance(listed, list) else []
        strange = sorted(set(theirs) ^ set(FEATURE_NAMES)) or ["the order"]
        raise IntegrityError(
            f"{name}: the model reads {len(theirs)} features, this version has {len(FEATURE_NAMES)}; "
            f"they differ in {', '.join(strange[:5])}. {REMEDY}"
        )


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probability of logits, float64."""
    return 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
