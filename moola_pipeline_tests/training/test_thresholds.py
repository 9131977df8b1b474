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
    return LabeledWindows(names, np.arange(n) * 105 + 40, np.zeros(n, "datetime64[ns]"), spans)


def proposals_of(window: np.ndarray, start: np.ndarray, length: int = 5) -> Spans:
    return Spans.untyped(window, start, start + length - 1, np.ones(len(window), np.int8))


def reading_of(
    expansion: np.ndarray, retracement: np.ndarray, start: np.ndarray, end: np.ndarray
) -> SpanLogits:
    nothing = np.zeros(len(expansion))
    return SpanLogits(expansion, retracement, np.stack(encode_span(start, end), axis=1), nothing)


def drawn(logits: np.ndarray, scale: float, shift: float, rng: np.random.Generator) -> np.ndarray:
    return rng.random(len(logits)) < sigmoid(scale * logits + shift)


@pytest.fixture
def case() -> tuple[LabeledWindows, Spans, SpanLogits, SpanLogits]:
    """4,000 windows whose proposals are right, and whose types are such, as known formulas say."""
    rng = np.random.default_rng(0)
    n = 4000
    logits, type_logits = rng.normal(0, 2, (2, n))
    hit = drawn(logits, 0.5, -0.4, rng)
    kind = drawn(type_logits, 0.8, 0.6, rng).astype(np.int64)
    windows = windows_of(np.full(n, 40), kind)
    proposals = proposals_of(np.arange(n), np.where(hit, 40, 60))
    said = reading_of(logits, np.zeros(n), proposals.start, proposals.end)
    return windows, proposals, said, reading_of(logits, type_logits, windows.spans.start, windows.spans.end)


def test_calibration_finds_the_temperature_and_bias_behind_the_answers(case):
    thresholds = fit_thresholds(*case)

    assert thresholds.expansion_scale == pytest.approx(0.5, abs=0.06)
    assert thresholds.expansion_shift == pytest.approx(-0.4, abs=0.1)
    assert thresholds.retracement_scale == pytest.approx(0.8, abs=0.08)
    assert thresholds.retracement_shift == pytest.approx(0.6, abs=0.1)


def test_calibration_fitted_on_one_half_improves_the_other(case):
    windows, proposals, said, labeled = case
    half = np.arange(2000)
    first = windows_of(windows.spans.start[half], windows.spans.type[half])
    thresholds = fit_thresholds(
        first,
        proposals.select(half),
        SpanLogits(*(part[half] for part in said)),
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
    # Right where the logit is 2 or more, wrong below; one label is never proposed.
    proposals = proposals_of(np.array([0, 1, 2, 3, 0, 1]), np.array([40, 41, 39, 40, 60, 60]))
    logits = np.array([3.0, 2.5, 2.2, 2.0, 1.0, -1.0])
    said = reading_of(logits, np.zeros(6), proposals.start, proposals.end)
    labeled = reading_of(np.zeros(5), np.zeros(5), windows.spans.start, windows.spans.end)

    thresholds = fit_thresholds(windows, proposals, said, labeled)

    probability = sigmoid(thresholds.expansion_scale * logits + thresholds.expansion_shift)
    assert (probability >= thresholds.expansion_threshold).tolist() == [True] * 4 + [False] * 2


@pytest.mark.parametrize("pointer_is_better", [True, False])
def test_the_pointer_replaces_the_rule_only_where_it_does_better(pointer_is_better: bool):
    n = 40
    windows = windows_of(np.full(n, 40), np.arange(n) % 2)
    rule_start, pointer_start = (46, 40) if pointer_is_better else (40, 46)
    proposals = proposals_of(np.arange(n), np.full(n, rule_start))
    pointed = np.full(n, pointer_start)
    logits = np.linspace(-1, 1, n)
    said = reading_of(logits, np.zeros(n), pointed, pointed + 4)
    labeled = reading_of(logits, logits, windows.spans.start, windows.spans.end)

    assert fit_thresholds(windows, proposals, said, labeled).refine is pointer_is_better


def test_moved_proposals_have_the_spans_of_the_pointer():
    proposals = proposals_of(np.array([0, 1]), np.array([40, 50]))
    said = reading_of(np.zeros(2), np.zeros(2), np.array([41, 49]), np.array([47, 60]))

    assert refined_spans(proposals, said, refine=False) is proposals
    refined = refined_spans(proposals, said, refine=True)
    assert (refined.start.tolist(), refined.end.tolist()) == ([41, 49], [47, 60])
    assert np.array_equal(refined.direction, proposals.direction)


def test_proposals_where_nobody_looked_have_no_part_in_calibration(case):
    windows, proposals, said, labeled = case
    outside = proposals_of(np.arange(500), np.full(500, 10))
    both = proposals.joined(outside)
    loud = reading_of(np.full(500, 9.0), np.zeros(500), outside.start, outside.end)
    heard = SpanLogits(*(np.concatenate(pair) for pair in zip(said, loud, strict=True)))

    expected, thresholds = fit_thresholds(*case), fit_thresholds(windows, both, heard, labeled)
    assert thresholds.expansion_scale == expected.expansion_scale
    assert thresholds.expansion_shift == expected.expansion_shift


def test_types_are_told_apart_where_training_weighed_them_alike(case):
    windows, _, _, labeled = case
    thresholds = fit_thresholds(*case)

    probability = sigmoid(thresholds.retracement_scale * labeled.retracement + thresholds.retracement_shift)
    told = probability >= thresholds.retracement_threshold
    assert np.array_equal(told, labeled.retracement >= 0)
    assert 0.5 < np.mean(told == windows.spans.type) < 1


def test_one_class_alone_leaves_logits_as_they_are():
    windows = windows_of(np.full(6, 40), np.ones(6, np.int64))
    proposals = proposals_of(np.arange(6), np.full(6, 40))
    said = reading_of(np.arange(6.0), np.zeros(6), proposals.start, proposals.end)

    thresholds = fit_thresholds(windows, proposals, said, said)

    assert (thresholds.expansion_scale, thresholds.expansion_shift) == (1, 0)
    assert (thresholds.retracement_scale, thresholds.retracement_shift) == (1, 0)
    assert thresholds.retracement_threshold == 0.5


def test_answers_are_never_turned_around():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=400)
    kind = (logits < 0).astype(np.int64)  # the worst model there can be
    kind[:40] = 1
    windows = windows_of(np.full(400, 40), kind)
    proposals = proposals_of(np.arange(400), np.full(400, 40))
    said = reading_of(logits, logits, proposals.start, proposals.end)

    thresholds = fit_thresholds(windows, proposals, said, said)

    probability = sigmoid(thresholds.retracement_scale * logits + thresholds.retracement_shift)
    assert thresholds.retracement_scale > 0
    assert probability.mean() == pytest.approx(kind.mean(), abs=0.01)


def test_no_proposals_give_decisions_all_the_same():
    windows = windows_of(np.full(4, 40), np.array([0, 1, 0, 1]))
    none = proposals_of(np.arange(1), np.array([40])).select(slice(0))
    nothing = SpanLogits(np.zeros(0), np.zeros(0), np.zeros((0, 2)), np.zeros(0))
    labeled = reading_of(np.zeros(4), np.array([-1.0, 1, -1, 1]), windows.spans.start, windows.spans.end)

    thresholds = fit_thresholds(windows, none, nothing, labeled)

    assert thresholds.expansion_threshold == 0.5
    assert thresholds.refine is False
