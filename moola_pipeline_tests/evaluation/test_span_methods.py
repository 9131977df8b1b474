"""Methods in place of the network: fitted on training, thresholds from validation, scored like it."""

import numpy as np
import pytest

from moola_pipeline.evaluation.baseline_scores import best_baselines, score_span_method, spans_by_fold
from moola_pipeline.evaluation.folds import single_fold
from moola_pipeline.evaluation.span_methods import (
    EXTRA_TREES,
    LOGISTIC,
    TEACHERS,
    SpanMethod,
    fit_span_method,
    propose_spans,
)
from moola_pipeline.evaluation.test_set import LabeledTestSet
from moola_pipeline.inference.hindsight import find_events
from moola_pipeline.metrics.scores import resample_windows
from moola_pipeline.training.examples import TrainingData
from moola_pipeline_tests.made_bars import made_market

MARKET = made_market(20)
TRAIN, VALIDATION, TEST = (MARKET.windows.select(np.arange(*rows)) for rows in ((0, 32), (32, 48), (48, 60)))
DATA = TrainingData(MARKET.bars, TRAIN, VALIDATION)


@pytest.fixture(scope="module", params=[EXTRA_TREES, LOGISTIC, TEACHERS])
def method(request: pytest.FixtureRequest) -> tuple[str, SpanMethod]:
    return request.param, fit_span_method(request.param, propose_spans(DATA), 0)


def test_a_method_types_and_finds_what_it_learned(method: tuple[str, SpanMethod]):
    name, _ = method
    test_set = LabeledTestSet(MARKET.bars, resample_windows(TEST, 20, np.random.default_rng(0)))
    folds = single_fold(len(TEST.bar0), TRAIN, VALIDATION)
    scored = score_span_method(test_set, folds, spans_by_fold(test_set, folds), name, (0,))
    assert {"type_f1_macro", "event_f1_macro", "map_iou50", "ece", "onset_mae_bars"} <= set(scored)
    assert scored["event_f1_untyped"].estimate > 0


def test_a_seed_gives_the_same_method_again(method: tuple[str, SpanMethod]):
    name, fitted = method
    again = fit_span_method(name, propose_spans(DATA), 0)
    assert again.thresholds == fitted.thresholds
    one, other = (find_events(it, MARKET.bars, TEST.bar0) for it in (fitted, again))
    assert one.equals(other)


def test_probabilities_stay_away_from_certainty(method: tuple[str, SpanMethod]):
    _, fitted = method
    spans = TRAIN.spans.pointed()
    logits = fitted.read(MARKET.bars, TRAIN.bar0, spans)
    assert np.isfinite(logits.expansion).all()
    assert np.abs(logits.retracement).max() < 10
    none = fitted.read(MARKET.bars, TRAIN.bar0, spans.select(np.zeros(len(spans.window), bool)))
    assert len(none.expansion) == 0


def test_the_best_baseline_is_named_by_each_primary_metric():
    test_set = LabeledTestSet(MARKET.bars, resample_windows(TEST, 20, np.random.default_rng(0)))
    folds = single_fold(len(TEST.bar0), TRAIN, VALIDATION)
    proposed = spans_by_fold(test_set, folds)
    scored = {
        name: score_span_method(test_set, folds, proposed, name, (0,)) for name in (EXTRA_TREES, LOGISTIC)
    }
    chosen = best_baselines(scored)
    for metric, name in chosen.items():
        assert scored[name][metric].estimate == max(one[metric].estimate for one in scored.values())
    assert set(chosen) == {"type_f1_macro", "event_f1_macro"}
