"""Scores of the model and of the labels on simulated ground truth."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from moola_pipeline.evaluation.simulated_truth import LABELS, MODEL, against_truth, planted_windows
from moola_pipeline.labels.schema import TYPES
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.metrics.breakdowns import ScoredPredictions
from moola_pipeline.metrics.scores import events_of
from moola_pipeline.windows.window_geometry import UNTYPED
from moola_pipeline_tests.evaluation.made_answers import made_ground

TIMES = pd.date_range("2025-04-01", periods=60_000, freq="min", tz="UTC")


def truth_of(windows: LabeledWindows) -> pd.DataFrame:
    """The labels as ground truth."""
    spans = windows.spans
    first = windows.bar0[spans.window]
    return pd.DataFrame(
        {
            "started_at": TIMES[first + spans.start],
            "ended_at": TIMES[first + spans.end],
            "type": [TYPES[kind] for kind in spans.type],
            "direction": spans.direction,
        }
    )


def test_expansions_in_the_cores_of_windows_become_spans_with_their_type():
    windows = made_ground().windows
    truth = truth_of(windows)
    outside = truth.iloc[:1].assign(started_at=TIMES[10], ended_at=TIMES[12])
    found = planted_windows(windows, pd.concat([outside, truth], ignore_index=True), TIMES)
    for column, expected in zip(found.spans.arrays, windows.spans.arrays, strict=True):
        np.testing.assert_array_equal(column, expected)


def test_perfect_labels_score_one_and_half_of_them_two_thirds():
    """Half of the simulated expansions, nothing else: precision 1, recall 1/2."""
    resampled = made_ground(resamples=50)
    truth = truth_of(resampled.windows)
    y = resampled.windows.spans.type
    right = ScoredPredictions(y.astype(float), events_of(resampled.windows))
    whole = against_truth(resampled, truth, TIMES, [right])
    assert whole[LABELS]["event_f1_macro"].estimate == whole[MODEL]["event_f1_macro"].estimate == 1
    assert whole[LABELS]["type_f1_macro"].estimate == whole[MODEL]["type_f1_macro"].estimate == 1
    half = ScoredPredictions(y.astype(float), events_of(resampled.windows).iloc[::2])
    found = against_truth(resampled, truth, TIMES, [half])[MODEL]["event_f1_untyped"]
    assert found.estimate == pytest.approx(2 * 74 / (147 + 74))


def test_types_are_scored_against_the_hidden_type_not_the_label():
    resampled = made_ground(resamples=50)
    truth = truth_of(resampled.windows)
    turned = truth.assign(type=[TYPES[1 - TYPES.index(name)] for name in truth["type"]])
    agrees_with_labels = ScoredPredictions(
        resampled.windows.spans.type.astype(float), events_of(resampled.windows)
    )
    scored = against_truth(resampled, turned, TIMES, [agrees_with_labels])
    assert scored[MODEL]["type_f1_macro"].estimate == scored[LABELS]["type_f1_macro"].estimate == 0
    assert scored[MODEL]["event_f1_untyped"].estimate == 1


def test_labels_of_unknown_type_say_nothing_about_the_hidden_type():
    resampled = made_ground(resamples=50)
    truth, spans = truth_of(resampled.windows), resampled.windows.spans
    unknown = np.arange(len(spans.type)) % 3 == 0
    unsure = replace(spans, type=np.where(unknown, UNTYPED, spans.type))
    labeled = replace(resampled, windows=resampled.windows._replace(spans=unsure))
    right = ScoredPredictions(spans.type.astype(float), events_of(resampled.windows))
    scored = against_truth(labeled, truth, TIMES, [right])
    assert scored[LABELS]["type_f1_macro"].estimate == scored[MODEL]["type_f1_macro"].estimate == 1
    assert scored[LABELS]["type_f1_macro"].n == (~unknown).sum()
    assert scored[LABELS]["event_f1_untyped"].estimate == scored[LABELS]["event_f1_macro"].estimate == 1
