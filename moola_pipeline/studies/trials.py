"""One cell of the study: a network trained on a subset of the labels, and what it says of validation."""

import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from moola_pipeline.labels.schema import TYPES
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.models.classifier import Classifier
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.models.expansion_model import ExpansionModel, sigmoid
from moola_pipeline.models.span_inference import SpanLogits, read_spans
from moola_pipeline.models.span_proposer import SpanProposer, propose
from moola_pipeline.report.study_results import NOISY_STUDENT
from moola_pipeline.settings import StudySettings
from moola_pipeline.studies.store import Cell
from moola_pipeline.training.examples import Examples, TrainingData, make_examples
from moola_pipeline.training.finetune import FinetuneRows, finetune
from moola_pipeline.training.objectives.objective import states_before
from moola_pipeline.training.proposer_fit import fit_proposer
from moola_pipeline.training.pseudo_labels import PseudoLabels, make_pseudo_labels
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.training.thresholds import fit_thresholds
from moola_pipeline.windows.span_inputs import N_BEFORE
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import CONTEXT_BARS

MEASURED = "measured"
"""Arm of a probe that reads the 53 numbers measured before a span, and no encoder."""


@dataclass(frozen=True)
class LabelSubset:
    """A subset of the training labels and all that is fitted on it without an encoder."""

    data: TrainingData
    count: int
    seed: int
    settings: StudySettings

    @cached_property
    def windows(self) -> LabeledWindows:
        """The subset; the whole training split where it holds no more labels than that."""
        n_labels = min(self.count, len(self.data.train.spans.window))
        return nested_subset(self.data.train, n_labels, self.seed)

    @cached_property
    def proposer(self) -> SpanProposer:
        """The rule that proposes spans, fitted on the subset."""
        measures = self.data.market.measure_spans(self.windows.bar0)
        return fit_proposer(measures, self.windows.spans, self.settings.finetune.proposal_beta)

    @cached_property
    def examples(self) -> Examples:
        """Training rows."""
        measures = self.data.market.measure_spans(self.windows.bar0)
        return make_examples(self.windows, propose(measures, self.proposer))

    @cached_property
    def asked(self) -> tuple[Spans, Spans]:
        """Spans of the validation windows: those that the rule proposes, and the labeled ones."""
        measures = self.data.market.measure_spans(self.data.validation.bar0)
        return propose(measures, self.proposer), self.data.validation.spans.pointed()

    @cached_property
    def pseudo_labels(self) -> PseudoLabels:
        """What teachers fitted on the subset say of unlabeled training windows."""
        n_windows = self.settings.finetune.distill_windows
        return make_pseudo_labels(self.data.market, self.windows, self.proposer, n_windows)


def run_cell(given: LabelSubset, arm: str, encoder: Encoder, distilled: bool, device: str = "cpu") -> Cell:
    """Train one network on a subset and ask it about the validation windows.

    Training takes a fixed number of steps and sees no validation window. The threshold above
    which an expansion is reported is fitted on one half of the validation sessions and used on
    the other.

    Args:
        given: The subset.
        arm: Name of the encoder.
        encoder: Before any label; it is not changed.
        taught: Whether the network learns from teachers first.
        device: Where the network runs.
    """
    started = time.perf_counter()
    data, settings = given.data, given.settings
    market, validation = data.market, data.validation
    trained = finetune(
        encoder,
        # the epoch kept is the one best on what it learns from: in effect the last
        FinetuneRows(market, given.examples, given.examples, given.pseudo_labels if distilled else None),
        label_settings(settings, len(given.examples.kind), distilled),
        given.seed,
        device,
    )
    network = trained.classifier.to(device)
    proposals, labeled = given.asked
    proposed, marked = (
        read_spans(network, market, validation.bar0, spans, device) for spans in (proposals, labeled)
    )
    read = network.encoder if arm == NOISY_STUDENT else encoder
    p_retracement = sigmoid(marked.retracement)
    return Cell(
        **_named(given, arm, distilled),
        probe=[] if distilled and arm != NOISY_STUDENT else probe(given, read).tolist(),
        p_retracement=p_retracement.tolist(),
        events=_crossed(network.cpu(), given.proposer, validation, given.asked, (proposed, marked)),
        seconds=time.perf_counter() - started,
    )


def measured_numbers_cell(given: LabelSubset) -> Cell:
    """The probe on the numbers that are measured before a span: what states must add to."""
    started = time.perf_counter()
    learned, asked = (_measured(given.data, it) for it in (given.windows, given.data.validation))
    p = _probed(learned, asked, given.windows.spans.type, given.settings.probe_strength)
    return Cell(
        **_named(given, MEASURED, False),
        probe=p.tolist(),
        p_retracement=[],
        events=[],
        seconds=time.perf_counter() - started,
    )


def probe(given: LabelSubset, encoder: Encoder) -> np.ndarray:
    """P(retracement) of validation expansions, (n,), by logistic regression on frozen states.

    It reads what the type head reads of an encoder: the states of the bar before the start, and
    the mean of those of the 45 bars before it; span and direction given.
    """
    learned, asked = (_states(given.data, it, encoder) for it in (given.windows, given.data.validation))
    return _probed(learned, asked, given.windows.spans.type, given.settings.probe_strength)


def label_settings(settings: StudySettings, n_rows: int, distilled: bool) -> FinetuneSettings:
    """Settings that give every count the same steps on labels, and never stop before them."""
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


def _named(given: LabelSubset, arm: str, distilled: bool) -> dict[str, Any]:
    windows = given.windows
    return {
        "arm": arm,
        "distilled": distilled,
        "count": given.count,
        "n_labels": len(windows.spans.window),
        "n_windows": len(windows.bar0),
        "seed": given.seed,
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


def _probed(learned: np.ndarray, asked: np.ndarray, types: np.ndarray, strength: float) -> np.ndarray:
    center, scale = learned.mean(axis=0), np.maximum(learned.std(axis=0), 1e-3)
    model = LogisticRegression(C=strength, class_weight="balanced", max_iter=1000)
    model.fit((learned - center) / scale, types)
    return model.predict_proba((asked - center) / scale)[:, 1]


def _crossed(
    network: Classifier,
    proposer: SpanProposer,
    validation: LabeledWindows,
    asked: tuple[Spans, Spans],
    readings: tuple[SpanLogits, SpanLogits],
) -> list[tuple[int, int, int, int]]:
    """Events in every validation window, by decisions fitted on the sessions that it is not among."""
    side = np.unique(validation.session, return_inverse=True)[1] % 2
    found: list[tuple[int, int, int, int]] = []
    for half in (0, 1):
        others = np.flatnonzero(side != half)
        fitted = []
        for spans, reading in zip(asked, readings, strict=True):
            theirs = np.isin(spans.window, others)
            kept = spans.select(theirs)
            kept = replace(kept, window=np.searchsorted(others, kept.window))
            fitted.append((kept, SpanLogits(*(part[theirs] for part in reading))))
        (proposals, proposed), (_, marked) = fitted
        thresholds = fit_thresholds(validation.select(others), proposals, proposed, marked)
        mine = side[asked[0].window] == half
        spans = asked[0].select(mine)
        reading = SpanLogits(*(part[mine] for part in readings[0]))
        own = ExpansionModel(network, proposer, thresholds).accept(spans, reading).spans
        found += zip(*(part.tolist() for part in (own.window, own.start, own.end, own.type)), strict=True)
    return found


def nested_subset(windows: LabeledWindows, n_labels: int, seed: int) -> LabeledWindows:
    """Windows with at least `n_labels` expansions, drawn whole; those of fewer labels are among them.

    Types and empty windows come in the proportion that the data has. A window with several
    expansions may bring a few more than asked for.

    Args:
        windows: All training windows.
        n_labels: Expansions wanted, >= 1.
        seed: Of the order in which windows are drawn.

    Raises:
        ValueError: If there are fewer expansions than that.
    """
    spans = windows.spans
    if not 1 <= n_labels <= len(spans.window):
        raise ValueError(f"a subset must hold 1 to {len(spans.window)} expansions, got {n_labels}")
    order = _order(windows, seed)
    held = np.bincount(spans.window, minlength=len(windows.bar0))[order].cumsum()
    stop = int(np.searchsorted(held, n_labels)) + 1
    if held[stop - 1] == held[-1]:
        stop = len(order)  # all labels are in: so are all empty windows
    return windows.select(np.sort(order[:stop]))


def _order(windows: LabeledWindows, seed: int) -> np.ndarray:
    """All windows in an order whose every beginning has each kind in its proportion."""
    rng = np.random.default_rng(seed)
    spans, empty = windows.spans, len(TYPES)
    kind = np.full(len(windows.bar0), empty)
    kind[spans.window[::-1]] = spans.type[::-1]  # the first expansion of a window names its kind
    place = np.empty(len(kind))
    for one in range(empty + 1):
        mine = rng.permutation(np.flatnonzero(kind == one))
        place[mine] = (np.arange(len(mine)) + rng.random(len(mine))) / max(len(mine), 1)
    return np.argsort(place, kind="stable")
