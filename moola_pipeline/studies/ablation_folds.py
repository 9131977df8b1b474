"""Time folds inside the training period and halves of validation, with the training data of each."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from moola_pipeline.instrument_data import InstrumentData
from moola_pipeline.labels.placement import split_labels
from moola_pipeline.labels.spans import LabeledWindows, labeled_windows
from moola_pipeline.models.span_proposer import SpanProposer, propose
from moola_pipeline.studies.label_draws import nested_subset
from moola_pipeline.training.checkpoints import digest_of
from moola_pipeline.training.examples import Examples, TrainingData, make_examples
from moola_pipeline.training.proposer_fit import fit_proposer
from moola_pipeline.training.pseudo_labels import PseudoLabels, make_pseudo_labels
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline.windows.dense import pretraining_windows
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import CONTEXT_BARS, WINDOW_BARS

N_FOLDS = 5
WHOLE = -1
"""Number of the fold without scored windows."""


@dataclass(frozen=True)
class StudyData(TrainingData):
    """Training and validation windows of a market; test windows are excluded.

    Attributes:
        digest: Of bars and labels.
    """

    digest: str

    def __len__(self) -> int:
        """Number of training windows."""
        return len(self.train.bar0)

    @property
    def last_training_row(self) -> int:
        """Last row of the last training window."""
        return int(self.train.bar0.max()) + WINDOW_BARS - 1


@dataclass(frozen=True)
class Part:
    """Windows with the spans proposed in them.

    Attributes:
        windows: Labeled windows.
        proposals: Of the span proposer.
        labeled: The labeled spans in the form of proposals.
        rows: Training rows of a network.
    """

    windows: LabeledWindows
    proposals: Spans
    labeled: Spans
    rows: Examples


@dataclass(frozen=True)
class Fold:
    """Windows that are scored, those that are learned from, and everything fitted on them.

    Attributes:
        number: 0 for the earliest block of the training period.
        market: The bars and their features.
        learned: Training windows, at least an embargo away from those scored.
        validating: Windows that choose epoch and thresholds, as those of validation do in the main job.
        scored: Windows that nothing is fitted on.
        last_row: Last row of the training period.
    """

    number: int
    market: MarketArrays
    learned: LabeledWindows
    validating: LabeledWindows
    scored: LabeledWindows
    last_row: int
    _pseudo_labels: dict[tuple[int, int], PseudoLabels] = field(default_factory=dict)

    @cached_property
    def proposer(self) -> SpanProposer:
        """The span proposer, fitted on the `learned` windows."""
        measures = self.market.measure_spans(self.learned.bar0)
        return fit_proposer(measures, self.learned.spans, FinetuneSettings().proposal_beta)

    @cached_property
    def train(self) -> Part:
        """The `learned` windows."""
        return self._part(self.learned)

    @cached_property
    def validation(self) -> Part:
        """The `validating` windows."""
        return self._part(self.validating)

    @cached_property
    def block(self) -> Part:
        """The `scored` windows."""
        return self._part(self.scored)

    def draw(self, n_labels: int | None, seed: int) -> "Fold":
        """The same fold with so many labels of the `learned` windows, drawn by seed; None: with all."""
        if n_labels is None:
            return self
        n_drawn = min(n_labels, len(self.learned.spans.window))
        return replace(self, learned=nested_subset(self.learned, n_drawn, seed), _pseudo_labels={})

    def pseudo_labels(self, seed: int, n_windows: int) -> PseudoLabels:
        """Pseudo-labels away from the scored windows, by a seed's teachers, fitted without these."""
        if (seed, n_windows) not in self._pseudo_labels:
            pseudo_labels = make_pseudo_labels(self.market, self.learned, self.proposer, seed, n_windows)
            self._pseudo_labels[seed, n_windows] = _selected(pseudo_labels, ~self.touches(pseudo_labels.bar0))
        return self._pseudo_labels[seed, n_windows]

    def pretraining_windows(self) -> np.ndarray:
        """Windows of the training period at least an embargo away from those scored."""
        tiled = pretraining_windows(self.market.segment, self.last_row + 1)
        return tiled[~self.touches(tiled)]

    def touches(self, bar0: np.ndarray) -> np.ndarray:
        """Whether windows lie within an embargo of the bars from the first scored one to the last."""
        return _near(bar0, self.scored.bar0)

    def _part(self, windows: LabeledWindows) -> Part:
        proposals = propose(self.market.measure_spans(windows.bar0), self.proposer)
        return Part(windows, proposals, windows.spans.pointed(), make_examples(windows, proposals))


def reach() -> int:
    """Rows between the first bars of two windows whose bars lie an embargo apart."""
    return 2 * WINDOW_BARS + CONTEXT_BARS


def study_data(market: InstrumentData) -> StudyData:
    """Read a market's bars and labels, without the test windows and incomplete ones."""
    bars = market.bars()
    frame = split_labels(market.labels(), bars, market.splits).frame
    arrays = MarketArrays.from_table(bars, market.instrument.tick_points)
    train, validation = (labeled_windows(frame, split).complete_windows for split in ("train", "validation"))
    digest = digest_of([market.bars_digest(), market.labels_digest(), market.splits.model_dump(mode="json")])
    return StudyData(arrays, train, validation, digest)


def time_folds(data: StudyData, n_folds: int = N_FOLDS) -> Iterator[Fold]:
    """Cut the training windows into blocks of equal size, in order of time.

    Windows within an embargo of a fold's block are neither trained on nor scored.
    """
    for number, block in enumerate(np.array_split(np.arange(len(data)), n_folds)):
        scored = data.train.select(block)
        learned = data.train.select(~_near(data.train.bar0, scored.bar0))
        yield Fold(number, data.market, learned, data.validation, scored, data.last_training_row)


def validation_halves(data: StudyData) -> Iterator[Fold]:
    """Score each half of the validation windows, in order of time, with thresholds fitted on the other.

    All training windows are learned from.
    """
    windows = data.validation
    for number, half in enumerate(np.array_split(np.arange(len(windows.bar0)), 2)):
        scored = windows.select(half)
        validating = windows.select(~_near(windows.bar0, scored.bar0))
        yield Fold(N_FOLDS + number, data.market, data.train, validating, scored, data.last_training_row)


def whole_training(data: StudyData) -> Fold:
    """All training windows, none scored, as in the main job."""
    none = data.train.select(np.zeros(len(data), bool))
    return Fold(WHOLE, data.market, data.train, data.validation, none, data.last_training_row)


def _near(bar0: np.ndarray, scored: np.ndarray) -> np.ndarray:
    if not len(scored):
        return np.zeros(len(bar0), bool)
    return (bar0 > scored.min() - reach()) & (bar0 < scored.max() + reach())


def _selected(pseudo_labels: PseudoLabels, windows: np.ndarray) -> PseudoLabels:
    """The pseudo-labels of the windows marked True."""
    rows = windows[pseudo_labels.spans.window]
    spans = pseudo_labels.spans.select(rows)
    spans = replace(spans, window=(np.cumsum(windows) - 1)[spans.window])
    inputs, expansion = pseudo_labels.inputs[rows], pseudo_labels.expansion[rows]
    return PseudoLabels(
        pseudo_labels.bar0[windows], spans, inputs, expansion, pseudo_labels.retracement[rows]
    )
