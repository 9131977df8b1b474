"""The instrument and the contracts that the symbols of a file name."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from moola_pipeline.bars.columns import ID_ROLE, FileColumns, names_symbols, role_of
from moola_pipeline.bars.csv_tables import Table
from moola_pipeline.bars.formats import INSTRUMENT_ID
from moola_pipeline.bars.instruments import INSTRUMENTS
from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.bars.symbols import Symbol, file_instruments, is_clear_symbol, parse_symbol
from moola_pipeline.bars.vendor_options import VendorOptions
from moola_pipeline.errors import BadInput

_MIN_BARS = 60
"""Bars that a contract lasts at least, on average; what changes more often is no contract."""


def refuse_other_symbols(
    table: Table, read: FileColumns, options: VendorOptions, instrument: str, source: str
) -> None:
    """Refuse bars that name another instrument.

    A column named as symbols are may name any instrument; another column and the header only a known one.

    Raises:
        BadInput: If a column of symbols, the lines above the header or the file's name does.
    """
    if options.columns.get("contract") == "":
        return
    places = {text: "its header" for text in table.symbols if is_clear_symbol(text)}
    if set(PRICE_COLUMNS) <= options.columns.keys() and any(_names(text, instrument) for text in places):
        places = {}  # of several instruments, the user named the columns of one
    for column, values in read.symbols.items():
        texts = [str(text) for text in values.unique().to_pylist() if text is not None]
        named = role_of(column) == "contract" or column == options.columns.get("contract")
        places |= {text: f"column {column}" for text in texts if named or is_clear_symbol(text)}
    symbols = {text: symbol for text in places if (symbol := parse_symbol(text)) is not None}
    others = [text for text, symbol in symbols.items() if symbol.root not in ("", instrument)]
    if others:
        root = symbols[others[0]].root
        alone = len({symbol.root for symbol in symbols.values()}) == 1
        remedy = (
            f"Give --instrument {root}"
            if alone and root in INSTRUMENTS
            else f"Export one of {', '.join(INSTRUMENTS)}, and name it with --instrument"
        )
        raise BadInput(
            f"{source}: the bars must be of instrument {instrument}, but {places[others[0]]} names "
            f"{', '.join(others[:3])}. {remedy}; --columns contract= leaves the symbols out."
        )
    if options.instrument is not None:
        return
    if len(places) == 1 and not symbols and "contract" not in options.columns:
        text, place = places.popitem()
        raise BadInput(
            f"{source}: the bars must be of instrument {instrument}, but {place} names {text!r}, which is "
            f"not known. If they are, give --instrument {instrument}; known are {', '.join(INSTRUMENTS)}."
        )
    by_name = file_instruments(source)
    if not symbols and by_name and instrument not in by_name:
        raise BadInput(
            f"{source}: the bars must be of instrument {instrument}, but the file's name says {by_name[0]}. "
            f"Give --instrument {by_name[0]} or --instrument {instrument}."
        )


def read_contracts(
    read: FileColumns, columns: Mapping[str, str], options: VendorOptions, instrument: str, source: str
) -> tuple[str, pd.Series | None]:
    """The column with the contracts ("" if there are none), and the contract of each row (n,) str.

    It is the column that the user names, else the first whose values are contracts. With one continuous
    symbol, as NQ.c.0, Databento's instrument id still changes at each roll.

    Raises:
        BadInput: If the symbols change and are no contracts, or rows have none.
    """
    named, ids = options.columns.get("contract"), read.values.get(ID_ROLE)
    if named == "":
        return "", None
    if named:
        column = columns["contract"]
        return column, _contracts(read.symbols[column], column, options, instrument, source)
    changing = ""
    for column, values in read.symbols.items():
        codes = _codes(values.unique().drop_null().to_pylist(), instrument)
        if codes and None not in codes.values():
            return column, _contracts(values, column, options, instrument, source)
        if not changing and _changes(column, values, codes):
            changing = column
    if ids is not None and ids.null_count < len(ids):
        return INSTRUMENT_ID, ids.cast(pa.string()).to_pandas().astype("str")
    if changing:
        codes = _codes(read.symbols[changing].unique().drop_null().to_pylist(), instrument)
        unread = [text for text, code in codes.items() if code is None]
        raise BadInput(
            f"{source}: {changing} changes, so its contracts must be readable, as NQZ4, NQZ24, NQ 12-24 or "
            f"202412, got {unread[0]!r}. Take its values as they are with --columns contract={changing}, "
            "or leave them out with --columns contract=."
        )
    return "", None


def _names(text: str, instrument: str) -> bool:
    symbol = parse_symbol(text)
    return symbol is not None and symbol.root == instrument


def _codes(texts: Sequence[object], instrument: str) -> dict[str, str | None]:
    """Code of the contract that each text names; None if it names none."""
    symbols = {str(text): parse_symbol(str(text)) or Symbol("", None) for text in texts}
    return {text: symbol.code(instrument) for text, symbol in symbols.items()}


def _changes(column: str, values: pa.ChunkedArray, codes: dict[str, str | None]) -> bool:
    """True if a column may hold contracts that cannot be read."""
    n_names = len({text.strip().upper() for text in codes})
    if role_of(column) == "contract":
        return n_names > 1
    if not names_symbols(column) and not any(codes.values()) and not any(map(is_clear_symbol, codes)):
        return False  # session_name, day_code
    coded = values.combine_chunks().dictionary_encode().indices.fill_null(-1).to_numpy()
    return n_names > 1 and int(np.count_nonzero(np.diff(coded))) < len(coded) / _MIN_BARS


def _contracts(
    values: pa.ChunkedArray, column: str, options: VendorOptions, instrument: str, source: str
) -> pd.Series | None:
    """The contract of each row (n,) str; None if the values name none and the user did not choose them."""
    coded = values.combine_chunks().dictionary_encode()
    texts = [str(text) for text in coded.dictionary.to_pylist()]
    codes = _codes(texts, instrument)
    if not codes:
        return None
    if values.null_count:
        first = int(np.argmax(values.is_null().to_numpy()))
        raise BadInput(
            f"{source}: each row must name its contract, but {column} is empty in {values.null_count:,} of "
            f"{len(values):,}, first in row {first + 1:,}. Fill them, or leave the contracts out with "
            "--columns contract=."
        )
    n_changes = int(np.count_nonzero(np.diff(coded.indices.to_numpy())))
    if n_changes >= max(len(texts), len(values) / _MIN_BARS):
        raise BadInput(
            f"{source}: bars must be of one contract at a time, but {column} changes {n_changes:,} times in "
            f"{len(values):,} rows ({', '.join(sorted(texts)[:3])}). Export one contract at a time, or leave "
            "the contracts out with --columns contract=."
        )
    known = pa.array([codes[text] or text for text in texts], pa.string()).take(coded.indices)
    return known.to_pandas().astype("str")
