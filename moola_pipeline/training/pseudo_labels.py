"""Pseudo-labels: teacher trees fitted on the labels answer for spans that nobody labeled.

Of whole windows, and of windows that end with a bar that has just closed, as live mode reads them.
"""

from dataclasses import dataclass, replace

import numpy as np

from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.models.live import onset_candidates
from moola_pipeline.models.span_proposer import SpanProposer, propose
from moola_pipeline.training.proposer_fit import matches
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
from moola_pipeline.windows.spans import UNKNOWN, Spans
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST, LIVE_BARS, WINDOW_BARS

TEACHER_SEED = 0
"""Of the teachers and of the windows drawn: the same for every training seed."""
NEAR_BARS = 2
"""A claimed onset is right this near a labeled one; chosen on folds of training (0, 1, 2, 3 tried)."""
MAX_WRONG = 12_000
"""Wrong claims that the teacher is shown at most: there are ten for each right one."""
EARLY_SHARE = 0.02
"""Share of the training labels that may move too little by their third bar to be asked about."""
MIN_NET_ATR = 0.1
"""A move of less has no direction to speak of."""


@dataclass(frozen=True)
class PseudoLabels:
    """Spans in windows of the training period that nobody labeled, with the teachers' probabilities.

    Attributes:
        bar0: (n_windows,) rows of bar 0.
        spans: n spans in these windows.
        inputs: (n, 78) float32, what the heads read of them.
        expansion: (n,) float32 probability of an expansion; live, that one began where the span begins.
        retracement: (n,) float32 probability that a retracement came before it.
        bars: That are read of each window.
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
    n_windows: int,
    n_live: int = 0,
    min_net_atr: float = 0.0,
) -> PseudoLabels:
    """Fit teachers on labeled windows and ask them about unlabeled ones, none later than these.

    Args:
        market: The table that the windows lie in.
        train: Labeled training windows.
        rule: Proposes the spans.
        n_windows: Windows drawn at most from those that tile the bars up to the last labeled one.
        n_live: Live windows drawn from the same bars; 0 leaves live mode untaught.
        min_net_atr: Least net move that live mode asks about.

    Raises:
        ValueError: If the labels hold one type only, or the rule finds all or none of them.
    """
    judge = fit_judge(_judged(market, train, proposer), TEACHER_SEED)
    typer = fit_typer(_typed(market, train), TEACHER_SEED)
    tiled = pretraining_windows(market.segment, int(train.bar0.max()) + WINDOW_BARS)
    drawn = np.random.default_rng(TEACHER_SEED).permutation(tiled)[:n_windows]
    bar0 = np.sort(drawn)
    proposals = propose(market.measure_spans(bar0), proposer)
    proposals = proposals.select(proposals.in_core)
    seen = teacher_features(market, bar0, proposals)
    answers = judge.probability(seen), typer.probability(before_start(seen))
    live = (
        make_live_pseudo_labels(market, train, typer, min_net_atr, n_live, TEACHER_SEED) if n_live else None
    )
    return PseudoLabels(bar0, proposals, seen[:, :N_INPUTS], *answers, live=live)


def _judged(market: MarketArrays, train: LabeledWindows, proposer: SpanProposer) -> LabeledInputs:
    """The rule's proposals in labeled windows: 1 where they find a label, unknown ones left out."""
    proposals = propose(market.measure_spans(train.bar0), proposer)
    found = matches(proposals, train.spans) >= 0
    known = found | proposals.in_core
    return LabeledInputs(
        teacher_features(market, train.bar0, proposals.select(known)), found[known].astype(np.int64)
    )


def _typed(market: MarketArrays, train: LabeledWindows) -> LabeledInputs:
    """The labeled expansions by what stood before them: 1 for a retracement."""
    seen = teacher_features(market, train.bar0, train.spans.pointed())
    return LabeledInputs(before_start(seen), train.spans.type)


def fit_min_net(market: MarketArrays, train: LabeledWindows) -> float:
    """The net move, in ATR, that nearly every training label shows by its third bar."""
    spans = train.spans.pointed()
    net = spans.direction * market.net_moves(train.bar0, replace(spans, end=spans.start + 2))
    return round(max(float(np.quantile(net, EARLY_SHARE)), MIN_NET_ATR), 2)


def make_live_pseudo_labels(
    market: MarketArrays, train: LabeledWindows, typer: Teacher, min_net_atr: float, n_windows: int, seed: int
) -> PseudoLabels:
    """Fit a teacher on live windows of labeled ones and ask it about unlabeled ones, none later.

    Args:
        market: The table that the windows lie in.
        train: Labeled training windows.
        typer: The teacher that tells the types apart.
        min_net_atr: Least net move that is asked about.
        n_windows: Live windows drawn from the bars up to the last labeled window.
        seed: Of the teacher and of the windows drawn.

    Raises:
        ValueError: If the labels show no beginning, or nothing else.
    """
    rng = np.random.default_rng(seed)
    teacher = fit_live_teacher(market, train, min_net_atr, seed)
    closed = live_windows(market.segment)
    known = closed[closed <= train.bar0.max() + (WINDOW_BARS - LIVE_BARS)]
    bar0 = np.sort(rng.choice(known, min(n_windows, len(known)), replace=False))
    spans = onset_candidates(market, bar0, min_net_atr)
    seen = teacher_features(market, bar0, spans, LIVE_BARS)
    answers = teacher.probability(seen), typer.probability(before_start(seen))
    return PseudoLabels(bar0, spans, seen[:, :N_INPUTS], *answers, LIVE_BARS)


def fit_live_teacher(market: MarketArrays, train: LabeledWindows, min_net_atr: float, seed: int) -> Teacher:
    """Fit trees on the moves of labeled windows, one live window for each bar that could tell."""
    bar0, window = live_windows_of(market.segment, train.bar0)
    spans = onset_candidates(market, bar0, min_net_atr)
    start = bar0[spans.window] + spans.start - train.bar0[window[spans.window]]
    answer = claims(train.spans, window[spans.window], start, spans.direction)
    right, wrong = np.flatnonzero(answer == 1), np.flatnonzero(answer == 0)
    rng = np.random.default_rng(seed)
    shown = np.sort(np.append(right, rng.choice(wrong, min(MAX_WRONG, len(wrong)), replace=False)))
    asked = spans.select(shown)
    return fit_live_judge(
        LabeledInputs(teacher_features(market, bar0, asked, LIVE_BARS), answer[shown]), seed
    )


def claims(labeled: Spans, window: np.ndarray, onset: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Whether claimed onsets are right: (n,) 1, 0, or -1 where nothing is known.

    Args:
        labeled: Expansions of labeled windows.
        window: (n,) index of the labeled window.
        onset: (n,) claimed first bar, of the labeled window.
        direction: (n,) +1 or -1.
    """
    answer = np.where((onset >= CORE_FIRST) & (onset <= CORE_LAST), 0, UNKNOWN)
    labeled = labeled.pointed()
    for i in range(len(labeled.window)):
        near = np.abs(onset - labeled.start[i]) <= NEAR_BARS
        answer[near & (window == labeled.window[i]) & (direction == labeled.direction[i])] = 1
    return answer
