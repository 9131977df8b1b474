"""Label subsets: nested, of whole windows, with the proportions of the data."""

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from moola_pipeline.bars.instruments import INSTRUMENTS
from moola_pipeline.instrument_data import InstrumentData
from moola_pipeline.labels.splits import SplitSettings
from moola_pipeline.settings import StudySettings
from moola_pipeline.studies.ablation_folds import study_data
from moola_pipeline.studies.cell_runs import LabelSubset
from moola_pipeline.studies.label_draws import nested_subset
from moola_pipeline.studies.stability import _predictions
from moola_pipeline.training.examples import TrainingData
from moola_pipeline.windows.window_geometry import UNTYPED
from moola_pipeline_tests.labels.weekly_market import weekly_bars, weekly_labels
from moola_pipeline_tests.made_bars import made_market

MARKET = made_market(40)
WINDOWS = MARKET.windows
N_LABELS = len(WINDOWS.spans.window)
COUNTS = (5, 11, 22, 44, N_LABELS)


@pytest.mark.parametrize("seed", range(5))
def test_a_smaller_subset_is_part_of_a_larger_one(seed: int):
    subsets = [nested_subset(WINDOWS, count, seed) for count in COUNTS]
    for small, large in pairwise(subsets):
        assert set(small.window_id) < set(large.window_id)


@pytest.mark.parametrize("seed", range(5))
def test_a_subset_has_the_requested_labels_plus_at_most_one(seed: int):
    for count in COUNTS:
        subset = nested_subset(WINDOWS, count, seed)
        assert count <= len(subset.spans.window) <= count + 1
        assert (np.diff(subset.bar0) > 0).all()


def test_a_drawn_window_has_all_its_expansions():
    subset = nested_subset(WINDOWS, 20, 0)
    for i, name in enumerate(subset.window_id):
        j = int(np.flatnonzero(WINDOWS.window_id == name)[0])
        all_rows, rows = WINDOWS.spans.window == j, subset.spans.window == i
        assert WINDOWS.spans.start[all_rows].tolist() == subset.spans.start[rows].tolist()
        assert WINDOWS.spans.type[all_rows].tolist() == subset.spans.type[rows].tolist()


def test_types_and_empty_windows_keep_their_proportion():
    share = WINDOWS.spans.type.mean()
    empty = 1 - len(np.unique(WINDOWS.spans.window)) / len(WINDOWS.bar0)
    for seed in range(5):
        subset = nested_subset(WINDOWS, 40, seed)
        assert abs(subset.spans.type.mean() - share) < 0.1
        assert abs(1 - len(np.unique(subset.spans.window)) / len(subset.bar0) - empty) < 0.06


def test_all_labels_give_all_windows():
    assert np.array_equal(nested_subset(WINDOWS, N_LABELS, 3).window_id, WINDOWS.window_id)


def test_the_seed_decides_the_subset():
    first, same, other = (nested_subset(WINDOWS, 10, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.window_id, same.window_id)
    assert set(first.window_id) != set(other.window_id)


def test_a_selection_renumbers_its_windows():
    part = WINDOWS.select(np.array([2, 5]))
    assert part.window_id.tolist() == WINDOWS.window_id[[2, 5]].tolist()
    assert set(part.spans.window) <= {0, 1}


@pytest.mark.parametrize("count", [0, N_LABELS + 1])
def test_a_number_of_labels_out_of_range_is_refused(count: int):
    with pytest.raises(ValueError, match=f"1 to {N_LABELS} expansions, got {count}"):
        nested_subset(WINDOWS, count, 0)


def test_windows_of_unknown_type_keep_their_proportion_too():
    spans = WINDOWS.spans
    unknown = np.arange(N_LABELS) % 3 == 0
    unsure = WINDOWS._replace(spans=replace(spans, type=np.where(unknown, UNTYPED, spans.type)))
    for seed in range(5):
        subset = nested_subset(unsure, 40, seed)
        assert abs((subset.spans.type == UNTYPED).mean() - unknown.mean()) < 0.12
        assert set(subset.window_id) < set(nested_subset(unsure, 44, seed).window_id)


def test_recall_and_share_of_a_seed_are_those_of_the_known_types():
    rng = np.random.default_rng(0)
    logits, kind = rng.normal(size=60), rng.integers(0, 2, 60)
    unknown = np.arange(60) % 3 == 0
    unsure = _predictions(0, logits, np.where(unknown, UNTYPED, kind), "")
    assert unsure == _predictions(0, logits[~unknown], kind[~unknown], "")


def test_a_subset_is_drawn_from_complete_windows():
    complete = np.arange(len(WINDOWS.bar0)) % 3 != 0
    data = TrainingData(MARKET.bars, WINDOWS._replace(complete=complete), WINDOWS)
    whole = LabelSubset(data, 1_000, 0, StudySettings()).windows
    assert whole.window_id.tolist() == WINDOWS.window_id[complete].tolist()


def test_ablations_read_complete_windows():
    bars = weekly_bars()
    labels = weekly_labels(bars).assign(complete=["no", "yes", "yes", "yes"] * 11)
    market = SimpleNamespace(
        bars=lambda: bars,
        labels=lambda: labels,
        splits=SplitSettings(),
        instrument=INSTRUMENTS["NQ"],
        bars_digest=str,
        labels_digest=str,
    )
    data = study_data(cast(InstrumentData, market))
    assert data.train.complete.all()
    assert len(data) == 18 - 5
