"""Labeled windows as flat arrays, for fitting the span proposer and training networks."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from moola_pipeline.labels.schema import expansions, is_complete, type_numbers
from moola_pipeline.windows.spans import Spans


class LabeledWindows(NamedTuple):
    """The windows of one split.

    Attributes:
        window_id: (n_windows,) str.
        bar0: (n_windows,) int64 row of bar 0 in the bar table, increasing.
        session: (n_windows,) datetime64[ns], the trading day.
        complete: (n_windows,) bool, whether every expansion that starts in bars 30-74 is labeled; of the
            others the labeled spans are known, and no other bar or span.
        spans: Labeled expansions that start in bars 30-74 of these windows, by window and start.
    """

    window_id: np.ndarray
    bar0: np.ndarray
    session: np.ndarray
    complete: np.ndarray
    spans: Spans

    @property
    def typed(self) -> "LabeledWindows":
        """The same windows with the expansions of known type only, for what concerns the type.

        A window that has lost its expansions is not empty: nothing may be learned about finding.
        """
        known = self.spans.is_typed
        return self if known.all() else self._replace(spans=self.spans.select(known))

    @property
    def complete_windows(self) -> "LabeledWindows":
        """The complete windows alone, for whatever takes a bar or span without a label as a negative."""
        return self if self.complete.all() else self.select(self.complete)

    def select(self, chosen: np.ndarray) -> "LabeledWindows":
        """The windows at the given indices, increasing, or those marked True, with their expansions."""
        rows = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
        spans = self.spans.select(np.isin(self.spans.window, rows))
        spans = replace(spans, window=np.searchsorted(rows, spans.window))
        return LabeledWindows(
            self.window_id[rows], self.bar0[rows], self.session[rows], self.complete[rows], spans
        )


def labeled_windows(labels: pd.DataFrame, split: str) -> LabeledWindows:
    """Collect the windows of one split from the labeled frame, empty ones included."""
    chosen = labels.loc[labels["split"] == split]
    windows = chosen.drop_duplicates("window_id").sort_values(["bar0", "window_id"])
    index = {name: i for i, name in enumerate(windows["window_id"])}
    marked = expansions(chosen)
    marked = marked.loc[marked["in_core"]]
    marked = marked.assign(window=marked["window_id"].map(index)).sort_values(["window", "expansion_start"])
    spans = Spans(
        marked["window"].to_numpy(np.int64),
        marked["expansion_start"].to_numpy(np.int64),
        marked["expansion_end"].to_numpy(np.int64),
        marked["direction"].to_numpy(np.int8),
        type_numbers(marked).to_numpy(np.int64),
    )
    return LabeledWindows(
        windows["window_id"].to_numpy(object),
        windows["bar0"].to_numpy(np.int64),
        windows["session"].to_numpy("datetime64[ns]"),
        is_complete(windows),
        spans,
    )
