"""Changes of the distillation recipe, tried on the time folds: other pseudo-labels for the same network."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from moola_pipeline.models.classifier import Classifier
from moola_pipeline.models.expansion_model import sigmoid
from moola_pipeline.models.span_inference import read_spans
from moola_pipeline.models.span_proposer import propose
from moola_pipeline.studies.ablation_folds import Fold
from moola_pipeline.training.proposer_fit import matches
from moola_pipeline.training.pseudo_labels import PseudoLabels, expansion_examples, type_examples
from moola_pipeline.training.teachers import Teacher, before_start, fit_judge, fit_typer, teacher_features
from moola_pipeline.windows.spans import Spans

AGREED_SHARE = 0.75
"""Share of the pseudo-labels kept where both kinds of trees must agree."""
ROUND_SEED = 1_000
"""Added to the seed for the windows of a second round."""


def randomized_typer(fold: Fold, seed: int, pseudo_labels: PseudoLabels) -> PseudoLabels:
    """The type is taught by randomized trees alone, without the boosted ones."""
    typer = fit_typer(type_examples(fold.market, fold.learned), seed)
    features = _features(fold, pseudo_labels)
    taught = Teacher(typer.randomized, ()).probability(before_start(features))
    return replace(pseudo_labels, retracement=taught)


def labels_too(copies: int, fold: Fold, seed: int, pseudo_labels: PseudoLabels) -> PseudoLabels:
    """Labeled windows stand among the unlabeled ones, so many copies of each, with their labels."""
    windows = fold.train.windows.complete_windows
    proposals = propose(fold.market.measure_spans(windows.bar0), fold.proposer)
    match = matches(proposals, windows.spans)
    known = (match >= 0) | proposals.in_core
    proposals, match = proposals.select(known), match[known]
    expansion = (match >= 0).astype(np.float32)
    types = windows.spans.type[match]
    typer = fit_typer(type_examples(fold.market, fold.learned), seed)
    features = teacher_features(fold.market, windows.bar0, proposals)
    taught = typer.probability(before_start(features))
    retracement = np.where((match >= 0) & (types >= 0), types, taught).astype(np.float32)
    n_unlabeled, n_labeled = len(pseudo_labels.bar0), len(windows.bar0)
    copied = [
        replace(proposals, window=proposals.window + n_unlabeled + copy * n_labeled) for copy in range(copies)
    ]
    inputs = fold.market.measure_inputs(windows.bar0, proposals)
    return PseudoLabels(
        np.concatenate([pseudo_labels.bar0, np.tile(windows.bar0, copies)]),
        _joined([pseudo_labels.spans, *copied]),
        np.concatenate([pseudo_labels.inputs, np.tile(inputs, (copies, 1))]),
        np.concatenate([pseudo_labels.expansion, np.tile(expansion, copies)]),
        np.concatenate([pseudo_labels.retracement, np.tile(retracement, copies)]),
    )


def agreed(fold: Fold, seed: int, pseudo_labels: PseudoLabels) -> PseudoLabels:
    """Only spans on which randomized and boosted trees differ least, in judging and typing together."""
    judge = fit_judge(expansion_examples(fold.market, fold.learned, fold.proposer), seed)
    typer = fit_typer(type_examples(fold.market, fold.learned), seed)
    features = _features(fold, pseudo_labels)
    difference = np.zeros(len(features))
    for teacher, inputs in ((judge, features), (typer, before_start(features))):
        randomized, boosted = Teacher(teacher.randomized, ()), Teacher(None, teacher.boosted)
        difference += np.abs(randomized.probability(inputs) - boosted.probability(inputs))
    kept = difference <= np.quantile(difference, AGREED_SHARE)
    return replace(
        pseudo_labels,
        spans=pseudo_labels.spans.select(kept),
        inputs=pseudo_labels.inputs[kept],
        expansion=pseudo_labels.expansion[kept],
        retracement=pseudo_labels.retracement[kept],
    )


CHANGES: dict[str, Callable[[Fold, int, PseudoLabels], PseudoLabels]] = {
    "randomized_typer": randomized_typer,
    "labels_4": partial(labels_too, 4),
    "labels_16": partial(labels_too, 16),
    "agreed": agreed,
}
"""By name: from a fold, a seed and its pseudo-labels to others."""


def second_round(fold: Fold, seed: int, classifier: Classifier, n_windows: int) -> PseudoLabels:
    """Pseudo-labels of a trained network for unlabeled windows that it has not learned from."""
    bar0 = np.random.default_rng(seed + ROUND_SEED).permutation(fold.pretraining_windows())[:n_windows]
    bar0 = np.sort(bar0)
    proposals = propose(fold.market.measure_spans(bar0), fold.proposer)
    proposals = proposals.select(proposals.in_core)
    logits = read_spans(classifier, fold.market, bar0, proposals)
    inputs = fold.market.measure_inputs(bar0, proposals)
    expansion, retracement = (
        sigmoid(part).astype(np.float32) for part in (logits.expansion, logits.retracement)
    )
    return PseudoLabels(bar0, proposals, inputs, expansion, retracement)


def _features(fold: Fold, pseudo_labels: PseudoLabels) -> np.ndarray:
    return teacher_features(fold.market, pseudo_labels.bar0, pseudo_labels.spans)


def _joined(parts: list[Spans]) -> Spans:
    return Spans(*(np.concatenate(arrays) for arrays in zip(*(part.arrays for part in parts), strict=True)))
