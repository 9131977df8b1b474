"""Scores of live mode: alarms in labeled windows and whole sessions, and the rule as a baseline."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moola_pipeline.evaluation.baselines import TypeBaseline
from moola_pipeline.evaluation.test_set import LabeledTestSet, baseline_inputs_before
from moola_pipeline.inference.live import alarms_of, find_alarms, live_candidates, live_thresholds
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.metrics.alarms import score_alarms, score_sessions
from moola_pipeline.metrics.scores import Scored, score_types
from moola_pipeline.models.expansion_model import ExpansionModel
from moola_pipeline.models.live import OnsetCandidates, alarms_by_threshold, onset_candidates, raised_alarms
from moola_pipeline.models.span_inference import read_spans
from moola_pipeline.training.live_thresholds import fit_delay_thresholds
from moola_pipeline.training.pseudo_labels import fit_min_net
from moola_pipeline.windows.dense import live_windows, live_windows_of
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import LIVE_BARS, MAX_WAIT, WAITS


def score_live(test_set: LabeledTestSet, model: ExpansionModel, device: str) -> Scored:
    """Event F1 by delay, and type F1 at the onset bar; empty if the model was not trained for live mode."""
    if model.thresholds.live is None:
        return {}
    windows = test_set.resampled.windows
    bar0, window = live_windows_of(test_set.market.segment, windows.bar0)
    alarms = find_alarms(model, test_set.market, bar0, window, WAITS, device)
    return {
        **score_alarms(test_set.resampled, placed(windows, alarms)),
        **_types_at_onset(test_set, model, device),
    }


@dataclass(frozen=True)
class AlarmCandidates:
    """What may raise an alarm in some whole sessions.

    Attributes:
        sessions: The sessions.
        candidates: Onset candidates at every closed bar.
        series: (n,) segment of each candidate.
        session: (n,) session of each candidate.
        probability: (n,) that an expansion began there.
    """

    sessions: np.ndarray
    candidates: OnsetCandidates
    series: np.ndarray
    session: np.ndarray
    probability: np.ndarray

    def alarms(self, thresholds: np.ndarray) -> Iterator[np.ndarray]:
        """Indices of the candidates that raise an alarm, for each threshold."""
        return alarms_by_threshold(self.candidates, self.series, self.probability, thresholds, MAX_WAIT)


def alarm_candidates(
    model: ExpansionModel, market: MarketArrays, windows: LabeledWindows, n_sessions: int | None, device: str
) -> AlarmCandidates | None:
    """Onset candidates at every closed bar of whole sessions; None without live mode.

    Args:
        model: On `device`.
        market: The bars and their features.
        windows: Sessions that hold one of them are read.
        n_sessions: Maximum number of sessions, evenly spread; None for all.
        device: Device of the network.
    """
    if model.thresholds.live is None:
        return None
    sessions = spread_sessions(windows, n_sessions)
    bar0 = live_windows(market.segment)
    bar0 = bar0[np.isin(market.session[bar0], sessions)]
    candidates, probability = live_candidates(model, market, bar0, device)
    series = market.segment[bar0][candidates.window]
    return AlarmCandidates(sessions, candidates, series, market.session[candidates.closed], probability)


def score_whole_sessions(
    test_set: LabeledTestSet, tested: AlarmCandidates | None, model: ExpansionModel
) -> Scored:
    """Score the alarms of whole sessions with the longest wait.

    Args:
        test_set: The test windows.
        tested: Candidates of the test sessions; None if the model was not trained for live mode.
        model: The served model.
    """
    if tested is None:
        return {}
    thresholds = live_thresholds(model).thresholds
    found = tested.candidates, tested.series, tested.probability
    alarms = alarms_of(model, *found, (MAX_WAIT,), thresholds)
    alarms = alarms.assign(row=alarms["start"], session=test_set.market.session[alarms["closed"]])
    return score_sessions(test_set.resampled, tested.sessions, alarms, MAX_WAIT)


def spread_sessions(windows: LabeledWindows, n_sessions: int | None) -> np.ndarray:
    """Sessions with a window, at most `n_sessions` of them, evenly spread; None for all."""
    sessions = np.unique(windows.session)
    if n_sessions is None or n_sessions >= len(sessions):
        return sessions
    return sessions[np.linspace(0, len(sessions) - 1, n_sessions).round().astype(np.int64)]


def placed(windows: LabeledWindows, alarms: pd.DataFrame) -> pd.DataFrame:
    """Alarms with rows as bars of their labeled window; `series` is the index of the window."""
    first = windows.bar0[alarms["series"].to_numpy(np.int64)]
    return alarms.assign(
        window_id=windows.window_id[alarms["series"].to_numpy(np.int64)],
        start=alarms["start"] - first,
        closed=alarms["closed"] - first,
    )


def _types_at_onset(test_set: LabeledTestSet, model: ExpansionModel, device: str) -> Scored:
    """Type F1 from the bars up to the labeled onset, with the direction of this bar."""
    windows, prices = test_set.resampled.windows, test_set.market.prices
    onset = windows.bar0[windows.spans.window] + windows.spans.start
    n, last = len(onset), LIVE_BARS - 1
    direction = np.where(prices[onset, 3] < prices[onset, 0], -1, 1)
    spans = Spans.untyped(np.arange(n), np.full(n, last), np.full(n, last), direction)
    logits = read_spans(model.classifier, test_set.market, onset - last, spans, device, LIVE_BARS)
    _, balanced = model.thresholds.type_probabilities(logits.retracement)
    return {"type_f1_macro_live": score_types(test_set.resampled, balanced)["type_f1_macro"]}


def rule_alarms(test_set: LabeledTestSet, train: LabeledWindows) -> pd.DataFrame:
    """Alarms of the rule in live mode in the test windows: series, closed, start, direction, wait.

    It scores the same unfinished moves as the model, by their speed: net move in ATR over the square
    root of the number of bars. A threshold for each wait is fitted on complete training windows.
    """
    train = train.complete_windows
    min_net_atr = fit_min_net(test_set.market, train)
    candidates, window = _onset_candidates(test_set, train, min_net_atr)
    thresholds = fit_delay_thresholds(train, candidates, window, candidates.onset)
    candidates, window = _onset_candidates(test_set, test_set.resampled.windows, min_net_atr)
    columns = {
        "series": window,
        "closed": candidates.closed,
        "start": candidates.start,
        "direction": candidates.direction,
    }
    systems = []
    for wait in WAITS:
        chosen = raised_alarms(candidates, window, candidates.onset, thresholds[wait], wait)
        table = pd.DataFrame({name: column[chosen] for name, column in columns.items()})
        systems.append(table.assign(wait=wait))
    return pd.concat(systems, ignore_index=True)


def score_rule_alarms(test_set: LabeledTestSet, alarms: pd.DataFrame, typer: TypeBaseline) -> Scored:
    """Scores of `rule_alarms` with the types of a baseline."""
    rows, directions = (alarms[name].to_numpy(np.int64) for name in ("start", "direction"))
    inputs = baseline_inputs_before(test_set, rows, directions)
    typed = alarms.assign(type=(typer.predict_proba(inputs) > 0.5).astype(np.int64))
    return score_alarms(test_set.resampled, placed(test_set.resampled.windows, typed))


def _onset_candidates(
    test_set: LabeledTestSet, windows: LabeledWindows, min_net_atr: float
) -> tuple[OnsetCandidates, np.ndarray]:
    """Moves in the live windows of labeled windows, with speed as logit; and the window of each."""
    bar0, window = live_windows_of(test_set.market.segment, windows.bar0)
    spans = onset_candidates(test_set.market, bar0, min_net_atr)
    speed = np.abs(test_set.market.net_moves(bar0, spans)) / np.sqrt(spans.end - spans.start + 1)
    row = bar0[spans.window]
    no_type = np.zeros(len(speed))
    candidates = OnsetCandidates(
        row + spans.end, row + spans.start, spans.direction, spans.window, speed, no_type
    )
    return candidates, window[spans.window]
