"""Baselines on the private benchmark reproduce the table of the design.

Labels by a written procedure, not by a person. To print the table:

    python -m pytest -s moola_pipeline_tests/evaluation/test_scoring.py
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moola_pipeline.bars.rolls import read_rolls
from moola_pipeline.bars.table import build_table
from moola_pipeline.evaluation.baseline_scores import score_baselines, spans_by_fold
from moola_pipeline.evaluation.folds import single_fold
from moola_pipeline.evaluation.scoring import find_by_proposer, score_second_pass
from moola_pipeline.evaluation.shuffled_labels import permuted_training
from moola_pipeline.evaluation.test_set import LabeledTestSet, baseline_inputs
from moola_pipeline.evaluation.trivial_baselines import trivial_type_baselines
from moola_pipeline.labels.label_rows import read_labels
from moola_pipeline.labels.placement import place_labels
from moola_pipeline.labels.schema import SECOND_PASS
from moola_pipeline.labels.second_pass import TwiceLabeled, twice_labeled
from moola_pipeline.labels.spans import LabeledWindows, labeled_windows
from moola_pipeline.labels.splits import SplitSettings, assign_splits
from moola_pipeline.metrics.scores import Scored, resample_windows, score_types
from moola_pipeline.windows.market_arrays import MarketArrays

DESIGN = {
    "logistic_45_closes": ("type_f1_macro", 0.72, 0.65, 0.79),
    "extra_trees_45_closes": ("type_f1_macro", 0.71, 0.62, 0.78),
    "minirocket_45_closes": ("type_f1_macro", 0.76, 0.68, 0.83),
    "logistic_21_summaries": ("type_f1_macro", 0.80, 0.73, 0.86),
    "extra_trees_21_summaries": ("type_f1_macro", 0.75, 0.67, 0.82),
    "rule_extra_trees_21_summaries": ("event_f1_macro", 0.48, 0.38, 0.56),
}
"""Metric, estimate and 95 % interval of the design's table."""

Benchmark = tuple[LabeledTestSet, LabeledWindows, TwiceLabeled]


@pytest.fixture(scope="module")
def benchmark(private_data: Path) -> Benchmark:
    real = private_data / "real"
    raw = pd.read_parquet(real / "nq_1m_2020-09_2025-06.parquet")
    bars = build_table(raw.rename(columns={"ts_utc": "timestamp"}), read_rolls(real / "nq_rolls.csv"))
    labels = read_labels(real / "labels.csv")
    second = read_labels(real / "labels_second_pass.csv")
    second["pass"] = pd.array([SECOND_PASS] * len(second), dtype="Int64")
    frame = assign_splits(place_labels(labels, bars).frame, bars, SplitSettings())
    twice = twice_labeled(frame, pd.concat([labels, second], ignore_index=True), bars, "test")
    train, test = (labeled_windows(frame, split) for split in ("train", "test"))
    resampled = resample_windows(test, 2000, np.random.default_rng(0))
    return LabeledTestSet(MarketArrays.from_table(bars, 0.25), resampled), train, twice


def print_scores(name: str, scored: Scored) -> None:
    for metric in ("type_f1_macro", "aucpr_retracement", "event_f1_macro", "event_f1_untyped"):
        if metric in scored:
            score = scored[metric].interval
            interval = f"{score.estimate:.3f} [{score.low:.3f}, {score.high:.3f}]"
            sys.stdout.write(f"{name:32} {metric:18} {interval} n={score.n}\n")


def test_the_table_of_the_design_is_reproduced_within_its_intervals(benchmark: Benchmark):
    test_set, train, _ = benchmark
    assert (len(train.spans.type), len(test_set.resampled.windows.spans.type)) == (174, 147)
    folds = single_fold(len(test_set.resampled.windows.bar0), train, train)
    baselines = score_baselines(
        test_set, folds, find_by_proposer(test_set, folds), spans_by_fold(test_set, folds), (0,)
    )
    for name, scored in baselines.items():
        print_scores(name, scored)
    for name, (metric, estimate, low, high) in DESIGN.items():
        score = baselines[name][metric].interval
        assert low <= score.estimate <= high, name
        assert score.low < estimate < score.high, name
    assert baselines["rule_extra_trees_21_summaries"]["event_f1_untyped"].estimate == pytest.approx(
        0.61, abs=0.03
    )


def test_majority_and_position_reproduce_the_design(benchmark: Benchmark):
    test_set, train, _ = benchmark
    answers = trivial_type_baselines(
        train.spans.type, train.spans.start, test_set.resampled.windows.spans.start
    )
    scores = {
        name: score_types(test_set.resampled, p)["type_f1_macro"].estimate for name, p in answers.items()
    }
    assert scores["majority"] == pytest.approx(0.39, abs=0.01)
    assert scores["position_only"] < 0.6


def test_the_second_pass_reproduces_the_agreement_of_the_annotator(benchmark: Benchmark):
    test_set, _, twice = benchmark
    second_pass = score_second_pass(test_set.resampled, twice)
    print_scores("second pass", second_pass)
    assert second_pass["event_f1_macro"].n == 140
    assert second_pass["event_f1_macro"].estimate == pytest.approx(0.67, abs=0.005)
    assert second_pass["event_f1_untyped"].estimate == pytest.approx(0.77, abs=0.005)


def test_permuted_labels_are_at_chance(benchmark: Benchmark):
    test_set, train, _ = benchmark
    inputs, test_inputs = (baseline_inputs(test_set, it) for it in (train, test_set.resampled.windows))
    null = permuted_training(
        test_set.resampled, inputs, train.spans.type, test_inputs, np.random.default_rng(0)
    )
    assert null.low < 0 < null.high
    assert abs(null.estimate) < 0.1


def test_windows_without_a_second_pass_have_no_scores(benchmark: Benchmark):
    test_set, _, twice = benchmark
    none = twice.first._replace(
        **{name: getattr(twice.first, name)[:0] for name in ("window_id", "bar0", "session")}
    )
    assert score_second_pass(test_set.resampled, TwiceLabeled(none, none)) == {}
