"""Training rows for benchmarks: real shapes and counts, made-up labels."""

from dataclasses import replace

import numpy as np
import torch

from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.models.classifier import Classifier
from moola_pipeline.models.encoder import Encoder, initialize
from moola_pipeline.models.live import onset_candidates
from moola_pipeline.models.span_inference import group_by_view
from moola_pipeline.models.span_proposer import SpanProposer, propose
from moola_pipeline.training.examples import Examples, make_examples
from moola_pipeline.training.pseudo_labels import PseudoLabels
from moola_pipeline.training.settings import FinetuneSettings, PretrainSettings
from moola_pipeline.windows.dense import live_windows, pretraining_windows
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import LIVE_BARS

TYPICAL_PROPOSER = SpanProposer(
    min_net_atr=2.5, min_efficiency=0.6, min_length=3, max_length=15, ordering="net"
)
"""Thresholds near typical fitted ones."""
MIN_NET_ATR = 0.7


def new_classifier(market: MarketArrays) -> Classifier:
    """A network of the default size with random weights."""
    heads, encoder = FinetuneSettings(), Encoder(PretrainSettings().hidden_units)
    initialize(encoder, 0)
    encoder.set_scale(torch.from_numpy(market.features[:: max(1, len(market.features) // 10_000)]))
    torch.manual_seed(0)
    return Classifier(encoder, heads.head_units, heads.dropout)


def labeled_rows(market: MarketArrays, n_windows: int) -> Examples:
    """Training rows as from labels: the largest move in a window's core is its expansion."""
    bar0 = _spread(pretraining_windows(market.segment, len(market.features)), n_windows)
    measures = market.measure_spans(bar0)
    proposals = propose(measures, TYPICAL_PROPOSER)
    net, inside = np.abs(measures.net_of(proposals)), proposals.in_core
    order = np.flatnonzero(inside)[np.argsort(-net[inside], kind="stable")]
    _, first = np.unique(proposals.window[order], return_index=True)
    largest = order[first]  # by window
    labels = replace(proposals.select(largest), type=np.arange(len(largest)) % 2)
    window_id = np.arange(len(bar0)).astype(str).astype(object)
    session, complete = np.zeros(len(bar0), "datetime64[ns]"), np.ones(len(bar0), bool)
    windows = LabeledWindows(window_id, bar0, session, complete, labels)
    return make_examples(windows, proposals)


def pseudo_labels_of(
    market: MarketArrays, n_views: int, n_live: int, rng: np.random.Generator
) -> PseudoLabels:
    """Pseudo-labels with random probabilities, of `n_views` whole views and `n_live` live views.

    Raises:
        ValueError: If nothing is proposed in the bars.
    """
    bar0 = pretraining_windows(market.segment, len(market.features))
    proposals = propose(market.measure_spans(bar0), TYPICAL_PROPOSER)
    bar0, proposals = _first_views(bar0, proposals, n_views)
    inputs = market.measure_inputs(bar0, proposals)
    closed = live_windows(market.segment)[: 4 * n_live]
    spans = onset_candidates(market, closed, MIN_NET_ATR)
    closed, spans = _first_views(closed, spans, n_live)
    live_inputs = market.measure_inputs(closed, spans, LIVE_BARS)
    live_targets = _probabilities(rng, len(live_inputs)), _probabilities(rng, len(live_inputs))
    live = PseudoLabels(closed, spans, live_inputs, *live_targets, LIVE_BARS)
    targets = _probabilities(rng, len(inputs)), _probabilities(rng, len(inputs))
    return PseudoLabels(bar0, proposals, inputs, *targets, live=live)


def _first_views(bar0: np.ndarray, spans: Spans, n_views: int) -> tuple[np.ndarray, Spans]:
    """Windows and spans of the first `n_views` views, repeated if there are fewer."""
    n_own, n_windows = len(group_by_view(bar0, spans).bar0), len(bar0)
    if n_own == 0:
        raise ValueError("the bars must hold at least one proposed span, got none")
    times = -(-n_views // n_own)
    repeated = spans.select(np.tile(np.arange(len(spans.window)), times))
    window = repeated.window + np.repeat(np.arange(times) * n_windows, len(spans.window))
    bar0, repeated = np.tile(bar0, times), replace(repeated, window=window)
    views = group_by_view(bar0, repeated)
    rows = np.sort(views.order[: views.bounds[n_views]])
    return bar0, repeated.select(rows)


def _spread(rows: np.ndarray, n_rows: int) -> np.ndarray:
    return rows[np.linspace(0, len(rows) - 1, min(n_rows, len(rows))).astype(int)]


def _probabilities(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.random(n).astype(np.float32)
