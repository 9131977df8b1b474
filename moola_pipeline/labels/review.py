"""Labels that can be used, looked over as a whole: what an annotator should know before training."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moola_pipeline.labels.conflicts import near_duplicates
from moola_pipeline.labels.schema import FIRST_PASS, expansions
from moola_pipeline.labels.shift import BATCH, DRIFT, MONTH, Comparison, LabelShift, find_shift

NO_BATCH = "no batch named"
SHOWN_ALARMS = 5
_MEASURES = {
    "retracement_share": "{:.0%} of its expansions are retracements, {:.0%} of the others",
    "empty_share": "{:.0%} of its windows are empty, {:.0%} of the others",
    "mean_span_bars": "its expansions last {:.1f} bars, the others {:.1f}",
}


@dataclass(frozen=True)
class LabelReview:
    """What was found in all labels of a first pass taken together.

    Attributes:
        shift: Batches, months and orders, and which of them differ from the rest.
        near_duplicates: Of each pair of windows that share more than half their bars: window_a,
            window_b, shared_bars, shared_expansions.
        warnings: The same in words, and what else should be known; empty if all is well.
    """

    shift: LabelShift
    near_duplicates: list[dict[str, str | int]]
    warnings: list[str]


def review_labels(
    labels: pd.DataFrame,
    placed: pd.DataFrame,
    rng: np.random.Generator,
    arrived: pd.DataFrame | None = None,
    source: str = "",
) -> LabelReview:
    """Look over labels that can be used.

    Args:
        labels: LABEL_COLUMNS, every pass.
        placed: The frame of `place_labels` for their first pass.
        rng: Source of the permutations that decide what is a shift.
        arrived: Rows of `labels` that came in one file just now, indexed by their place in it; those
            of a second pass are no batch.
        source: That file's name: the batch of its rows that name none.
    """
    shift = find_shift(_with_source(placed, arrived, source), rng)
    pairs = near_duplicates(placed)
    return LabelReview(
        shift,
        pairs.to_dict("records"),  # pyright: ignore[reportArgumentType]
        [*_shift_warnings(shift), *_duplicate_warnings(pairs), *_pass_warnings(labels)],
    )


def one_expansion_each(labels: pd.DataFrame) -> bool:
    """Whether no window has more than one expansion, as older files had room for one only."""
    return not expansions(labels).duplicated(["window_id", "pass"]).any()


def _with_source(placed: pd.DataFrame, arrived: pd.DataFrame | None, source: str) -> pd.DataFrame:
    row = pd.Series(np.nan, placed.index)
    batch = placed[BATCH].copy()
    if arrived is not None:
        first = arrived.loc[arrived["pass"] == FIRST_PASS]  # a second look is no batch of the first
        places = dict(zip(reversed(first["window_id"].tolist()), reversed(first.index.tolist()), strict=True))
        row = pd.Series([places.get(name, np.nan) for name in placed["window_id"]], placed.index, float)
        batch = batch.mask(batch.isna() & row.notna(), source)
    return placed.assign(batch=batch.fillna(NO_BATCH), row=row)


def _shift_warnings(shift: LabelShift) -> Iterator[str]:
    shown = [alarm for alarm in shift.alarms if not _said_of_the_other(alarm, shift)]
    yield from (_in_words(alarm) for alarm in shown[:SHOWN_ALARMS])
    if len(shown) > SHOWN_ALARMS:
        yield f"{len(shown) - SHOWN_ALARMS} more differences like these: --json lists them all."


def _said_of_the_other(alarm: Comparison, shift: LabelShift) -> bool:
    """Of two batches, or two months, each differs from the other: it is said of the later one."""
    groups = {BATCH: shift.batches, MONTH: shift.months}.get(alarm.family, [])
    return len(groups) == 2 and alarm.name == groups[0].name


def _in_words(alarm: Comparison) -> str:
    sure = f"(p {alarm.p_value:.3f})"
    if alarm.family in (BATCH, MONTH):
        compared = _MEASURES[alarm.measure].format(alarm.value, alarm.rest)
        return (
            f"{alarm.family} {alarm.name}: {compared} {sure}. Was it picked or judged otherwise? "
            "A model takes on the mix it is shown."
        )
    if alarm.measure == DRIFT:
        return (
            f"in {alarm.family}, {alarm.rest:.0%} of the expansions before window {alarm.name} are "
            f"retracements and {alarm.value:.0%} from it on {sure}. Has the market changed, or the eye?"
        )
    how = "the same type" if alarm.value > 0 else "the other type"
    return (
        f"in {alarm.family}, a window tends to have {how} as the one before it: correlation "
        f"{alarm.value:.2f} {sure}. Were windows picked or judged by their neighbors?"
    )


def _duplicate_warnings(pairs: pd.DataFrame) -> Iterator[str]:
    if len(pairs):
        first = pairs.iloc[0]
        twice = sum(pairs["shared_expansions"].tolist())
        yield (
            f"windows that share more than half their bars: {len(pairs)} pairs, the first "
            f"{first['window_a']} and {first['window_b']} with {first['shared_bars']} bars; expansions "
            f"marked in both, which count twice: {twice}. Keep one window of each pair."
        )


def _pass_warnings(labels: pd.DataFrame) -> Iterator[str]:
    looked_at = set(labels.loc[labels["pass"] == FIRST_PASS, "window_id"])
    later = labels.loc[labels["pass"] > FIRST_PASS, "window_id"]
    alone = sorted(set(later) - looked_at)
    if alone:
        yield (
            f"windows with a second pass and no first: {len(alone)}, {alone[0]} among them. Nothing is "
            "learned from a second pass: it measures how far the annotator agrees with the first. "
            "Add the first."
        )
