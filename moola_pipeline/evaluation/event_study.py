"""Mean price path around the start of expansions, mirrored so that all point up."""

import numpy as np
import pandas as pd

from moola_pipeline.labels.schema import TYPES
from moola_pipeline.metrics.bootstrap import resample
from moola_pipeline.metrics.breakdowns import LabeledStarts
from moola_pipeline.metrics.matching import in_core
from moola_pipeline.metrics.scores import ResampledWindows
from moola_pipeline.report.data import MeanPath
from moola_pipeline.windows.context import BARS_BEFORE_START

BARS_AFTER_START = 20
BARS = np.arange(-BARS_BEFORE_START, BARS_AFTER_START + 1)


def event_study(
    resampled: ResampledWindows,
    labeled: LabeledStarts,
    events: pd.DataFrame,
    close: np.ndarray,
    atr: np.ndarray,
) -> list[MeanPath]:
    """Mean paths of labeled and predicted expansions by type, with 95 % intervals by session.

    Args:
        resampled: The test windows.
        labeled: Starts of the labeled expansions.
        events: Predicted expansions: window_id, start, type, direction, row.
        close, atr: (n_bars,) of the bar table, index points.

    Returns:
        One path for each type and source that has an expansion in bars 30-74.
    """
    events = events.loc[in_core(events)]
    window = pd.Index(resampled.window_ids).get_indexer(events["window_id"].to_numpy())
    sources = {
        "labeled": (
            labeled.row,
            labeled.direction,
            resampled.windows.spans.type,
            resampled.windows.spans.window,
        ),
        "predicted": (*(events[name].to_numpy(np.int64) for name in ("row", "direction", "type")), window),
    }
    paths = []
    for kind, name in enumerate(TYPES):
        for source, (row, direction, types, windows) in sources.items():
            of_type = types == kind
            if of_type.any():
                moves = paths_around(close, atr, row[of_type], direction[of_type])
                weights = resampled.window_weights[:, windows[of_type]]
                paths.append(_mean_path(name, source, moves, weights))
    return paths


def paths_around(close: np.ndarray, atr: np.ndarray, rows: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Closes from 45 bars before to 20 after each start, relative to the close before it, in its ATR.

    Args:
        close, atr: (n_bars,) index points.
        rows: (n,) row of each first bar; the table contains all these bars.
        directions: (n,) +1 or -1; 0 is not mirrored.

    Returns:
        (n, 66) float64; 0 at bar -1.
    """
    before = np.asarray(rows) - 1
    moves = np.asarray(close)[np.asarray(rows)[:, None] + BARS] - np.asarray(close)[before][:, None]
    sign = np.where(np.asarray(directions) < 0, -1.0, 1.0)
    return sign[:, None] * moves / np.asarray(atr, float)[before][:, None]


def _mean_path(kind: str, source: str, moves: np.ndarray, weights: np.ndarray) -> MeanPath:
    def mean(bar: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        total = drawn.sum(axis=-1)
        return (drawn @ bar) / np.where(total > 0, total, np.nan)

    bands = [resample(lambda w, bar=bar: mean(bar, w), weights).interval for bar in moves.T]
    return MeanPath.model_validate(
        {
            "type": kind,
            "source": source,
            "bars": BARS.tolist(),
            "mean": [band.estimate for band in bands],
            "low": [band.low for band in bands],
            "high": [band.high for band in bands],
            "n": len(moves),
        }
    )
