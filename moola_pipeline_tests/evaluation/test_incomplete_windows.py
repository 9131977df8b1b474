"""Baselines are rates and places: they are fitted on complete training windows only."""

from dataclasses import replace

import numpy as np
import pytest

from moola_pipeline.evaluation import live
from moola_pipeline.evaluation.folds import single_fold
from moola_pipeline.evaluation.scoring import find_by_proposer
from moola_pipeline.evaluation.test_set import LabeledTestSet
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.metrics.scores import resample_windows
from moola_pipeline_tests.evaluation.test_unknown_types import MARKET, TEST, TRAIN, trivial_scores

COMPLETE = np.arange(len(TRAIN.bar0)) % 3 != 0


def of_other_types() -> LabeledWindows:
    """The training windows, a third incomplete: their expansions are retracements at bar 31."""
    spans = TRAIN.spans
    partial = ~COMPLETE[spans.window]
    changed = replace(
        spans,
        type=np.where(partial, 1, spans.type),
        start=np.where(partial, 31, spans.start),
        end=np.where(partial, 33, spans.end),
    )
    first = np.diff(changed.window, prepend=-1) != 0
    kept = first | ~partial
    return TRAIN._replace(complete=COMPLETE, spans=changed.select(kept))


def test_trivial_baselines_take_complete_windows():
    train = of_other_types()
    scored, expected = (trivial_scores(it, TEST) for it in (train, train.complete_windows))
    as_complete = trivial_scores(train._replace(complete=np.ones(len(COMPLETE), bool)), TEST)
    for name, scores in scored.items():
        for metric, one in scores.items():
            assert one.interval == pytest.approx(expected[name][metric].interval, nan_ok=True), (name, metric)
    brier = [it["training_share"]["brier"].estimate for it in (scored, as_complete)]
    assert brier[0] != brier[1]


def test_the_rule_alone_takes_complete_windows():
    train = of_other_types()
    test_set = LabeledTestSet(MARKET.bars, resample_windows(TEST, 20, np.random.default_rng(0)))
    found, expected = (
        find_by_proposer(test_set, single_fold(len(TEST.bar0), it, it))
        for it in (train, train.complete_windows)
    )
    for array, same in zip(found.arrays, expected.arrays, strict=True):
        np.testing.assert_array_equal(array, same)


def test_the_live_rule_takes_complete_windows(monkeypatch: pytest.MonkeyPatch):
    fitted: list[LabeledWindows] = []
    honest = live.fit_delay_thresholds
    monkeypatch.setattr(
        live,
        "fit_delay_thresholds",
        lambda windows, *rest: (fitted.append(windows), honest(windows, *rest))[1],
    )
    test_set = LabeledTestSet(MARKET.bars, resample_windows(TEST, 20, np.random.default_rng(0)))
    live.rule_alarms(test_set, of_other_types())
    assert len(fitted[0].bar0) == COMPLETE.sum()
