"""Charts of a session: positions of candles, swings and confirmations."""

import io
import warnings
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.dates import num2date
from matplotlib.image import imread
from matplotlib.patches import Rectangle

from moola_pipeline.inference.plots import (
    FALL,
    RISE,
    draw_expansions,
    draw_session,
    draw_sessions,
    draw_swings,
    draw_uncovered,
)
from moola_pipeline.plotting import picture_file

PRICES = [[10, 12, 9, 11], [11, 14, 11, 13], [13, 13, 8, 9], [9, 10, 9, 9], [9, 13, 9, 12.5]]


def bars_from(opened_at: str, prices: list[list[float]] = PRICES) -> pd.DataFrame:
    times = pd.date_range(opened_at, periods=len(prices), freq="min", tz="UTC")
    return pd.DataFrame(prices, columns=["open", "high", "low", "close"], dtype=float).assign(timestamp=times)


BARS = bars_from("2025-01-06T15:00")
SWINGS = pd.DataFrame(
    {
        "time": BARS["timestamp"].iloc[[1, 2]].array,
        "price": [14.0, 8.0],
        "kind": ["high", "low"],
        "confirmed_at": BARS["timestamp"].iloc[[2, 4]].array,
        "segment": [0, 0],
    }
)


def points(axes: Axes, label: str) -> list[tuple[Any, float]]:
    """Points of the lines with this label: bar opens and prices."""
    lines = [line for line in axes.lines if line.get_label() == label]
    return [
        (pd.Timestamp(num2date(x)).round("s"), y)
        for line in lines
        for x, y in np.column_stack([line.get_xdata(), line.get_ydata()]).tolist()
    ]


def test_a_candle_reaches_from_low_to_high_and_its_body_from_open_to_close():
    _, axes = draw_session(BARS, "a session")
    [wicks] = [it for it in axes.collections if isinstance(it, LineCollection)]
    [bodies] = [it for it in axes.collections if isinstance(it, PolyCollection)]
    spans = [np.asarray(wick)[:, 1].tolist() for wick in wicks.get_segments()]
    assert spans == [[low, high] for _, high, low, _ in PRICES]
    ends = [path.vertices[:2, 1].tolist() for path in bodies.get_paths()]  # pyright: ignore
    assert ends == [[opened, close] for opened, _, _, close in PRICES]
    colors = np.asarray(bodies.get_facecolor()).tolist()
    assert [to_hex(color) for color in colors] == [RISE, RISE, FALL, RISE, RISE]


def test_swings_join_pivots_and_marks_stand_at_the_closes_that_confirmed_them():
    _, axes = draw_session(BARS, "a session")
    draw_swings(axes, BARS, SWINGS)
    times = BARS["timestamp"].tolist()
    assert points(axes, "swing, pivot to pivot") == [(times[1], 14.0), (times[2], 8.0)]
    assert points(axes, "close that confirmed a high") == [(times[2], 9.0)]
    assert points(axes, "close that confirmed a low") == [(times[4], 12.5)]


def test_an_expansion_is_framed_around_its_bars_and_line_styles_tell_types_apart():
    _, axes = draw_session(BARS, "a session")
    times = BARS["timestamp"]
    found = pd.DataFrame(
        {
            "started_at": times.iloc[[0, 3]].array,
            "ended_at": times.iloc[[1, 4]].array,
            "high": [14.0, 13.0],
            "low": [9.0, 9.0],
            "label": ["retracement", "consolidation"],
            "probability": [0.83, 0.4],
        }
    )
    draw_expansions(axes, found)
    frames = {it.get_label(): it for it in axes.patches if isinstance(it, Rectangle) and not it.get_fill()}
    frame = frames["expansion after a retracement"]
    assert (frame.get_y(), frame.get_height()) == (9, 5)
    assert pd.Timestamp(num2date(frame.get_x())).round("s") == times.iloc[0] - pd.Timedelta(seconds=30)
    assert frame.get_width() * 24 * 60 == pytest.approx(2)
    assert len({it.get_linestyle() for it in frames.values()}) == 2
    assert [it.get_text() for it in axes.texts] == ["0.40", "0.83"]


def test_uncovered_bars_are_shaded_with_their_number_and_reason():
    figure, axes = draw_session(BARS, "a session")
    times = BARS["timestamp"]
    stretches = pd.DataFrame(
        {"from": times.iloc[[0, 4]].array, "to": times.iloc[[1, 4]].array, "bars": [2, 1]}
    )
    draw_uncovered(axes, stretches, "no window")
    shaded = [it for it in axes.patches if isinstance(it, Rectangle)]
    begins = [pd.Timestamp(num2date(it.get_x())).round("s") for it in shaded]
    assert begins == [times.iloc[row] - pd.Timedelta(seconds=30) for row in (0, 4)]
    assert [it.get_width() * 24 * 60 for it in shaded] == pytest.approx([2, 1])
    assert [it.get_text() for it in axes.texts] == ["2 bars not covered", "1 bars not covered"]
    [legend] = figure.legends
    assert [it.get_text() for it in legend.get_texts()] == ["no window"]


def test_sessions_below_each_other_share_one_legend_and_the_width_of_the_longest():
    later = bars_from("2025-01-07T15:00", PRICES * 276)
    figure, (upper, lower) = draw_sessions([BARS, later], ["one", "two"])
    for axes, bars in ((upper, BARS), (lower, later)):
        draw_swings(axes, bars, SWINGS.iloc[:0] if axes is lower else SWINGS)
        draw_uncovered(axes, pd.DataFrame({"from": [], "to": [], "bars": []}), "no window")
    assert (upper.get_title(loc="left"), lower.get_title(loc="left")) == ("one", "two")
    [legend] = figure.legends
    names = [it.get_text() for it in legend.get_texts()]
    assert len(names) == len(set(names)) == 3
    assert figure.get_figwidth() == draw_session(later, "two")[0].get_figwidth()
    assert figure.get_figheight() == 2 * draw_session(BARS, "one")[0].get_figheight()


def test_the_axis_shows_the_chosen_zone():
    figure, axes = draw_session(BARS, "a session", "Europe/Berlin")
    assert axes.get_xlabel() == "Berlin time (CET, UTC+01:00), bar opens"
    figure.draw_without_rendering()
    marks = {text.get_text(): text.get_position()[0] for text in axes.get_xticklabels()}
    assert pd.Timestamp(num2date(marks["16:00"])).round("s") == BARS["timestamp"].iloc[0]


def test_no_line_joins_two_segments():
    _, axes = draw_session(BARS, "a session")
    draw_swings(axes, BARS, SWINGS.assign(segment=[0, 1]))
    assert max(len(np.asarray(line.get_xdata())) for line in axes.lines) == 1


@pytest.mark.parametrize(
    ("opened_at", "zone", "label"),
    [
        ("2025-01-06T15:00", "EST, UTC-05:00", "10:00"),
        ("2025-07-07T14:00", "EDT, UTC-04:00", "10:00"),
    ],
)
def test_the_axis_shows_new_york_time_and_its_zone(opened_at: str, zone: str, label: str):
    bars = bars_from(opened_at)
    figure, axes = draw_session(bars, "a session")
    assert axes.get_xlabel() == f"New York time ({zone}), bar opens"
    figure.draw_without_rendering()
    marks = {text.get_text(): text.get_position()[0] for text in axes.get_xticklabels()}
    assert pd.Timestamp(num2date(marks[label])).round("s") == bars["timestamp"].iloc[0]


def test_a_missing_minute_leaves_a_gap():
    _, axes = draw_session(BARS.drop(index=2), "a session")
    [wicks] = [it for it in axes.collections if isinstance(it, LineCollection)]
    minutes = np.diff([np.asarray(wick)[0, 0] for wick in wicks.get_segments()]) * 24 * 60
    assert minutes.round(3).tolist() == [1, 2, 1]


def test_a_whole_session_is_wider_than_part_of_one():
    hours = bars_from("2025-01-06T15:00", PRICES * 276)
    widths = [draw_session(bars, "a session")[0].get_figwidth() for bars in (BARS, hours.iloc[:690], hours)]
    assert widths == sorted(set(widths))


@pytest.mark.parametrize("title", ["plain", "a$b$c_{2}.csv <&>", "日本.csv"])
def test_a_title_is_drawn_without_change(title: str):
    figure, _ = draw_session(BARS, title)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert picture_file(figure, ".png")
        texts = [it.text for it in ElementTree.fromstring(picture_file(figure, ".svg")).iter()]
    assert title in texts


def test_equal_charts_give_equal_bytes():
    def drawn(suffix: str) -> bytes:
        figure, axes = draw_session(BARS, "a session")
        draw_swings(axes, BARS, SWINGS)
        return picture_file(figure, suffix)

    assert drawn(".svg") == drawn(".svg")
    assert drawn(".png") == drawn(".png")


def test_candles_and_swings_change_the_pixels():
    figure, axes = draw_session(BARS, "a session")
    bare = imread(io.BytesIO(picture_file(figure, ".png")), "png")
    height, width = bare.shape[:2]
    assert (width, height) == (figure.bbox.width, figure.bbox.height)
    assert (bare[:, :, :3] == np.array(to_rgb(RISE), np.float32)).all(axis=2).sum() > 1000
    draw_swings(axes, BARS, SWINGS)
    assert not np.array_equal(bare, imread(io.BytesIO(picture_file(figure, ".png")), "png"))
