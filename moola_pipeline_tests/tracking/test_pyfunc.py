"""The model loaded by MLflow: accepts common frames of bars, gives the expansions of `predict`."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from mlflow.pyfunc import PyFuncModel, load_model

from moola_pipeline.errors import BadInput
from moola_pipeline.inference.hindsight import EXPANSION_COLUMNS
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.cli.calls import call, facts, start
from moola_pipeline_tests.homes import outcome

MODEL = "models:/moola-simulated@champion"
SESSIONS = 2


@pytest.fixture(scope="module")
def bars(smoke_home: Home) -> pd.DataFrame:
    """Two sessions of simulated bars: timestamp (UTC), open, high, low, close, volume."""
    [path] = smoke_home.simulated.rglob("raw/bars.parquet")
    return pd.read_parquet(path).iloc[: SESSIONS * 1380]


@pytest.fixture(scope="module")
def model(smoke_home: Home) -> PyFuncModel:
    [folder] = smoke_home.tracking.glob("artifacts/*/models/*/artifacts")
    return load_model(str(folder))


@pytest.fixture(scope="module")
def bar_file(bars: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bars") / "bars.parquet"
    bars.to_parquet(path, index=False)
    return path


@pytest.fixture(scope="module")
def expected(model: PyFuncModel, bars: pd.DataFrame) -> pd.DataFrame:
    return model.predict(bars)


def with_times(bars: pd.DataFrame, times: "pd.Series | pd.DataFrame") -> pd.DataFrame:
    return bars.assign(timestamp=times)


PRICES = ("open", "high", "low", "close")
WHOLE = ("int16", "int32", "int64", "uint16", "uint32", "uint64", "Int64", "UInt32", "int64[pyarrow]")
VARIANTS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "time as the index": lambda bars: bars.set_index("timestamp"),
    "time as an index without a name": lambda bars: bars.set_index("timestamp").rename_axis(None),
    "time as text": lambda bars: with_times(bars, bars["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")),
    "time under another name": lambda bars: bars.rename(columns={"timestamp": "datetime"}),
    "microseconds": lambda bars: with_times(bars, bars["timestamp"].dt.as_unit("us")),
    "times of New York": lambda bars: with_times(bars, bars["timestamp"].dt.tz_convert("America/New_York")),
    "no volume": lambda bars: bars.drop(columns="volume"),
    **{
        f"volume as {kind}": lambda bars, kind=kind: bars.assign(
            volume=bars["volume"].clip(0, 999).astype(kind)
        )
        for kind in WHOLE
    },
    "volume null here and there": lambda bars: bars.assign(
        volume=bars["volume"].astype("Int64").mask(bars.index < 9)
    ),
    "volume null everywhere": lambda bars: bars.assign(volume=None),
    "volume as float": lambda bars: bars.assign(volume=bars["volume"].astype("float64")),
    "other columns": lambda bars: bars.assign(vwap=1.0, note="x", rsi=None),
    "columns in another order": lambda bars: bars.loc[:, ["close", "low", "timestamp", "high", "open"]],
    "rows in another order": lambda bars: bars.sample(frac=1, random_state=0),
    "a row given twice": lambda bars: pd.concat([bars, bars.iloc[[5]]], ignore_index=True),
    "Names As Titles": lambda bars: bars.rename(columns=str.capitalize),
    "NAMES IN CAPITALS": lambda bars: bars.rename(columns=str.upper),
    "titles and an index, as a download has them": lambda bars: (
        bars.rename(columns=str.capitalize).set_index("Timestamp").rename_axis("Datetime")
    ),
    "time as text in the index": lambda bars: bars.set_index(
        bars["timestamp"].dt.strftime("%Y-%m-%d %H:%M:%S+00:00")
    ).drop(columns="timestamp"),
    "time and symbol as the index": lambda bars: bars.assign(symbol="NQM5").set_index(
        ["symbol", "timestamp"]
    ),
    "time in a column named Date": lambda bars: bars.rename(columns={"timestamp": "Date"}),
    "a date beside the time": lambda bars: bars.assign(date=bars["timestamp"].dt.strftime("%Y-%m-%d")),
    "time as objects": lambda bars: bars.assign(timestamp=bars["timestamp"].astype(object)),
    "prices as text": lambda bars: bars.astype(dict.fromkeys(PRICES, "str")),
    "pyarrow types": lambda bars: bars.convert_dtypes(dtype_backend="pyarrow"),
    "prices as float32": lambda bars: bars.astype(dict.fromkeys(PRICES, "float32")),
}


def test_the_printed_lines_load_the_champion_and_it_finds_the_expansions_of_predict(
    smoke_home: Home, bar_file: Path
):
    marks = "print(model.predict(pd.read_parquet(sys.argv[1])).to_json(orient='records', date_format='iso'))"
    lines = ["import sys, pandas as pd", *outcome(smoke_home)["notebook"], marks]
    process = start("\n".join(lines), bar_file)
    shown, errors = process.communicate()
    assert process.returncode == 0, errors
    in_the_notebook = pd.DataFrame(json.loads(shown))
    on_the_shell = pd.DataFrame(
        facts(call("predict", bar_file, "--model", MODEL, "--json", home=smoke_home.root))["expansions"]
    )
    assert len(on_the_shell) > 0
    for name in ("window_start", "started_at", "ended_at", "decided_at"):
        for frame in (in_the_notebook, on_the_shell):
            frame[name] = pd.to_datetime(frame[name], utc=True).dt.as_unit("ns")
    pd.testing.assert_frame_equal(in_the_notebook, on_the_shell, rtol=1e-6)


def test_expansions_have_the_documented_columns(expected: pd.DataFrame):
    assert list(expected.columns) == list(EXPANSION_COLUMNS)
    assert len(expected) > 5
    assert set(expected["direction"]) <= {"up", "down"}
    assert set(expected["model_version"]) == {"1"}
    assert set(expected["mode"]) == {"hindsight"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_form_of_the_frame_does_not_matter(
    variant: str, model: PyFuncModel, bars: pd.DataFrame, expected: pd.DataFrame
):
    pd.testing.assert_frame_equal(model.predict(VARIANTS[variant](bars)), expected)


def test_the_stored_example_is_read_and_holds_expansions(model: PyFuncModel):
    example = model.input_example
    assert isinstance(example, pd.DataFrame)
    marks = model.predict(example)
    assert list(marks.columns) == list(EXPANSION_COLUMNS)
    assert len(marks) > 0


def test_the_outputs_have_the_types_of_the_signature(model: PyFuncModel, expected: pd.DataFrame):
    outputs = model.metadata.get_output_schema()
    assert outputs is not None
    kinds = {
        "datetime": "datetime64[ns, UTC]",
        "string": "str",
        "double": "float64",
    }
    assert [column.name for column in outputs.inputs] == list(expected.columns)
    assert {column.name: kinds[column.type.name] for column in outputs.inputs} == {
        name: str(kind) for name, kind in expected.dtypes.items()
    }


def test_naive_times_are_read_in_the_given_zone(
    model: PyFuncModel, bars: pd.DataFrame, expected: pd.DataFrame
):
    local = bars["timestamp"].dt.tz_convert("America/New_York").dt.tz_localize(None)
    for frame in (with_times(bars, local), with_times(bars, local).set_index("timestamp")):
        marks = model.predict(frame, params={"timezone": "America/New_York"})
        pd.testing.assert_frame_equal(marks, expected)


def test_integer_prices_are_accepted(model: PyFuncModel, bars: pd.DataFrame):
    rounded = bars.assign(open=bars["open"].round().clip(bars["low"], bars["high"]))
    kept = rounded.loc[rounded["open"] % 1 == 0]
    whole = kept.astype({"open": "int64"})
    pd.testing.assert_frame_equal(model.predict(whole), model.predict(kept))


def test_another_zone_than_that_of_the_times_is_refused(
    model: PyFuncModel, bars: pd.DataFrame, expected: pd.DataFrame
):
    pd.testing.assert_frame_equal(model.predict(bars, params={"timezone": "UTC"}), expected)
    with pytest.raises(BadInput, match=r"timestamp carries its own \(UTC\), got --timezone America/New_York"):
        model.predict(bars, params={"timezone": "America/New_York"})


@pytest.mark.parametrize("zone", ["UTC", "America/Chicago", "Asia/Tokyo"])
@pytest.mark.parametrize("counted", [True, False])
def test_a_wrong_zone_is_refused_as_the_command_refuses_it(
    zone: str, counted: bool, model: PyFuncModel, bars: pd.DataFrame
):
    local = bars["timestamp"].dt.tz_convert("America/New_York").dt.tz_localize(None)
    wrong = with_times(bars, local.astype("int64") // 1_000_000 if counted else local)
    right = "The times look like America/New_York: give --timezone America/New"
    other = "counts since 1970 are in UTC, got --timezone .* Leave --timezone out"
    with pytest.raises(BadInput, match=other if counted and zone != "UTC" else right):
        model.predict(wrong, params={"timezone": zone})


def test_closes_are_refused_as_opens_and_read_with_the_stamp(
    model: PyFuncModel, bars: pd.DataFrame, expected: pd.DataFrame
):
    closes = with_times(bars, bars["timestamp"] + pd.Timedelta(minutes=1))
    with pytest.raises(BadInput, match="They look like bar closes: give --stamp close"):
        model.predict(closes)
    pd.testing.assert_frame_equal(model.predict(closes, params={"stamp": "close"}), expected)


def test_bars_of_another_instrument_are_marked_only_when_asked_for(model: PyFuncModel, bars: pd.DataFrame):
    named = bars.assign(symbol="ES1!")
    with pytest.raises(
        BadInput, match="must be of instrument NQ, but column symbol names ES1!. Give --instrument ES"
    ):
        model.predict(named)
    pd.testing.assert_frame_equal(model.predict(named, params={"instrument": "ES"}), model.predict(bars))


@pytest.fixture(scope="module")
def roll(bars: pd.DataFrame) -> pd.Timestamp:
    """A roll in the middle of the first session."""
    return bars["timestamp"].iloc[700]


def roll_text(roll: pd.Timestamp) -> str:
    return f"time,old,new\n{roll:%Y-%m-%dT%H:%M:%SZ},NQZ4,NQH5\n"


def test_rolls_given_as_text_split_the_bars_as_the_option_of_predict_does(
    smoke_home: Home,
    model: PyFuncModel,
    bars: pd.DataFrame,
    roll: pd.Timestamp,
    bar_file: Path,
    tmp_path: Path,
):
    marks = model.predict(bars, params={"rolls": roll_text(roll)})
    assert len(marks) > 5
    assert not ((marks["window_start"] < roll) & (marks["decided_at"] >= roll)).any()
    (tmp_path / "rolls.csv").write_text(roll_text(roll))
    command = ("predict", bar_file, "--model", MODEL, "--rolls", tmp_path / "rolls.csv", "--json")
    shown = facts(call(*command, home=smoke_home.root))
    assert shown["rolls"]["within_bars"] == 1
    assert [pd.Timestamp(one["started_at"]) for one in shown["expansions"]] == marks["started_at"].tolist()


def test_a_version_splits_bars_at_its_own_rolls_unless_rolls_is_none(
    model: PyFuncModel,
    bars: pd.DataFrame,
    roll: pd.Timestamp,
    expected: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
):
    broken = model.predict(bars, params={"rolls": roll_text(roll)})
    carried = [[f"{roll:%Y-%m-%dT%H:%M:%SZ}", "NQZ4", "NQH5"]]
    monkeypatch.setitem(model.unwrap_python_model().facts, "rolls", carried)
    pd.testing.assert_frame_equal(model.predict(bars), broken)
    assert not broken.equals(expected)
    pd.testing.assert_frame_equal(model.predict(bars, params={"rolls": "none"}), expected)
    named = bars.assign(contract="NQH5")
    pd.testing.assert_frame_equal(model.predict(named), expected)


def test_a_text_that_holds_no_rolls_is_refused(model: PyFuncModel, bars: pd.DataFrame):
    with pytest.raises(BadInput, match="^rolls: "):
        model.predict(bars, params={"rolls": "yes"})


def test_the_caller_s_frame_is_not_changed(model: PyFuncModel, bars: pd.DataFrame):
    before = bars.copy(deep=True)
    model.predict(bars)
    pd.testing.assert_frame_equal(bars, before)


WRONG: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "naive times": (
        lambda bars: with_times(bars, bars["timestamp"].dt.tz_localize(None)),
        "bars: the times in timestamp must prove their time zone, got none. "
        "Name it with --timezone, for example --timezone America/New_York.",
    ),
    "no time": (
        lambda bars: bars.drop(columns="timestamp"),
        "bars: columns must hold time, open, high, low, close, got open, high, low, close, volume. "
        "Name the missing ones with --columns time=NAME.",
    ),
    "two times": (
        lambda bars: bars.assign(time=bars["timestamp"]),
        "bars: one column must hold the time, got timestamp, time. Choose with --columns time=timestamp.",
    ),
    "too few bars": (
        lambda bars: bars.iloc[:144],
        "bars: one window needs 145 bars of one segment (40 before it, 105 in it, no gap over 10 minutes), "
        "got 144. Give more bars.",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_frame_that_cannot_be_read_is_refused_in_one_line(
    wrong: str, model: PyFuncModel, bars: pd.DataFrame
):
    spoil, text = WRONG[wrong]
    with pytest.raises(BadInput) as fault:
        model.predict(spoil(bars))
    assert str(fault.value) == text


def test_a_missing_price_is_refused_by_name(model: PyFuncModel, bars: pd.DataFrame):
    with pytest.raises(Exception, match="close"):
        model.predict(bars.drop(columns="close"))
