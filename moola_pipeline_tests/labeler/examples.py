"""Six examples for the labeler's first-use page, from the simulated annotator. Run it to write them again."""

import json
from typing import Any

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.bars.simulated import SMOKE_SETTINGS, simulate
from moola_pipeline.labels.simulated_annotator import draw_labels
from moola_pipeline.storage.atomic_write import atomic_write_bytes
from moola_pipeline.storage.home import PROJECT_ROOT

PATH = PROJECT_ROOT / "moola_pipeline" / "labeler" / "page" / "examples.json"
BEFORE, BARS = 32, 60
"""Bars drawn before the expansion, and in all."""
TEXTS = {
    ("consolidation", 1): (
        "Consolidation, then up",
        "Price stood in a narrow range; then bars rise one after the other.",
    ),
    ("consolidation", -1): (
        "Consolidation, then down",
        "The same downward: the first bar of the surge is the start, also inside the range.",
    ),
    ("retracement", 1): (
        "Retracement, then up",
        "A rise, a part of it given back, then the rise goes on: the surge is marked, not the first rise.",
    ),
    ("retracement", -1): ("Retracement, then down", "A fall, a part of it won back, then the fall goes on."),
    ("two", 0): ("Two in one window", "Each surge is marked on its own, with its own type."),
    ("none", 0): ("Nothing here", "Single wide bars and slow drifts are no expansion: press N."),
}


def make_examples() -> list[dict[str, Any]]:
    """The examples in the order of TEXTS."""
    market = simulate(SMOKE_SETTINGS)
    labels = draw_labels(market, SMOKE_SETTINGS)
    labels = labels.loc[labels["pass"] == 1]
    opened = pd.DatetimeIndex(market.bars["timestamp"])
    prices = market.bars[list(PRICE_COLUMNS)].to_numpy()
    found: dict[tuple[str, int], dict[str, Any]] = {}
    best: dict[tuple[str, int], float] = {}
    for _, rows in labels.groupby("window_id", sort=False):
        bar0 = int(opened.get_indexer(pd.DatetimeIndex(rows["window_start"].iloc[:1]))[0])
        marks = rows.loc[rows["label"] != "none"]
        first = bar0 + (int(marks["expansion_start"].min()) if len(marks) else 50) - BEFORE
        shown = prices[first : first + BARS]
        spans = [
            {
                "start": bar0 + int(row["expansion_start"]) - first,
                "end": bar0 + int(row["expansion_end"]) - first,
                "type": row["label"],
            }
            for row in marks.to_dict("records")
        ]
        if any(span["end"] >= BARS - 4 for span in spans):
            continue
        key = ("none", 0) if not spans else ("two", 0)
        if len(spans) == 1:
            span = spans[0]
            move = shown[span["end"], 3] - shown[span["start"], 0]
            key = (span["type"], int(np.sign(move)))
        if len(spans) > 2 or key not in TEXTS:
            continue
        clear = _clarity(shown, spans)
        if clear > best.get(key, -np.inf):
            best[key] = clear
            title, text = TEXTS[key]
            found[key] = {"title": title, "text": text, "bars": shown.tolist(), "spans": spans}
    return [found[key] for key in TEXTS]


def _clarity(prices: np.ndarray, spans: list[dict[str, Any]]) -> float:
    """The smallest move of the spans over the mean range of all bars; for none, how wide the bars are."""
    mean = (prices[:, 1] - prices[:, 2]).mean()
    if not spans:
        return float((prices[:, 1] - prices[:, 2]).max() / mean)
    return float(min(abs(prices[one["end"], 3] - prices[one["start"], 0]) for one in spans) / mean)


def content() -> bytes:
    """The file."""
    return (json.dumps(make_examples(), separators=(",", ":")) + "\n").encode()


if __name__ == "__main__":
    atomic_write_bytes(PATH, content())
