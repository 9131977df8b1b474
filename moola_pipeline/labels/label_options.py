"""The user's options for a label file: its clock, a shift by bars, how its ends count, what was looked at."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from moola_pipeline.bars.file_times import require_zone
from moola_pipeline.bars.schema import BAR_INTERVAL
from moola_pipeline.errors import BadInput
from moola_pipeline.labels.schema import CONSENSUS, MISSING
from moola_pipeline.windows.window_geometry import CORE_FIRST, CORE_LAST, WINDOW_BARS

ENDS = ("inclusive", "exclusive", "swapped")
"""How the last bar of a span is given: as its last bar, as the bar after it, or before its first bar."""
MAX_SHIFT_BARS = 5
_OFFSET = r"(?:Z|[+-]\d{2}(?::?\d{2})?)$"
_ZONED = r"\d:\d{2}.*" + _OFFSET
_MARGIN = pd.Timedelta("1D")
"""Distance from the limits of ns at which a time has an instant in every zone."""
_STAMP = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True)
class LabelOptions:
    """Options for reading one label file.

    Attributes:
        shift_bars: Bars by which every span is moved, -5 to 5.
        timezone: IANA zone of the clock of its times, also where they name another; None if they name it.
        ends: One of ENDS.
        covers: Stretches that were looked at whole, each as START/END.
        as_is: Accept spans that do not fit the bars.
        annotator: Who judged the rows that name nobody; None leaves them so.
        definition: Number of the definition of the rows that name none.
        chosen: How the windows of the rows that do not say so were chosen.
    """

    shift_bars: int = 0
    timezone: str | None = None
    ends: str = ENDS[0]
    covers: tuple[str, ...] = ()
    as_is: bool = False
    annotator: str | None = None
    definition: int | None = None
    chosen: str | None = None

    def __post_init__(self) -> None:
        if abs(self.shift_bars) > MAX_SHIFT_BARS:
            raise BadInput(
                f"--shift-bars must lie in -{MAX_SHIFT_BARS}..{MAX_SHIFT_BARS}, got {self.shift_bars}. "
                "For hours, name the zone of the times with --timezone."
            )
        if self.ends not in ENDS:
            raise BadInput(f"--ends must be {', '.join(ENDS[:-1])} or {ENDS[-1]}, got {self.ends!r}.")
        if self.timezone is not None:
            require_zone(self.timezone)
        name = self.annotator
        if name is not None and (name.strip() in (*MISSING, CONSENSUS) or not name.isprintable()):
            raise BadInput(f"--annotator must name a person, got {self.annotator!r}. Give a name.")


def apply_options(cells: pd.DataFrame, options: LabelOptions) -> tuple[pd.DataFrame, list[str]]:
    """The cells of a label file as the options change them, and a sentence for each change.

    Times become UTC. A shift moves the windows, which is right where their times are a bar off, or the
    spans inside them, which is right where bars are counted from 1.

    Args:
        cells: As `read_table` returns them, with window_start, expansion_start and expansion_end.
        options: What to change; cells that cannot be read stay as they are.

    Raises:
        BadInput: If covered time is given: the windows of such a file are what was looked at.
    """
    if options.covers:
        raise BadInput(
            "--covers is for files with spans in time, but this one has windows, which were looked at whole. "
            "Leave --covers out."
        )
    notes = []
    if options.timezone is not None:
        cells, n_other = _in_zone(cells, options.timezone)
        other = f"; {n_other:,} of them name another" if n_other else ""
        notes.append(f"times are read as {options.timezone} times{other}")
    if options.ends != ENDS[0]:
        cells, n_moved = _inclusive(cells, options.ends)
        how = "a bar earlier" if options.ends == "exclusive" else "exchanged with their starts"
        notes.append(f"ends are {options.ends}: {n_moved:,} are {how}")
    if options.shift_bars:
        by = f"{options.shift_bars:+d} {'bar' if abs(options.shift_bars) == 1 else 'bars'}"
        counted_from_one = _counted_from_one(cells, options.shift_bars)
        cells = _moved_spans(cells, options) if counted_from_one else _moved_windows(cells, options)
        what = "spans are moved inside their windows" if counted_from_one else "windows are moved"
        notes.append(f"{what} by {by}")
    return cells, notes


def name_judges(cells: pd.DataFrame, options: LabelOptions) -> pd.DataFrame:
    """The cells with the annotator, definition and choice that the user gives where the file gives none."""
    named: dict[str, object] = {
        name: getattr(options, name) for name in ("annotator", "definition", "chosen")
    }
    for name, value in named.items():
        if value is None:
            continue
        given = cells[name] if name in cells.columns else pd.Series(None, cells.index, dtype=object)
        texts = given.astype("str").str.strip()
        cells = cells.assign(**{name: given.astype(object).mask(given.isna() | (texts == ""), value)})
    return cells


def written_clock(column: pd.Series) -> pd.Series:
    """Times as they are written, without their zone: datetime64[ns], NaT where a cell is no ISO time."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        clock = column.dt.tz_localize(None)
    else:
        text = column.astype("str").str.strip()
        if column.dtype.kind != "M":
            text = text.str.replace(r"(\d:\d{2}.*?)" + _OFFSET, r"\1", regex=True)
        clock = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True).dt.tz_localize(None)
    return clock.where(clock.between(pd.Timestamp.min + _MARGIN, pd.Timestamp.max - _MARGIN)).dt.as_unit("ns")


def _in_zone(cells: pd.DataFrame, zone: str) -> tuple[pd.DataFrame, int]:
    """The cells with their clock read in a zone, and how many times named another zone."""
    column: pd.Series = cells.loc[:, "window_start"]
    clock = written_clock(column)
    moments = clock.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT").dt.tz_convert("UTC")
    stated = pd.to_datetime(column.astype("str"), utc=True, format="ISO8601", errors="coerce")
    named = column.astype("str").str.contains(_ZONED, regex=True) & clock.notna()
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        named = clock.notna()
    n_other = int((named & stated.ne(moments)).sum())
    return _with_starts(cells, moments), n_other


def _with_starts(cells: pd.DataFrame, moments: pd.Series) -> pd.DataFrame:
    texts = cells["window_start"].astype("str").astype(object)
    return cells.assign(window_start=moments.dt.strftime(_STAMP).astype(object).where(moments.notna(), texts))


def _numbers(cells: pd.DataFrame, name: str) -> pd.Series:
    return pd.Series(pd.to_numeric(cells[name], errors="coerce"), cells.index, dtype="float64")


def _inclusive(cells: pd.DataFrame, ends: str) -> tuple[pd.DataFrame, int]:
    first, last = _numbers(cells, "expansion_start"), _numbers(cells, "expansion_end")
    moved = last.notna() if ends == "exclusive" else last < first
    if ends == "exclusive":
        return cells.assign(expansion_end=_replaced(cells, "expansion_end", last - 1, moved)), int(
            moved.sum()
        )
    swapped = cells.assign(
        expansion_start=_replaced(cells, "expansion_start", last, moved),
        expansion_end=_replaced(cells, "expansion_end", first, moved),
    )
    return swapped, int(moved.sum())


def _replaced(cells: pd.DataFrame, name: str, numbers: pd.Series, where: pd.Series) -> pd.Series:
    column: pd.Series = cells.loc[:, name]
    return column.astype(object).mask(where, numbers.astype(object))


def _counted_from_one(cells: pd.DataFrame, shift_bars: int) -> bool:
    """Whether bars are counted from 1 (or so): moved spans lie in their windows better than given ones."""
    first, last = _numbers(cells, "expansion_start"), _numbers(cells, "expansion_end")
    if (last >= WINDOW_BARS).any() or (first < 0).any():
        return True
    inside = [
        np.count_nonzero(starts.between(CORE_FIRST, CORE_LAST)) for starts in (first, first + shift_bars)
    ]
    return bool(inside[1] > inside[0])


def _moved_spans(cells: pd.DataFrame, options: LabelOptions) -> pd.DataFrame:
    moved = {}
    for name in ("expansion_start", "expansion_end"):
        numbers = _numbers(cells, name)
        moved[name] = _replaced(cells, name, numbers + options.shift_bars, numbers.notna())
    return cells.assign(**moved)


def _moved_windows(cells: pd.DataFrame, options: LabelOptions) -> pd.DataFrame:
    column: pd.Series = cells.loc[:, "window_start"]
    zoned = isinstance(column.dtype, pd.DatetimeTZDtype)
    texts = column.astype("str").str.strip()
    named = pd.Series(True, column.index) if zoned else texts.str.contains(_ZONED, regex=True)
    moments = pd.to_datetime(texts, utc=True, format="ISO8601", errors="coerce")
    moved = moments.where(named & (column.dtype.kind != "M" or zoned)) + options.shift_bars * BAR_INTERVAL
    return _with_starts(cells, moved)
