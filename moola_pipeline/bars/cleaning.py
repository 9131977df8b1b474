"""Which rows of a file are kept as bars: order, duplicates, prices and the interval, counted and judged."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd

from moola_pipeline.bars.overlap import find_conflict, in_order, without_repeats
from moola_pipeline.bars.schema import (
    BAR_INTERVAL,
    BAR_RULES,
    INSTRUMENTS,
    BarRule,
    Instrument,
    broken_rule,
    nanoseconds,
)
from moola_pipeline.errors import BadInput

MINUTE_NS = BAR_INTERVAL // timedelta(microseconds=1) * 1000
MOST_REJECTED = 0.01
"""Share of a file's rows that may be no bars: above it the file is refused, not its rows."""
FIRST_TIME, END_TIME = pd.Timestamp("1990-01-01", tz="UTC"), pd.Timestamp("2100-01-01", tz="UTC")


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
        counts: What became of the rows.
        rejected: `row` (from 1, in the order of the file), `reason`, and the row as it was read.
    """

    bars: pd.DataFrame
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
    most_rejected: float = MOST_REJECTED,
    interval_is_proven: bool = False,
    also_broken: Mapping[str, np.ndarray] | None = None,
) -> SiftedBars:
    """Sort a vendor's bars, drop repeated rows, set aside a few that are no bars, refuse more.

    Args:
        bars: RAW_COLUMNS and optionally `contract`, as they stand in the file.
        instrument: Whose tick grid the prices must lie on.
        source: Name of the file, for errors.
        most_rejected: Share of the rows that may be set aside.
        interval_is_proven: True if the format itself says that the bars are of one minute.
        also_broken: What bars must do, and (n,) bool where they do not, found while reading.

    Raises:
        BadInput: If the bars are not of one minute or too few to prove it, more of them than
            `most_rejected` have no time or break a rule, or two bars of one minute disagree.
    """
    timed = bars["timestamp"].notna().to_numpy()
    moments = nanoseconds(bars)
    if not interval_is_proven:
        _refuse_other_interval(moments[timed], source)
    reasons = _reasons(bars, instrument, also_broken or {})
    rejected = np.any([*reasons.values()], axis=0)
    if rejected.sum() > most_rejected * len(bars) or rejected.all():
        raise BadInput(_refusal(bars, instrument, reasons, source))
    kept = bars if not rejected.any() else bars.loc[~rejected].reset_index(drop=True)
    out_of_order = int((np.diff(nanoseconds(kept)) < 0).sum())
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
        out_of_order=out_of_order,
        rejected=int(rejected.sum()),
    )
    return SiftedBars(clean, counts, _rejected_rows(bars, reasons, rejected))


def _no_time(bars: pd.DataFrame, _: Instrument) -> np.ndarray:
    return bars["timestamp"].isna().to_numpy()


def _other_age(bars: pd.DataFrame, _: Instrument) -> np.ndarray:
    times = bars["timestamp"]
    return ((times < FIRST_TIME) | (times >= END_TIME)).to_numpy()


def _off_minute(bars: pd.DataFrame, _: Instrument) -> np.ndarray:
    return (nanoseconds(bars) % MINUTE_NS != 0) & bars["timestamp"].notna().to_numpy()


ROW_RULES = (
    BarRule("have a time", _no_time, "Export it again."),
    BarRule("open from 1990 to 2099", _other_age, "Correct the times, or export it again."),
    BarRule("open on a whole minute", _off_minute, "Export one-minute bars."),
    *BAR_RULES,
)
"""What a row must do to be a bar; times first, as the rest is told by them."""


def _reasons(
    bars: pd.DataFrame, instrument: Instrument, also_broken: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Rows (n,) bool that break a rule, by what it requires; the first rule a row breaks is its reason."""
    broken = {rule.requirement: rule.broken(bars, instrument) for rule in ROW_RULES}
    return broken | dict(also_broken)


def _rejected_rows(
    bars: pd.DataFrame, reasons: Mapping[str, np.ndarray], rejected: np.ndarray
) -> pd.DataFrame:
    rows = np.flatnonzero(rejected)
    texts = [f"a bar must {requirement}" for requirement in reasons]
    first = np.argmax([broken[rows] for broken in reasons.values()], axis=0) if len(rows) else rows
    found = bars.iloc[rows].reset_index(drop=True)
    found.insert(0, "row", rows + 1)
    found.insert(1, "reason", pd.Series([texts[i] for i in first], dtype="str"))
    return found


def _refusal(
    bars: pd.DataFrame, instrument: Instrument, reasons: Mapping[str, np.ndarray], source: str
) -> str:
    """One line on the rule that most rows break."""
    requirement = max(reasons, key=lambda name: int(reasons[name].sum()))
    broken = reasons[requirement]
    remedies = {rule.requirement: rule.remedy for rule in ROW_RULES}
    rule = BarRule(
        requirement, lambda *_: broken, remedies.get(requirement, "Correct it, or drop the column.")
    )
    if requirement == ROW_RULES[0].requirement:
        first = int(np.argmax(broken)) + 1
        return (
            f"{source}: every bar must have a time, but {broken.sum():,} of {len(bars):,} have none, "
            f"first in row {first:,}. {rule.remedy}"
        )
    return f"{source} ({instrument.name}): {broken_rule(rule, bars, instrument)}. {rule.remedy}"


def _refuse_other_interval(moments: np.ndarray, source: str) -> None:
    ordered = moments if (np.diff(moments) > 0).all() else np.sort(moments)
    steps = np.diff(ordered)
    steps = steps[steps > 0]
    if not len(steps):
        raise BadInput(f"{source}: at least 2 minutes must prove the interval, got fewer. Export more bars.")
    if np.mean(steps == MINUTE_NS) < 0.5:
        interval = timedelta(microseconds=float(np.median(steps)) / 1000)
        raise BadInput(
            f"{source}: bars must be of one minute, got one every {interval} (median), "
            f"first {pd.Timestamp(ordered[0], tz='UTC')}. Export one-minute bars."
        )
