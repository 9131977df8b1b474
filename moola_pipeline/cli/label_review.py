"""Splits, distribution shift and warnings that `moola labels` prints."""

import dataclasses
import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from moola_pipeline.labels.placement import place_labels
from moola_pipeline.labels.review import LabelReview, review_labels
from moola_pipeline.labels.schema import LABELS, is_complete
from moola_pipeline.labels.shift import Group, Measured
from moola_pipeline.labels.split_checks import check_splits, class_counts
from moola_pipeline.labels.splits import (
    SPLITS,
    UNUSED,
    SplitSettings,
    UnsoundSplit,
    assign_splits,
    resolve_dates,
)

WIDTH = 100
INDENT = " " * 13
HARD_SPACE = "\N{NO-BREAK SPACE}"
SHOWN_BATCHES = 12


@dataclasses.dataclass(frozen=True)
class LabelPreview:
    """Labels as a run would use them.

    Attributes:
        settings: Where the splits end.
        splits: Counts of complete windows and their labels per split, type and month.
        incomplete: Number of incomplete windows per split.
        review: Of the complete windows.
        warnings: All of them.
    """

    settings: SplitSettings
    splits: dict[str, Any]
    incomplete: dict[str, int]
    review: LabelReview
    warnings: list[str]

    @property
    def facts(self) -> dict[str, Any]:
        """The preview for JSON."""
        shift = {
            **dataclasses.asdict(self.review.shift),
            "near_duplicates": self.review.near_duplicates,
        }
        ends = self.settings.model_dump(mode="json")
        return {
            "split_settings": ends,
            "splits": self.splits,
            "incomplete_windows": self.incomplete,
            "shift": shift,
            "warnings": self.warnings,
        }

    @property
    def lines(self) -> list[str]:
        """The preview as text."""
        return [
            *_split_lines(self.splits, self.settings),
            *_incomplete_lines(self.incomplete),
            *_shift_lines(self.review),
            *(f"warning: {text}" for text in self.warnings),
        ]


def preview_labels(
    rows: pd.DataFrame,
    bars: pd.DataFrame,
    settings: SplitSettings,
    arrived: pd.DataFrame | None = None,
    source: str = "",
) -> LabelPreview:
    """Split labels as a run would, and review them.

    Args:
        rows: LABEL_COLUMNS, all registered labels and those to be registered.
        bars: BAR_COLUMNS.
        settings: Where the splits end.
        arrived: Rows of the new file, indexed by their row number in it.
        source: Name of that file.
    """
    placed = place_labels(rows, bars).frame
    warnings, splits, incomplete = [], {}, {}
    if len(placed):
        try:
            frame = assign_splits(placed, bars, settings)
            splits, incomplete = _split_facts_of(frame), _incomplete_of(frame)
            check_splits(frame, bars, settings)
            dates = resolve_dates(settings, placed)
            settings = dates if dates.rule == "provisional" else settings
        except UnsoundSplit as error:
            warnings.append(str(error))
    rng = np.random.default_rng(0)  # fixed seed: the same labels raise the same alarms
    review = review_labels(rows, placed, rng, arrived, source)
    return LabelPreview(settings, splits, incomplete, review, warnings + review.warnings)


def _split_facts_of(frame: pd.DataFrame) -> dict[str, Any]:
    counts = class_counts(frame)
    present = [split for split in (*SPLITS, UNUSED) if split in counts.index.get_level_values("split")]
    return {split: _split_facts(counts.xs(split, level="split")) for split in present}


def _incomplete_of(frame: pd.DataFrame) -> dict[str, int]:
    """Number of incomplete windows per split."""
    windows = frame.loc[~is_complete(frame)].drop_duplicates("window_id")
    counts = {split: int((windows["split"] == split).sum()) for split in (SPLITS[0], UNUSED)}
    return {split: n for split, n in counts.items() if n}


def _split_facts(per_month: pd.DataFrame) -> dict[str, Any]:
    names = [*LABELS, "windows"]
    totals = {name: sum(per_month[name].tolist()) for name in names}
    rows = zip(per_month.index, per_month[names].to_numpy().tolist(), strict=True)
    return {**totals, "months": {str(month): dict(zip(names, row, strict=True)) for month, row in rows}}


def _split_lines(splits: dict[str, Any], settings: SplitSettings) -> Iterator[str]:
    if splits:
        yield f"Splits {settings.shown}; months as {'/'.join(LABELS)}:"
    for name, counts in splits.items():
        totals = ", ".join(f"{counts[label]:,} {label}" for label in LABELS)
        yield f"  {name:<10} {totals}, in {counts['windows']:,} windows"
        months = [f"{month} {'/'.join(str(n[x]) for x in LABELS)}" for month, n in counts["months"].items()]
        yield from _wrapped(months)


def _incomplete_lines(incomplete: dict[str, int]) -> Iterator[str]:
    if incomplete:
        counts = ", ".join(f"{n:,} {split}" for split, n in incomplete.items())
        yield (
            f"  incomplete {counts}: of these windows only the marks are learned; they count in no share, "
            "split or score"
        )


def _shift_lines(review: LabelReview) -> Iterator[str]:
    shift = review.shift
    if not shift.months:
        return
    verdict = "found" if shift.alarms else "none found"
    compared = f"{_counted(shift.batches, 'batch', 'es')}, {_counted(shift.months, 'month', 's')}"
    yield f"Shift: {verdict}; {compared}, smallest p {shift.p_value:.3f}, alarm at {shift.level:g}"
    if len(shift.batches) > 1:
        for batch in shift.batches[:SHOWN_BATCHES]:
            yield f"  {batch.name[:20]:<20} {_measured(batch)}"


def _counted(groups: list[Group], name: str, ending: str) -> str:
    return f"{len(groups)} {name}{ending if len(groups) != 1 else ''}"


def _measured(group: Group) -> str:
    retracement, empty = _share(group.retracement_share), _share(group.empty_share)
    return (
        f"retracement {retracement} of {group.typed}, empty {empty} of {group.windows}, "
        f"{_number(group.mean_span_bars, '.1f')} bars"
    )


def _share(measured: Measured) -> str:
    return _number(measured, ".0%")


def _number(measured: Measured, form: str) -> str:
    if measured.estimate is None:
        return "none"
    bounds = (measured.low, measured.high)
    shown = "" if None in bounds else f" [{', '.join(format(bound, form) for bound in bounds)}]"
    return f"{measured.estimate:{form}}{shown}"


def _wrapped(items: list[str]) -> Iterator[str]:
    """Lines of comma-separated items; no item is broken across lines."""
    joined = ", ".join(item.replace(" ", HARD_SPACE) for item in items)
    for line in textwrap.wrap(
        joined, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT, break_on_hyphens=False
    ):
        yield line.replace(HARD_SPACE, " ")
