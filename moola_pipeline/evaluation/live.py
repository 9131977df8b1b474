"""What the report scores of live mode: alarms in labeled windows, whole sessions, and a rule beside them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from moola_pipeline.evaluation.baselines import TypeBaseline
from moola_pipeline.evaluation.test_set import LabeledTestSet, baseline_inputs_before
from moola_pipeline.inference.live import find_alarms
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.metrics.alarms import score_alarms, score_sessions
from moola_pipeline.metrics.scores import Scored, score_types
from moola_pipeline.models.expansion_model import ExpansionModel
from moola_pipeline.models.live import OnsetCandidates, onset_candidates, raised_alarms
from moola_pipeline.models.span_inference import read_spans
from moola_pipeline.training.live_thresholds import fit_delay_thresholds
from moola_pipeline.training.pseudo_labels import fit_min_net
from moola_pipeline.windows.dense import live_windows, live_windows_of
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import LIVE_BARS, MAX_WAIT, WAITS


def score_live(test_set: LabeledTestSet, model: ExpansionModel, device: str) -> Scored:
    """Event F1 at each delay, and type F1 at the onset bar; empty for a model not taught to answer live."""
    if model.thresholds.live is None:
        return {}
    windows = test_set.resampled.windows
    bar0, window = live_windows_of(test_set.market.segment, windows.bar0)
    alarms = find_alarms(model, test_set.market, bar0, window, WAITS, device)
    return {
        **score_alarms(test_set.resampled, placed(windows, alarms)),
        **_types_at_onset(test_set, model, device),
    }


def score_whole_sessions(
    test_set: LabeledTestSet, model: ExpansionModel, n_sessions: int | None, device: str
) -> Scored:
    """Go through whole sessions of the test windows with the system that waits longest.

    Args:
        trial: The test windows.
        model: The model that is served.
        n_sessions: At most so many, evenly spread over those with a test window; all if None.
        device: Where the network runs.
    """
    if model.thresholds.live is None:
        return {}
    tested = np.unique(test_set.resampled.windows.session)
    if n_sessions is not None and n_sessions < len(tested):
        tested = tested[np.linspace(0, len(tested) - 1, n_sessions).round().astype(np.int64)]
    day = test_set.market.session
    bar0 = live_windows(test_set.market.segment)
    bar0 = bar0[np.isin(day[bar0], tested)]
    series = test_set.market.segment[bar0]
    alarms = find_alarms(model, test_set.market, bar0, series, (MAX_WAIT,), device)
    alarms = alarms.assign(row=alarms["start"], session=day[alarms["closed"]])
    return score_sessions(test_set.resampled, tested, alarms, MAX_WAIT)


def placed(windows: LabeledWindows, alarms: pd.DataFrame) -> pd.DataFrame:
    """Alarms of labeled windows with rows as bars of the window; `series` is its index."""
    first = windows.bar0[alarms["series"].to_numpy(np.int64)]
    return alarms.assign(
        window_id=windows.window_id[alarms["series"].to_numpy(np.int64)],
        start=alarms["start"] - first,
        closed=alarms["closed"] - first,
    )


def _types_at_onset(test_set: LabeledTestSet, model: ExpansionModel, device: str) -> Scored:
    """Type F1 where bars up to the labeled onset are seen and the direction is that of this bar."""
    windows, prices = test_set.resampled.windows, test_set.market.prices
    onset = windows.bar0[windows.spans.window] + windows.spans.start
    n, last = len(onset), LIVE_BARS - 1
    direction = np.where(prices[onset, 3] < prices[onset, 0], -1, 1)
    spans = Spans.untyped(np.arange(n), np.full(n, last), np.full(n, last), direction)
    said = read_spans(model.classifier, test_set.market, onset - last, spans, device, LIVE_BARS)
    _, balanced = model.type_probabilities(said.retracement)
    return {"type_f1_macro_live": score_types(test_set.resampled, balanced)["type_f1_macro"]}


def score_proposer_live(
    test_set: LabeledTestSet, train: LabeledWindows, typers: Mapping[str, TypeBaseline]
) -> dict[str, Scored]:
    """The rule on moves that are not over: the faster, the surer; by the peers that type its alarms.

    It is asked about the moves that the model is asked about. How fast one must be, its net move in
    ATR over the root of its bars, is fitted for each wait on training windows.
    """
    min_net_atr = fit_min_net(test_set.market, train)
    known, window = _onset_candidates(test_set, train, min_net_atr)
    thresholds = fit_delay_thresholds(train, known, window, known.onset)
    windows = test_set.resampled.windows
    candidates, window = _onset_candidates(test_set, windows, min_net_atr)
    systems = []
    for wait in WAITS:
        chosen = raised_alarms(candidates, window, candidates.onset, thresholds[wait], wait)
        columns = {
            "series": window,
            "closed": candidates.closed,
            "start": candidates.start,
            "direction": candidates.direction,
        }
        systems.append(pd.DataFrame({name: each[chosen] for name, each in columns.items()}).assign(wait=wait))
    alarms = pd.concat(systems, ignore_index=True)
    seen = baseline_inputs_before(
        test_set, alarms["start"].to_numpy(np.int64), alarms["direction"].to_numpy(np.int64)
    )
    return {
        name: score_alarms(
            test_set.resampled,
            placed(windows, alarms.assign(type=(typer.predict_proba(seen) > 0.5).astype(np.int64))),
        )
        for name, typer in typers.items()
    }


def _onset_candidates(
    test_set: LabeledTestSet, windows: LabeledWindows, min_net_atr: float
) -> tuple[OnsetCandidates, np.ndarray]:
    """Moves in the live windows of labeled ones, their speed in place of a logit; and whose they are."""
    bar0, window = live_windows_of(test_set.market.segment, windows.bar0)
    spans = onset_candidates(test_set.market, bar0, min_net_atr)
    speed = np.abs(test_set.market.net_moves(bar0, spans)) / np.sqrt(spans.end - spans.start + 1)
    row = bar0[spans.window]
    nothing = np.zeros(len(speed))
    candidates = OnsetCandidates(
        row + spans.end, row + spans.start, spans.direction, spans.window, speed, nothing
    )
    return candidates, window[spans.window]
