"""What the report scores of live mode: alarms in labeled windows, whole sessions, and a rule beside them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from moola_pipeline.evaluation.baselines import TypePeer
from moola_pipeline.evaluation.test_set import Trial, seen_before
from moola_pipeline.inference.live import find_alarms
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.metrics.alarms import score_alarms, score_sessions
from moola_pipeline.metrics.scores import Scored, score_types
from moola_pipeline.models.expansion_model import ExpansionModel
from moola_pipeline.models.live import OnsetCandidates, beginnings, raised
from moola_pipeline.models.span_inference import read_spans
from moola_pipeline.training.live_thresholds import fit_thresholds
from moola_pipeline.training.pseudo_labels import fit_min_net
from moola_pipeline.windows.dense import live_windows, live_windows_of
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import LIVE_BARS, MAX_WAIT, WAITS


def score_live(trial: Trial, model: ExpansionModel, device: str) -> Scored:
    """Event F1 at each delay, and type F1 at the onset bar; empty for a model not taught to answer live."""
    if model.decisions.live is None:
        return {}
    windows = trial.ground.windows
    bar0, window = live_windows_of(trial.market.segment, windows.bar0)
    alarms = find_alarms(model, trial.market, bar0, window, WAITS, device)
    return {
        **score_alarms(trial.ground, placed(windows, alarms)),
        **_types_at_onset(trial, model, device),
    }


def score_whole_sessions(trial: Trial, model: ExpansionModel, n_sessions: int | None, device: str) -> Scored:
    """Go through whole sessions of the test windows with the system that waits longest.

    Args:
        trial: The test windows.
        model: The model that is served.
        n_sessions: At most so many, evenly spread over those with a test window; all if None.
        device: Where the network runs.
    """
    if model.decisions.live is None:
        return {}
    tested = np.unique(trial.ground.windows.session)
    if n_sessions is not None and n_sessions < len(tested):
        tested = tested[np.linspace(0, len(tested) - 1, n_sessions).round().astype(np.int64)]
    day = trial.market.session
    bar0 = live_windows(trial.market.segment)
    bar0 = bar0[np.isin(day[bar0], tested)]
    series = trial.market.segment[bar0]
    alarms = find_alarms(model, trial.market, bar0, series, (MAX_WAIT,), device)
    alarms = alarms.assign(row=alarms["start"], session=day[alarms["closed"]])
    return score_sessions(trial.ground, tested, alarms, MAX_WAIT)


def placed(windows: LabeledWindows, alarms: pd.DataFrame) -> pd.DataFrame:
    """Alarms of labeled windows with rows as bars of the window; `series` is its index."""
    first = windows.bar0[alarms["series"].to_numpy(np.int64)]
    return alarms.assign(
        window_id=windows.window_id[alarms["series"].to_numpy(np.int64)],
        start=alarms["start"] - first,
        closed=alarms["closed"] - first,
    )


def _types_at_onset(trial: Trial, model: ExpansionModel, device: str) -> Scored:
    """Type F1 where bars up to the labeled onset are seen and the direction is that of this bar."""
    windows, prices = trial.ground.windows, trial.market.prices
    onset = windows.bar0[windows.spans.window] + windows.spans.start
    n, last = len(onset), LIVE_BARS - 1
    direction = np.where(prices[onset, 3] < prices[onset, 0], -1, 1)
    spans = Spans.untyped(np.arange(n), np.full(n, last), np.full(n, last), direction)
    said = read_spans(model.classifier, trial.market, onset - last, spans, device, LIVE_BARS)
    _, balanced = model.type_probabilities(said.retracement)
    return {"type_f1_macro_live": score_types(trial.ground, balanced)["type_f1_macro"]}


def score_rule_live(trial: Trial, train: LabeledWindows, typers: Mapping[str, TypePeer]) -> dict[str, Scored]:
    """The rule on moves that are not over: the faster, the surer; by the peers that type its alarms.

    It is asked about the moves that the model is asked about. How fast one must be, its net move in
    ATR over the root of its bars, is fitted for each wait on training windows.
    """
    min_net_atr = fit_min_net(trial.market, train)
    known, window = _begun(trial, train, min_net_atr)
    thresholds = fit_thresholds(train, known, window, known.begun)
    windows = trial.ground.windows
    begun, window = _begun(trial, windows, min_net_atr)
    systems = []
    for wait in WAITS:
        chosen = raised(begun, window, begun.begun, thresholds[wait], wait)
        columns = {
            "series": window,
            "closed": begun.closed,
            "start": begun.start,
            "direction": begun.direction,
        }
        systems.append(pd.DataFrame({name: each[chosen] for name, each in columns.items()}).assign(wait=wait))
    alarms = pd.concat(systems, ignore_index=True)
    seen = seen_before(trial, alarms["start"].to_numpy(np.int64), alarms["direction"].to_numpy(np.int64))
    return {
        name: score_alarms(
            trial.ground,
            placed(windows, alarms.assign(type=(typer.predict_proba(seen) > 0.5).astype(np.int64))),
        )
        for name, typer in typers.items()
    }


def _begun(trial: Trial, windows: LabeledWindows, min_net_atr: float) -> tuple[OnsetCandidates, np.ndarray]:
    """Moves in the live windows of labeled ones, their speed in place of a logit; and whose they are."""
    bar0, window = live_windows_of(trial.market.segment, windows.bar0)
    spans = beginnings(trial.market, bar0, min_net_atr)
    speed = np.abs(trial.market.net_moves(bar0, spans)) / np.sqrt(spans.end - spans.start + 1)
    row = bar0[spans.window]
    nothing = np.zeros(len(speed))
    begun = OnsetCandidates(row + spans.end, row + spans.start, spans.direction, spans.window, speed, nothing)
    return begun, window[spans.window]
