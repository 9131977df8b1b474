"""Which rows of a file are kept as bars: order, duplicates, prices and the interval, counted and judged."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import pandas as pd

from moola_pipeline.bars.overlap import find_conflict, in_order, without_repeats
from moola_pipeline.bars.row_rules import MINUTE_NS, NEEDS_TIME, ROW_RULES, CellFault
from moola_pipeline.bars.schema import INSTRUMENTS, Instrument, nanoseconds
from moola_pipeline.errors import BadInput

MAX_REJECTED = 0.01
"""Share of a file's rows that may be no bars: above it the file is refused, not its rows."""
IN_TRADING_HOURS = "open while the market trades: from 18:00 to 17:00 New York, Sunday to Friday"
ROW = "row"


@dataclass(frozen=True)
class RowCounts:
    """What became of a file's rows: `read` = `kept` + `duplicates` + `rejected`; some were sorted in."""

    read: int
    kept: int
    duplicates: int
    out_of_order: int
    rejected: int = 0


@dataclass(frozen=True)
class SiftedBars:
    """A file's rows, told apart.

    Attributes:
        bars: Those kept, strictly increasing in time.
        rows: (n_kept,) int64, the row of each in the file, from 1.
        counts: What became of the rows.
        rejected: `row` (from 1, in the order of the file), `reason`, `found` (the cell at fault,
            where one is), and the row as it was read.
    """

    bars: pd.DataFrame
    rows: np.ndarray
    counts: RowCounts
    rejected: pd.DataFrame


def known_instrument(name: str) -> Instrument:
    """The instrument of that name.

    Raises:
        BadInput: If there is none.
    """
    if name not in INSTRUMENTS:
        raise BadInput(
            f"The instrument must be one of {', '.join(INSTRUMENTS)}, got {name!r}. Choose one of them."
        )
    return INSTRUMENTS[name]


def clean_bars(bars: pd.DataFrame, instrument: Instrument, source: str) -> tuple[pd.DataFrame, RowCounts]:
    """Sort bars, drop repeated rows, and refuse all if any row is no bar.

    Args:
        bars: RAW_COLUMNS and optionally `contract`, as they came.
        instrument: Whose tick grid the prices must lie on.
        source: What the bars are called in errors.

    Returns:
        The bars kept, strictly increasing in time, and what became of the rows.

    Raises:
        BadInput: As `sift_bars` does, and for a single row that is no bar.
    """
    sifted = sift_bars(bars, instrument, source, most_rejected=0)
    return sifted.bars, sifted.counts


def sift_bars(
    bars: pd.DataFrame,
    instrument: Instrument,
    source: str,
    *,
    most_rejected: float = MAX_REJECTED,
    interval_is_proven: bool = False,
    faults: Sequence[CellFault] = (),
) -> SiftedBars:
    """Sort a vendor's bars, drop repeated rows, set aside a few that are no bars, refuse more.

    Args:
        bars: RAW_COLUMNS and optionally `contract`, as they stand in the file.
        instrument: Whose tick grid the prices must lie on.
        source: Name of the file, for errors.
        most_rejected: Share of the rows that may be set aside.
        interval_is_proven: True if the format itself says that the bars are of one minute.
        faults: Cells that were found to be none while reading.

    Raises:
        BadInput: If the bars are not of one minute or too few to prove it, more of them than
            `most_rejected` have no time or break a rule, or two bars of one minute disagree.
    """
    timed = bars["timestamp"].notna().to_numpy()
    if not interval_is_proven and (~timed).sum() <= most_rejected * len(bars):
        _refuse_other_interval(nanoseconds(bars)[timed], source)
    reasons = _reasons(bars, instrument, faults)
    rejected = np.any([*reasons.values()], axis=0)
    if rejected.sum() > most_rejected * len(bars) or rejected.all():
        raise BadInput(_refusal(bars, instrument, reasons, faults, source))
    numbered = bars.assign(**{ROW: np.arange(1, len(bars) + 1)})
    kept = numbered if not rejected.any() else numbered.loc[~rejected].reset_index(drop=True)
    merged = in_order(kept)
    if conflict := find_conflict(merged):
        raise BadInput(
            f"{source}: bars of one minute must agree, but {conflict}. Keep the right ones, or export again."
        )
    clean = without_repeats(merged)
    counts = RowCounts(
        read=len(bars),
        kept=len(clean),
        duplicates=len(kept) - len(clean),
        out_of_order=int((np.diff(nanoseconds(kept)) < 0).sum()),
        rejected=int(rejected.sum()),
    )
    listed = _rejected_rows(bars, reasons, faults, rejected)
    return SiftedBars(clean.drop(columns=ROW), clean[ROW].to_numpy(), counts, listed)


def without_bars(sifted: SiftedBars, broken: np.ndarray, requirement: str, source: str) -> SiftedBars:
    """The same, with further bars set aside.

    Args:
        sifted: As `sift_bars` returns it.
        broken: (n_kept,) bool, the bars to set aside.
        requirement: What a bar must do, and these do not.
        source: Name of the file, for errors.

    Raises:
        BadInput: If more of the file's rows than MAX_REJECTED would be set aside.
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
            f"{source}: at most {MAX_REJECTED:.0%} of the rows may be no bars, but {n_all:,} "
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
    """Rows (n,) bool by the first requirement each breaks.

    A cell that is none comes first: that the row has no price or time only follows from it.
    """
    broken = [(fault.requirement, fault.broken) for fault in faults]
    broken += [(rule.requirement, rule.broken(bars, instrument)) for rule in ROW_RULES]
    seen = np.zeros(len(bars), bool)
    reasons: dict[str, np.ndarray] = {}
    for requirement, rows in broken:
        reasons[requirement] = reasons.get(requirement, False) | (rows & ~seen)
        seen |= rows
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
    found = bars.iloc[rows].reset_index(drop=True)
    found.insert(0, ROW, rows + 1)
    found.insert(1, "reason", pd.Series([_reason(requirement) for requirement in broken], dtype="str"))
    quotes = [_quote(faults, requirement, row) for requirement, row in zip(broken, rows, strict=True)]
    found.insert(2, "found", pd.Series(quotes, dtype="str"))
    return found


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
    """One line on the rule that most rows break, and the first row that does."""
    requirement = max(reasons, key=lambda name: int(reasons[name].sum()))
    broken = reasons[requirement]
    first = int(np.argmax(broken))
    time = bars["timestamp"].iloc[first]
    known = [
        "" if pd.isna(time) else f"{time:%Y-%m-%d %H:%M:%S} UTC",
        _quote(faults, requirement, first),
    ]
    shown = ", ".join(part for part in known if part)
    whose = source if requirement == NEEDS_TIME else f"{source} ({instrument.name})"
    remedies = {rule.requirement: rule.remedy for rule in ROW_RULES}
    n_all = int(np.any([*reasons.values()], axis=0).sum())
    others = f"; in all {n_all:,} rows are no bars" if n_all > broken.sum() else ""
    return (
        f"{whose}: every bar must {requirement}, but {broken.sum():,} of {len(bars):,} do not, "
        f"first in row {first + 1:,}{f' ({shown})' if shown else ''}{others}. "
        f"{remedies.get(requirement, 'Correct those cells, or export it again.')}"
    )


def _refuse_other_interval(moments: np.ndarray, source: str) -> None:
    ordered = moments if (np.diff(moments) > 0).all() else np.sort(moments)
    steps = np.diff(ordered)
    steps = steps[steps > 0]
    if not len(steps):
        raise BadInput(f"{source}: at least 2 minutes must prove the interval, got fewer. Export more bars.")
    if np.mean(steps == MINUTE_NS) < 0.5:
        interval = timedelta(microseconds=float(np.median(steps)) / 1000)
        raise BadInput(
            f"{source}: bars must be of one minute, got one every {interval} (median). "
            "Export one-minute bars."
        )
