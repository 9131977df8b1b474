"""Warnings about usable labels as a whole: shift, near-duplicates, and missing first passes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moola_pipeline.labels.conflicts import near_duplicates
from moola_pipeline.labels.schema import FIRST_PASS, expansions, is_complete
from moola_pipeline.labels.shift import BATCH, DRIFT, MONTH, Comparison, LabelShift, find_shift
from moola_pipeline.windows.window_geometry import CORE_BARS, WINDOW_BARS

NO_BATCH = "no batch named"
SHOWN_ALARMS = 5
_MEASURES = {
    "retracement_share": "{:.0%} of its expansions are retracements, {:.0%} of the others",
    "empty_share": "{:.0%} of its windows are empty, {:.0%} of the others",
    "mean_span_bars": "its expansions last {:.1f} bars, the others {:.1f}",
}


@dataclass(frozen=True)
class LabelReview:
    """Findings about all labels of the first pass together.

    Attributes:
        shift: Batches, months and orders, and which of them differ from the rest.
        near_duplicates: Of each pair of windows that share more than half their bars: window_a,
            window_b, shared_bars, shared_expansions.
        warnings: These findings and others as sentences; empty if there are none.
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
    """Review usable labels as a whole.

    Args:
        labels: LABEL_COLUMNS, every pass.
        placed: The frame of `place_labels` for their first pass.
        rng: Source of the permutations that test for shift.
        arrived: The rows of `labels` from the file being added, indexed by their row number; a second
            pass forms no batch.
        source: That file's name, the batch of its rows without one.
    """
    complete = placed.loc[is_complete(placed)]  # the others say nothing about shares
    shift = find_shift(_with_source(complete, arrived, source), rng)
    pairs = near_duplicates(placed)
    return LabelReview(
        shift,
        pairs.to_dict("records"),  # pyright: ignore[reportArgumentType]
        [*_shift_warnings(shift), *_duplicate_warnings(pairs), *_pass_warnings(labels)],
    )


def one_expansion_each(labels: pd.DataFrame) -> bool:
    """Whether no window has more than one expansion; older files could hold only one."""
    return not expansions(labels).duplicated(["window_id", "pass"]).any()


def _with_source(placed: pd.DataFrame, arrived: pd.DataFrame | None, source: str) -> pd.DataFrame:
    row = pd.Series(np.nan, placed.index)
    batch = placed[BATCH].copy()
    if arrived is not None:
        first = arrived.loc[arrived["pass"] == FIRST_PASS]  # a second pass is not a batch of the first
        places = dict(zip(reversed(first["window_id"].tolist()), reversed(first.index.tolist()), strict=True))
        row = pd.Series([places.get(name, np.nan) for name in placed["window_id"]], placed.index, float)
        batch = batch.mask(batch.isna() & row.notna(), source)
    return placed.assign(batch=batch.fillna(NO_BATCH), row=row)


def _shift_warnings(shift: LabelShift) -> Iterator[str]:
    reported = [alarm for alarm in shift.alarms if not _reported_by_the_other(alarm, shift)]
    yield from (_sentence(alarm) for alarm in reported[:SHOWN_ALARMS])
    if len(reported) > SHOWN_ALARMS:
        yield f"{len(reported) - SHOWN_ALARMS} more differences of this kind. --json lists all of them."


def _reported_by_the_other(alarm: Comparison, shift: LabelShift) -> bool:
    """With two batches, or two months, each differs from the other: only the later one is reported."""
    groups = {BATCH: shift.batches, MONTH: shift.months}.get(alarm.family, [])
    return len(groups) == 2 and alarm.name == groups[0].name


def _sentence(alarm: Comparison) -> str:
    p_value = f"(p {alarm.p_value:.3f})"
    if alarm.family in (BATCH, MONTH):
        compared = _MEASURES[alarm.measure].format(alarm.value, alarm.rest)
        return (
            f"{alarm.family} {alarm.name}: {compared} {p_value}. Were its windows chosen or labeled "
            "differently? A model learns the class mix of its labels."
        )
    if alarm.measure == DRIFT:
        return (
            f"in {alarm.family}, {alarm.rest:.0%} of the expansions before window {alarm.name} are "
            f"retracements and {alarm.value:.0%} from it on {p_value}. "
            "Did the market change, or the labeling?"
        )
    how = "the same type" if alarm.value > 0 else "the other type"
    return (
        f"in {alarm.family}, a window tends to have {how} as the one before it: correlation "
        f"{alarm.value:.2f} {p_value}. Did neighbors influence the choice of windows or their labels?"
    )


def _duplicate_warnings(pairs: pd.DataFrame) -> Iterator[str]:
    # windows cut one after another from covered time share bars, but none of their bars 30-74
    pairs = pairs.loc[(pairs["shared_bars"] > WINDOW_BARS - CORE_BARS) | (pairs["shared_expansions"] > 0)]
    if len(pairs):
        first = pairs.iloc[0]
        twice = sum(pairs["shared_expansions"].tolist())
        yield (
            f"windows that share more than half their bars: {len(pairs)} pairs, the first "
            f"{first['window_a']} and {first['window_b']} with {first['shared_bars']} bars; expansions "
            f"marked in both, which count twice: {twice}. Keep one window of each pair."
        )


def _pass_warnings(labels: pd.DataFrame) -> Iterator[str]:
    first_pass = set(labels.loc[labels["pass"] == FIRST_PASS, "window_id"])
    later = labels.loc[labels["pass"] > FIRST_PASS, "window_id"]
    alone = sorted(set(later) - first_pass)
    if alone:
        yield (
            f"windows with a second pass but no first pass: {len(alone)} (first {alone[0]}). Training uses "
            "first passes only; the second measures how far the annotator agrees with the first. "
            "Add the first pass."
        )
