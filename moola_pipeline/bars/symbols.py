"""Symbols as vendors write them: the root of the instrument, and the contract if they name one."""

import re
from datetime import date
from functools import cache
from pathlib import PurePath
from typing import NamedTuple

from moola_pipeline.bars.instruments import INSTRUMENTS, MONTH_LETTERS, contract_code

_OTHER_ROOTS = {other: name for name, row in INSTRUMENTS.items() for other in row.other_roots}
_ROOTS = "|".join(sorted([*INSTRUMENTS, *_OTHER_ROOTS], key=len, reverse=True))
_ANY_ROOT = r"[A-Z][A-Z0-9]{0,7}|[0-9][A-Z]{1,2}"
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_EXPIRY = (
    rf"[ _-]?(?P<letter>[{MONTH_LETTERS}])(?P<y1>\d{{1,2}}|20\d\d)",  # Z4, Z24, Z2024
    r"[ _-](?P<m2>0[1-9]|1[0-2])[-_/](?P<y2>\d\d|20\d\d)",  # 12-24
    rf"[ _-]?(?P<name>{'|'.join(_MONTHS)})[A-Z]*[ _'-]?(?P<y3>\d\d|20\d\d)",  # DEC24
    r"[ _.-]?(?P<y4>20\d\d)-?(?P<m4>0[1-9]|1[0-2])(?:-?[0-3]\d)?",  # 202412, 20241220
)
_CONTINUOUS = r"[12]!|=F|\.[CVN]\.\d|[ _-]?#[CF]|[ _]##-##|C[12]| ?[12](?= INDEX)|[ _.-]CONT(?:INUOUS)?|_F"
_EXCHANGE = r"[.:_ -]?(?:X?CME|X?CBOT|XCBT|GLOBEX|GLBX|FUT|INDEX)\w*"
_SYMBOL = "(?:[A-Z_]+[:/]|F[.]US[.]|FUT )?[@/#$]?(?P<root>{root})(?:{tail})?(?:{exchange})*"
_STEP = re.compile(rf"({_ROOTS})\d+(?:M|MIN|MINUTES?)?")
"""A root and an interval or a date, as ES1m in the name of a file."""
_INDEXES = {"NASDAQ": ("NQ", "MNQ"), "S&P": ("ES", "MES"), "DOW": ("YM", "MYM"), "RUSSELL": ("RTY", "M2K")}
"""Mini and micro of each index, by a word of its name."""


class Symbol(NamedTuple):
    """A symbol: `root` ("" if it names a month alone), and year and month of the contract, if any."""

    root: str
    expiry: tuple[int, int] | None

    def code(self, instrument: str) -> str | None:
        """Code of the contract, as NQZ4; None without a month, or if the instrument has no such month."""
        family = INSTRUMENTS[instrument]
        if self.expiry is None or self.expiry[1] not in family.expiry_months:
            return None
        return contract_code(family, date(*self.expiry, 1))


def parse_symbol(text: str) -> Symbol | None:
    """The symbol that a text is, in any case; None if it is none.

    Known: NQZ4, NQZ24, /NQZ2024, NQ 12-24, NQ DEC24, NQZ24.CME, CME_MINI:NQZ2024, 202412; and of continuous
    series NQ, @NQ, /NQ, NQ1!, NQ=F, NQ.c.0, @NQ#C, NQ ##-##.
    """
    plain = " ".join(text.upper().split())
    for pattern in _patterns():
        if match := pattern.fullmatch(plain):
            parts = match.groupdict()
            root = parts.get("root") or ""
            return Symbol(_OTHER_ROOTS.get(root, root), _expiry(parts))
    if "MINI" in plain and (named := [pair for word, pair in _INDEXES.items() if word in plain]):
        return Symbol(named[0]["MICRO" in plain], None)  # E-mini S&P 500, Micro E-mini Nasdaq-100
    words = {word for word in re.split(r"[^A-Z0-9]+", plain) if word in INSTRUMENTS}
    return Symbol(words.pop(), None) if len(words) == 1 else None  # ES*0, FUT.ES.X


def is_clear_symbol(text: str) -> bool:
    """True for a symbol of a known instrument."""
    symbol = parse_symbol(text)
    return symbol is not None and symbol.root in INSTRUMENTS


def file_instruments(name: str) -> list[str]:
    """The instruments that the name of a file names, as ES in `ES 03-25.Last.txt`."""
    words = [word for word in re.split(r"[^A-Za-z0-9!=@#/]+", PurePath(name).name) if word]
    steps = [match[1] if (match := _STEP.fullmatch(word.upper())) else word for word in words]
    symbols = [parse_symbol(word) for word in steps]
    return list(dict.fromkeys(symbol.root for symbol in symbols if symbol and symbol.root in INSTRUMENTS))


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    tails = [*_EXPIRY, _CONTINUOUS]
    known = [_SYMBOL.format(root=_ROOTS, tail=tail, exchange=_EXCHANGE) for tail in tails]
    other = [_SYMBOL.format(root=_ANY_ROOT, tail=tail, exchange=_EXCHANGE) for tail in tails]
    months = [_EXPIRY[0], _EXPIRY[2], _EXPIRY[3]]
    return tuple(map(re.compile, [*months, *known, *other]))


def _expiry(parts: dict[str, str | None]) -> tuple[int, int] | None:
    months = {
        "letter": lambda text: MONTH_LETTERS.index(text) + 1,
        "name": lambda text: _MONTHS.index(text) + 1,
        "m2": int,
        "m4": int,
    }
    month = next((read(text) for name, read in months.items() if (text := parts.get(name))), None)
    year = next((int(text) for name in ("y1", "y2", "y3", "y4") if (text := parts.get(name))), None)
    if month is None or year is None:
        return None
    return (2000 + year if year >= 10 else 2020 + year) if year < 100 else year, month
