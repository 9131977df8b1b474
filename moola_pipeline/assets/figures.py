"""The figures of a feature table in the asset's metadata: as a table, and as a plot."""

import base64
from collections.abc import Sequence

import dagster as dg
import numpy as np
import pandas as pd

from moola_pipeline.evaluation.canvas import Canvas, svg_file
from moola_pipeline.features.schema import Feature

NAME_WIDTH, BAR_WIDTH, ROW_HEIGHT, TOP = 190, 220, 18, 30
GAP = 40
PASSES, FAILS, LIMIT = "#3b7dd8", "#c0392b", "#111111"


def figure_table(figures: pd.DataFrame) -> dg.TableMetadataValue:
    """One row a feature, as the UI lists them."""
    rows = figures.rename_axis("feature").reset_index().round(3).to_dict("records")
    records = [dg.TableRecord({str(name): value for name, value in row.items()}) for row in rows]
    return dg.MetadataValue.table(records)


def gate_picture(features: Sequence[Feature], density: np.ndarray, spread: np.ndarray) -> str:
    """Density and spread of each feature as bars with a mark at its gate: Markdown with the picture in it."""
    height = TOP + ROW_HEIGHT * len(features) + 8
    canvas = Canvas(NAME_WIDTH + 2 * BAR_WIDTH + GAP + 30, height)
    left = {"density: share of values that are not 0": NAME_WIDTH}
    left["spread: 1st to 99th percentile of range"] = NAME_WIDTH + BAR_WIDTH + GAP
    for title, x in left.items():
        canvas.text(x, 16, title)
    for i, feature in enumerate(features):
        y = TOP + ROW_HEIGHT * i
        canvas.text(NAME_WIDTH - 8, y + 11, feature.name, anchor="end")
        shown = (density[i], feature.min_density), (spread[i], feature.min_spread)
        for x, (share, least) in zip(left.values(), shown, strict=True):
            color = PASSES if share >= least else FAILS
            canvas.rect(x, y + 2, BAR_WIDTH * min(float(share), 1.0), ROW_HEIGHT - 6, color)
            canvas.rect(x + BAR_WIDTH * least - 1, y, 2, ROW_HEIGHT - 2, LIMIT)
    encoded = base64.b64encode(svg_file(canvas)).decode()
    return f"![density and spread of each feature](data:image/svg+xml;base64,{encoded})"
