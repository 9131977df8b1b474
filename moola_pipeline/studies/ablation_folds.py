"""Time folds inside the training period, with the training data of each."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from moola_pipeline.instrument_data import InstrumentData
from moola_pipeline.labels.placement import split_labels
from moola_pipeline.labels.spans import LabeledWindows, labeled_windows
from moola_pipeline.models.span_proposer import SpanProposer, propose
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
"""Number of the fold without a held-out block."""


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


@dataclass
class Fold:
    """A block of training windows held out, and everything fitted without it.

    Attributes:
        number: 0 for the earliest block.
        data: All windows of the study.
        held_out: (n,) bool over training windows: the block.
        learned: (n,) bool, those at least an embargo away from the block.
    """

    number: int
    data: StudyData
    held_out: np.ndarray
    learned: np.ndarray
    _pseudo_labels: dict[tuple[int, int], PseudoLabels] = field(default_factory=dict)

    @cached_property
    def proposer(self) -> SpanProposer:
        """The span proposer, fitted on the `learned` windows."""
        windows = self.data.train.select(self.learned)
        return fit_proposer(
            self.data.market.measure_spans(windows.bar0), windows.spans, FinetuneSettings().proposal_beta
        )

    @cached_property
    def train(self) -> Part:
        """The `learned` windows."""
        return self._part(self.data.train.select(self.learned))

    @cached_property
    def validation(self) -> Part:
        """The validation windows, which choose epoch and thresholds, as in the main job."""
        return self._part(self.data.validation)

    @cached_property
    def block(self) -> Part:
        """The held-out block."""
        return self._part(self.data.train.select(self.held_out))

    def pseudo_labels(self, seed: int, n_windows: int) -> PseudoLabels:
        """Pseudo-labels outside the block, by a seed's teachers, fitted without it."""
        if (seed, n_windows) not in self._pseudo_labels:
            train = self.data.market, self.train.windows, self.proposer
            pseudo_labels = make_pseudo_labels(*train, seed, n_windows)
            self._pseudo_labels[seed, n_windows] = _selected(pseudo_labels, ~self.touches(pseudo_labels.bar0))
        return self._pseudo_labels[seed, n_windows]

    def pretraining_windows(self) -> np.ndarray:
        """Windows of the training period at least an embargo away from the block."""
        end = int(self.data.train.bar0.max()) + WINDOW_BARS
        tiled = pretraining_windows(self.data.market.segment, end)
        return tiled[~self.touches(tiled)]

    def touches(self, bar0: np.ndarray) -> np.ndarray:
        """Whether windows lie within an embargo of the block's bars."""
        block = self.data.train.bar0[self.held_out]
        if not len(block):
            return np.zeros(len(bar0), bool)
        return (bar0 > block.min() - reach()) & (bar0 < block.max() + reach())

    def _part(self, windows: LabeledWindows) -> Part:
        proposals = propose(self.data.market.measure_spans(windows.bar0), self.proposer)
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
    blocks = np.array_split(np.arange(len(data)), n_folds)
    for number, block in enumerate(blocks):
        held_out = np.isin(np.arange(len(data)), block)
        edges = data.train.bar0[held_out]
        near = (data.train.bar0 > edges.min() - reach()) & (data.train.bar0 < edges.max() + reach())
        yield Fold(number, data, held_out, ~near)


def whole_training(data: StudyData) -> Fold:
    """All training windows, none held out, as in the main job."""
    everything = np.ones(len(data), bool)
    return Fold(WHOLE, data, ~everything, everything)


def _selected(pseudo_labels: PseudoLabels, windows: np.ndarray) -> PseudoLabels:
    """The pseudo-labels of the windows marked True."""
    rows = windows[pseudo_labels.spans.window]
    spans = pseudo_labels.spans.select(rows)
    spans = replace(spans, window=(np.cumsum(windows) - 1)[spans.window])
    inputs, expansion = pseudo_labels.inputs[rows], pseudo_labels.expansion[rows]
    return PseudoLabels(
        pseudo_labels.bar0[windows], spans, inputs, expansion, pseudo_labels.retracement[rows]
    )
