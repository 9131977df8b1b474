"""What the page of an asset shows in Dagster: owner, columns, pictures. Nothing here changes an asset."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import Column
from moola_pipeline.features.schema import Feature

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from moola_pipeline.report.data import ReportData

DATA, TRAINING, RESULTS = "data", "training", "results"
"""Groups: the stages of the work."""
LINEAGE = "/asset-groups?expanded=" + ",".join(
    f"global@global:{group}" for group in (DATA, TRAINING, RESULTS)
)
"""Page of Dagster with the whole lineage: without the parameter the groups are closed."""
OWNERS = ("team:moola",)
COLUMN_SCHEMA, ROW_COUNT = "dagster/column_schema", "dagster/row_count"
"""Keys that Dagster shows as columns and as number of rows."""
History = Sequence[Mapping[str, float]]
"""train_loss and val_loss by epoch."""


def column_schema(table: Iterable[Column]) -> dict[str, Any]:
    """The columns of a table, as metadata of its asset's definition."""
    return _schema(
        dg.TableColumn(
            column.name,
            column.dtype,
            column.meaning,
            dg.TableColumnConstraints(nullable=column.nullable),
        )
        for column in table
    )


def feature_schema(features: Iterable[Feature]) -> dict[str, Any]:
    """The columns of a feature table with formula and range, as metadata of its asset's definition."""
    return _schema(
        dg.TableColumn(
            feature.name,
            "float32",
            feature.formula,
            dg.TableColumnConstraints(nullable=False, other=[f"{feature.low:g} to {feature.high:g}"]),
        )
        for feature in features
    )


def _schema(columns: Iterable[dg.TableColumn]) -> dict[str, Any]:
    return {COLUMN_SCHEMA: dg.TableSchema(list(columns))}


def row_count(value: Any) -> dict[str, int]:
    """The number of rows of a frame as metadata; nothing for other values."""
    return {ROW_COUNT: len(value)} if isinstance(value, pd.DataFrame) else {}


def figure_table(figures: pd.DataFrame) -> dg.TableMetadataValue:
    """A table with one row per feature."""
    rows = figures.rename_axis("feature").reset_index().round(3).to_dict("records")
    records = [dg.TableRecord({str(name): value for name, value in row.items()}) for row in rows]
    return dg.MetadataValue.table(records)


def picture(caption: str, figure: "Figure | None") -> dg.MarkdownMetadataValue:
    """A figure as markdown; without one, the caption says what is missing."""
    from moola_pipeline.plotting import picture_file

    return svg_picture(caption, picture_file(figure, ".svg") if figure is not None else b"")


def svg_picture(caption: str, content: bytes) -> dg.MarkdownMetadataValue:
    """The bytes of an SVG file as markdown; if there are none, the caption stands alone."""
    encoded = base64.b64encode(content).decode()
    shown = f"\n\n![{caption}](data:image/svg+xml;base64,{encoded})" if content else ""
    return dg.MetadataValue.md(f"{caption}{shown}")


def bars_picture(bars: pd.DataFrame) -> dg.MarkdownMetadataValue:
    """Bars per month, and the last close of each session."""
    from moola_pipeline.report.asset_charts import bars_figure

    day = bars["session"].to_numpy().astype("datetime64[D]")
    months, counts = np.unique(day.astype("datetime64[M]"), return_counts=True)
    ends = np.flatnonzero(np.append(day[1:] != day[:-1], True))
    names = [moments.astype(str).tolist() for moments in (months, day[ends])]
    figure = bars_figure(names[0], counts, names[1], bars["close"].to_numpy()[ends])
    return picture(f"{len(bars):,} bars in {len(months)} months", figure)


def labels_picture(labels: pd.DataFrame) -> dg.MarkdownMetadataValue:
    """Labels per month and split, by type."""
    from moola_pipeline.report.asset_charts import class_mix
    from moola_pipeline.report.figures import mix_figure

    key = "from the bottom: retracement (blue), consolidation (gray), unknown, no expansion (dashed)"
    return picture(f"labels of complete windows per month and split; {key}", mix_figure(class_mix(labels)))


def gate_picture(
    features: Sequence[Feature], density: np.ndarray, spread: np.ndarray
) -> dg.MarkdownMetadataValue:
    """Density and spread of each feature, with a mark at its limit."""
    from moola_pipeline.report.feature_charts import gate_figure

    least_density, least_spread = (
        np.array([getattr(feature, name) for feature in features]) for name in ("min_density", "min_spread")
    )
    charts = {
        "density: share of values that are not 0": (density, least_density),
        "spread: 1st to 99th percentile of range": (spread, least_spread),
    }
    figure = gate_figure([feature.name for feature in features], charts)
    return picture("density and spread of each feature; the mark is its limit", figure)


def windows_picture(index: pd.DataFrame, bars: pd.DataFrame) -> dg.MarkdownMetadataValue:
    """Windows per month, by purpose."""
    from moola_pipeline.report.asset_charts import windows_figure

    session = bars["session"].to_numpy()[index["bar0"].to_numpy(np.int64)]
    counts = pd.crosstab(session.astype("datetime64[M]").astype(str), index["purpose"])
    by_purpose = {str(name): counts[name].to_numpy() for name in index["purpose"].unique()}
    return picture(
        f"{len(index):,} windows by the month of bar 0", windows_figure(list(counts.index), by_purpose)
    )


def loss_picture(histories: Mapping[Any, History], title: str) -> dg.MarkdownMetadataValue:
    """Losses by epoch, a pair of lines for each seed."""
    from moola_pipeline.report.data import LossCurve
    from moola_pipeline.report.figures import loss_figure

    curves = [
        LossCurve(int(seed), [one["train_loss"] for one in history], [one["val_loss"] for one in history])
        for seed, history in histories.items()
    ]
    caption = f"{title}, a pair of lines for each seed: training solid, validation dashed, lowest circled"
    return picture(caption, loss_figure(curves, title))


def report_pictures(data: "ReportData") -> dict[str, dg.MarkdownMetadataValue]:
    """The headline scores beside their baselines, and the reliability of P(retracement)."""
    from moola_pipeline.report.figures import reliability_figure, score_figure

    calibration = data.details.calibration
    reliable = reliability_figure(calibration) if calibration else None
    scores = "scores on test windows with 95 % intervals; light marks are other methods of the row"
    return {
        "scores_plot": picture(scores, score_figure(data)),
        "reliability_plot": picture(
            "P(retracement) against the share of retracements on test windows", reliable
        ),
    }


def marks_picture(bars: pd.DataFrame, marks: pd.DataFrame) -> dg.MarkdownMetadataValue:
    """The newest window with expansions, as candles.

    Args:
        bars: BAR_COLUMNS.
        marks: EXPANSION_COLUMNS of these bars.
    """
    from moola_pipeline.report.asset_charts import newest_window
    from moola_pipeline.report.candles import candle_figure

    window = newest_window(bars, marks)
    if window is None:
        return picture("no new expansion to draw", None)
    caption = f"the newest window with expansions, from {window.started_at}: predicted ones framed"
    return picture(caption, candle_figure(window))
