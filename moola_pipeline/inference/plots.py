"""Charts of sessions: candles, swings, expansions, and bars that no window covers."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.dates import AutoDateLocator, DateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import StrMethodFormatter

from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.bars.sessions import NEW_YORK
from moola_pipeline.plotting import BLUE, GREEN, INK, ORANGE, PAPER, RED, SOFT, house_style

DOTS_PER_INCH = 150
HEIGHT, MIN_WIDTH, MARGINS = 9.0, 12.0, 1.2
"""Inches: height and minimum width of a chart, and the margins left and right of its axes."""
MINUTE_WIDTH, MIN_MINUTES = 0.018, 60
"""Inches per minute (2.7 pixels: a whole session is about 3,900 wide), and the least minutes drawn."""
MAX_LEGEND_COLUMNS = 3
TYPE_COLORS = {"consolidation": BLUE, "retracement": ORANGE}
TYPE_LINES = {"consolidation": "solid", "retracement": "dashed"}
MINUTE = 1 / (24 * 60)
"""Unit: days, as on the time axis."""
RISE, FALL, SWING, MARK = GREEN, RED, BLUE, INK


def draw_session(bars: pd.DataFrame, title: str, zone: str = NEW_YORK) -> tuple[Figure, Axes]:
    """Draw the bars of one session; see `draw_sessions`."""
    figure, (axes,) = draw_sessions([bars], [title], zone)
    return figure, axes


@house_style()
def draw_sessions(
    sessions: Sequence[pd.DataFrame], titles: Sequence[str], zone: str = NEW_YORK
) -> tuple[Figure, list[Axes]]:
    """Draw sessions below each other, their bars as candles, each at its bar's open.

    `draw_swings`, `draw_expansions` and `draw_uncovered` add to the axes by UTC times and prices;
    `plotting.picture_file` writes the figure.

    Args:
        sessions: For each session, `timestamp` (UTC bar opens) and PRICE_COLUMNS, at least one bar.
        titles: Drawn above the axes of each without change.
        zone: IANA time zone of the time axes.
    """
    ends = [_time_span(bars) for bars in sessions]
    width = MINUTE_WIDTH * max(last - first for first, last in ends) / MINUTE + MARGINS
    size = max(width, MIN_WIDTH), HEIGHT * len(sessions)
    figure = Figure(size, DOTS_PER_INCH, layout="constrained")
    all_axes: list[Axes] = []
    for row, (bars, title, (first, last)) in enumerate(zip(sessions, titles, ends, strict=True), 1):
        axes = figure.add_subplot(len(sessions), 1, row, xlim=(first - MINUTE, last + MINUTE))
        axes.set_title(title)
        opened_at = date2num(bars["timestamp"])
        _draw_candles(axes, opened_at, bars[list(PRICE_COLUMNS)].to_numpy(float))
        _label_axes(axes, bars["timestamp"].dt.tz_convert(zone).iloc[0], zone)
        all_axes.append(axes)
    return figure, all_axes


def _time_span(bars: pd.DataFrame) -> tuple[float, float]:
    """First and last time of an axis, days."""
    first, last = date2num(bars["timestamp"].iloc[[0, -1]]).tolist()
    return first, max(last, first + MIN_MINUTES * MINUTE)


@house_style()
def draw_swings(axes: Axes, bars: pd.DataFrame, swings: pd.DataFrame) -> None:
    """Add the zigzag: lines from pivot to pivot, and a marker at each confirming close.

    Args:
        axes: From `draw_session`.
        bars: As drawn there.
        swings: `time`, `confirmed_at` (UTC bar opens in `bars`), `price` (index points), `kind`
            (high or low) and `segment`: lines join swings of one segment only.
    """
    name = "swing, pivot to pivot"
    for _, leg in swings.groupby("segment"):
        axes.plot(date2num(leg["time"]), leg["price"].to_numpy(), color=SWING, linewidth=1.1, label=name)
        name = "_"  # the legend needs one entry only
    closes = bars.set_index("timestamp")["close"]
    for kind, mark in (("high", "v"), ("low", "^")):
        confirmed_at = swings.loc[swings["kind"] == kind, "confirmed_at"]
        axes.plot(
            date2num(confirmed_at),
            closes.loc[confirmed_at].to_numpy(),
            linestyle="none",
            marker=mark,
            markersize=5,
            markerfacecolor=MARK,
            markeredgecolor=PAPER,
            markeredgewidth=0.5,
            label=f"close that confirmed a {kind}",
        )
    _draw_legend(axes)


@house_style()
def draw_expansions(axes: Axes, expansions: pd.DataFrame) -> None:
    """Add expansions: a frame around the bars of each, and its probability above it.

    Args:
        axes: From `draw_session`.
        expansions: `started_at`, `ended_at` (UTC bar opens), `high`, `low` (index points, of its
            bars), `label`, `probability`.
    """
    _draw_frames(axes, expansions)
    _draw_legend(axes)


@house_style()
def draw_uncovered(axes: Axes, not_covered: pd.DataFrame, reason: str) -> None:
    """Shade the bars in which no expansion can be found, and name the reason.

    Args:
        axes: From `draw_session`.
        not_covered: `from`, `to` (UTC opens of the first and the last bar) and `bars` of each stretch.
        reason: For the legend.
    """
    firsts, lasts = date2num(not_covered["from"]), date2num(not_covered["to"])
    label = reason
    for first, last, n_bars in zip(firsts, lasts, not_covered["bars"], strict=True):
        left, right = first - 0.5 * MINUTE, last + 0.5 * MINUTE
        axes.axvspan(left, right, facecolor=SOFT, alpha=0.16, linewidth=0, label=label)
        beside = {"xytext": (4, 4), "textcoords": "offset points", "color": SOFT, "rotation": 90}
        axes.annotate(f"{n_bars} bars not covered", (left, 0), xycoords=("data", "axes fraction"), **beside)
        label = "_"  # the legend needs one entry only
    _draw_legend(axes)


def _draw_legend(axes: Axes) -> None:
    """One legend for all axes of the figure, each label once."""
    figure = axes.get_figure(root=True)
    if figure is None:
        return
    for legend in list(figure.legends):
        legend.remove()
    entries = [entry for one in figure.axes for entry in zip(*one.get_legend_handles_labels(), strict=True)]
    handles = {label: handle for handle, label in entries}
    if handles:
        columns = min(len(handles), MAX_LEGEND_COLUMNS)
        figure.legend(handles.values(), handles.keys(), loc="outside lower right", ncols=columns)


def _draw_frames(axes: Axes, expansions: pd.DataFrame) -> None:
    for kind, color in TYPE_COLORS.items():
        name = f"expansion after a {kind}"
        of_kind = expansions.loc[expansions["label"] == kind]
        lefts = date2num(of_kind["started_at"]) - 0.5 * MINUTE
        widths = date2num(of_kind["ended_at"]) + 0.5 * MINUTE - lefts
        lows, heights = of_kind["low"].to_numpy(float), (of_kind["high"] - of_kind["low"]).to_numpy(float)
        spans = np.column_stack([lefts, widths, lows, heights]).tolist()
        for (left, width, low, height), probability in zip(spans, of_kind["probability"], strict=True):
            axes.add_patch(Rectangle((left, low), width, height, facecolor=color, alpha=0.18))
            edge = {"edgecolor": color, "linewidth": 1.4, "linestyle": TYPE_LINES[kind], "label": name}
            axes.add_patch(Rectangle((left, low), width, height, fill=False, **edge))
            above = {"xytext": (0, 3), "textcoords": "offset points", "color": color}
            axes.annotate(f"{probability:.2f}", (left, low + height), **above)
            name = "_"  # the legend needs one entry only


def place_of(zone: str) -> str:
    """The place of an IANA time zone: New York for America/New_York."""
    return zone.rpartition("/")[2].replace("_", " ")


def _draw_candles(axes: Axes, opened_at: np.ndarray, prices: np.ndarray) -> None:
    opens, highs, lows, closes = prices.T
    colors = np.where(closes >= opens, RISE, FALL).tolist()
    axes.vlines(opened_at, lows, highs, colors=colors, linewidth=0.6)
    left, right = opened_at - 0.35 * MINUTE, opened_at + 0.35 * MINUTE
    corners = np.stack([left, opens, left, closes, right, closes, right, opens], axis=1)
    # Without an edge, a bar that closes at its open would be invisible.
    bodies = list(corners.reshape(-1, 4, 2))
    axes.add_collection(PolyCollection(bodies, facecolors=colors, edgecolors=colors, linewidths=0.6))
    axes.autoscale_view(scalex=False)


def _label_axes(axes: Axes, local: pd.Timestamp, zone: str) -> None:
    locator = AutoDateLocator(tz=local.tz, minticks=8, maxticks=26)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M", tz=local.tz))
    axes.set_xlabel(f"{place_of(zone)} time ({local:%Z}, UTC{local.isoformat()[-6:]}), bar opens")
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    axes.set_ylabel("index points")
    axes.spines["left"].set_visible(False)
    axes.spines["right"].set_visible(True)
