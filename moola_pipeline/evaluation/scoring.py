"""What the report scores: the model, its baselines, its peers and its ceiling, on the same test windows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from moola_pipeline.evaluation.baselines import (
    TYPE_PEERS,
    TypePeer,
    fit_type_peer,
)
from moola_pipeline.evaluation.live import score_live, score_rule_live
from moola_pipeline.evaluation.shuffled_labels import shuffled_answers
from moola_pipeline.evaluation.test_set import Trial, oracle_span_probabilities, seen_before, seen_in
from moola_pipeline.evaluation.trivial_baselines import constant_span, type_baselines
from moola_pipeline.inference.hindsight import find_events
from moola_pipeline.labels.second_pass import TwiceLabeled
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.metrics.breakdowns import Answers
from moola_pipeline.metrics.calibration import perfect_band
from moola_pipeline.metrics.scores import (
    Ground,
    Scored,
    events_of,
    mean_scores,
    score_ends,
    score_events,
    score_mean_pointer,
    score_probabilities,
    score_ranking,
    score_types,
)
from moola_pipeline.models.expansion_model import ExpansionModel
from moola_pipeline.models.span_proposer import propose
from moola_pipeline.report.checks import MEAN_POINTER, ONE_SPAN
from moola_pipeline.training.expansion_models import standalone_proposer
from moola_pipeline.windows.spans import Spans

RULE_TYPERS = ("extra_trees_21_summaries", "logistic_21_summaries")
"""Peers that also type the spans which the rule finds."""


@dataclass(frozen=True)
class EvaluatedModel:
    """What the model was found to be.

    Attributes:
        scores: Each the mean over training seeds.
        by_seed: Those of each seed.
        answers: What each seed said.
        probabilities: Calibrated P(retracement) of the labeled expansions, each seed's.
        perfect_bands: The calibration error that each would show were it perfect.
    """

    scores: Scored
    by_seed: dict[int, Scored]
    answers: dict[int, Answers]
    probabilities: dict[int, np.ndarray]
    perfect_bands: dict[int, tuple[float, float]]


def score_models(
    trial: Trial, models: Mapping[int, ExpansionModel], device: str, rng: np.random.Generator
) -> EvaluatedModel:
    """The model's scores, what its training seeds said, and how calibrated it could be at best."""
    ground = trial.ground
    scored, answers, probabilities, bands = {}, {}, {}, {}
    for seed, model in models.items():
        model.classifier.to(device)
        calibrated, answers[seed], ranked = _asked(trial, model, device)
        live = score_live(trial, model, device)
        model.classifier.to("cpu")
        scored[seed] = {
            **score_types(ground, answers[seed].p_retracement),
            **score_probabilities(ground, calibrated),
            **score_events(ground, answers[seed].events),
            **score_ends(ground, answers[seed].events),
            **score_ranking(ground, ranked),
            **live,
        }
        probabilities[seed], bands[seed] = calibrated, perfect_band(calibrated, rng)
    return EvaluatedModel(mean_scores(list(scored.values())), scored, answers, probabilities, bands)


def _asked(trial: Trial, model: ExpansionModel, device: str) -> tuple[np.ndarray, Answers, pd.DataFrame]:
    """P(retracement) of labeled spans, calibrated; the answers; and every proposal, ranked."""
    windows = trial.ground.windows
    calibrated, balanced = oracle_span_probabilities(model, trial.market, windows, device)
    # F1 is about what is reported, average precision about the order of all that was considered.
    unsure = replace(model, decisions=model.decisions.model_copy(update={"expansion_threshold": 0.0}))
    events, ranked = (
        _placed(windows, find_events(one, trial.market, windows.bar0, device)) for one in (model, unsure)
    )
    return calibrated, Answers(balanced, events), ranked.assign(score=ranked["probability"])


def _placed(windows: LabeledWindows, found: pd.DataFrame) -> pd.DataFrame:
    window = found["window"].to_numpy(np.int64)
    row = windows.bar0[window] + found["start"].to_numpy(np.int64)
    return found.assign(window_id=windows.window_id[window], row=row)


def score_baselines(
    trial: Trial, train: LabeledWindows, found: Spans, judged: EvaluatedModel, rng: np.random.Generator
) -> dict[str, Scored]:
    """Answers that see no price: constants, and the position in the window.

    For events the type baselines type the spans that the rule finds by itself; one_constant_span
    says one span, of training's larger class, of every window; mean_pointer says the mean ends of
    the very expansions that the model met, so that the two errors are paired; shuffled_answers are
    the model's own answers dealt out at random.
    """
    ground, y = trial.ground, train.spans.type
    spans = ground.windows.spans
    baselines = {}
    onsets = np.concatenate([spans.start, found.start])
    for name, p in type_baselines(y, train.spans.start, onsets).items():
        labeled, proposed = np.split(p, [len(spans.start)])
        events = _events(ground, found, (proposed > 0.5).astype(np.int64))
        baselines[name] = {**score_types(ground, labeled), **score_events(ground, events)}
    share = np.full(len(spans.start), np.mean(y))
    baselines["training_share"] = score_probabilities(ground, share)
    start, end = constant_span(train)
    everywhere = pd.DataFrame({"window_id": ground.windows.window_id, "start": start, "end": end})
    baselines[ONE_SPAN] = score_events(ground, everywhere.assign(type=int(np.mean(y) > 0.5)))
    baselines[MEAN_POINTER] = mean_scores(
        [score_mean_pointer(ground, one.events) for one in judged.answers.values()]
    )
    baselines["shuffled_answers"] = mean_scores(
        [shuffled_answers(ground, one.p_retracement, rng) for one in judged.answers.values()]
    )
    return baselines


def find_by_rule(trial: Trial, train: LabeledWindows) -> Spans:
    """Spans in the test windows by the rule that finds training expansions best by itself."""
    rule = standalone_proposer(trial.market, train)
    return propose(trial.market.measure_spans(trial.ground.windows.bar0), rule)


def score_peers(
    trial: Trial,
    train: LabeledWindows,
    found: Spans,
    rng: np.random.Generator,
    on_peer: Callable[[str], None] = lambda name: None,
) -> dict[str, Scored]:
    """Peers fitted on training expansions; with the rule's spans, peers for events as well."""
    ground = trial.ground
    learned, asked = seen_in(trial, train), seen_in(trial, ground.windows)
    fitted: dict[str, TypePeer] = {}
    for name in TYPE_PEERS:
        on_peer(name)
        fitted[name] = fit_type_peer(name, learned, train.spans.type, rng)
    peers = {name: score_types(ground, peer.predict_proba(asked)) for name, peer in fitted.items()}
    proposed = seen_before(trial, ground.windows.bar0[found.window] + found.start, found.direction)
    live = score_rule_live(trial, train, {typer: fitted[typer] for typer in RULE_TYPERS})
    net = np.abs(trial.market.measure_spans(ground.windows.bar0).net_of(found))
    for typer in RULE_TYPERS:
        types = (fitted[typer].predict_proba(proposed) > 0.5).astype(np.int64)
        events = _events(ground, found, types)
        peers[f"rule_{typer}"] = {
            **score_events(ground, events),
            **score_ends(ground, events),
            **score_ranking(ground, events.assign(score=net)),
            **live[typer],
        }
    return peers


def score_ceiling(ground: Ground, twice: TwiceLabeled) -> Scored:
    """The annotator's second pass, scored as a prediction on those test windows that have one.

    A person ranks nothing, so there is no average precision; types are given without a span told,
    so there is no type F1 either. Empty where no window has a second pass.
    """
    if not len(twice.first.bar0):
        return {}
    columns = pd.Index(ground.window_ids).get_indexer(pd.Index(twice.first.window_id))
    weights = ground.window_weights[:, columns]
    known = Ground(twice.first, weights[:, twice.first.spans.window], weights)
    again = events_of(twice.second)
    return {**score_events(known, again), **score_ends(known, again)}


def _events(ground: Ground, found: Spans, types: np.ndarray) -> pd.DataFrame:
    ids = ground.windows.window_id[found.window]
    return pd.DataFrame({"window_id": ids, "start": found.start, "end": found.end, "type": types})
