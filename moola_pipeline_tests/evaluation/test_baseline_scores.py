"""The best baseline is chosen before the test: no test window is scored or learned from."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from moola_pipeline.evaluation import all_scores, baseline_scores
from moola_pipeline.evaluation.all_scores import ScoreInputs, score_all
from moola_pipeline.evaluation.baseline_scores import choose_baselines
from moola_pipeline.evaluation.folds import single_fold
from moola_pipeline.labels.splits import UnsoundSplit
from moola_pipeline.metrics.bootstrap import Resampled
from moola_pipeline.training.settings import FinetuneSettings
from moola_pipeline_tests.evaluation.test_folds import labeled


def scored(type_f1: float, event_f1: float) -> dict[str, Resampled]:
    estimates = {"type_f1_macro": type_f1, "event_f1_macro": event_f1}
    return {name: Resampled(value, np.full(3, value), 9) for name, value in estimates.items()}


def test_the_best_baseline_is_chosen_by_metric_without_a_test_window(monkeypatch: pytest.MonkeyPatch):
    frame = labeled().assign(split=["train"] * 12 + ["validation"] * 4 + ["test"] * 4)
    seen: set[str] = set()

    def score_baselines(test_set: Any, folds: Any, *_: Any) -> dict[str, dict[str, Resampled]]:
        for windows in (test_set.resampled.windows, *(w for it in folds for w in (it.train, it.validation))):
            seen.update(windows.window_id.tolist())
        return {"types well": scored(0.8, 0.3), "finds well": scored(0.6, 0.5)}

    monkeypatch.setattr(baseline_scores, "score_baselines", score_baselines)
    monkeypatch.setattr(baseline_scores, "find_by_proposer", lambda *_: None)
    monkeypatch.setattr(baseline_scores, "spans_by_fold", lambda *_: [])
    chosen = choose_baselines(SimpleNamespace(), frame, 105)  # pyright: ignore[reportArgumentType]
    assert chosen == {"type_f1_macro": "types well", "event_f1_macro": "finds well"}
    assert seen == set(frame.loc[frame["split"] != "test", "window_id"])


def refuse(*_: Any) -> dict[str, str]:
    raise UnsoundSplit("too few blocks")


@pytest.mark.parametrize(
    ("choose", "chosen"),
    [(lambda *_: {"type_f1_macro": "by folds"}, {"type_f1_macro": "by folds"}), (refuse, {})],
)
def test_a_test_names_the_baseline_of_the_folds_whatever_scores_highest(
    monkeypatch: pytest.MonkeyPatch, choose: Any, chosen: dict[str, str]
):
    made = {
        "choose_baselines": choose,
        "score_baselines": lambda *_: {"by folds": scored(0.6, 0.5), "highest": scored(0.9, 0.9)},
        "scoring": SimpleNamespace(
            score_models=lambda *_: SimpleNamespace(scores={}),
            find_by_proposer=lambda *_: None,
            score_trivial_baselines=lambda *_: {},
            score_second_pass=lambda *_: {},
        ),
        **dict.fromkeys(("alarm_candidates", "spans_by_fold"), lambda *_: None),
        **dict.fromkeys(("score_whole_sessions", "score_alarm_budgets", "score_span_method"), lambda *_: {}),
    }
    for name, value in made.items():
        monkeypatch.setattr(all_scores, name, value)
    windows: Any = SimpleNamespace(bar0=np.arange(3))
    test_set: Any = SimpleNamespace(market=None, resampled=SimpleNamespace(windows=windows))
    recipe = FinetuneSettings(seeds=(0,))
    unused: Any = None
    inputs = ScoreInputs(
        test_set,
        single_fold(3, windows, windows),
        labeled(),
        105,
        unused,
        unused,
        {0: unused},
        {},
        unused,
        served=0,
        recipe=recipe,
        live_sessions=None,
    )
    monkeypatch.setattr(ScoreInputs, "data", lambda *_: None)
    assert score_all(inputs, "cpu", 1, np.random.default_rng(0), lambda *_: None).chosen == chosen
