import numpy as np

from moola_pipeline.evaluation.trivial_baselines import constant_span, trivial_type_baselines
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.report.checks import TRIVIAL_TYPE_BASELINES
from moola_pipeline.windows.spans import Spans


def test_trivial_baselines_worked_by_hand():
    y = np.array([0, 0, 0, 1])
    got = trivial_type_baselines(y, np.array([31, 40, 45, 70]), np.array([35, 72]))
    assert tuple(got) == TRIVIAL_TYPE_BASELINES
    assert got["majority"].tolist() == got["always_consolidation"].tolist() == [0, 0]
    assert got["always_retracement"].tolist() == [1, 1]
    assert got["position_only"][0] < got["position_only"][1]


def test_majority_depends_on_training_only():
    got = trivial_type_baselines(np.array([1, 1, 0]), np.array([31, 40, 45]), np.array([35]))
    assert got["majority"].tolist() == [1]


def windows_of(*spans: tuple[int, int, int], n_windows: int = 4) -> LabeledWindows:
    window, start, end = (np.array(column, np.int64) for column in zip(*sorted(spans), strict=True))
    ids = np.array([f"w{i}" for i in range(n_windows)], dtype=object)
    days = np.arange("2025-04-01", "2025-04-30", dtype="datetime64[D]").astype("datetime64[ns]")
    zeros = np.zeros(len(window), np.int64)
    labeled = Spans(window, start, end, zeros.astype(np.int8) + 1, zeros)
    return LabeledWindows(
        ids, 1000 * np.arange(n_windows), days[:n_windows], np.ones(n_windows, bool), labeled
    )


def test_the_constant_span_finds_most_windows():
    # 45..49 is within 3 bars of two labels; no span matches the third one too
    start, end = constant_span(windows_of((0, 43, 47), (1, 48, 52), (2, 70, 74)))
    assert 45 <= start <= 46
    assert end - start + 1 <= 5


def test_two_labels_of_one_window_count_once():
    crowded = [(0, 40, 42), (0, 43, 45), (1, 60, 62), (2, 61, 63)]
    start, _ = constant_span(windows_of(*crowded))
    assert 58 <= start <= 63
