"""Import of a label file: its rows, what happened to each, and their registration."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from moola_pipeline.errors import BadInput
from moola_pipeline.labels.conflicts import BOTH_TYPES, clashing_windows, judges
from moola_pipeline.labels.label_options import LabelOptions, apply_options, name_judges
from moola_pipeline.labels.label_rows import no_faults, require_columns, typed_rows, usable_rows
from moola_pipeline.labels.ledger import LabelLedger, kept_counts
from moola_pipeline.labels.placement import GRADED_OUT, place_labels
from moola_pipeline.labels.platform_files import read_platform_file
from moola_pipeline.labels.price_windows import find_windows, is_older
from moola_pipeline.labels.registration import ADD, AddSettings, register_labels
from moola_pipeline.labels.schema import REQUIRED_COLUMNS
from moola_pipeline.labels.shared_faults import refuse_shared_faults
from moola_pipeline.labels.tables import read_table

DUPLICATE = "exact duplicate"
MAX_JUDGES = 100
"""Annotators, times definitions, in one file: each is checked apart."""


@dataclass(frozen=True)
class LabelFile:
    """The rows of one label file.

    Attributes:
        labels: Usable rows, LABEL_COLUMNS; the index is the row number in the file.
        refused: Rows that cannot be used, with columns `reason` (a category) and `detail`.
        duplicates: Number of exact duplicates left out.
        rows: Number of rows in the file, the sum of these three parts.
        sha256: Digest of the file's bytes.
        by_prices: For an older file, the number of windows found in the bars, ambiguous and not found.
        notes: What the options changed, one sentence each.
    """

    labels: pd.DataFrame
    refused: pd.DataFrame
    duplicates: int
    rows: int
    sha256: str
    by_prices: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def inspect_labels(
    path: Path,
    bars: pd.DataFrame | None = None,
    pass_number: int | None = None,
    options: LabelOptions | None = None,
) -> LabelFile:
    """Read a label file and sort its rows into usable, refused and duplicate ones.

    A malformed or contradictory row removes its whole window: if an expansion were missing, a
    correct prediction of it would count as a false one.

    Args:
        path: The file, csv or parquet.
        bars: BAR_COLUMNS that the spans must fit, and to search for the windows of an older file, which
            has prices but no times; without bars such a file lacks a column.
        pass_number: The pass of every row, if the file does not give it.
        options: Of the user; None for none.

    Raises:
        BadInput: If the file is not a table, is empty, lacks a column, or gives another pass; if its rows
            share one fault, see `refuse_shared_faults`.
    """
    options = options or LabelOptions()
    platform = None if bars is None else read_platform_file(path, bars, options)
    table = read_table(path) if platform is None else platform.table
    cells, faults, by_prices = table.cells, no_faults(table.cells.index), {}
    if bars is not None and is_older(cells):
        require_columns(path, cells, tuple(name for name in REQUIRED_COLUMNS if name != "window_start"))
        timed = find_windows(cells, bars)
        cells, faults, by_prices = timed.cells, timed.faults, timed.windows
    require_columns(path, cells, REQUIRED_COLUMNS)
    written = cells
    if platform is None:
        cells, notes = apply_options(cells, options)
    else:
        faults, notes = platform.faults, platform.notes
    labels = typed_rows(_numbered(path, name_judges(cells, options), pass_number), faults)
    if bars is not None and platform is None:
        refuse_shared_faults(path.name, written, labels, faults, bars, options)
    labels, faults, duplicates = usable_rows(labels, faults)
    bad = faults["reason"].notna()
    return LabelFile(
        labels=labels.loc[~bad],
        refused=pd.concat([labels.loc[bad], faults.loc[bad]], axis=1),
        duplicates=duplicates,
        rows=len(cells),
        sha256=table.sha256,
        by_prices=by_prices,
        notes=notes,
    )


def _numbered(path: Path, cells: pd.DataFrame, pass_number: int | None) -> pd.DataFrame:
    """The cells with the given pass number, if the file has none."""
    if pass_number is None:
        return cells
    if "pass" in cells.columns:
        numbers = pd.Series(pd.to_numeric(cells["pass"], errors="coerce"), cells.index)
        if not numbers.eq(pass_number).all():
            raise BadInput(
                f'{path.name}: column "pass" must be {pass_number} in every row, because --pass is '
                f"{pass_number}, but some rows differ. Leave --pass out, or correct the column."
            )
    return cells.assign(**{"pass": pass_number})


def add_labels(
    folder: Path,
    path: Path,
    bars: pd.DataFrame,
    drop_bad: bool,
    pass_number: int | None = None,
    how: AddSettings = ADD,
) -> LabelLedger:
    """Check a label file and register it; see `build_ledger` and `register_labels`."""
    return register_labels(folder, path, *build_ledger(path, bars, pass_number), bars, drop_bad, how)


def check_labels(path: Path, bars: pd.DataFrame, pass_number: int | None = None) -> LabelLedger:
    """The ledger of a label file checked against the bars; writes nothing.

    Raises:
        BadInput: If the file is not a table, is empty, or lacks a column.
    """
    ledger, _ = build_ledger(path, bars, pass_number)
    return ledger


def build_ledger(
    path: Path, bars: pd.DataFrame, pass_number: int | None = None, options: LabelOptions | None = None
) -> tuple[LabelLedger, pd.DataFrame]:
    """The ledger of a file, and the rows to register: the kept ones and those graded D.

    Args:
        path: The file, csv or parquet, with LABEL_COLUMNS or the older columns.
        bars: BAR_COLUMNS that the labels must lie on.
        pass_number: The pass of its rows, if the file does not give it.
        options: Of the user; None for none.

    Raises:
        BadInput: As `inspect_labels`.
    """
    file = inspect_labels(path, bars, pass_number, options)
    refused = [file.refused]
    n_judges = len(file.labels[["annotator", "definition"]].drop_duplicates())
    if n_judges > MAX_JUDGES:
        raise BadInput(
            f"{path.name}: a label file must hold labels of at most {MAX_JUDGES} annotators and definitions, "
            f"got {n_judges:,}. Name the annotators in the column annotator, or divide the file."
        )
    for labels in judges(file.labels):
        for number in labels["pass"].unique():
            placement = place_labels(labels, bars, int(number))
            refused += [placement.refused, _clashing(labels, placement.frame, int(number))]
    refused = pd.concat(refused).sort_index()
    faulty = refused.loc[refused["reason"] != GRADED_OUT].index
    placed = file.labels.loc[~file.labels.index.isin(refused.index)]
    return _ledger(path, file, refused, placed), file.labels.loc[~file.labels.index.isin(faulty)]


def _clashing(labels: pd.DataFrame, placed: pd.DataFrame, pass_number: int) -> pd.DataFrame:
    """Rows of one pass whose windows label the same bars with both types, under two ids."""
    other = clashing_windows(placed)
    rows = labels.loc[labels["window_id"].isin(list(other)) & (labels["pass"] == pass_number)]
    return rows.assign(
        reason=BOTH_TYPES,
        detail=[
            f"windows {name} and {other[name]} label the same bars with both types"
            for name in rows["window_id"]
        ],
    )


def _ledger(path: Path, file: LabelFile, refused: pd.DataFrame, kept: pd.DataFrame) -> LabelLedger:
    dropped = dict(Counter(refused["reason"]))
    return LabelLedger(
        file=path.name,
        sha256=file.sha256,
        rows=file.rows,
        dropped=dropped | ({DUPLICATE: file.duplicates} if file.duplicates else {}),
        refused=_listed(refused),
        by_prices=file.by_prices,
        notes=file.notes,
        **kept_counts(kept),
    )


def _listed(refused: pd.DataFrame) -> list[dict[str, Any]]:
    names = ("window_id", "reason", "detail")
    columns = [refused[name].astype("str").fillna("") for name in names]
    return [
        {"row": int(row), **dict(zip(names, map(str, cells), strict=True))}
        for row, *cells in zip(refused.index, *columns, strict=True)
    ]
