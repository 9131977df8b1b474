"""Rows of label tables: typed, or with the reason why they cannot be used."""

from pathlib import Path

import pandas as pd

from moola_pipeline.errors import BadInput
from moola_pipeline.labels.conflicts import find_contradictions, whole_windows
from moola_pipeline.labels.schema import (
    CHOSEN,
    COMPLETE,
    CONSENSUS,
    FIRST_DEFINITION,
    FIRST_PASS,
    GRADES,
    INCOMPLETE,
    LABEL_COLUMNS,
    LABEL_DTYPES,
    LABELS,
    MISSING,
    NONE,
    REQUIRED_COLUMNS,
    UNNAMED,
)
from moola_pipeline.labels.tables import cut_short, read_table
from moola_pipeline.windows.window_geometry import WINDOW_BARS

ZONED_TIME = r"\d:\d{2}.*(?:Z|[+-]\d{2}(?::?\d{2})?)$"
SHOWN_FAULTS = 3
_UNWRITABLE = r"[\r\0]"
"""Characters that a csv file does not give back."""


def read_labels(path: Path) -> pd.DataFrame:
    """Read a label file; all of its rows must be usable.

    Returns:
        LABEL_COLUMNS in the order of the file; exact duplicates left out. A missing `pass` is 1.

    Raises:
        BadInput: If the file is not a table, lacks a column, or has a row that cannot be used.
    """
    cells = read_table(path).cells
    require_columns(path, cells, REQUIRED_COLUMNS)
    faults = no_faults(cells.index)
    labels, faults, _ = usable_rows(typed_rows(cells, faults), faults)
    bad = faults["reason"].notna()
    if bad.to_numpy(bool).any():
        refused = pd.concat([labels.loc[bad], faults.loc[bad]], axis=1)
        raise BadInput(f"{path.name}: {describe_faults(refused, len(cells))} Correct the file.")
    return labels.reset_index(drop=True)


def usable_rows(labels: pd.DataFrame, faults: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Leave out exact duplicates, and find contradictions.

    A malformed or contradictory row removes its whole window: if an expansion were missing, a
    correct prediction of it would count as a false one.

    Args:
        labels: Of `typed_rows`.
        faults: `reason` and `detail` of each row, filled in by `typed_rows`.

    Returns:
        The rows without duplicates, their faults, and the number of duplicates.
    """
    repeated = labels.duplicated() & faults["reason"].isna()
    labels, faults = labels.loc[~repeated], faults.loc[~repeated]
    return labels, whole_windows(labels, find_contradictions(labels, faults)), int(repeated.sum())


def describe_faults(refused: pd.DataFrame, rows: int) -> str:
    """One sentence: the number of rows that cannot be used, and the first few with their details."""
    named = [
        f"row {row}: {cut_short(str(detail))}" for row, detail in refused["detail"].head(SHOWN_FAULTS).items()
    ]
    more = len(refused) - len(named)
    rest = f"; and {more} more" if more else ""
    return f"{len(refused)} of {rows} rows cannot be used ({'; '.join(named)}{rest})."


def require_columns(path: Path, table: pd.DataFrame, wanted: tuple[str, ...]) -> None:
    """Check that a label table has the columns.

    Raises:
        BadInput: If one is missing.
    """
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        verb, them = ("is", "it") if len(missing) == 1 else ("are", "them")
        remedy = "Separate the columns by commas." if len(table.columns) == 1 else f"Add or rename {them}."
        raise BadInput(
            f"{path.name}: a label file must have the columns {', '.join(wanted)}, "
            f"but {', '.join(missing)} {verb} missing from {cut_short(', '.join(map(str, table.columns)))}. "
            + remedy
        )


def no_faults(index: pd.Index) -> pd.DataFrame:
    """The empty columns `reason` and `detail` of rows."""
    return pd.DataFrame({"reason": None, "detail": None}, index=index, dtype="str")


def typed_rows(table: pd.DataFrame, faults: pd.DataFrame) -> pd.DataFrame:
    """The rows in LABEL_DTYPES; writes the first fault of each row into `faults`."""
    window_id = _text(table, "window_id")
    _record_fault(faults, window_id.isna(), "no window_id", "window_id is empty")
    start = _window_starts(table.loc[:, "window_start"], faults)
    label = _text(table, "label").str.lower()
    allowed = f"{', '.join(LABELS[:-1])} or {LABELS[-1]}"
    texts = '"' + label.fillna("") + '"'
    _record_fault(
        faults, ~label.isin(LABELS), "unknown label class", f"label must be {allowed}, got " + texts
    )
    first, last = _spans(table, label, faults)
    grade = _text(table, "grade").str.upper()
    unknown = grade.notna() & ~grade.isin(GRADES)
    _record_fault(faults, unknown, "unknown grade", f"grade must be {'..'.join(GRADES[::3])}, got " + grade)
    number = _whole_numbers(table, "pass", faults).fillna(FIRST_PASS)
    _record_fault(faults, number < 1, "pass below 1", "pass must be 1 or more")
    definition = _whole_numbers(table, "definition", faults).fillna(FIRST_DEFINITION)
    _record_fault(faults, definition < 1, "definition below 1", "definition must be 1 or more")
    chosen = _text(table, "chosen").str.lower().fillna(CHOSEN[0])
    texts = f"chosen must be {', '.join(CHOSEN[:-1])} or {CHOSEN[-1]}, got " + chosen
    _record_fault(faults, ~chosen.isin(CHOSEN), "unknown choice", texts)
    columns = (window_id, start, label, first, last, grade)
    complete = _text(table, "complete").str.lower().fillna(COMPLETE)
    texts = f"complete must be {COMPLETE} or {INCOMPLETE}, got " + complete
    _record_fault(faults, ~complete.isin((COMPLETE, INCOMPLETE)), "unknown completeness", texts)
    annotator = _text(table, "annotator")
    annotator = annotator.mask(annotator == UNNAMED)
    for name, texts in (("window_id", window_id), ("annotator", annotator), ("batch", _text(table, "batch"))):
        unreadable = texts.str.contains(_UNWRITABLE, regex=True)
        _record_fault(faults, unreadable, "control character", f"{name} must not hold control characters")
    names_all = f"annotator must be a person, but {CONSENSUS} stands for all annotators"
    _record_fault(faults, annotator == CONSENSUS, "annotator is no person", names_all)
    others = (_text(table, "batch"), annotator, number, definition, chosen, complete)
    labels = pd.DataFrame(dict(zip(LABEL_COLUMNS, columns + others, strict=True)))
    return labels.astype(LABEL_DTYPES)


def _record_fault(faults: pd.DataFrame, wrong: pd.Series, reason: str, detail: str | pd.Series) -> None:
    """Record a fault for each wrong row that has none yet."""
    new = wrong.fillna(False).astype(bool) & faults["reason"].isna()
    faults.loc[new, "reason"] = reason
    faults.loc[new, "detail"] = detail[new] if isinstance(detail, pd.Series) else detail


def _text(table: pd.DataFrame, name: str) -> pd.Series:
    if name not in table.columns:
        return pd.Series(None, index=table.index, dtype="str")
    stripped = table[name].astype("str").str.strip()
    return stripped.mask(stripped.isin(MISSING))


def _window_starts(column: pd.Series, faults: pd.DataFrame) -> pd.Series:
    """UTC window starts in ns; a time without a time zone is a fault, never assumed to be UTC."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        moments, zoned = column.dt.tz_convert("UTC"), pd.Series(True, index=column.index)
    else:
        text = column.astype("str").str.strip()
        moments = pd.to_datetime(text, utc=True, format="ISO8601", errors="coerce")
        zoned = text.str.contains(ZONED_TIME, regex=True) & (column.dtype.kind != "M")
    in_reach = moments.between(pd.Timestamp.min.tz_localize("UTC"), pd.Timestamp.max.tz_localize("UTC"))
    texts = column.astype("str").fillna("nothing")
    readable = moments.notna() & in_reach
    _record_fault(
        faults, ~readable, "unreadable window_start", "window_start must be an ISO time, got " + texts
    )
    without_zone = "window_start must have a time zone (like 2024-05-06T14:30:00Z), got " + texts
    _record_fault(faults, readable & ~zoned.fillna(False), "window_start without time zone", without_zone)
    return moments.where(readable).dt.as_unit("ns")


def _whole_numbers(table: pd.DataFrame, name: str, faults: pd.DataFrame) -> pd.Series:
    if name not in table.columns:
        return pd.Series(pd.NA, index=table.index, dtype="Int64")
    column: pd.Series = table.loc[:, name]
    numbers = pd.Series(pd.to_numeric(column, errors="coerce"), table.index, dtype="float64")
    wrong = column.notna() & ~((numbers % 1 == 0) & (numbers.abs() < 2**31))
    texts = column.astype("str")
    _record_fault(faults, wrong, f"{name} is no whole number", f"{name} must be a whole number, got " + texts)
    return numbers.mask(wrong).astype("Int64")


def _spans(table: pd.DataFrame, label: pd.Series, faults: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    first = _whole_numbers(table, "expansion_start", faults)
    last = _whole_numbers(table, "expansion_end", faults)
    given = first.notna() | last.notna()
    empty = label == NONE
    texts = first.astype("str").fillna("nothing") + ".." + last.astype("str").fillna("nothing")
    _record_fault(
        faults,
        empty & given,
        "span given for none",
        f"a window labeled {NONE} must have no span, got " + texts,
    )
    partial = first.isna() | last.isna()
    _record_fault(
        faults,
        ~empty & partial,
        "expansion without span",
        "an expansion must have a start and an end, got " + texts,
    )
    outside = (first < 0) | (last >= WINDOW_BARS)
    limits = f"a span must lie in bars 0..{WINDOW_BARS - 1}, got "
    _record_fault(faults, outside, "span outside the window", limits + texts)
    _record_fault(
        faults,
        last < first,
        "span ends before it starts",
        "a span must not end before it starts, got " + texts,
    )
    return first, last
