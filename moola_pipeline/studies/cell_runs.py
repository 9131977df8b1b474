"""One cell of the study: train a network on a subset of the labels and predict on validation."""

import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.models.classifier import Classifier
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.models.expansion_model import sigmoid
from moola_pipeline.models.span_inference import SpanLogits, read_spans
from moola_pipeline.models.span_proposer import SpanProposer, propose
from moola_pipeline.report.study_results import NOISY_STUDENT
from moola_pipeline.settings import StudySettings
from moola_pipeline.studies.label_draws import nested_subset
from moola_pipeline.studies.read_back import states_before
from moola_pipeline.studies.store import Cell
from moola_pipeline.training.examples import Examples, TrainingData, make_examples
from moola_pipeline.training.finetune import FinetuneRows, finetune
from moola_pipeline.training.proposer_fit import fit_proposer
from moola_pipeline.training.pseudo_labels import PseudoLabels, make_pseudo_labels
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.training.thresholds import fit_thresholds
from moola_pipeline.windows.span_inputs import N_BEFORE
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import CONTEXT_BARS

MEASURED = "measured"
"""Arm of the probe on the 53 measured numbers before a span, without an encoder."""


@dataclass(frozen=True)
class LabelSubset:
    """A subset of the training labels, and everything fitted on it without an encoder."""

    data: TrainingData
    count: int
    seed: int
    settings: StudySettings

    @cached_property
    def windows(self) -> LabeledWindows:
        """Complete windows of the subset; all those of the training split if it has no more labels."""
        train = self.data.train.complete_windows
        return nested_subset(train, min(self.count, len(train.spans.window)), self.seed)

    @cached_property
    def proposer(self) -> SpanProposer:
        """The span proposer, fitted on the subset."""
        measures = self.data.market.measure_spans(self.windows.bar0)
        return fit_proposer(measures, self.windows.spans, self.settings.finetune.proposal_beta)

    @cached_property
    def examples(self) -> Examples:
        """Training rows."""
        measures = self.data.market.measure_spans(self.windows.bar0)
        return make_examples(self.windows, propose(measures, self.proposer))

    @cached_property
    def validation_spans(self) -> tuple[Spans, Spans]:
        """Proposed and labeled spans of the validation windows."""
        measures = self.data.market.measure_spans(self.data.validation.bar0)
        return propose(measures, self.proposer), self.data.validation.spans.pointed()

    @cached_property
    def pseudo_labels(self) -> PseudoLabels:
        """Pseudo-labels in unlabeled training windows, by teachers fitted on the subset."""
        n_windows = self.settings.finetune.distill_windows
        return make_pseudo_labels(self.data.market, self.windows, self.proposer, self.seed, n_windows)


def run_cell(subset: LabelSubset, arm: str, encoder: Encoder, distilled: bool, device: str = "cpu") -> Cell:
    """Train one network on a subset and predict on the validation windows.

    Training takes a fixed number of steps and uses no validation window. Thresholds are fitted on
    one half of the validation sessions and used on the other half.

    Args:
        subset: The labels.
        arm: Name of the encoder.
        encoder: Not yet trained on labels; it is not changed.
        distilled: Whether the network is first distilled from pseudo-labels.
        device: Where the network runs.
    """
    started = time.perf_counter()
    data, settings = subset.data, subset.settings
    market, validation = data.market, data.validation
    trained = finetune(
        encoder,
        # validates on the training rows: the best epoch is in effect the last
        FinetuneRows(market, subset.examples, subset.examples, subset.pseudo_labels if distilled else None),
        label_settings(settings, len(subset.examples.kind), distilled),
        subset.seed,
        device,
    )
    network = trained.classifier.to(device)
    proposals, labeled = subset.validation_spans
    proposal_logits, label_logits = (
        read_spans(network, market, validation.bar0, spans, device) for spans in (proposals, labeled)
    )
    probed_encoder = network.encoder if arm == NOISY_STUDENT else encoder
    p_retracement = sigmoid(label_logits.retracement)
    return Cell(
        **_description(subset, arm, distilled),
        probe=[] if distilled and arm != NOISY_STUDENT else probe(subset, probed_encoder).tolist(),
        p_retracement=p_retracement.tolist(),
        events=_cross_fitted_events(
            network.cpu(),
            subset.proposer,
            validation,
            subset.validation_spans,
            (proposal_logits, label_logits),
        ),
        seconds=time.perf_counter() - started,
    )


def measured_numbers_cell(subset: LabelSubset) -> Cell:
    """The probe on the measured numbers before a span: the baseline for encoder states."""
    started = time.perf_counter()
    typed = subset.windows.typed
    train, validation = (_measured(subset.data, it) for it in (typed, subset.data.validation))
    p = _probe_predictions(train, validation, typed.spans.type, subset.settings.probe_strength)
    return Cell(
        **_description(subset, MEASURED, False),
        probe=p.tolist(),
        p_retracement=[],
        events=[],
        seconds=time.perf_counter() - started,
    )


def probe(subset: LabelSubset, encoder: Encoder) -> np.ndarray:
    """P(retracement) of validation expansions, (n,), by logistic regression on frozen states.

    Inputs are the encoder states that the type head uses: that of the bar before the start, and the
    mean over the 45 bars before it, given span and direction.
    """
    typed = subset.windows.typed
    train, validation = (_states(subset.data, it, encoder) for it in (typed, subset.data.validation))
    return _probe_predictions(train, validation, typed.spans.type, subset.settings.probe_strength)


def label_settings(settings: StudySettings, n_rows: int, distilled: bool) -> FinetuneSettings:
    """Settings with the same number of steps on labels for every count, without early stopping."""
    plain = settings.finetune
    size = min(plain.batch_windows, n_rows)
    epochs = -(-settings.label_steps // -(-n_rows // size))
    distill_windows = plain.distill_windows if distilled else 0
    return FinetuneSettings.model_validate(
        plain.model_dump()
        | {
            "batch_windows": size,
            "epochs": epochs,
            "frozen_epochs": round(settings.frozen_share * epochs),
            "patience": epochs,
            "distill_windows": distill_windows,
            "collapse_epochs": epochs + plain.distill_epochs + 1,
        }
    )


def _description(subset: LabelSubset, arm: str, distilled: bool) -> dict[str, Any]:
    windows = subset.windows
    return {
        "arm": arm,
        "distilled": distilled,
        "count": subset.count,
        "n_labels": len(windows.spans.window),
        "n_windows": len(windows.bar0),
        "seed": subset.seed,
    }


def _states(data: TrainingData, windows: LabeledWindows, encoder: Encoder) -> np.ndarray:
    spans = windows.spans
    features = data.market.feature_views(windows.bar0[spans.window], spans.direction < 0)
    onset = torch.from_numpy(spans.start + CONTEXT_BARS)
    with torch.no_grad():
        states = encoder.cpu()(torch.from_numpy(features))
        return states_before(states, torch.arange(len(states)), onset).numpy()


def _measured(data: TrainingData, windows: LabeledWindows) -> np.ndarray:
    return data.market.measure_inputs(windows.bar0, windows.spans)[:, :N_BEFORE]


def _probe_predictions(
    train: np.ndarray, validation: np.ndarray, types: np.ndarray, strength: float
) -> np.ndarray:
    center, scale = train.mean(axis=0), np.maximum(train.std(axis=0), 1e-3)
    model = LogisticRegression(C=strength, class_weight="balanced", max_iter=1000)
    model.fit((train - center) / scale, types)
    return model.predict_proba((validation - center) / scale)[:, 1]


def _cross_fitted_events(
    network: Classifier,
    proposer: SpanProposer,
    validation: LabeledWindows,
    spans: tuple[Spans, Spans],
    logits: tuple[SpanLogits, SpanLogits],
) -> list[tuple[int, int, int, int]]:
    """Events in all validation windows; thresholds for one half of the sessions come from the other."""
    half_of_window = np.unique(validation.session, return_inverse=True)[1] % 2
    events: list[tuple[int, int, int, int]] = []
    for half in (0, 1):
        fit_windows = np.flatnonzero(half_of_window != half)
        parts = []
        for one_kind, span_logits in zip(spans, logits, strict=True):
            rows = np.isin(one_kind.window, fit_windows)
            chosen = one_kind.select(rows)
            chosen = replace(chosen, window=np.searchsorted(fit_windows, chosen.window))
            parts.append((chosen, SpanLogits(*(part[rows] for part in span_logits))))
        (proposals, proposal_logits), (_, label_logits) = parts
        thresholds = fit_thresholds(validation.select(fit_windows), proposals, proposal_logits, label_logits)
        rows = half_of_window[spans[0].window] == half
        half_logits = SpanLogits(*(part[rows] for part in logits[0]))
        found = thresholds.accept(spans[0].select(rows), half_logits).spans
        columns = (found.window, found.start, found.end, found.type)
        events += zip(*(column.tolist() for column in columns), strict=True)
    return events
