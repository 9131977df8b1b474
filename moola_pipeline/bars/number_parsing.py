"""Parse numbers from text: decimal sign, thousands separator, and cells that are not numbers."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from moola_pipeline.bars.row_rules import HIGHEST_POINTS, LOWEST_POINTS
from moola_pipeline.errors import BadInput

_GROUPS = " '’\u00a0\u202f"
"""Thousands separators other than comma and dot."""


@dataclass(frozen=True)
class NumberStyle:
    """Number format by decimal sign: `.` in 21,345.25, `,` in 21.345,25."""

    decimal: str

    @property
    def group(self) -> str:
        """The other of `.` and `,`: it can only group thousands."""
        return "," if self.decimal == "." else "."

    @property
    def pattern(self) -> str:
        """Regular expression of a number."""
        groups = rf"\d{{1,3}}(?:[{self.group}{_GROUPS}]\d{{3}})+"
        return rf"^[+-]?(?:(?:{groups}|\d+)(?:[{self.decimal}]\d*)?|[{self.decimal}]\d+)(?:[eE][+-]?\d+)?$"

    def numbers(self, texts: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
        """The numbers (n,) float64, NaN where there is none, and True (n,) where a cell is invalid."""
        valid = pc.fill_null(pc.match_substring_regex(texts, self.pattern), False)  # type: ignore[attr-defined]
        plain = pc.replace_substring_regex(texts, f"[{self.group}{_GROUPS}]", "")  # type: ignore[attr-defined]
        if self.decimal == ",":
            plain = pc.replace_substring(plain, ",", ".")  # type: ignore[attr-defined]
        values = pc.if_else(valid, plain, pa.scalar(None, pa.string())).cast(pa.float64())  # type: ignore[attr-defined]
        invalid = pc.and_not(texts.is_valid(), valid)  # type: ignore[attr-defined]
        return values.to_numpy(), invalid.to_numpy()

    def amounts(self, texts: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
        """As `numbers`; 1.5K is 1,500 and 2M two million, rounded to whole ones."""
        scale = np.ones(len(texts))
        for letter, factor in (("k", 1e3), ("m", 1e6)):
            ends = pc.fill_null(pc.match_substring_regex(texts, rf"(?i)\d ?{letter}$"), False)  # type: ignore[attr-defined]
            scale[ends.to_numpy()] = factor
        if (scale == 1).all():
            return self.numbers(texts)
        plain = pc.replace_substring_regex(texts, r"(?i) ?[km]$", "")  # type: ignore[attr-defined]
        values, invalid = self.numbers(plain)
        return np.where(scale > 1, np.rint(values * scale), values), invalid


DOT, COMMA = NumberStyle("."), NumberStyle(",")


def price_style(columns: Mapping[str, pa.ChunkedArray], source: str) -> NumberStyle:
    """Detect the number format of a file's prices.

    A cell such as 21345,25 or 21,345.25 fits one format only. If all cells fit both, as 21,345
    does, the format that gives plausible index prices is used.

    Args:
        columns: (n,) trimmed text by column name.
        source: Name of the file, for errors.

    Raises:
        BadInput: If both formats, or neither, give plausible index prices.
    """
    fits = {style: _n_fitting(columns, style) for style in (DOT, COMMA)}
    if fits[DOT] != fits[COMMA]:
        return max(fits, key=lambda style: fits[style])
    read = {style: np.concatenate([style.numbers(texts)[0] for texts in columns.values()]) for style in fits}
    if np.array_equal(read[DOT], read[COMMA], equal_nan=True):
        return DOT
    sound = [style for style, values in read.items() if _is_index(values)]
    if len(sound) != 1:
        column, texts = next(iter(columns.items()))
        cell = texts.drop_null()[0].as_py()
        raise BadInput(
            f"{source}: prices must be unambiguous, but {column} is {cell!r}, which may mean "
            f"{_first(read[DOT]):g} or {_first(read[COMMA]):g}. Export numbers without a thousands separator."
        )
    return sound[0]


def trimmed(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text without surrounding blanks; null where it is empty."""
    texts = pc.utf8_trim_whitespace(values.cast(pa.string()))  # type: ignore[attr-defined]
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)  # type: ignore[attr-defined]


def _n_fitting(columns: Mapping[str, pa.ChunkedArray], style: NumberStyle) -> int:
    matches = (pc.match_substring_regex(texts, style.pattern) for texts in columns.values())  # type: ignore[attr-defined]
    return sum(pc.sum(match).as_py() or 0 for match in matches)  # type: ignore[attr-defined]


def _is_index(values: np.ndarray) -> bool:
    known = values[np.isfinite(values)]
    return bool(len(known)) and LOWEST_POINTS <= float(np.median(known)) <= HIGHEST_POINTS


def _first(values: np.ndarray) -> float:
    return float(values[np.isfinite(values)][0])
