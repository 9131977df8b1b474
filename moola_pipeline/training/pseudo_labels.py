"""Pseudo-labels: probabilities of teacher trees for unlabeled spans, of whole and of live windows."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.models.live import onset_candidates
from moola_pipeline.models.span_proposer import SpanProposer, propose
from moola_pipeline.training.examples import NO_TARGET
from moola_pipeline.training.proposer_fit import matches
from moola_pipeline.training.settings import TEACHER_TREES
from moola_pipeline.training.teachers import (
    LabeledInputs,
    Teacher,
    before_start,
    fit_judge,
    fit_live_judge,
    fit_typer,
    teacher_features,
)
from moola_pipeline.windows.dense import live_windows, live_windows_of, pretraining_windows
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.span_inputs import N_INPUTS
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST, LIVE_BARS, WINDOW_BARS

NEAR_BARS = 2
"""Most bars between a correct claimed onset and the labeled one; chosen on training folds from 0 to 3."""
MAX_WRONG = 12_000
"""Most wrong claims in the teacher's training data; there are about ten for each correct one."""
EARLY_SHARE = 0.02
"""Share of the training labels whose move by their third bar may stay below the least net move."""
MIN_NET_ATR = 0.1
"""Lower bound of the least net move: a smaller move has no clear direction."""


@dataclass(frozen=True)
class PseudoLabels:
    """Spans in unlabeled windows of the training period, with the teachers' probabilities.

    Attributes:
        bar0: (n_windows,) rows of bar 0.
        spans: n spans in these windows.
        inputs: (n, 78) float32 span features, in ATR.
        expansion: (n,) float32 probability of an expansion; live, that one has begun at the span's start.
        retracement: (n,) float32 probability that a retracement came before it.
        bars: Number of bars read of each window.
        live: The same for windows that end with the bar that has just closed; None if not trained.
    """

    bar0: np.ndarray
    spans: Spans
    inputs: np.ndarray
    expansion: np.ndarray
    retracement: np.ndarray
    bars: int = WINDOW_BARS
    live: "PseudoLabels | None" = None

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All arrays, those of the live windows last."""
        own = self.bar0, *self.spans.arrays, self.inputs, self.expansion, self.retracement
        return own + self.live.arrays if self.live else own


def make_pseudo_labels(
    market: MarketArrays,
    train: LabeledWindows,
    proposer: SpanProposer,
    seed: int,
    n_windows: int,
    n_live: int = 0,
    min_net_atr: float = 0.0,
    n_trees: int = TEACHER_TREES,
) -> PseudoLabels:
    """Fit teachers on labeled windows and let them label unlabeled ones of the same period.

    The teacher of the type learns from the expansions of all windows, the others from complete windows only:
    their probabilities are rates.

    Args:
        market: The bars and their features.
        train: Labeled training windows.
        proposer: Proposes the spans.
        seed: Seed of the teachers and of the windows drawn.
        n_windows: Most windows, drawn from the tiling of the bars up to the last labeled window.
        n_live: Live windows drawn from the same bars; 0: no live pseudo-labels.
        min_net_atr: Least net move of a live span, ATR.
        n_trees: Trees of each forest that teaches the type.

    Raises:
        ValueError: If the labels hold one type only, or all or none of the proposals match a label.
    """
    judge = fit_judge(expansion_examples(market, train, proposer), seed)
    typer = fit_typer(type_examples(market, train), seed, n_trees)
    tiled = pretraining_windows(market.segment, int(train.bar0.max()) + WINDOW_BARS)
    bar0 = np.sort(np.random.default_rng(seed).permutation(tiled)[:n_windows])
    proposals = propose(market.measure_spans(bar0), proposer)
    proposals = proposals.select(proposals.in_core)
    features = teacher_features(market, bar0, proposals)
    targets = judge.probability(features), typer.probability(before_start(features))
    live = make_live_pseudo_labels(market, train, typer, min_net_atr, n_live, seed) if n_live else None
    return PseudoLabels(bar0, proposals, features[:, :N_INPUTS], *targets, live=live)


Measure = Callable[[MarketArrays, np.ndarray, Spans], np.ndarray]
"""From a market, (n_windows,) rows of bar 0 and n spans to (n, d) numbers."""


def expansion_examples(
    market: MarketArrays, train: LabeledWindows, proposer: SpanProposer, measure: Measure = teacher_features
) -> LabeledInputs:
    """Proposals in complete windows, without unknown ones: 1 if a proposal matches a label."""
    train = train.complete_windows
    proposals = propose(market.measure_spans(train.bar0), proposer)
    matched = matches(proposals, train.spans) >= 0
    known = matched | proposals.in_core
    inputs = measure(market, train.bar0, proposals.select(known))
    return LabeledInputs(inputs, matched[known].astype(np.int64))


def type_examples(
    market: MarketArrays, train: LabeledWindows, measure: Measure = teacher_features
) -> LabeledInputs:
    """Labeled expansions of known type, numbers of the bars before them: 1 for a retracement."""
    train = train.typed
    inputs = measure(market, train.bar0, train.spans.pointed())
    return LabeledInputs(before_start(inputs), train.spans.type)


def fit_min_net(market: MarketArrays, train: LabeledWindows) -> float:
    """The net move, in ATR, that nearly every label of a complete window reaches by its third bar."""
    train = train.complete_windows
    spans = train.spans.pointed()
    net = spans.direction * market.net_moves(train.bar0, replace(spans, end=spans.start + 2))
    return round(max(float(np.quantile(net, EARLY_SHARE)), MIN_NET_ATR), 2)


def make_live_pseudo_labels(
    market: MarketArrays, train: LabeledWindows, typer: Teacher, min_net_atr: float, n_windows: int, seed: int
) -> PseudoLabels:
    """Fit a live teacher on labeled windows and let it label unlabeled live ones of the same period.

    Args:
        market: The bars and their features.
        train: Labeled training windows.
        typer: The teacher of the type.
        min_net_atr: Least net move of a span, ATR.
        n_windows: Live windows drawn from the bars up to the last labeled window.
        seed: Seed of the teacher and of the windows drawn.

    Raises:
        ValueError: If all or none of the candidates are labeled onsets.
    """
    rng = np.random.default_rng(seed)
    teacher = fit_live_teacher(market, train, min_net_atr, seed)
    windows = live_windows(market.segment)
    windows = windows[windows <= train.bar0.max() + (WINDOW_BARS - LIVE_BARS)]
    bar0 = np.sort(rng.choice(windows, min(n_windows, len(windows)), replace=False))
    spans = onset_candidates(market, bar0, min_net_atr)
    features = teacher_features(market, bar0, spans, LIVE_BARS)
    targets = teacher.probability(features), typer.probability(before_start(features))
    return PseudoLabels(bar0, spans, features[:, :N_INPUTS], *targets, LIVE_BARS)


def fit_live_teacher(market: MarketArrays, train: LabeledWindows, min_net_atr: float, seed: int) -> Teacher:
    """Fit trees on the onset candidates of complete windows, one live window for each closed bar."""
    train = train.complete_windows
    bar0, window = live_windows_of(market.segment, train.bar0)
    spans = onset_candidates(market, bar0, min_net_atr)
    start = bar0[spans.window] + spans.start - train.bar0[window[spans.window]]
    target = claim_targets(train.spans, window[spans.window], start, spans.direction)
    correct, wrong = np.flatnonzero(target == 1), np.flatnonzero(target == 0)
    rng = np.random.default_rng(seed)
    chosen = np.sort(np.append(correct, rng.choice(wrong, min(MAX_WRONG, len(wrong)), replace=False)))
    features = teacher_features(market, bar0, spans.select(chosen), LIVE_BARS)
    return fit_live_judge(LabeledInputs(features, target[chosen]), seed)


def claim_targets(labeled: Spans, window: np.ndarray, onset: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Whether claimed onsets are correct: (n,) 1, 0, or -1 if unknown.

    Args:
        labeled: Expansions of labeled windows.
        window: (n,) index of the labeled window.
        onset: (n,) claimed first bar, counted in the labeled window.
        direction: (n,) +1 or -1.
    """
    target = np.where((onset >= CORE_FIRST) & (onset <= CORE_LAST), 0, NO_TARGET)
    labeled = labeled.pointed()
    for i in range(len(labeled.window)):
        near = np.abs(onset - labeled.start[i]) <= NEAR_BARS
        target[near & (window == labeled.window[i]) & (direction == labeled.direction[i])] = 1
    return target
