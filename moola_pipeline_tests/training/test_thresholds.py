"""Calibration and thresholds from logits made by hand."""

import numpy as np
import pytest

from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.models.expansion_model import sigmoid
from moola_pipeline.models.span_inference import SpanLogits
from moola_pipeline.training.thresholds import fit_thresholds, refined_spans
from moola_pipeline.windows.spans import Spans
from moola_pipeline.windows.window_geometry import encode_span


def windows_of(start: np.ndarray, kind: np.ndarray) -> LabeledWindows:
    """One expansion of 5 bars in each window."""
    n = len(start)
    spans = Spans(np.arange(n), start, start + 4, np.ones(n, np.int8), kind)
    names = np.array([f"w{i}" for i in range(n)], object)
    session, complete = np.zeros(n, "datetime64[ns]"), np.ones(n, bool)
    return LabeledWindows(names, np.arange(n) * 105 + 40, session, complete, spans)


def proposals_of(window: np.ndarray, start: np.ndarray, length: int = 5) -> Spans:
    return Spans.untyped(window, start, start + length - 1, np.ones(len(window), np.int8))


def logits_of(
    expansion: np.ndarray, retracement: np.ndarray, start: np.ndarray, end: np.ndarray
) -> SpanLogits:
    nothing = np.zeros(len(expansion))
    return SpanLogits(expansion, retracement, np.stack(encode_span(start, end), axis=1), nothing)


def drawn(logits: np.ndarray, scale: float, shift: float, rng: np.random.Generator) -> np.ndarray:
    return rng.random(len(logits)) < sigmoid(scale * logits + shift)


@pytest.fixture
def case() -> tuple[LabeledWindows, Spans, SpanLogits, SpanLogits]:
    """4,000 windows; known formulas give the probabilities of a correct proposal and of the type."""
    rng = np.random.default_rng(0)
    n = 4000
    logits, type_logits = rng.normal(0, 2, (2, n))
    hit = drawn(logits, 0.5, -0.4, rng)
    kind = drawn(type_logits, 0.8, 0.6, rng).astype(np.int64)
    windows = windows_of(np.full(n, 40), kind)
    proposals = proposals_of(np.arange(n), np.where(hit, 40, 60))
    proposed = logits_of(logits, np.zeros(n), proposals.start, proposals.end)
    return (
        windows,
        proposals,
        proposed,
        logits_of(logits, type_logits, windows.spans.start, windows.spans.end),
    )


def test_calibration_recovers_the_planted_scale_and_shift(case):
    thresholds = fit_thresholds(*case)

    assert thresholds.expansion_scale == pytest.approx(0.5, abs=0.06)
    assert thresholds.expansion_shift == pytest.approx(-0.4, abs=0.1)
    assert thresholds.retracement_scale == pytest.approx(0.8, abs=0.08)
    assert thresholds.retracement_shift == pytest.approx(0.6, abs=0.1)


def test_calibration_fitted_on_one_half_improves_the_other(case):
    windows, proposals, proposed, labeled = case
    half = np.arange(2000)
    first = windows_of(windows.spans.start[half], windows.spans.type[half])
    thresholds = fit_thresholds(
        first,
        proposals.select(half),
        SpanLogits(*(part[half] for part in proposed)),
        SpanLogits(*(part[half] for part in labeled)),
    )

    def log_loss(probability: np.ndarray) -> float:
        truth = windows.spans.type[2000:]
        return float(-np.mean(np.log(np.where(truth == 1, probability, 1 - probability))))

    logits = labeled.retracement[2000:]
    calibrated = sigmoid(thresholds.retracement_scale * logits + thresholds.retracement_shift)
    assert log_loss(calibrated) < log_loss(sigmoid(logits)) - 0.01
    assert thresholds != fit_thresholds(*case)


def test_the_threshold_with_the_best_f1_worked_by_hand():
    windows = windows_of(np.full(5, 40), np.array([0, 1, 0, 1, 0]))
    # Correct if the logit is 2 or more, wrong below; one label is never proposed.
    proposals = proposals_of(np.array([0, 1, 2, 3, 0, 1]), np.array([40, 41, 39, 40, 60, 60]))
    logits = np.array([3.0, 2.5, 2.2, 2.0, 1.0, -1.0])
    proposed = logits_of(logits, np.zeros(6), proposals.start, proposals.end)
    labeled = logits_of(np.zeros(5), np.zeros(5), windows.spans.start, windows.spans.end)

    thresholds = fit_thresholds(windows, proposals, proposed, labeled)

    probability = sigmoid(thresholds.expansion_scale * logits + thresholds.expansion_shift)
    assert (probability >= thresholds.expansion_threshold).tolist() == [True] * 4 + [False] * 2


@pytest.mark.parametrize("pointer_is_better", [True, False])
def test_the_pointer_replaces_the_rule_only_if_it_scores_better(pointer_is_better: bool):
    n = 40
    windows = windows_of(np.full(n, 40), np.arange(n) % 2)
    rule_start, pointer_start = (46, 40) if pointer_is_better else (40, 46)
    proposals = proposals_of(np.arange(n), np.full(n, rule_start))
    pointed = np.full(n, pointer_start)
    logits = np.linspace(-1, 1, n)
    proposed = logits_of(logits, np.zeros(n), pointed, pointed + 4)
    labeled = logits_of(logits, logits, windows.spans.start, windows.spans.end)

    assert fit_thresholds(windows, proposals, proposed, labeled).refine is pointer_is_better


def test_refined_proposals_have_the_spans_of_the_pointer():
    proposals = proposals_of(np.array([0, 1]), np.array([40, 50]))
    proposed = logits_of(np.zeros(2), np.zeros(2), np.array([41, 49]), np.array([47, 60]))

    assert refined_spans(proposals, proposed, refine=False) is proposals
    refined = refined_spans(proposals, proposed, refine=True)
    assert (refined.start.tolist(), refined.end.tolist()) == ([41, 49], [47, 60])
    assert np.array_equal(refined.direction, proposals.direction)


def test_proposals_outside_the_core_do_not_influence_calibration(case):
    windows, proposals, proposed, labeled = case
    outside = proposals_of(np.arange(500), np.full(500, 10))
    both = proposals.joined(outside)
    extreme = logits_of(np.full(500, 9.0), np.zeros(500), outside.start, outside.end)
    all_logits = SpanLogits(*(np.concatenate(pair) for pair in zip(proposed, extreme, strict=True)))

    expected, thresholds = fit_thresholds(*case), fit_thresholds(windows, both, all_logits, labeled)
    assert thresholds.expansion_scale == expected.expansion_scale
    assert thresholds.expansion_shift == expected.expansion_shift


def test_the_type_threshold_is_where_both_types_have_the_same_weight(case):
    windows, _, _, labeled = case
    thresholds = fit_thresholds(*case)

    probability = sigmoid(thresholds.retracement_scale * labeled.retracement + thresholds.retracement_shift)
    is_retracement = probability >= thresholds.retracement_threshold
    assert np.array_equal(is_retracement, labeled.retracement >= 0)
    assert 0.5 < np.mean(is_retracement == windows.spans.type) < 1


def test_with_one_class_calibration_is_the_identity():
    windows = windows_of(np.full(6, 40), np.ones(6, np.int64))
    proposals = proposals_of(np.arange(6), np.full(6, 40))
    proposed = logits_of(np.arange(6.0), np.zeros(6), proposals.start, proposals.end)

    thresholds = fit_thresholds(windows, proposals, proposed, proposed)

    assert (thresholds.expansion_scale, thresholds.expansion_shift) == (1, 0)
    assert (thresholds.retracement_scale, thresholds.retracement_shift) == (1, 0)
    assert thresholds.retracement_threshold == 0.5


def test_the_order_of_the_logits_is_never_reversed():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=400)
    kind = (logits < 0).astype(np.int64)  # the worst possible model
    kind[:40] = 1
    windows = windows_of(np.full(400, 40), kind)
    proposals = proposals_of(np.arange(400), np.full(400, 40))
    proposed = logits_of(logits, logits, proposals.start, proposals.end)

    thresholds = fit_thresholds(windows, proposals, proposed, proposed)

    probability = sigmoid(thresholds.retracement_scale * logits + thresholds.retracement_shift)
    assert thresholds.retracement_scale > 0
    assert probability.mean() == pytest.approx(kind.mean(), abs=0.01)


def test_without_proposals_there_are_default_thresholds():
    windows = windows_of(np.full(4, 40), np.array([0, 1, 0, 1]))
    none = proposals_of(np.arange(1), np.array([40])).select(slice(0))
    nothing = SpanLogits(np.zeros(0), np.zeros(0), np.zeros((0, 2)), np.zeros(0))
    labeled = logits_of(np.zeros(4), np.array([-1.0, 1, -1, 1]), windows.spans.start, windows.spans.end)

    thresholds = fit_thresholds(windows, none, nothing, labeled)

    assert thresholds.expansion_threshold == 0.5
    assert thresholds.refine is False
