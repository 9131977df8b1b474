"""What is fitted or counted for the type leaves out expansions of unknown type."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from moola_pipeline.evaluation.folds import single_fold
from moola_pipeline.evaluation.scoring import EvaluatedModel, score_second_pass, score_trivial_baselines
from moola_pipeline.evaluation.test_set import LabeledTestSet
from moola_pipeline.labels.second_pass import TwiceLabeled
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.metrics.breakdowns import ScoredPredictions
from moola_pipeline.metrics.scores import Scored, events_of, resample_windows, score_types
from moola_pipeline.studies.store import Cell
from moola_pipeline.studies.summary import study_rows
from moola_pipeline.windows.window_geometry import UNTYPED
from moola_pipeline_tests.evaluation.made_answers import made_ground, made_p
from moola_pipeline_tests.made_bars import made_market

MARKET = made_market(20)
TRAIN, TEST = (MARKET.windows.select(part) for part in (np.arange(36), np.arange(36, 60)))


def some_unknown(windows: LabeledWindows) -> LabeledWindows:
    """The windows with every third type unknown."""
    spans = windows.spans
    unknown = np.arange(len(spans.type)) % 3 == 0
    return windows._replace(spans=replace(spans, type=np.where(unknown, UNTYPED, spans.type)))


def trivial_scores(train: LabeledWindows, test: LabeledWindows) -> dict[str, Scored]:
    resampled = resample_windows(test, 20, np.random.default_rng(0))
    p = np.full(len(test.spans.type), 0.4)
    answers = {0: ScoredPredictions(p, events_of(TEST))}
    evaluated = cast(EvaluatedModel, SimpleNamespace(answers=answers))
    test_set = LabeledTestSet(MARKET.bars, resampled)
    return score_trivial_baselines(
        test_set, single_fold(len(TEST.bar0), train, train), TEST.spans, evaluated, np.random.default_rng(0)
    )


def test_trivial_baselines_are_fitted_and_scored_on_known_types():
    unknown = trivial_scores(some_unknown(TRAIN), some_unknown(TEST))
    known = trivial_scores(some_unknown(TRAIN).typed, some_unknown(TEST).typed)
    for name in ("majority", "always_retracement", "position_only", "training_share", "shuffled_answers"):
        for metric in {"type_f1_macro", "brier", "mcc", "prevalence"} & unknown[name].keys():
            assert unknown[name][metric].estimate == known[name][metric].estimate, (name, metric)
            assert unknown[name][metric].n == known[name][metric].n
    plain = trivial_scores(TRAIN, TEST)
    assert all(
        scores["event_f1_untyped"].estimate == plain[name]["event_f1_untyped"].estimate
        for name, scores in unknown.items()
        if "event_f1_untyped" in scores
    )


def test_two_passes_agree_about_finding_where_either_is_not_sure_of_the_type():
    resampled = made_ground(resamples=20)
    unsure = some_unknown(resampled.windows)
    for passes in ((resampled.windows, unsure), (unsure, resampled.windows), (unsure, unsure)):
        scored = score_second_pass(resampled, TwiceLabeled(*passes))
        for name in ("event_f1_untyped", "event_f1_macro", "segment_f1_macro"):
            assert scored[name].estimate == 1, name


def test_a_study_scores_types_without_the_unknown_rows():
    resampled = made_ground(resamples=20)
    windows, p = some_unknown(resampled.windows), made_p(resampled, np.random.default_rng(0))
    known = windows.spans.is_typed
    cell = Cell(
        arm="scratch", distilled=False, count=9, seed=0, n_labels=9, n_windows=9, seconds=0.0,
        probe=p.tolist(), p_retracement=p.tolist(), events=[],
    )  # fmt: skip
    (row,) = study_rows([cell], windows, 20)
    some = {"probe": p[known].tolist(), "p_retracement": p[known].tolist()}
    (fewer,) = study_rows([cell.model_copy(update=some)], windows.typed, 20)
    for name in ("probe_type_f1", "probe_log_loss", "type_f1_macro"):
        assert row.scores[name] == fewer.scores[name]
        assert row.scores[name].n == known.sum()
    labeled = replace(resampled, windows=windows)
    expected = score_types(labeled, p)["type_f1_macro"].estimate
    assert row.scores["type_f1_macro"].estimate == pytest.approx(expected)
