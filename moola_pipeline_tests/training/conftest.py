"""A made market for the tests of this folder: labeled windows, proposals and training rows."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.models.encoder import Encoder, initialize
from moola_pipeline.models.span_proposer import SpanProposer, propose
from moola_pipeline.training.examples import Examples, make_examples
from moola_pipeline.windows.spans import SpanMeasures, Spans
from moola_pipeline_tests.made_bars import InstrumentData, made_market

torch.set_num_threads(1)
RULE = SpanProposer(min_net_atr=1.5, min_efficiency=0.5, min_length=3, max_length=12, ordering="net")


@dataclass(frozen=True)
class SplitRows:
    """Labeled windows of one split, the rule's proposals in them, and the training rows."""

    windows: LabeledWindows
    measures: SpanMeasures
    proposals: Spans
    rows: Examples


def split_rows(market: InstrumentData, windows: LabeledWindows) -> SplitRows:
    measures = market.bars.measure_spans(windows.bar0)
    proposals = propose(measures, RULE)
    return SplitRows(windows, measures, proposals, make_examples(windows, proposals))


@pytest.fixture(scope="session")
def market() -> InstrumentData:
    """60 windows: 0-35 for training, 36-47 for validation, the rest unused."""
    return made_market(20)


@pytest.fixture(scope="session")
def train(market: InstrumentData) -> SplitRows:
    return split_rows(market, market.windows.select(np.arange(36)))


@pytest.fixture(scope="session")
def validation(market: InstrumentData) -> SplitRows:
    return split_rows(market, market.windows.select(np.arange(36, 48)))


@pytest.fixture(scope="session")
def encoder(market: InstrumentData) -> Encoder:
    """An untrained encoder with the scale of pretraining."""
    made = Encoder(8)
    initialize(made, 0)
    made.set_scale(torch.from_numpy(market.bars.features[market.bars.warm]))
    return made.eval()
