"""The columns of a file: csv, JSON, parquet or DBN, by its first bytes."""

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as _compute
import pyarrow.csv
import pyarrow.parquet as pq

from moola_pipeline.bars.csv_tables import HeaderNames, Table, csv_table, named_symbols, unique_names
from moola_pipeline.bars.dbn import DBN_MAGIC, read_dbn
from moola_pipeline.bars.decompress import other_file_kind
from moola_pipeline.bars.table_columns import first_cells, known_table, unreadable
from moola_pipeline.errors import BadInput

pc: Any = _compute  # its functions are made at run time
_QUOTED = 80
MAX_JSON = 2**28
"""Most bytes of JSON: in memory it takes ten times as many."""
MAX_ROWS = 30_000_000
"""Most rows of a parquet file: minutes of 57 years. A small file can encode any number of rows."""


def file_table(content: bytes, source: str, names: HeaderNames) -> Table:
    """The columns of a file, found from its bytes.

    Args:
        content: The file, decompressed, text in UTF-8.
        source: Its name, for errors.
        names: Names of a header.

    Raises:
        BadInput: If the file is neither parquet, DBN, JSON rows nor text in columns, or is damaged.
    """
    if content.startswith(b"PAR1"):
        return _parquet_table(content, source)
    if content.startswith(DBN_MAGIC):
        return known_table("dbn", read_dbn(content, source))
    if kind := other_file_kind(content):
        raise BadInput(f"{source}: a bar file must be parquet, csv, JSON or DBN, got {kind}.")
    if b"\0" in content[:4096]:
        raise BadInput(
            f"{source}: a bar file must be parquet, csv, JSON or DBN, got other bytes. Export csv."
        )
    if content[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"[", b"{"):
        return _json_table(content, source)
    return csv_table(content, source, names)


def _parquet_table(content: bytes, source: str) -> Table:
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        n_rows, schema = file.metadata.num_rows, file.schema_arrow
        metadata = json.loads((schema.metadata or {}).get(b"pandas") or b"{}")
        indexed = metadata.get("index_columns", []) if isinstance(metadata, dict) else []
        first = next(file.iter_batches(batch_size=1), None) if n_rows <= MAX_ROWS else None
        sample = () if first is None else first_cells(pa.Table.from_batches([first]))
    except (pa.ArrowException, OSError, ValueError, RecursionError) as fault:
        raise unreadable(source, fault) from None
    if n_rows > MAX_ROWS:
        raise BadInput(
            f"{source}: a bar file must have at most {MAX_ROWS:,} rows, got {n_rows:,}. Split it, or export "
            "it again."
        )
    if len(set(schema.names)) < len(schema.names):
        raise BadInput(f"{source}: each column must occur once, got {', '.join(schema.names)}. Drop one.")
    names = [name for name in indexed if isinstance(name, str) and name in schema.names]
    index = tuple(name for name in names if pa.types.is_timestamp(schema.field(name).type))
    symbols = tuple(named_symbols(schema.names))
    return Table("parquet", tuple(schema.names), sample, index=index, symbols=symbols, content=content)


def _json_table(content: bytes, source: str) -> Table:
    if len(content) > MAX_JSON:
        raise BadInput(
            f"{source}: JSON must have at most {MAX_JSON >> 20} MiB, got more. Split it, or export csv."
        )
    try:
        try:
            rows: Any = json.loads(content)
        except json.JSONDecodeError:
            rows = [json.loads(line) for line in content.splitlines() if line.strip()]
        symbols, rows = _json_rows(rows, source)
        if isinstance(rows[0], dict):
            names = tuple(map(str, rows[0]))
            columns = [[row.get(name) for row in rows] for name in rows[0]]
        else:
            names = tuple(str(number) for number in range(1, len(rows[0]) + 1))
            columns = [[row[place] for row in rows] for place in range(len(names))]
        table = pa.table([_json_column(column) for column in columns], names=unique_names(names))
    except BadInput:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, pa.ArrowException):
        came = " ".join(content[:_QUOTED].decode(errors="replace").split())
        raise BadInput(
            f"{source}: JSON must hold rows, as [[time, open, high, low, close], ...] or "
            f'[{{"time": ..., "open": ...}}, ...], got {came!r}. Export it so, or as csv.'
        ) from None
    named = isinstance(rows[0], dict)
    return Table("json", unique_names(names), first_cells(table), named, symbols=symbols, values=table)


def _json_rows(data: Any, source: str) -> tuple[tuple[str, ...], list[Any]]:
    """The rows of parsed JSON, and the texts beside them: a list, or an object that holds one or columns."""
    if isinstance(data, list):
        return (), data
    texts = tuple(value for value in data.values() if isinstance(value, str))
    if {"columns", "data"} <= set(data):  # pandas, orient "split"
        index = data.get("index", range(len(data["data"])))
        names = ("time", *map(str, data["columns"]))
        return texts, [
            dict(zip(names, (at, *row), strict=True)) for at, row in zip(index, data["data"], strict=True)
        ]
    inner = {name: value for name, value in data.items() if isinstance(value, dict) and value}
    if len(inner) > 1:  # pandas, orient "columns" or "index"
        if "close" in map(str.lower, inner):
            index = [*next(iter(inner.values()))]
            return texts, [
                {"time": at} | {name: column[at] for name, column in inner.items()} for at in index
            ]
        return texts, [{"time": at, **row} for at, row in inner.items()]
    lists = {name: value for name, value in data.items() if isinstance(value, list) and value}
    if inner and not lists:
        (name, value), *_ = inner.items()
        more, rows = _json_rows(value, source)
        return (*texts, name, *more), rows
    beside = tuple(value for each in inner.values() for value in each.values() if isinstance(value, str))
    nested = [(name, value) for name, value in lists.items() if isinstance(value[0], dict | list)]
    if len(nested) > 1:
        raise BadInput(
            f"{source}: JSON must hold its rows in one list, got {len(nested):,} lists of rows "
            f"({', '.join(name for name, _ in nested[:3])}{', ...' if len(nested) > 3 else ''}). "
            "Write them as one list, or each to a file of its own."
        )
    if nested:
        [(name, rows)] = nested
        return (*texts, *beside, name), rows
    columns = {name: value for name, value in lists.items() if len(value) == max(map(len, lists.values()))}
    return texts, [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _json_column(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, TypeError, OverflowError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())
