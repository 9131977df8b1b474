"""The digest of a table's content, and the rules of the canonical table."""

import io
from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd
import pytest

from moola_pipeline.bars.instruments import INSTRUMENTS, NQ
from moola_pipeline.bars.schema import PRICE_COLUMNS, content_digest, validate_bars
from moola_pipeline.bars.table import build_table
from moola_pipeline.errors import IntegrityError
from moola_pipeline_tests.bars.examples import made_up_bars


def small_table() -> pd.DataFrame:
    """Three bars with every dtype of the canonical table, a missing volume and a missing contract."""
    opened_at = pd.date_range("2024-03-08 14:30", periods=3, freq="min", tz="UTC").as_unit("ns")
    return pd.DataFrame(
        {
            "timestamp": opened_at,
            "close": [17_000.25, 17_001.0, 16_999.75],
            "volume": pd.array([120, None, 0], dtype="Int64"),
            "session": pd.Series(pd.Timestamp("2024-03-08"), index=range(3)).astype("datetime64[ns]"),
            "contract": pd.Series(["NQH4", "NQM4", None], dtype="str"),
            "segment": np.array([0, 1, 1], np.int32),
        }
    )


def test_equal_tables_have_equal_digests_of_64_hex_digits():
    digest = content_digest(small_table())

    assert digest == content_digest(small_table())
    assert len(digest) == 64
    assert int(digest, 16)


CHANGES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "a price one tick up": lambda bars: bars.assign(close=bars["close"] + [0, 0.25, 0]),
    "a minute later": lambda bars: bars.assign(timestamp=bars["timestamp"] + pd.Timedelta(minutes=1)),
    "a volume filled with 0": lambda bars: bars.assign(volume=bars["volume"].fillna(0)),
    "a volume of 0 made missing": lambda bars: bars.assign(volume=bars["volume"].replace(0, pd.NA)),
    "a price made missing": lambda bars: bars.assign(close=bars["close"].where(bars["close"] > 17_000)),
    "a contract filled in": lambda bars: bars.assign(contract=bars["contract"].fillna("NQM4")),
    "a contract filled with nothing": lambda bars: bars.assign(contract=bars["contract"].fillna("")),
    "contracts exchanged": lambda bars: bars.assign(contract=bars["contract"].iloc[[1, 0, 2]].array),
    "float32 prices": lambda bars: bars.astype({"close": "float32"}),
    "wider segments": lambda bars: bars.astype({"segment": "int64"}),
    "seconds": lambda bars: bars.assign(timestamp=bars["timestamp"].dt.as_unit("s")),
    "no time zone": lambda bars: bars.assign(timestamp=bars["timestamp"].dt.tz_localize(None)),
    "a bar less": lambda bars: bars.iloc[:2],
    "no bar": lambda bars: bars.iloc[:0],
    "bars in another order": lambda bars: bars.iloc[::-1],
    "columns in another order": lambda bars: bars.iloc[:, ::-1],
    "a column less": lambda bars: bars.drop(columns="segment"),
    "another column name": lambda bars: bars.rename(columns={"close": "last"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_content_changes_the_digest(change: str):
    bars = small_table()
    changed = CHANGES[change](bars)

    assert not changed.equals(bars)
    assert content_digest(changed) != content_digest(bars)


def test_the_row_index_does_not_change_the_digest():
    bars = small_table()

    assert content_digest(bars.set_axis([7, 5, 5])) == content_digest(bars)
    assert content_digest(bars.set_axis(["a", "b", "c"])) == content_digest(bars)


@pytest.mark.parametrize("compression", ["snappy", "zstd", None])
def test_a_parquet_round_trip_keeps_the_digest(
    compression: Literal["snappy", "zstd"] | None,
):
    bars = small_table()
    stream = io.BytesIO()
    bars.to_parquet(stream, compression=compression, row_group_size=2)

    assert content_digest(pd.read_parquet(stream)) == content_digest(bars)


def test_bytes_beneath_a_missing_value_do_not_change_the_digest():
    missing = np.array([False, True])
    one = pd.DataFrame({"volume": pd.arrays.IntegerArray(np.array([5, 1]), missing)})
    other = pd.DataFrame({"volume": pd.arrays.IntegerArray(np.array([5, 9]), missing)})

    assert content_digest(one) == content_digest(other)


def test_sliced_and_strided_columns_have_the_digest_of_their_values():
    bars = small_table()
    doubled = pd.DataFrame(np.repeat(bars[["close"]].to_numpy(), 2, axis=0), columns=["close"])

    assert content_digest(doubled.iloc[::2]) == content_digest(bars, ("close",))


def test_columns_can_be_chosen():
    bars = small_table()
    revised = bars.assign(segment=np.array([0, 0, 0], np.int32))

    assert content_digest(bars, ("timestamp", "close")) == content_digest(revised, ("timestamp", "close"))
    assert content_digest(bars, ("timestamp", "close")) == content_digest(bars.filter(["timestamp", "close"]))
    assert content_digest(bars, ("timestamp", "segment")) != content_digest(revised, ("timestamp", "segment"))


def test_texts_with_other_boundaries_have_another_digest():
    def of(*texts: str) -> str:
        return content_digest(pd.DataFrame({"annotator": pd.Series(texts, dtype="str")}))

    assert len({of("a\x1fb", "c"), of("a", "b\x1fc"), of('a", "b', "c"), of("a", 'b", "c')}) == 4


@pytest.mark.parametrize(
    ("dtype", "values", "filled"),
    [
        ("boolean", [True, None], [True, False]),
        ("Int64", [1, None], [1, 0]),
        ("float64", [1.5, None], [1.5, 0]),
        ("datetime64[ns]", [pd.Timestamp(5), None], [pd.Timestamp(5), pd.Timestamp(0)]),
        (
            "datetime64[ns, UTC]",
            [pd.Timestamp(5, tz="UTC"), None],
            [pd.Timestamp(n, tz="UTC") for n in (5, 0)],
        ),
        ("str", ["a", None], ["a", ""]),
    ],
)
def test_a_missing_value_of_every_dtype_differs_from_the_value_that_fills_it(
    dtype: str, values: list[object], filled: list[object]
):
    gap, no_gap = (pd.DataFrame({"x": pd.Series(column, dtype=dtype)}) for column in (values, filled))

    assert content_digest(gap) == content_digest(gap.copy())
    assert content_digest(gap) != content_digest(no_gap)


def canonical_table() -> pd.DataFrame:
    return build_table(made_up_bars(30), rolls=None)


def test_a_canonical_table_is_valid_and_not_changed():
    table = canonical_table()
    before = table.copy(deep=True)

    validate_bars(table)

    pd.testing.assert_frame_equal(table, before)


def with_value(column: str, value: object, row: int = 4) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[row, column] = value
        return table

    return change


FAULTS: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "a missing price": (
        with_value("close", np.nan),
        "have four finite prices, but 1 of 30 do not, first 2024-03-08 14:34",
    ),
    "a negative price": (with_value("low", -4.0), "have prices above 0 points"),
    "a high below the close": (with_value("high", 1.0), "have low <= open and close <= high"),
    "a price off the grid": (with_value("high", 18_100.1), "have prices on the tick grid"),
    "a negative volume": (with_value("volume", -1), "have a volume of 0 or more, or none"),
    "a time that comes twice": (
        lambda table: with_value("timestamp", table["timestamp"][3])(table),
        "open after the previous bar, but 1 of 30 do not, first 2024-03-08 14:33",
    ),
    "a segment left out": (
        lambda table: table.assign(segment=table["segment"].where(table.index < 9, 2).astype("int32")),
        "segment of the previous bar or the next segment, from 0, but 1 of 30 do not, first 2024-03-08 14:39",
    ),
    "segments that begin at 1": (
        lambda table: table.assign(segment=table["segment"] + np.int32(1)),
        "from 0",
    ),
    "a missing time": (with_value("timestamp", pd.NaT), "null values"),
    "times of another unit": (
        lambda table: table.assign(timestamp=table["timestamp"].dt.as_unit("us")),
        "expected series 'timestamp' to have type datetime64[ns, UTC], got datetime64[us, UTC]",
    ),
    "a column more": (lambda table: table.assign(vwap=1.0), "column 'vwap' not in DataFrameSchema"),
    "a column less": (lambda table: table.drop(columns="segment"), "column 'segment' not in dataframe"),
    "columns in another order": (lambda table: table.loc[:, table.columns[::-1]], "out-of-order"),
}


@pytest.mark.parametrize(("change", "words"), FAULTS.values(), ids=FAULTS)
def test_an_invalid_table_is_refused_with_the_rule_and_the_first_bar(
    change: Callable[[pd.DataFrame], pd.DataFrame], words: str
):
    with pytest.raises(IntegrityError) as caught:
        validate_bars(change(canonical_table()))

    text = str(caught.value)
    assert text.startswith("NQ bar table: ")
    assert words in text
    assert "\n" not in text


def test_the_tick_grid_of_a_table_depends_on_its_instrument():
    halves = canonical_table().assign(**dict.fromkeys(PRICE_COLUMNS, 100.5))

    validate_bars(halves, NQ)
    with pytest.raises(IntegrityError, match="YM bar table: every bar must have prices on the tick grid"):
        validate_bars(halves, INSTRUMENTS["YM"])
