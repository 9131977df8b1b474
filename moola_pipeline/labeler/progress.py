"""How much is labeled, what it is enough for, and how far the annotator agrees with himself."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from moola_pipeline.evaluation.agreement import Agreement, measure_agreement
from moola_pipeline.labeler.background import BackgroundWork
from moola_pipeline.labels.judgment_rows import LabelRow, frame_of
from moola_pipeline.labels.schema import EXCLUDED_GRADE, FIRST_PASS, SECOND_PASS
from moola_pipeline.labels.splits import FEW_EXPANSIONS, MIN_EXPANSIONS
from moola_pipeline.metrics.bootstrap import Interval

FEW_REPEATS = 5
"""Repeated windows from which self-agreement is shown."""


def progress_facts(counts: Mapping[str, int], n_expansions: int) -> dict[str, Any]:
    """Windows by split and expansions, and a line with the next milestones.

    Args:
        counts: Usable windows of the annotator by split.
        n_expansions: Expansions of known type that start in their bars 30-74.
    """
    shown = " · ".join(f"{split} {n}" for split, n in counts.items() if n or split != "unused")
    milestones = (("first model", MIN_EXPANSIONS), ("test split", FEW_EXPANSIONS))
    to_come = [f"{what} at {limit}" for what, limit in milestones if n_expansions < limit]
    ahead = f": {', '.join(to_come)}" if to_come else ""
    text = f"{shown}  —  {n_expansions} expansion{'' if n_expansions == 1 else 's'} of known type{ahead}"
    return {"counts": dict(counts), "expansions": n_expansions, "text": text}


class SelfAgreement:
    """How far the repeats of an annotator agree with his first judgments; measured in the background.

    Attributes:
        text: For the page; empty before there are enough repeats.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        """Prepare for labels on a bar table, BAR_COLUMNS."""
        self.text = ""
        self._table = table
        self._measured: tuple[LabelRow, ...] = ()
        self._work = BackgroundWork()

    def refresh(self, rows: Sequence[LabelRow]) -> None:
        """Measure again in a thread if the repeats, or the judgments that they repeat, have changed.

        Args:
            rows: Labels of the annotator under the definition.
        """
        repeated = {row.key[0] for row in rows if row.key[1] == SECOND_PASS}
        both = tuple(row for row in rows if row.key[0] in repeated)
        if both != self._measured and self._work.start(lambda: self._measure(both)):
            self._measured = both

    def wait(self) -> None:
        """Wait until the measurement that is going on is done."""
        self._work.wait()

    def _measure(self, rows: Sequence[LabelRow]) -> None:
        labels = frame_of([row for row in rows if row.grade != EXCLUDED_GRADE])
        first, second = (labels.loc[labels["pass"] == n] for n in (FIRST_PASS, SECOND_PASS))
        found = measure_agreement(
            first, second.assign(**{"pass": FIRST_PASS}), self._table, np.random.default_rng(0)
        )
        self.text = self_agreement_line(found) if found.windows >= FEW_REPEATS else ""


def self_agreement_line(found: Agreement) -> str:
    """Self-agreement with its 95 % intervals, for the page."""
    shown = [f"marks {_shown(found.finding)}"] if found.finding.n else []
    shown += [f"types {_shown(found.types)} of {found.types.n}"] if found.types.n else []
    return f"You agree with yourself in {found.windows} repeated windows: {', '.join(shown) or 'no marks'}"


def _shown(score: Interval) -> str:
    return f"{score.estimate:.2f} [{score.low:.2f}, {score.high:.2f}]"
