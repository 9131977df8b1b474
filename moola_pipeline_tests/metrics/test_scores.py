import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from moola_pipeline.metrics.overlap import pair_overlapping
from moola_pipeline.metrics.scores import (
    ResampledWindows,
    Scored,
    events_of,
    mean_scores,
    score_ends,
    score_events,
    score_mean_pointer,
    score_probabilities,
    score_ranking,
    score_types,
)
from moola_pipeline.report.comparisons import differences
from moola_pipeline_tests.evaluation.made_answers import made_events, made_ground, made_p

N_SEEDS, N_BASELINES = 5, 15
LIMIT_SECONDS = 10


@pytest.fixture(scope="module")
def resampled() -> ResampledWindows:
    return made_ground(resamples=200)


def all_scores(resampled: ResampledWindows, rng: np.random.Generator) -> Scored:
    p, events = made_p(resampled, rng), made_events(resampled, rng)
    return {
        **score_types(resampled, p),
        **score_probabilities(resampled, p),
        **score_events(resampled, events),
        **score_ends(resampled, events),
        **score_ranking(resampled, events),
    }


def test_every_metric_of_the_design_is_there_under_its_name(resampled: ResampledWindows):
    ends = ("bias_bars", "rmse_bars", "mae_bars", "within_1", "within_3", "within_5")
    assert set(all_scores(resampled, np.random.default_rng(0))) == {
        "type_f1_macro",
        "aucpr_retracement",
        "prevalence",
        "mcc",
        "brier",
        "ece",
        "event_f1_macro",
        "event_f1_untyped",
        "map_iou30",
        "map_iou50",
        "map_iou70",
        "segment_f1_micro",
        "segment_f1_macro",
        *(f"{side}_{end}" for side in ("onset", "offset") for end in ends),
    }


def test_perfect_predictions_score_1_with_zero_error(resampled: ResampledWindows):
    truth = events_of(resampled.windows).assign(score=1.0)
    scored = {
        **score_types(resampled, resampled.windows.spans.type.astype(float)),
        **score_events(resampled, truth),
        **score_ranking(resampled, truth),
        **score_ends(resampled, truth),
    }
    zero = {name for name in scored if name.endswith("_bars")}
    assert all(scored[name].estimate == 0 for name in zero)
    assert all(scored[name].estimate == pytest.approx(1) for name in set(scored) - zero)


def test_no_predictions_score_0_without_residuals(resampled: ResampledWindows):
    nothing = events_of(resampled.windows).iloc[:0].assign(score=[])
    scored = {**score_events(resampled, nothing), **score_ranking(resampled, nothing)}
    assert all(score.estimate == 0 for score in scored.values())
    ends = score_ends(resampled, nothing)
    assert all(np.isnan(score.estimate) and score.n == 0 for score in ends.values())


def test_the_error_of_the_mean_pointer_is_the_spread_of_the_found_expansions(resampled: ResampledWindows):
    events = made_events(resampled, np.random.default_rng(0))
    scored, own = score_mean_pointer(resampled, events), score_ends(resampled, events)
    found = pair_overlapping(resampled.truth, events) >= 0
    assert scored["onset_rmse_bars"].estimate == pytest.approx(resampled.windows.spans.start[found].std())
    assert scored["onset_bias_bars"].estimate == pytest.approx(0)
    assert scored["onset_rmse_bars"].n == own["onset_rmse_bars"].n == found.sum()


def test_windows_and_expansions_are_drawn_together(resampled: ResampledWindows):
    window = resampled.windows.spans.window
    np.testing.assert_array_equal(resampled.event_weights, resampled.window_weights[:, window])
    codes = pd.factorize(resampled.windows.session)[0]
    first = np.unique(codes, return_index=True)[1]
    np.testing.assert_array_equal(resampled.window_weights, resampled.window_weights[:, first[codes]])


def test_resamples_equal_a_naive_loop_over_copied_windows(resampled: ResampledWindows):
    """Independent bootstrap: copy the drawn windows and score them without weights."""
    rng = np.random.default_rng(4)
    p, events = made_p(resampled, rng), made_events(resampled, rng)
    fast = {
        **score_types(resampled, p),
        **score_events(resampled, events),
        **score_ranking(resampled, events),
    }
    fast |= score_ends(resampled, events)
    windows = resampled.windows
    for resample in range(3):
        drawn = np.repeat(np.arange(len(windows.bar0)), resampled.window_weights[resample])
        spans = [np.flatnonzero(windows.spans.window == w) for w in drawn]
        order = np.concatenate(spans)
        ids = np.array([f"copy{i}" for i in range(len(drawn))], dtype=object)
        window = np.repeat(np.arange(len(drawn)), [len(s) for s in spans])
        moved = replace(windows.spans.select(order), window=window)
        copied = windows._replace(
            window_id=ids, bar0=windows.bar0[drawn], session=windows.session[drawn], spans=moved
        )
        alone = ResampledWindows(copied, np.ones((1, len(order))), np.ones((1, len(drawn))))
        predicted = pd.concat(
            [
                events.loc[events["window_id"] == windows.window_id[w]].assign(window_id=ids[i])
                for i, w in enumerate(drawn)
            ],
            ignore_index=True,
        )
        slow = {
            **score_types(alone, p[order]),
            **score_events(alone, predicted),
            **score_ranking(alone, predicted),
        }
        slow |= score_ends(alone, predicted)
        for name, score in slow.items():
            assert fast[name].values[resample] == pytest.approx(score.estimate), name


def test_the_mean_over_seeds_is_taken_score_by_score(resampled: ResampledWindows):
    runs = [score_types(resampled, made_p(resampled, np.random.default_rng(seed))) for seed in range(3)]
    mean = mean_scores(runs)
    for name, score in mean.items():
        assert score.estimate == pytest.approx(np.mean([run[name].estimate for run in runs]))
        np.testing.assert_allclose(score.values, np.mean([run[name].values for run in runs], axis=0))


@pytest.mark.slow
def test_all_metrics_of_five_seeds_and_fifteen_baselines_with_differences_take_at_most_ten_seconds():
    """To print the time: python -m pytest -s -m slow moola_pipeline_tests/metrics/test_scores.py."""
    resampled, rng = made_ground(), np.random.default_rng(0)
    started = time.perf_counter()
    model = mean_scores([all_scores(resampled, rng) for _ in range(N_SEEDS)])
    baselines = {f"baseline {i}": all_scores(resampled, rng) for i in range(N_BASELINES)}
    gaps = differences(model, baselines)
    seconds = time.perf_counter() - started
    sys.stdout.write(
        f"\n{len(model)} metrics of {N_SEEDS} seeds and {N_BASELINES} baselines, "
        f"{sum(map(len, gaps.values()))} paired differences, 2,000 resamples: {seconds:.1f} s\n"
    )
    assert seconds <= LIMIT_SECONDS
