"""Pseudo-labels: teacher trees fitted on the labels answer for spans that nobody labeled."""

import numpy as np

from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.models.span_proposer import Rule, propose
from moola_pipeline.training.live_pseudo_labels import make_live_pseudo_labels
from moola_pipeline.training.proposer_fit import matches
from moola_pipeline.training.teachers import (
    Known,
    PseudoLabels,
    before_start,
    fit_judge,
    fit_typer,
    teacher_features,
)
from moola_pipeline.windows.dense import pretraining_windows
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.span_inputs import N_INPUTS
from moola_pipeline.windows.window_geometry import WINDOW_BARS

TEACHER_SEED = 0
"""Of the teachers and of the windows drawn: the same for every training seed."""


def make_pseudo_labels(
    market: MarketArrays,
    train: LabeledWindows,
    rule: Rule,
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
    judge = fit_judge(_judged(market, train, rule), TEACHER_SEED)
    typer = fit_typer(_typed(market, train), TEACHER_SEED)
    tiled = pretraining_windows(market.segment, int(train.bar0.max()) + WINDOW_BARS)
    drawn = np.random.default_rng(TEACHER_SEED).permutation(tiled)[:n_windows]
    bar0 = np.sort(drawn)
    proposals = propose(market.measure_spans(bar0), rule)
    proposals = proposals.select(proposals.in_core)
    seen = teacher_features(market, bar0, proposals)
    answers = judge.probability(seen), typer.probability(before_start(seen))
    live = (
        make_live_pseudo_labels(market, train, typer, min_net_atr, n_live, TEACHER_SEED) if n_live else None
    )
    return PseudoLabels(bar0, proposals, seen[:, :N_INPUTS], *answers, live=live)


def _judged(market: MarketArrays, train: LabeledWindows, rule: Rule) -> Known:
    """The rule's proposals in labeled windows: 1 where they find a label, unknown ones left out."""
    proposals = propose(market.measure_spans(train.bar0), rule)
    found = matches(proposals, train.spans) >= 0
    known = found | proposals.in_core
    return Known(teacher_features(market, train.bar0, proposals.select(known)), found[known].astype(np.int64))


def _typed(market: MarketArrays, train: LabeledWindows) -> Known:
    """The labeled expansions by what stood before them: 1 for a retracement."""
    seen = teacher_features(market, train.bar0, train.spans.pointed())
    return Known(before_start(seen), train.spans.type)
