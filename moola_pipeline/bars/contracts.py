"""The instrument and the contracts that the symbols of a file name."""

import pandas as pd
import pyarrow as pa

from moola_pipeline.bars.columns import ID_ROLE, FileColumns
from moola_pipeline.bars.csv_tables import Table
from moola_pipeline.bars.formats import INSTRUMENT_ID
from moola_pipeline.bars.instruments import INSTRUMENTS
from moola_pipeline.bars.symbols import Symbol, file_instruments, is_clear_symbol, parse_symbol
from moola_pipeline.bars.vendor_options import VendorOptions
from moola_pipeline.errors import BadInput


def refuse_other_symbols(
    table: Table, read: FileColumns, options: VendorOptions, instrument: str, source: str
) -> None:
    """Refuse bars that name another instrument.

    Raises:
        BadInput: If a column of symbols, the lines above the header or the file's name does.
    """
    if options.columns.get("contract") == "":
        return
    places = dict.fromkeys((text for text in table.symbols if is_clear_symbol(text)), "its header")
    for column, values in read.symbols.items():
        texts = [str(text) for text in values.unique().to_pylist() if text is not None]
        places |= dict.fromkeys(texts, f"column {column}")
    symbols = {text: symbol for text in places if (symbol := parse_symbol(text)) is not None and symbol.root}
    others = [text for text, symbol in symbols.items() if symbol.root != instrument]
    if others:
        root = symbols[others[0]].root
        alone = len({symbol.root for symbol in symbols.values()}) == 1
        remedy = (
            f"Give --instrument {root}"
            if alone and root in INSTRUMENTS
            else "Export one instrument, and name it with --instrument"
        )
        raise BadInput(
            f"{source}: the bars must be of instrument {instrument}, but {places[others[0]]} names "
            f"{', '.join(others[:3])}. {remedy}; --columns contract= leaves the symbols out."
        )
    by_name = file_instruments(source)
    if options.instrument is None and not symbols and by_name and instrument not in by_name:
        raise BadInput(
            f"{source}: the bars must be of instrument {instrument}, but the file's name says {by_name[0]}. "
            f"Give --instrument {by_name[0]} or --instrument {instrument}."
        )


def read_contracts(
    read: FileColumns, column: str, options: VendorOptions, instrument: str, source: str
) -> tuple[str, pd.Series | None]:
    """The column with the contracts ("" if there are none), and the contract of each row (n,) str.

    With one continuous symbol, as NQ.c.0, Databento's instrument id still changes at each roll.

    Raises:
        BadInput: If the symbols change and are no contracts.
    """
    values, ids = read.values.get("contract"), read.values.get(ID_ROLE)
    codes = None if values is None else _codes(values, column, options, instrument, source)
    if codes is not None:
        return column, codes
    if ids is not None and ids.null_count < len(ids):
        return INSTRUMENT_ID, ids.cast(pa.string()).to_pandas().astype("str")
    return "", None


def _codes(
    values: pa.ChunkedArray, column: str, options: VendorOptions, instrument: str, source: str
) -> pd.Series | None:
    """Contract codes (n,) str of symbols; None for one continuous symbol."""
    coded = values.combine_chunks().dictionary_encode()
    texts = [str(text) for text in coded.dictionary.to_pylist()]
    symbols = [parse_symbol(text) or Symbol("", None) for text in texts]
    codes = [symbol.code(instrument) for symbol in symbols]
    is_named = "contract" in options.columns
    if None in codes and not is_named:
        if len({text.strip().upper() for text in texts}) > 1:
            unread = [text for text, code in zip(texts, codes, strict=True) if code is None]
            raise BadInput(
                f"{source}: {column} changes, so its contracts must be readable, as NQZ4, NQZ24, NQ 12-24 or "
                f"202412, got {unread[0]!r}. Take its values as they are with --columns contract={column}, "
                "or leave them out with --columns contract=."
            )
        return None
    if not codes:
        return None
    names = [text if code is None else code for text, code in zip(texts, codes, strict=True)]
    known = pa.array(names, pa.string()).take(coded.indices)
    return known.to_pandas().astype("str")
