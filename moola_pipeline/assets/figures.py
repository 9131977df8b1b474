"""The figures of a feature table in the asset's metadata: as a table, and as a plot."""

import base64
from collections.abc import Sequence
from xml.etree.ElementTree import Element

import dagster as dg
import numpy as np
import pandas as pd

from moola_pipeline.features.schema import Feature
from moola_pipeline.report.svg import add, markup

NAME_WIDTH, BAR_WIDTH, ROW_HEIGHT, TOP = 190, 220, 18, 30
GAP = 40
PASSES, FAILS, LIMIT, INK = "#3b7dd8", "#c0392b", "#111111", "#333333"
FONT = "12px ui-sans-serif, system-ui, sans-serif"


def figure_table(figures: pd.DataFrame) -> dg.TableMetadataValue:
    """One row a feature, as the UI lists them."""
    rows = figures.rename_axis("feature").reset_index().round(3).to_dict("records")
    records = [dg.TableRecord({str(name): value for name, value in row.items()}) for row in rows]
    return dg.MetadataValue.table(records)


def gate_picture(features: Sequence[Feature], density: np.ndarray, spread: np.ndarray) -> str:
    """Density and spread of each feature as bars with a mark at its gate: Markdown with the picture in it."""
    width, height = NAME_WIDTH + 2 * BAR_WIDTH + GAP + 30, TOP + ROW_HEIGHT * len(features) + 8
    size = {"width": f"{width}", "height": f"{height}", "viewBox": f"0 0 {width} {height}"}
    picture = Element("svg", {**size, "xmlns": "http://www.w3.org/2000/svg", "style": f"font: {FONT}"})
    add(picture, "rect", width="100%", height="100%", fill="white")
    left = {"density: share of values that are not 0": NAME_WIDTH}
    left["spread: 1st to 99th percentile of range"] = NAME_WIDTH + BAR_WIDTH + GAP
    for title, x in left.items():
        add(picture, "text", title, x=x, y=16, fill=INK)
    for i, feature in enumerate(features):
        y = TOP + ROW_HEIGHT * i
        add(picture, "text", feature.name, x=NAME_WIDTH - 8, y=y + 11, text_anchor="end", fill=INK)
        shown = (density[i], feature.min_density), (spread[i], feature.min_spread)
        for x, (share, least) in zip(left.values(), shown, strict=True):
            color = PASSES if share >= least else FAILS
            length = BAR_WIDTH * min(float(share), 1.0)
            add(picture, "rect", x=x, y=y + 2, width=length, height=ROW_HEIGHT - 6, fill=color)
            gate = x + BAR_WIDTH * least - 1
            add(picture, "rect", x=gate, y=y, width=2, height=ROW_HEIGHT - 2, fill=LIMIT)
    encoded = base64.b64encode(markup(picture).encode()).decode()
    return f"![density and spread of each feature](data:image/svg+xml;base64,{encoded})"
