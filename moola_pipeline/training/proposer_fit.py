"""Fitting of the span proposer on training labels: coordinate search over its five thresholds."""

from collections.abc import Callable
from itertools import product

import numba
import numpy as np

from moola_pipeline.models.span_proposer import ORDERINGS, RankedSpans, SpanProposer
from moola_pipeline.windows.spans import MAX_LENGTH, SpanMeasures, Spans
from moola_pipeline.windows.window_geometry import (
    OFFSET_COLLAR_BARS,
    OFFSET_COLLAR_SHARE,
    ONSET_COLLAR_BARS,
)


def matches(proposals: Spans, labeled: Spans) -> np.ndarray:
    """Index of the labeled expansion that each proposal matches, -1 if none.

    A pair can match if onsets differ by at most 3 bars and ends by at most 3 bars or half the
    labeled length. Nearest onsets are paired first, and each label is matched once.

    Returns:
        (n_proposals,) int64.
    """
    reach = np.maximum(OFFSET_COLLAR_BARS, OFFSET_COLLAR_SHARE * (labeled.end - labeled.start + 1))
    labels = labeled.window, labeled.start, labeled.end - reach, labeled.end + reach
    return match_onsets((proposals.window, proposals.start, proposals.end), labels)


def match_onsets(found: tuple[np.ndarray, ...], labels: tuple[np.ndarray, ...]) -> np.ndarray:
    """Index of the label that each found onset matches, -1 if none: (n,) int64.

    A pair can match in one group, with onsets at most 3 bars apart, if the later bar suits the label.
    Nearest onsets are paired first, and each label is matched once.

    Args:
        found: Group, onset and a later bar of each; (n,).
        labels: Group (sorted), onset, and least and greatest later bar of each.
    """
    match = np.full(len(found[0]), -1, np.int64)
    _match(_same_dtype(found), _same_dtype(labels), ONSET_COLLAR_BARS, match)
    return match


def _same_dtype(arrays: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """The arrays as float64, so that one compiled function serves all callers."""
    return tuple(np.ascontiguousarray(array, np.float64) for array in arrays)


# Constants of other modules are arguments: numba's cache does not notice when they change.
@numba.njit(cache=True, nogil=True)
def _match(found, labels, collar, match):
    group, onset, later = found
    label_group, label_onset, least, greatest = labels
    used = np.zeros(len(label_group), np.bool_)
    for apart in range(collar + 1):
        for i in range(len(group)):
            if match[i] >= 0:
                continue
            low = np.searchsorted(label_group, group[i])
            for j in range(low, len(label_group)):
                if label_group[j] != group[i]:
                    break
                if (
                    not used[j]
                    and abs(onset[i] - label_onset[j]) == apart
                    and least[j] <= later[i] <= greatest[j]
                ):
                    match[i], used[j] = j, True
                    break


def f_beta(proposals: Spans, labeled: Spans, beta: float) -> float:
    """F-beta of untyped proposals against the labels; only false onsets in bars 30-74 count."""
    matched = matches(proposals, labeled) >= 0
    hits = int(matched.sum())
    wrong = ~matched & proposals.in_core
    missed = len(labeled.window) - hits
    weighted = (1 + beta**2) * hits
    total = weighted + beta**2 * missed + int(wrong.sum())
    return weighted / total if total else 0.0


def fit_proposer(measures: SpanMeasures, labeled: Spans, beta: float = 1.0) -> SpanProposer:
    """The rule with the best F-beta on these windows.

    The search starts at quantiles of the labeled spans and changes one threshold at a time until
    none improves, once for each ordering and maximum length.

    Args:
        measures: Measures of the training windows, including empty ones.
        labeled: Their expansions, sorted by window.
        beta: 1 for a rule that is used alone; larger to favor recall, for proposals to a network.

    Raises:
        ValueError: If there is no labeled expansion.
    """
    net, efficiency, length = _labeled_measures(measures, labeled)
    shares = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6)
    choices = {
        "min_net_atr": np.unique(np.quantile(net, shares).round(2)).clip(0.01).tolist(),
        "min_efficiency": np.unique(np.quantile(efficiency, shares).round(2)).tolist(),
        "min_length": sorted({int(q) + 1 for q in np.quantile(length, (0, 0.05, 0.1, 0.25), method="lower")}),
        "max_length": sorted({int(q) + 1 for q in np.quantile(length, (0.8, 0.9, 0.95, 1), method="higher")}),
    }
    sweeps = [
        [{name: value} for value in choices[name]] for name in ("min_net_atr", "min_efficiency", "min_length")
    ]
    climbs = []
    for ordering in ORDERINGS:
        loosest = SpanProposer(
            min_net_atr=min(choices["min_net_atr"]),
            min_efficiency=min(choices["min_efficiency"]),
            min_length=min(choices["min_length"]),
            max_length=max(choices["max_length"]),
            ordering=ordering,
        )
        search = _Search(RankedSpans.of(measures, loosest), labeled, beta)
        for longest in choices["max_length"]:
            start = loosest.model_copy(
                update={
                    "min_net_atr": choices["min_net_atr"][len(choices["min_net_atr"]) // 3],
                    "min_efficiency": choices["min_efficiency"][len(choices["min_efficiency"]) // 3],
                    "max_length": longest,
                }
            )
            climbs.append(search.climb(start, lambda _: sweeps))
    return max(climbs, key=lambda climb: climb[1])[0]


def improve_proposer(measures: SpanMeasures, labeled: Spans, beta: float = 1.0) -> SpanProposer:
    """Continue `fit_proposer` with a finer search until the F-beta on these windows stops rising.

    The search starts at the rule of `fit_proposer`, once for each ordering. It tries each quantile
    of a threshold in steps of 1 %, both lengths, and neighbors of both thresholds at once.

    Args:
        measures, labeled, beta: As in `fit_proposer`.
    """
    net, efficiency, _ = _labeled_measures(measures, labeled)
    shares = np.linspace(0, 0.7, 71)
    nets = np.unique(np.quantile(net, shares).round(2)).clip(0.01)
    efficiencies = np.unique(np.quantile(efficiency, shares).round(3))
    fitted = fit_proposer(measures, labeled, beta)
    results = []
    for ordering in ORDERINGS:
        proposer = fitted.model_copy(update={"ordering": ordering})
        loosest = SpanProposer(
            min_net_atr=min(*nets, fitted.min_net_atr),
            min_efficiency=min(*efficiencies, fitted.min_efficiency),
            min_length=1,
            max_length=MAX_LENGTH,
            ordering=ordering,
        )
        search = _Search(RankedSpans.of(measures, loosest), labeled, beta)
        results.append(search.climb(proposer, lambda rule: _sweeps(rule, nets, efficiencies)))
    return max(results, key=lambda result: result[1])[0]


Sweep = list[dict[str, float]]
"""Changes of the same thresholds, to try one after the other."""


def _sweeps(proposer: SpanProposer, nets: np.ndarray, efficiencies: np.ndarray) -> list[Sweep]:
    """Changes to try: one threshold to any value, or both to nearby values."""
    i, j = np.searchsorted(nets, proposer.min_net_atr), np.searchsorted(efficiencies, proposer.min_efficiency)
    nearby = product(nets[max(i - 4, 0) : i + 5], efficiencies[max(j - 4, 0) : j + 5])
    return [
        [{"min_net_atr": float(value)} for value in nets],
        [{"min_efficiency": float(value)} for value in efficiencies],
        [{"min_length": bars} for bars in range(1, proposer.max_length + 1)],
        [{"max_length": bars} for bars in range(proposer.min_length, MAX_LENGTH + 1)],
        [{"min_net_atr": float(net), "min_efficiency": float(efficiency)} for net, efficiency in nearby],
    ]


def _labeled_measures(measures: SpanMeasures, labeled: Spans) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Net move in ATR, efficiency, and end minus start of the labeled spans; long ones are cut."""
    if len(labeled.window) == 0:
        raise ValueError("labeled must hold at least one expansion, got none")
    length = np.minimum(labeled.end - labeled.start, MAX_LENGTH - 1)
    at = (labeled.window, labeled.start, length)
    return np.abs(measures.net_atr[at]), measures.efficiency[at], length


class _Search:
    """Coordinate search for the rule with the best F-beta; it meets a third of its rules again."""

    def __init__(self, ranked: RankedSpans, labeled: Spans, beta: float) -> None:
        self.ranked, self.labeled, self.beta = ranked, labeled, beta
        self.known: dict[SpanProposer, float] = {}

    def climb(
        self, proposer: SpanProposer, sweeps_of: Callable[[SpanProposer], list[Sweep]]
    ) -> tuple[SpanProposer, float]:
        """Sweep until none improves the rule; the best rule and its F-beta."""
        score = self.score(proposer, self.ranked)
        before = -1.0
        while score > before:
            before = score
            for sweep in sweeps_of(proposer):
                proposer, score = self._swept(proposer, score, sweep)
        return proposer, score

    def _swept(self, proposer: SpanProposer, score: float, sweep: Sweep) -> tuple[SpanProposer, float]:
        """The best of the rule and its changes, among the spans that the other thresholds allow."""
        swept = {name: getattr(self.ranked.loosest, name) for change in sweep for name in change}
        allowed = self.ranked.within(proposer.model_copy(update=swept))
        for change in sweep:
            candidate = proposer.model_copy(update=change)
            candidate_score = self.score(candidate, allowed)
            if candidate_score > score + 1e-12:
                proposer, score = candidate, candidate_score
        return proposer, score

    def score(self, proposer: SpanProposer, allowed: RankedSpans) -> float:
        """F-beta of a rule, computed once."""
        if proposer not in self.known:
            self.known[proposer] = f_beta(allowed.propose(proposer), self.labeled, self.beta)
        return self.known[proposer]
