"""What the report scores: the model, its baselines and its peers, on the same test windows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moola_pipeline.evaluation.baselines import (
    TYPE_PEERS,
    TypePeer,
    fit_type_peer,
    paths_before,
    type_baselines,
)
from moola_pipeline.evaluation.bootstrap import Resampled, mean_over_seeds, resample, session_weights
from moola_pipeline.evaluation.matching import ANY_TYPE, event_counts, match_events
from moola_pipeline.evaluation.metrics import (
    aucpr_retracement,
    event_f1_macro,
    event_f1_untyped,
    mcc,
    type_f1_macro,
)
from moola_pipeline.features.relativity import FeatureTable
from moola_pipeline.labels.schema import TYPES
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.models.annotator import Annotator
from moola_pipeline.models.reading import read_spans
from moola_pipeline.models.rule import Proposals, measure_spans, propose
from moola_pipeline.serving.annotate import find_events, type_probabilities
from moola_pipeline.training.annotators import standalone_rule
from moola_pipeline.training.examples import labeled_proposals
from moola_pipeline.windows.dense import view_rows
from moola_pipeline.windows.repainted import BarArrays

Scored = dict[str, Resampled]
CLASSES = tuple(range(len(TYPES)))


@dataclass(frozen=True)
class Ground:
    """The test windows and what was drawn of them.

    Attributes:
        bars, features: The table they lie in.
        windows: The windows and their labeled expansions.
        event_weights: (n_resamples, n_expansions) how often each counts.
        window_weights: (n_resamples, n_windows) the same draws, for windows.
    """

    bars: BarArrays
    features: FeatureTable
    windows: LabeledWindows
    event_weights: np.ndarray
    window_weights: np.ndarray

    @property
    def truth(self) -> pd.DataFrame:
        """Labeled expansions as events."""
        spans = self.windows.spans
        ids = self.windows.window_id[spans.window]
        return pd.DataFrame({"window_id": ids, "onset": spans.start, "offset": spans.end, "type": spans.type})


def make_ground(
    bars: BarArrays, features: FeatureTable, windows: LabeledWindows, resamples: int, rng: np.random.Generator
) -> Ground:
    """Draw sessions once, so that every score is paired with every other."""
    weights = session_weights(pd.Series(windows.session), resamples, rng)
    return Ground(bars, features, windows, weights[:, windows.spans.window], weights)


def score_types(ground: Ground, p_retracement: np.ndarray) -> Scored:
    """Scores of P(retracement) for the labeled expansions, both types weighing the same at 0.5."""
    y = ground.windows.spans.type
    metrics: Mapping[str, Callable[..., np.ndarray]] = {
        "type_f1_macro": type_f1_macro,
        "aucpr_retracement": aucpr_retracement,
        "mcc": mcc,
    }
    return {
        name: resample(lambda weights, metric=metric: metric(y, p_retracement, weights), ground.event_weights)
        for name, metric in metrics.items()
    }


def score_events(ground: Ground, events: pd.DataFrame) -> Scored:
    """Scores of expansions found: window_id, onset, offset, type."""
    ids = pd.Series(ground.windows.window_id)
    typed = event_counts(match_events(ground.truth, events), ids, CLASSES)
    untyped = event_counts(match_events(ground.truth, events, typed=False), ids, (ANY_TYPE,))
    return {
        "event_f1_macro": resample(lambda weights: event_f1_macro(typed, weights), ground.window_weights),
        "event_f1_untyped": resample(
            lambda weights: event_f1_untyped(untyped, weights), ground.window_weights
        ),
    }


def score_annotators(
    ground: Ground, annotators: Mapping[int, Annotator], device: str
) -> tuple[Scored, dict[int, pd.DataFrame]]:
    """The model's scores, each the mean over its training seeds, and the events of each seed."""
    measures = measure_spans(
        ground.bars.views(ground.windows.bar0), ground.features.atr[view_rows(ground.windows.bar0)]
    )
    marked = labeled_proposals(ground.windows, measures)
    runs, events = [], {}
    for seed, annotator in annotators.items():
        network = annotator.classifier.to(device)
        reading = read_spans(network, ground.features.values, ground.windows.bar0, marked, device)
        _, balanced = type_probabilities(annotator, reading.retracement)
        found = find_events(annotator, ground.bars, ground.features, ground.windows.bar0, device)
        events[seed] = found.assign(window_id=ground.windows.window_id[found["window"].to_numpy(np.int64)])
        runs.append({**score_types(ground, balanced), **score_events(ground, events[seed])})
        annotator.classifier.to("cpu")
    return {name: mean_over_seeds([run[name] for run in runs]) for name in runs[0]}, events


def score_baselines(ground: Ground, train: LabeledWindows, found: Proposals) -> dict[str, Scored]:
    """Answers that see no price: constants, and the position in the window.

    For events each types the spans that the rule finds by itself.
    """
    baselines = {}
    onsets = np.concatenate([ground.windows.spans.start, found.start])
    for name, p in type_baselines(train.spans.type, train.spans.start, onsets).items():
        labeled, proposed = np.split(p, [len(ground.windows.spans.start)])
        events = _events(ground, found, (proposed >= 0.5).astype(np.int64))
        baselines[name] = {**score_types(ground, labeled), **score_events(ground, events)}
    return baselines


def find_by_rule(ground: Ground, train: LabeledWindows) -> Proposals:
    """Spans in the test windows by the rule that finds training expansions best by itself."""
    rule = standalone_rule(ground.bars, ground.features, train)
    atr = ground.features.atr[view_rows(ground.windows.bar0)]
    return propose(measure_spans(ground.bars.views(ground.windows.bar0), atr), rule)


def score_peers(
    ground: Ground, train: LabeledWindows, found: Proposals, rng: np.random.Generator
) -> dict[str, Scored]:
    """Peers fitted on training expansions; with the rule's spans, peers for events as well."""
    fitted = {name: fit_type_peer(name, _paths(ground, train), train.spans.type, rng) for name in TYPE_PEERS}
    own_paths = _paths(ground, ground.windows)
    peers = {name: score_types(ground, peer.predict_proba(own_paths)) for name, peer in fitted.items()}
    rows = ground.windows.bar0[found.window] + found.start
    paths = paths_before(ground.bars.prices[:, 3], ground.features.atr, rows, found.direction)
    for typer in ("extra_trees_21_summaries", "logistic_21_summaries"):
        events = _events(ground, found, _answers(fitted[typer], paths))
        peers[f"rule_{typer}"] = score_events(ground, events)
    return peers


def _events(ground: Ground, found: Proposals, types: np.ndarray) -> pd.DataFrame:
    ids = ground.windows.window_id[found.window]
    return pd.DataFrame({"window_id": ids, "onset": found.start, "offset": found.end, "type": types})


def _answers(peer: TypePeer, paths: np.ndarray) -> np.ndarray:
    return (peer.predict_proba(paths) >= 0.5).astype(np.int64) if len(paths) else np.empty(0, np.int64)


def _paths(ground: Ground, windows: LabeledWindows) -> np.ndarray:
    rows = windows.bar0[windows.spans.window] + windows.spans.start
    return paths_before(ground.bars.prices[:, 3], ground.features.atr, rows, windows.spans.direction)
