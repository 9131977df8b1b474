"""Tables: separators, headers, lines above the header, and other files."""

import pytest

from moola_pipeline.bars.columns import header_names
from moola_pipeline.bars.csv_tables import HEADER_BYTES, MAX_LINE_BYTES, Table
from moola_pipeline.bars.table_reader import file_table as read
from moola_pipeline.errors import BadInput

HEADER = "time,open,high,low,close"
ROW = "2024-03-08T14:30Z,1,2,1,2"
TABLE = f"{HEADER}\n{ROW}\n"


def file_table(content: bytes) -> Table:
    return read(content, "nq.csv", header_names({}))


def refusal(content: bytes) -> str:
    with pytest.raises(BadInput) as caught:
        file_table(content)
    assert "\n" not in str(caught.value)
    return str(caught.value)


NOTED = f"{HEADER},note\n"


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize(
    ("notes", "row"),
    [
        (('"CPI 8:30 hot', "", 'FOMC"', ""), 2),
        (("", '"5', "", ""), 3),
        (("", "", "", '"'), 5),
        (('"a ""b""', "", 'late"', ""), 2),
        (('"12" bar', ' "late', "", 'x"'), 3),
    ],
)
def test_a_quote_that_takes_up_rows_is_refused_with_its_row(separator: str, notes: tuple[str, ...], row: int):
    text = NOTED + "".join(f"{ROW},{note}\n" for note in notes)
    assert f"in row {row} it does not, and would take up the rows after it" in refusal(
        text.replace(",", separator).encode()
    )


@pytest.mark.parametrize(
    "note", ['"one\nof two lines"', '5" up', 'so "quoted" here', '""', '"a, b"', '"say ""so"""']
)
def test_other_quotes_are_read(note: str):
    assert file_table(f"{NOTED}{ROW},{note}\n{ROW},\n".encode()).names[5] == "note"


@pytest.mark.parametrize("separator", [",", ";", "|", "\t"])
@pytest.mark.parametrize("header", [True, False])
def test_the_separator_splits_every_line(separator: str, header: bool):
    text = (TABLE if header else f"{ROW}\n{ROW}\n").replace(",", separator)
    layout = file_table(text.encode())
    assert layout.separator == separator
    assert len(layout.names) == 5
    assert layout.start == (len(HEADER) + 1 if header else 0)


@pytest.mark.parametrize(
    "line", ["20240308 143100;18000,0;18002,75;17999,75;18002,0;139", "2024-03-08, 14:30\t1\t2\t1\t2"]
)
def test_commas_in_the_cells_do_not_hide_the_separator(line: str):
    assert file_table(f"{line}\n{line}\n".encode()).separator != ","


@pytest.mark.parametrize("above", ["# export of NQ\n", "NQ 1 minute\n\n", "sep=,\n", "a;b\nc\n"])
def test_short_lines_above_the_header_are_skipped(above: str):
    layout = file_table((above + TABLE).encode())
    assert layout.names == tuple(HEADER.split(","))
    assert layout.start == len(above) + len(HEADER) + 1


def test_a_short_first_line_without_a_header_is_not_skipped():
    assert file_table(f"2024-03-08T14:29Z,1,2\n{ROW}\n{ROW}\n".encode()).start == 0


def test_duplicate_column_names_get_their_number():
    names = file_table(b"time,open, close ,Close,close\n").names
    assert names == ("time", "open", "close#3", "Close", "close#5")


def test_a_separator_at_the_end_of_each_row_does_not_shift_columns():
    assert file_table(TABLE.replace(ROW, ROW + ",").encode()).names[5:] == ("#6",)


@pytest.mark.parametrize("header", ["", HEADER + "\n"])
def test_a_comma_as_separator_and_decimal_sign_is_refused_with_a_remedy(header: str):
    row = "2024-03-08 14:30:00,18000,00,18002,75,17999,75,18002,00,12\n"
    assert refusal((header + 2 * row).encode()).endswith(
        "Export with semicolons between the cells, or decimal points."
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"BZh91AY", "a bzip2 file. Decompress it."),
        (b"\xfd7zXZ\0\0", "an xz file. Decompress it."),
        (b"PK\5\6" + bytes(18), "an empty zip. Create it again."),
        (b"\x1f\x8b\x08", "a compressed file in a compressed file. Decompress it once."),
        (b"\xd0\xcf\x11\xe0", "an Excel workbook. Save it as csv."),
        (b"<!DOCTYPE html><html>", "a web page. Download the file itself."),
        (b"time open high low close\n", "separated by a comma, semicolon, tab or |, got the line 'time open"),
    ],
)
def test_other_kinds_of_files_are_refused_by_name(content: bytes, words: str):
    assert words in refusal(content)


def test_an_endless_line_is_refused_before_parsing():
    error = refusal(TABLE.encode() + b"1" * (2 * MAX_LINE_BYTES))
    assert "each line of a csv must be at most 1 MiB long, got a longer one from byte 1,048,576 on." in error
    assert "first line of a csv must be at most 64 KiB long" in refusal(b"c," * HEADER_BYTES + b"\n1\n")
    assert file_table((TABLE + f"{ROW}\n" * 60_000).encode()).kind == "csv"


ROWS = '[["2024-03-08T14:30Z", 1, 2, 1, 2]]'


@pytest.mark.parametrize("names", [("2025-01-12", "2025-01-13"), ("page1", "page2", "page3", "page4")])
def test_json_with_several_lists_of_rows_is_refused(names: tuple[str, ...]):
    text = "{" + ", ".join(f'"{name}": {ROWS}' for name in names) + "}"
    assert f"got {len(names)} lists of rows ({names[0]}, {names[1]}" in refusal(text.encode())


def test_a_symbol_in_an_object_beside_the_rows_of_json_is_found():
    text = f'{{"meta": {{"symbol": "ES", "interval": "1min"}}, "values": {ROWS}, "status": "ok"}}'
    assert set(file_table(text.encode()).symbols) == {"ok", "ES", "1min", "values"}


@pytest.mark.parametrize("above", [f"{ROW}\n", f"{ROW}\n{ROW}\n\n", "2024-03-08T14:29Z,18000.25,,3,\n"])
def test_a_row_above_the_header_is_refused(above: str):
    assert "rows must stand below the header, but above it there is one (2024-03-08T14" in refusal(
        (above + TABLE).encode()
    )


@pytest.mark.parametrize(
    ("above", "symbol"),
    [
        ("# symbol=ES, exchange=CME, tz=UTC\n", "ES"),
        ("Symbol,ES\n", "ES"),
        ("ESH25\n", "ESH25"),
        ("# ESH25 1 minute\n", "ESH25"),
        ("Instrument: ES=F\n", "ES=F"),
        ("Export of /ES 1 minute\n", "/ES"),
    ],
)
def test_symbols_above_the_header_are_found(above: str, symbol: str):
    assert symbol in file_table((above + TABLE).encode()).symbols


def test_small_words_above_the_header_are_no_symbols():
    symbols = file_table(("# datos es de prueba, ym\n" + TABLE).encode()).symbols
    assert not {"es", "ES", "ym", "YM"} & set(symbols)


@pytest.mark.parametrize("form", ["ES=F {}", "('{}', 'ES=F')"])
def test_symbols_in_the_names_of_columns_are_found(form: str):
    names = ["time", *(form.format(name) for name in ("Open", "High", "Low", "Close"))]
    quoted = ",".join(f'"{name}"' for name in names)
    assert "ES=F" in file_table(f"{quoted}\n{ROW}\n".encode()).symbols
