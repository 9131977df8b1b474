"""The training windows that trees doubt most, ranked again in the background as labels come in."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from moola_pipeline.errors import MoolaError
from moola_pipeline.label_choice.doubt import draw_spread, unlabeled_windows, window_doubt
from moola_pipeline.label_choice.trees import can_learn, fit_trees, score_proposals
from moola_pipeline.labeler.background import BackgroundWork
from moola_pipeline.labeler.chart_bars import ChartBars
from moola_pipeline.labels.judgment_rows import LabelRow, frame_of
from moola_pipeline.labels.placement import split_labels
from moola_pipeline.labels.spans import labeled_windows
from moola_pipeline.labels.splits import SplitSettings, training_rows_end
from moola_pipeline.windows.market_arrays import MarketArrays

RANKED = 40
"""Windows ranked at once."""
EVERY = 10
"""New judgments after which they are ranked again."""
MAX_CANDIDATES = 2_000


class DoubtRanking:
    """Rows of bar 0 of doubtful training windows; none until the first ranking is done.

    Attributes:
        rows: The most doubtful windows, best first.
        tick_points: Smallest price step, index points.
    """

    def __init__(self, table: pd.DataFrame, tick_points: float, settings: SplitSettings) -> None:
        self.rows: tuple[int, ...] = ()
        self.tick_points = tick_points
        self._table, self._settings = table, settings
        self._ranked_at: int | None = None
        self._work = BackgroundWork()
        self._market: MarketArrays | None = None

    def refresh(self, rows: Sequence[LabelRow], n_judgments: int) -> None:
        """Rank again in a thread if enough judgments are new and no ranking is going on.

        Args:
            rows: Labels of the annotator under the definition.
            n_judgments: Number of judgments so far.
        """
        due = self._ranked_at is None or n_judgments - self._ranked_at >= EVERY
        if due and self._work.start(lambda: self._rank(rows, n_judgments)):
            self._ranked_at = n_judgments

    def wait(self) -> None:
        """Wait until the ranking that is going on is done."""
        self._work.wait()

    def _rank(self, rows: Sequence[LabelRow], seed: int) -> None:
        try:
            self.rows = self._most_doubtful(frame_of(rows), np.random.default_rng(seed))
        except MoolaError:  # rolling splits without enough months: random windows go on
            self.rows = ()

    def _most_doubtful(self, labels: pd.DataFrame, rng: np.random.Generator) -> tuple[int, ...]:
        frame = split_labels(labels, self._table, self._settings).frame
        train = labeled_windows(frame, "train")
        if not can_learn(train):
            return ()
        end = training_rows_end(self._table, self._settings)
        if self._market is None:
            self._market = MarketArrays.from_table(self._table.iloc[:end], self.tick_points)
        bar0 = ChartBars(self._table).opened.searchsorted(labels["window_start"].astype("int64").to_numpy())
        free = unlabeled_windows(self._market.segment, end, np.unique(bar0))
        chosen = np.sort(rng.permutation(free)[:MAX_CANDIDATES])
        doubt = window_doubt(
            score_proposals(self._market, fit_trees(self._market, train), chosen), len(chosen)
        )
        drawn = draw_spread(doubt, self._market.session[chosen], RANKED, rng)
        return tuple(int(row) for row in chosen[drawn])
