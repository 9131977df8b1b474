"""Feature charts: bar lengths equal shares, failed bars differ without color."""

from typing import Any

import numpy as np
import pytest

from moola_pipeline.metrics.drift import Reference
from moola_pipeline.plotting import BLUE, ORANGE, RED, picture_file
from moola_pipeline.report.feature_charts import HATCHES, drift_figure, gate_figure

REFERENCE = Reference(edges={}, shares={}, rows=1000, rates=[1.0, 2.0, 3.0], retracement_share=0.35)


def bars(axes: Any) -> list[tuple[float, str]]:
    """Length and hatch of each bar, from the top."""
    patches = sorted(axes.containers[0].patches, key=lambda bar: bar.get_y())
    return [(bar.get_width(), bar.get_hatch() or "") for bar in patches]


def test_a_bar_has_the_length_of_its_share_and_a_hatch_below_its_gate():
    least = np.array([0.5, 0.5, 0.1])
    figure = gate_figure(["a", "b", "c"], {"density": (np.array([0.9, 0.2, 0.1]), least)})
    axes: Any = figure.axes[0]
    assert bars(axes) == [(0.9, HATCHES[BLUE]), (0.2, HATCHES[RED]), (0.1, HATCHES[BLUE])]
    [marks] = axes.collections
    assert [segment[0][0] for segment in marks.get_segments()] == least.tolist()
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b", "c"]


def test_larger_shifts_have_denser_hatches():
    shifts = {"a": 0.02, "b": 0.12, "c": 0.3}
    left, _ = drift_figure(shifts, REFERENCE, ["2025-07-01"], np.array([2.0])).axes
    assert bars(left) == [(0.02, HATCHES[BLUE]), (0.12, HATCHES[ORANGE]), (0.3, HATCHES[RED])]
    assert len(set(HATCHES.values())) == 3


def test_new_sessions_are_drawn_over_the_band_of_training():
    rates = np.array([2.0, 0.4])
    right: Any = drift_figure({"a": 0.02}, REFERENCE, ["2025-07-01", "2025-07-02"], rates).axes[1]
    [band] = right.patches
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((1.05, 2.95))
    assert right.lines[-1].get_ydata().tolist() == rates.tolist()


def test_the_drift_chart_is_deterministic_and_names_each_feature():
    first, second = (
        picture_file(drift_figure({"a": 0.02, "b": 0.3}, REFERENCE, ["2025-07-01"], np.array([2.0])), ".svg")
        for _ in range(2)
    )
    assert first == second
    assert b">a<" in first and b"2025-07-01" in first


def test_a_chart_without_features_and_rates_is_drawn():
    bare = REFERENCE.model_copy(update={"rates": []})
    assert picture_file(drift_figure({}, bare, [], np.empty(0)), ".svg")
