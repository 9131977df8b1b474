"""Changes of the distillation recipe: what each does to the pseudo-labels, and what it leaves."""

import numpy as np
import pytest

from moola_pipeline.models.classifier import Classifier
from moola_pipeline.models.encoder import Encoder, initialize
from moola_pipeline.studies.ablation_folds import Fold, StudyData, whole_training
from moola_pipeline.studies.ablation_rows import ROWS
from moola_pipeline.studies.recipe_changes import (
    AGREED_SHARE,
    CHANGES,
    agreed,
    labels_too,
    randomized_typer,
    second_round,
)
from moola_pipeline.training.proposer_fit import matches
from moola_pipeline.training.pseudo_labels import PseudoLabels
from moola_pipeline_tests.made_bars import made_market


@pytest.fixture(scope="module")
def fold() -> Fold:
    market = made_market(20)
    train, validation = (market.windows.select(np.arange(*ends)) for ends in ((0, 45), (48, 60)))
    return whole_training(StudyData(market.bars, train, validation, "made"))


@pytest.fixture(scope="module")
def plain(fold: Fold) -> PseudoLabels:
    return fold.pseudo_labels(0, 40)


def test_every_row_names_a_change_that_exists():
    assert {row.recipe for row in ROWS if row.recipe} == set(CHANGES)


def test_the_randomized_typer_changes_the_type_only(fold: Fold, plain: PseudoLabels):
    changed = randomized_typer(fold, 0, plain)
    assert changed.expansion is plain.expansion and changed.spans is plain.spans
    assert not np.array_equal(changed.retracement, plain.retracement)
    assert np.corrcoef(changed.retracement, plain.retracement)[0, 1] > 0.8


def test_labeled_windows_are_added_with_their_labels_so_many_times(fold: Fold, plain: PseudoLabels):
    changed = labels_too(3, fold, 0, plain)
    windows, n_plain = fold.learned, len(plain.bar0)
    assert np.array_equal(changed.bar0, np.concatenate([plain.bar0, *[windows.bar0] * 3]))
    added = changed.spans.window >= n_plain
    assert np.array_equal(changed.expansion[~added], plain.expansion)
    for copy in range(3):
        mine = added & ((changed.spans.window - n_plain) // len(windows.bar0) == copy)
        spans = changed.spans.select(mine)
        window = (spans.window - n_plain) % len(windows.bar0)
        match = matches(type(spans)(window, *spans.arrays[1:]), windows.spans)
        assert np.array_equal(changed.expansion[mine], (match >= 0).astype(np.float32))
        found = match >= 0
        assert np.array_equal(changed.retracement[mine][found], windows.spans.type[match[found]])
        again = fold.market.measure_inputs(windows.bar0, type(spans)(window, *spans.arrays[1:]))
        assert np.array_equal(changed.inputs[mine], again)


def test_three_quarters_of_the_spans_are_kept_where_the_teachers_agree(fold: Fold, plain: PseudoLabels):
    changed = agreed(fold, 0, plain)
    assert len(changed.expansion) == pytest.approx(AGREED_SHARE * len(plain.expansion), abs=1)
    assert len(changed.spans.window) == len(changed.inputs) == len(changed.retracement)
    kept = set(zip(*(array.tolist() for array in changed.spans.arrays[:3]), strict=True))
    assert kept < set(zip(*(array.tolist() for array in plain.spans.arrays[:3]), strict=True))


def test_a_second_round_labels_other_windows_with_the_network_s_probabilities(fold: Fold):
    encoder = Encoder(4)
    initialize(encoder, 0)
    classifier = Classifier(encoder, 4, 0.0).eval()
    first, other = (second_round(fold, seed, classifier, 30) for seed in (0, 1))
    assert len(first.bar0) == 30 and not np.array_equal(first.bar0, other.bar0)
    assert ((first.expansion > 0) & (first.expansion < 1)).all() and first.spans.in_core.all()
    assert len(first.spans.window) == len(first.inputs) == len(first.retracement)
