"""The served model (span proposer, network and thresholds), and its files."""

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from moola_pipeline.errors import ChecksumMismatch, IntegrityError
from moola_pipeline.features.schema import FEATURE_NAMES
from moola_pipeline.models.classifier import Classifier, n_parameters
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.models.live import LiveThresholds
from moola_pipeline.models.span_inference import SpanLogits, read_spans, refined_spans
from moola_pipeline.models.span_proposer import SpanProposer
from moola_pipeline.storage.atomic_write import atomic_write_bytes
from moola_pipeline.storage.checksums import read_checksummed, unreadable, write_checksummed
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import WINDOW_BARS

FORMAT = 1
WEIGHTS_FILE, CONFIG_FILE = "weights.safetensors", "config.json"
REMEDY = "Train it again."


class Thresholds(BaseModel):
    """Calibration and thresholds, fitted on validation windows, never on test."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    expansion_scale: float = Field(gt=0, description="probability = sigmoid(scale * logit + shift)")
    expansion_shift: float
    expansion_threshold: float = Field(ge=0, le=1, description="least P(expansion) of a reported span")
    retracement_scale: float = Field(gt=0)
    retracement_shift: float
    retracement_threshold: float = Field(ge=0, le=1, description="least P(retracement) of that type")
    refine: bool = Field(description="take the span from the pointer instead of the rule")
    live: LiveThresholds | None = Field(
        default=None, description="thresholds of live mode; null if live mode was not trained"
    )

    @property
    def n_numbers(self) -> int:
        """Number of fitted values."""
        return len(Thresholds.model_fields) - 1 + (self.live.n_numbers if self.live else 0)

    @property
    def type_prior(self) -> float:
        """The share of retracements that P(retracement) assumes: its value where both types are as likely."""
        return float(sigmoid(np.array(self.retracement_shift)))

    def accept(self, proposals: Spans, logits: SpanLogits) -> "FoundSpans":
        """Proposals above the threshold, with their types and, with `refine`, the pointer's spans."""
        probability = sigmoid(self.expansion_scale * logits.expansion + self.expansion_shift)
        calibrated, balanced = self.type_probabilities(logits.retracement)
        types = (calibrated >= self.retracement_threshold).astype(np.int64)
        spans = replace(refined_spans(proposals, logits, self.refine), type=types)
        accepted = np.flatnonzero(probability >= self.expansion_threshold)
        order = accepted[np.lexsort((spans.start[accepted], spans.window[accepted]))]
        return FoundSpans(spans.select(order), probability[order], calibrated[order], balanced[order])

    def type_probabilities(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """P(retracement), calibrated on validation, and at equal frequencies of both types."""
        scaled = self.retracement_scale * logits
        return sigmoid(scaled + self.retracement_shift), sigmoid(scaled)


@dataclass(frozen=True)
class FoundSpans:
    """Reported expansions, sorted by window and start.

    Attributes:
        spans: n typed spans.
        probability: (n,) float64, P(expansion).
        p_retracement: (n,) float64, P(retracement), calibrated on validation.
        p_balanced: (n,) float64, P(retracement) at equal type frequencies.
    """

    spans: Spans
    probability: np.ndarray
    p_retracement: np.ndarray
    p_balanced: np.ndarray


class SpanModel(Protocol):
    """What finds and types expansions: it proposes spans, reads logits of each, and has thresholds."""

    @property
    def proposer(self) -> SpanProposer:
        """Proposes the spans."""
        ...

    @property
    def thresholds(self) -> Thresholds:
        """Calibration and thresholds of its logits."""
        ...

    def read(
        self, market: MarketArrays, bar0: np.ndarray, spans: Spans, device: torch.device | str = "cpu"
    ) -> SpanLogits:
        """Logits of spans in the windows at rows `bar0` (n_windows,)."""
        ...

    def on(self, device: torch.device | str) -> AbstractContextManager[None]:
        """Move to a device for a block."""
        ...


@dataclass(frozen=True)
class ExpansionModel:
    """A span proposer, the network that scores and types its spans, and thresholds."""

    classifier: Classifier
    proposer: SpanProposer
    thresholds: Thresholds

    @property
    def n_parameters(self) -> int:
        """Number of network weights, proposer thresholds, and fitted values of `thresholds`."""
        return n_parameters(self.classifier) + len(SpanProposer.model_fields) + self.thresholds.n_numbers

    def read(
        self,
        market: MarketArrays,
        bar0: np.ndarray,
        spans: Spans,
        device: torch.device | str = "cpu",
        bars: int = WINDOW_BARS,
    ) -> SpanLogits:
        """Logits of spans in windows; see `span_inference.read_spans`."""
        return read_spans(self.classifier, market, bar0, spans, device, bars)

    @contextmanager
    def on(self, device: torch.device | str) -> Iterator[None]:
        """Move the network to a device for a block; it ends on the CPU."""
        self.classifier.to(device)
        try:
            yield
        finally:
            self.classifier.to("cpu")


def save_expansion_model(folder: Path, model: ExpansionModel, facts: dict[str, Any]) -> None:
    """Write weights.safetensors, then config.json with proposer, thresholds and training `facts`."""
    classifier = model.classifier
    settings = {
        "hidden_units": classifier.encoder.hidden_units,
        "head_units": classifier.head_units,
        "dropout": classifier.dropout_share,
        "pieces": classifier.pieces,
        "proposer": model.proposer.model_dump(),
        "thresholds": model.thresholds.model_dump(),
    }
    _save(folder, classifier, settings, facts)


def load_expansion_model(folder: Path) -> tuple[ExpansionModel, dict[str, Any]]:
    """Read a model written by `save_expansion_model`; tensor names must match exactly.

    Returns:
        The model, in evaluation mode on the CPU, and its training facts.

    Raises:
        IntegrityError: If a file is missing or broken, or has another feature list.
        ChecksumMismatch: If the digest of the weights is not the one in the config.
    """
    config, weights = _read(folder)
    with _consistent(folder):
        encoder = Encoder(config["hidden_units"])
        classifier = Classifier(encoder, config["head_units"], config["dropout"], config.get("pieces", 0))
        classifier.load_state_dict(weights, strict=True)
        proposer, thresholds = SpanProposer(**config["proposer"]), Thresholds(**config["thresholds"])
        facts = config["facts"]
    return ExpansionModel(classifier.eval(), proposer, thresholds), facts


def save_encoder(folder: Path, encoder: Encoder, facts: dict[str, Any]) -> None:
    """Write an encoder's weights, then its config with training `facts`."""
    _save(folder, encoder, {"hidden_units": encoder.hidden_units}, facts)


def load_encoder(folder: Path) -> tuple[Encoder, dict[str, Any]]:
    """Read an encoder written by `save_encoder`, with the checks of `load_expansion_model`."""
    config, weights = _read(folder)
    with _consistent(folder):
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
        raise IntegrityError(f"{folder.name}: cannot read the model ({fault}). {REMEDY}") from fault
    except OSError as fault:
        raise unreadable(folder, fault, REMEDY) from fault
    require_schema(folder.name, config)
    # Two files cannot be replaced atomically: a kill in between leaves new weights with an old config.
    digest = hashlib.sha256(content).hexdigest()
    if digest != config.get("weights_sha256"):
        raise ChecksumMismatch(
            f"{folder.name}/{WEIGHTS_FILE}: SHA256 is {digest}, {CONFIG_FILE} records "
            f"{config.get('weights_sha256')}. {REMEDY}"
        )
    with _consistent(folder):
        return config, load(content)


@contextmanager
def _consistent(folder: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, RuntimeError, ValueError, LookupError, TypeError, OverflowError) as fault:
        reason = " ".join(str(fault).split())
        raise IntegrityError(
            f"{folder.name}: weights and config do not match ({reason}). {REMEDY}"
        ) from fault


def require_schema(name: str, config: dict[str, Any]) -> None:
    """Refuse a model with another format or feature list."""
    if config.get("format") != FORMAT:
        raise IntegrityError(f"{name}: model format must be {FORMAT}, got {config.get('format')}. {REMEDY}")
    if config.get("features") != list(FEATURE_NAMES):
        value = config.get("features")
        names = [str(feature) for feature in value] if isinstance(value, list) else []
        differing = sorted(set(names) ^ set(FEATURE_NAMES)) or ["the order"]
        raise IntegrityError(
            f"{name}: the model has {len(names)} features, this version has {len(FEATURE_NAMES)}; "
            f"they differ in {', '.join(differing[:5])}. {REMEDY}"
        )


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probability of logits, float64."""
    return 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
