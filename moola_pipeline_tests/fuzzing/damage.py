"""Random damage to valid content: bytes, text tables and JSON."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Damage = Callable[[np.random.Generator, bytes], bytes]

TOKENS = (
    *(b"", b"0", b"-1", b"-0.0", b"nan", b"inf", b"1e308", b"1e999", b"0.1", b"9" * 25, b"9" * 400),
    *(b'"', b"'", b"\0", b",", b";", b"\t", b"|", b"\n", b"\r\n", b"\r", b"\n\n", b" ", b"#", b"\\"),
    *(b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc2\x85", b"\xe2\x80\xa8", b"\x1b[2J"),
    *(b"NULL", b"NA", b"NaT", b"none", b"true", b"=1+1", b"<script>", b"../x", b"/etc/passwd", b"%s{0}"),
    *(b"2024-13-45 25:61:61", b"1677-09-21 00:12:43", b"9999-12-31 23:59", b"0001-01-01", b"2090-01-02"),
    *(b"2024-03-10 02:30:00", b"2024-11-03 01:30:00", b"24:00", b"930", b"12:00 PM", b"2024-03-08T14:30Z"),
    *(b"1_000", "１２".encode(), "٣".encode(), b"18,000.25", b"18.000,25", b"18 000", b"1e-400", b"0x10"),
    *(b"time", b"close", b"date", b"window_id", b"old", b"new", b"pass", b"PAR1", b"DBN", b"{", b"[", b"]"),
    *(b"\x1f\x8b", b"PK\3\4", b"PK\5\6", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"),
)
JSON_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.0, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, -(10**400), 1e308),
    *(float("nan"), float("inf"), -float("inf"), "", " ", "0", "x", "nan", "../x", "/etc/passwd", "a\0b"),
    *("\ud800", "a\nb", "\x1b[2J", "é" * 300, "9" * 5000, "2024-02-30", "2024-01-31", "9999-12-31", "UTC"),
    *("0001-01-01T00:00:00Z", "2024-05-06T14:30:00Z", "<script>alert(1)</script>", "0" * 64, "f" * 64),
    *([], {}, [None], [1, 2, 3], ["a", "a"], [[]], [{}], {"": ""}, {"a": 1}, {"__class__": "x"}),
)
DEEP = 1_500
"""A nesting depth at which Python's JSON parser fails."""


def damaged_bytes(rng: np.random.Generator, content: bytes) -> bytes:
    """Content with bytes removed, overwritten, inserted, repeated or flipped, or truncated."""
    for _ in range(_few(rng)):
        first = int(rng.integers(0, len(content) + 1))
        last = min(len(content), first + int(rng.choice([0, 1, 2, 8, 64])))
        kind = rng.integers(0, 7)
        if kind == 0:
            content = content[:first]
        elif kind == 1 and content:
            place = min(first, len(content) - 1)
            content = (
                content[:place] + bytes([content[place] ^ 1 << int(rng.integers(8))]) + content[place + 1 :]
            )
        elif kind == 2:
            content = content[:last] + content[first:]
        else:
            new = rng.bytes(int(rng.integers(0, 9))) if kind == 3 else _token(rng)
            content = content[:first] + new + content[last:]
    return content


def damaged_table(rng: np.random.Generator, content: bytes) -> bytes:
    """A text table with damaged cells, rows, columns, header, separator or encoding."""
    text = content.decode("utf-8", "surrogateescape")
    separator = max(",;\t|", key=text.partition("\n")[0].count)
    rows = [line.split(separator) for line in text.splitlines()]
    for _ in range(_few(rng)):
        rows = TABLE_DAMAGE[int(rng.integers(len(TABLE_DAMAGE)))](rng, rows) or [[""]]
    if rng.random() < 0.08:
        separator = str(rng.choice([*",;\t| ", "::"]))
    joined = str(rng.choice(["\n", "\n", "\n", "\r\n", "\r"])).join(separator.join(row) for row in rows)
    content = (joined + "\n").encode("utf-8", "surrogateescape")
    if rng.random() < 0.06:
        content = _other_encoding(rng, joined) or content
    return damaged_bytes(rng, content) if rng.random() < 0.15 else content


Rows = list[list[str]]


def _cell(rng: np.random.Generator, rows: Rows) -> Rows:
    at, place = _place(rng, rows)
    rows[at][place] = _text_token(rng)
    return rows


def _part_of_cell(rng: np.random.Generator, rows: Rows) -> Rows:
    at, place = _place(rng, rows)
    cell = rows[at][place].encode("utf-8", "surrogateescape")
    rows[at][place] = damaged_bytes(rng, cell).decode("utf-8", "surrogateescape")
    return rows


def _column(rng: np.random.Generator, rows: Rows) -> Rows:
    """Remove, repeat, empty or swap a column, or fill it with one text."""
    width = max(map(len, rows)) or 1
    one, other, kind = int(rng.integers(width)), int(rng.integers(width)), int(rng.integers(5))
    text = _text_token(rng)
    for number, row in enumerate(rows):
        if one >= len(row):
            continue
        if kind == 0:
            del row[one]
        elif kind == 1:
            row.insert(min(other, len(row)), row[one])
        elif kind == 2 and number:
            row[one] = ""
        elif kind == 3 and number:
            row[one] = text
        elif other < len(row):
            row[one], row[other] = row[other], row[one]
    return rows


def _row(rng: np.random.Generator, rows: Rows) -> Rows:
    """Remove, repeat, move, empty, shorten or lengthen a row."""
    at, kind = int(rng.integers(len(rows))), int(rng.integers(6))
    row = rows[at]
    if kind == 0:
        return rows[:at] + rows[at + 1 :]
    if kind == 1:
        return [*rows[: at + 1], list(row), *rows[at + 1 :]]
    if kind == 2:
        rest = rows[:at] + rows[at + 1 :]
        to = int(rng.integers(len(rest) + 1))
        return [*rest[:to], row, *rest[to:]]
    rows[at] = {3: [""], 4: row[: len(row) // 2], 5: row + row}[kind]
    return rows


def _header(rng: np.random.Generator, rows: Rows) -> Rows:
    kind = int(rng.integers(4))
    if kind == 0:
        return rows[1:]
    if kind == 1:
        rows[0] = [name.upper() for name in rows[0]]
    elif kind == 2:
        return [[_text_token(rng)], *rows]
    else:
        place = int(rng.integers(len(rows[0]) or 1))
        rows[0][place : place + 1] = [_text_token(rng)]
    return rows


def _all_rows(rng: np.random.Generator, rows: Rows) -> Rows:
    """Shuffle, repeat or remove all rows below the header."""
    kind = int(rng.integers(3))
    body = rows[1:]
    if kind == 0:
        return [rows[0], *(body[i] for i in rng.permutation(len(body)))]
    return [rows[0], *body, *([list(row) for row in body] if kind == 1 else [])] if kind < 2 else rows[:1]


def _quoted(rng: np.random.Generator, rows: Rows) -> Rows:
    at, place = _place(rng, rows)
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerow(
        [rows[at][place] + str(rng.choice(["", "\n", '"', ","]))]
    )
    rows[at][place] = buffer.getvalue().rstrip("\r\n")
    return rows


TABLE_DAMAGE = (_cell, _cell, _cell, _part_of_cell, _part_of_cell, _column, _row, _header, _all_rows, _quoted)


def damaged_json(rng: np.random.Generator, content: bytes) -> bytes:
    """JSON with other values, with keys removed, renamed or repeated, or with deep nesting."""
    found = json.loads(content)
    for _ in range(_few(rng)):
        found = damaged_value(rng, found)
    text = json.dumps(found, indent=None if rng.random() < 0.5 else 2)
    if rng.random() < 0.04:
        text = text.replace("null", "[" * DEEP + "]" * DEEP, 1)
    if rng.random() < 0.04 and text.startswith("{") and len(text) > 2:
        text = "{" + text[1:-1] + "," + text[1:]  # repeats every key
    encoded = text.encode("utf-8", "surrogatepass")
    return damaged_bytes(rng, encoded) if rng.random() < 0.15 else encoded


def damaged_value(rng: np.random.Generator, found: Any) -> Any:
    """A JSON value with one change inside; a new value if it is not a container."""
    places = list(_places(found))
    if not places or rng.random() < 0.03:
        return _json_value(rng)
    holder, key = places[int(rng.integers(len(places)))]
    kind = int(rng.integers(6))
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[_text_token(rng)] = holder.pop(key)
    elif kind == 2 and isinstance(holder, list):
        holder.insert(0, holder[key])
    elif kind == 3 and isinstance(holder[key], str):
        holder[key] = damaged_bytes(rng, holder[key].encode("utf-8", "replace")).decode("utf-8", "replace")
    else:
        holder[key] = _json_value(rng)
    return found


def _places(found: Any) -> Iterator[tuple[Any, Any]]:
    keys = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    for key, value in list(keys):
        yield found, key
        yield from _places(value)


def _json_value(rng: np.random.Generator) -> Any:
    return json.loads(json.dumps(JSON_VALUES[int(rng.integers(len(JSON_VALUES)))]))  # a copy


def _place(rng: np.random.Generator, rows: Rows) -> tuple[int, int]:
    at = int(rng.integers(len(rows)))
    rows[at] = rows[at] or [""]
    return at, int(rng.integers(len(rows[at])))


def _other_encoding(rng: np.random.Generator, text: str) -> bytes | None:
    encoding = str(rng.choice(["utf-16", "utf-16-le", "utf-32", "latin-1", "cp037", "utf-8-sig"]))
    try:
        return text.encode(encoding)
    except UnicodeEncodeError:
        return None


def _token(rng: np.random.Generator) -> bytes:
    return TOKENS[int(rng.integers(len(TOKENS)))]


def _text_token(rng: np.random.Generator) -> str:
    return _token(rng).decode("utf-8", "surrogateescape")


def _few(rng: np.random.Generator) -> int:
    return int(rng.choice([1, 1, 1, 2, 2, 3, 5]))
