"""Cleaning of a file's rows: order, duplicates, invalid rows and the bar interval."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from moola_pipeline.bars.instruments import Instrument
from moola_pipeline.bars.overlap import find_conflict, in_order, without_repeats
from moola_pipeline.bars.row_rules import MINUTE_NS, NEEDS_TIME, ROW_RULES, CellFault
from moola_pipeline.bars.schema import nanoseconds
from moola_pipeline.errors import BadInput

MAX_REJECTED = 0.01
"""Largest share of invalid rows in a file; above it the whole file is refused."""
IN_TRADING_HOURS = "open while the market trades: from 18:00 to 17:00 New York, Sunday to Friday"
CALENDAR_DATES = (
    "a bar's date must be that of the calendar, but evening bars carry the date of the next day, "
    "their trading day."
)
ROW = "row"


@dataclass(frozen=True)
class RowCounts:
    """Row counts of a file: `read` = `kept` + `duplicates` + `rejected` + `filler`."""

    read: int
    kept: int
    duplicates: int
    out_of_order: int
    rejected: int = 0
    filler: int = 0


@dataclass(frozen=True)
class SiftedBars:
    """Kept and rejected rows of a file.

    Attributes:
        bars: The kept rows, strictly increasing in time.
        rows: (n_kept,) int64, row of each bar in the file, from 1.
        counts: Row counts.
        rejected: `row` (from 1, in the order of the file), `reason`, `found` (the faulty cell, if
            any), and the row as it was read.
    """

    bars: pd.DataFrame
    rows: np.ndarray
    counts: RowCounts
    rejected: pd.DataFrame


def sift_bars(
    bars: pd.DataFrame,
    instrument: Instrument,
    source: str,
    faults: Sequence[CellFault] = (),
) -> SiftedBars:
    """Sort a vendor's bars, drop repeated rows, and set aside invalid rows if they are few.

    Args:
        bars: RAW_COLUMNS and optionally `contract`, in the order of the file.
        instrument: The prices must lie on its tick grid.
        source: Name of the file, for errors.
        faults: Invalid cells that the reader found.

    Raises:
        BadInput: If a greater share than MAX_REJECTED is invalid, two bars of the same minute differ, or
            the file's dates are trading days.
    """
    reasons = _reasons(bars, instrument, faults)
    rejected = np.any([*reasons.values()], axis=0)
    if rejected.sum() > MAX_REJECTED * len(bars) or rejected.all():
        raise BadInput(_refusal(bars, instrument, reasons, faults, source))
    numbered = bars.assign(**{ROW: np.arange(1, len(bars) + 1)})
    kept = numbered if not rejected.any() else numbered.loc[~rejected].reset_index(drop=True)
    steps = np.diff(nanoseconds(kept))
    merged = in_order(kept)
    if conflict := find_conflict(merged):
        raise BadInput(
            f"{source}: bars of the same minute must agree, but {conflict}. "
            "Remove the wrong rows, those of another contract or zone, or export the file again."
        )
    clean = without_repeats(merged)
    if len(clean) == len(kept):
        _refuse_trading_days(steps, source)
    counts = RowCounts(
        read=len(bars),
        kept=len(clean),
        duplicates=len(kept) - len(clean),
        out_of_order=int((steps < 0).sum()),
        rejected=int(rejected.sum()),
    )
    listed = _rejected_rows(bars, reasons, faults, rejected)
    return SiftedBars(clean.drop(columns=ROW), clean[ROW].to_numpy(), counts, listed)


def without_filler(sifted: SiftedBars, filler: np.ndarray) -> SiftedBars:
    """Leave out the bars (n_kept,) that stand for hours without trading; they are counted, not rejected."""
    if not filler.any():
        return sifted
    counts, n_filler = sifted.counts, int(filler.sum())
    return replace(
        sifted,
        bars=sifted.bars.loc[~filler].reset_index(drop=True),
        rows=sifted.rows[~filler],
        counts=replace(counts, kept=counts.kept - n_filler, filler=counts.filler + n_filler),
    )


def without_bars(sifted: SiftedBars, broken: np.ndarray, requirement: str, source: str) -> SiftedBars:
    """Set aside further bars.

    Args:
        sifted: As `sift_bars` returns it.
        broken: (n_kept,) bool, the bars to set aside.
        requirement: The requirement that these bars break.
        source: Name of the file, for errors.

    Raises:
        BadInput: If a greater share than MAX_REJECTED of the file's rows is then rejected.
    """
    if not broken.any():
        return sifted
    more = sifted.bars.loc[broken].reset_index(drop=True)
    more.insert(0, ROW, sifted.rows[broken])
    more.insert(1, "reason", _reason(requirement))
    more.insert(2, "found", "")
    rejected = pd.concat([sifted.rejected, more]) if len(sifted.rejected) else more
    counts, n_more = sifted.counts, int(broken.sum())
    n_all = counts.rejected + n_more
    if n_all > MAX_REJECTED * counts.read:
        raise BadInput(
            f"{source}: at most {MAX_REJECTED:.0%} of the rows may be invalid, but {n_all:,} "
            f"of {counts.read:,} are, {n_more:,} of them because a bar must {requirement}, first in row "
            f"{sifted.rows[broken].min():,}. Correct the file, or export it again."
        )
    return SiftedBars(
        sifted.bars.loc[~broken].reset_index(drop=True),
        sifted.rows[~broken],
        replace(counts, kept=counts.kept - n_more, rejected=counts.rejected + n_more),
        rejected.sort_values(ROW, kind="stable", ignore_index=True),
    )


def _reason(requirement: str) -> str:
    return f"a bar must {requirement}"


def _reasons(
    bars: pd.DataFrame, instrument: Instrument, faults: Sequence[CellFault]
) -> dict[str, np.ndarray]:
    """Broken rows (n,) bool by requirement; each row counts for the first requirement it breaks.

    Invalid cells come first: a missing price or time is only their consequence.
    """
    broken = [(fault.requirement, fault.broken) for fault in faults]
    broken += [(rule.requirement, rule.broken(bars, instrument)) for rule in ROW_RULES]
    assigned = np.zeros(len(bars), bool)
    reasons: dict[str, np.ndarray] = {}
    for requirement, rows in broken:
        reasons[requirement] = reasons.get(requirement, False) | (rows & ~assigned)
        assigned |= rows
    return reasons


def _rejected_rows(
    bars: pd.DataFrame,
    reasons: dict[str, np.ndarray],
    faults: Sequence[CellFault],
    rejected: np.ndarray,
) -> pd.DataFrame:
    rows = np.flatnonzero(rejected)
    requirements = [*reasons]
    first = np.argmax([broken[rows] for broken in reasons.values()], axis=0) if len(rows) else rows
    broken = [requirements[i] for i in first]
    listed = bars.iloc[rows].reset_index(drop=True)
    listed.insert(0, ROW, rows + 1)
    listed.insert(1, "reason", pd.Series([_reason(requirement) for requirement in broken], dtype="str"))
    quotes = [_quote(faults, requirement, row) for requirement, row in zip(broken, rows, strict=True)]
    listed.insert(2, "found", pd.Series(quotes, dtype="str"))
    return listed


def _quote(faults: Sequence[CellFault], requirement: str, row: int | np.integer) -> str:
    for fault in faults:
        if fault.requirement == requirement and fault.broken[row]:
            return fault.quote(row)
    return ""


def _refusal(
    bars: pd.DataFrame,
    instrument: Instrument,
    reasons: dict[str, np.ndarray],
    faults: Sequence[CellFault],
    source: str,
) -> str:
    """One line about the rule that most rows break, and the first row that breaks it."""
    requirement = max(reasons, key=lambda name: int(reasons[name].sum()))
    broken = reasons[requirement]
    first = int(np.argmax(broken))
    time = bars["timestamp"].iloc[first]
    parts = [
        "" if pd.isna(time) else f"{time:%Y-%m-%d %H:%M:%S} UTC",
        _quote(faults, requirement, first),
    ]
    details = ", ".join(part for part in parts if part)
    name = source if requirement == NEEDS_TIME else f"{source} ({instrument.name})"
    remedies = {rule.requirement: rule.remedy for rule in ROW_RULES}
    n_all = int(np.any([*reasons.values()], axis=0).sum())
    others = f"; {n_all:,} rows are invalid in total" if n_all > broken.sum() else ""
    return (
        f"{name}: every bar must {requirement}, but {broken.sum():,} of {len(bars):,} do not, "
        f"first in row {first + 1:,}{f' ({details})' if details else ''}{others}. "
        f"{remedies.get(requirement, 'Correct those cells, or export it again.')}"
    )


def _refuse_trading_days(steps: np.ndarray, source: str) -> None:
    """Refuse dates that are trading days: evening bars stand before the morning of the same date."""
    back = steps[steps < 0] // MINUTE_NS
    if len(back) and np.mean((back > -24 * 60) & (back <= -23 * 60)) > 0.5:
        raise BadInput(f"{source}: {CALENDAR_DATES} Export calendar dates.")
