import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.errors import BadInput
from moola_pipeline.labels.importing import add_labels, build_ledger
from moola_pipeline.labels.price_windows import find_windows
from moola_pipeline.labels.registry import registered_labels
from moola_pipeline_tests.labels.weekly_market import SESSION_BARS, weekly_bars

BARS = weekly_bars(6)
PRICES = BARS[list(PRICE_COLUMNS)].to_numpy()


def window(bar0: int) -> np.ndarray:
    return PRICES[bar0 : bar0 + 105]


def cells(*features: object, **columns: object) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "window_id": [f"old{number}" for number in range(len(features))],
            "label": "Consolidation",
            "expansion_start": 40,
            "expansion_end": 45,
            "features": list(features),
        }
    )
    return frame.assign(**columns)


def fault_of(features: object) -> tuple[str, str]:
    timed = find_windows(cells(features), BARS)
    assert timed.cells["window_start"].isna().to_numpy().all()
    return timed.faults["reason"].iloc[0], timed.faults["detail"].iloc[0]


def as_json(prices: np.ndarray) -> str:
    return json.dumps(prices.tolist())


def test_a_window_is_found_at_the_bar_it_was_cut_from():
    timed = find_windows(cells(window(360), window(1260)), BARS)
    assert timed.cells["window_start"].tolist() == BARS["timestamp"].iloc[[360, 1260]].tolist()
    assert "features" not in timed.cells
    assert timed.faults["reason"].isna().to_numpy().all()
    assert timed.windows == {"found": 2, "ambiguous": 0, "not found": 0}


@pytest.mark.parametrize(
    "features",
    [window(360).tolist(), as_json(window(360)), window(360).astype(np.float32), list(window(360))],
    ids=["lists", "json", "float32", "arrays"],
)
def test_prices_may_come_as_lists_arrays_or_json(features):
    assert find_windows(cells(features), BARS).windows["found"] == 1


def test_one_price_a_tick_off_is_not_the_window():
    changed = window(360).copy()
    changed[104, 1] += 0.25
    reason, detail = fault_of(changed)
    assert reason != "prices shifted by a constant"
    assert detail.startswith("window old0 ")


def test_a_back_adjusted_window_is_named_with_its_place_and_offset():
    assert fault_of(window(360) - 118.25) == (
        "prices shifted by a constant",
        "window old0 matches 2024-09-09T15:00:00Z with every price 118.25 points lower, as in back-adjusted "
        "prices: give its window_start",
    )


def test_a_scaled_window_is_named_with_its_place_and_factor():
    reason, detail = fault_of(window(360) * 1.0034)
    assert reason == "prices scaled"
    assert "as 2024-09-09T15:00:00Z, prices times 1.0034: " in detail
    reason, detail = fault_of((window(360) - 19000) / 200)
    assert reason == "prices scaled"
    assert "prices times 0.005 plus -95: " in detail


def test_prices_of_another_instrument_are_recognized_by_range_or_shape():
    reason, detail = fault_of(window(360)[::-1] / 4)
    assert reason == "prices outside those of the bars"
    assert detail.endswith("register the bars it was cut from")
    reason, detail = fault_of(window(360)[::-1])
    assert (reason, detail) == (
        "prices unlike any of the bars",
        "window old0 is unlike any stretch of these bars: register the bars it was cut from",
    )


def test_a_window_in_two_places_is_ambiguous_and_both_are_named():
    repeated = BARS.copy()
    repeated.loc[700:804, list(PRICE_COLUMNS)] = window(360)
    timed = find_windows(cells(window(360), window(1260)), repeated)
    assert timed.windows == {"found": 1, "ambiguous": 1, "not found": 0}
    assert timed.faults.iloc[0].tolist() == [
        "window in several places",
        "window old0 occurs 2 times in these bars, at 2024-09-09T15:00:00Z and 2024-09-16T15:40:00Z: "
        "give its window_start",
    ]


@pytest.mark.parametrize(
    "features",
    [
        window(360)[:104],
        window(360)[:, :3],
        window(360).ravel(),
        np.full((105, 4), np.nan),
        "no json",
        "{}",
        "3",
        None,
        [[1, 2], [3]],
        "[" * 100_000,
        [[10**400] * 4] * 105,
    ],
    ids=["short", "narrow", "flat", "nan", "text", "object", "number", "nothing", "ragged", "deep", "huge"],
)
def test_features_that_are_not_a_window_are_refused_by_name(features):
    reason, detail = fault_of(features)
    assert reason == "features are no window"
    assert detail.startswith("window old0 must give features as 105 rows of open, high, low, close, got ")


def test_windows_are_counted_once_however_many_rows_they_have():
    frame = cells(window(360), window(360), expansion_start=[40, 60], expansion_end=[45, 65])
    assert find_windows(frame.assign(window_id="w"), BARS).windows["found"] == 1


def older_file(path: Path, frame: pd.DataFrame) -> Path:
    if path.suffix == ".parquet":
        nested = [[list(map(float, row)) for row in prices] for prices in frame["features"]]
        frame.assign(features=nested).to_parquet(path, index=False)
    else:
        frame.assign(features=[as_json(np.array(prices)) for prices in frame["features"]]).to_csv(
            path, index=False
        )
    return path


@pytest.mark.parametrize("name", ["old.csv", "old.parquet"])
def test_an_older_file_registers_as_the_contract_with_its_account(tmp_path, name):
    frame = cells(
        window(360), window(660), window(1260) + 3, label=["Consolidation", "RETRACEMENT", "retracement"]
    )
    path = older_file(tmp_path / name, frame)
    with pytest.raises(
        BadInput, match=r"1 of 3 rows cannot be used \(row \d: window old2 matches 2024-09-30T15:00"
    ):
        add_labels(tmp_path / "labels", path, BARS, drop_bad=False)
    ledger = add_labels(tmp_path / "labels", path, BARS, drop_bad=True)
    assert ledger.by_prices == {"found": 2, "ambiguous": 0, "not found": 1}
    assert ledger.dropped == {"prices shifted by a constant": 1}
    assert ledger.rows == ledger.kept + sum(ledger.dropped.values()) == 3
    kept = registered_labels(tmp_path / "labels")
    assert kept["label"].tolist() == ["consolidation", "retracement"]
    assert kept["window_start"].tolist() == BARS["timestamp"].iloc[[360, 660]].tolist()


def test_a_window_that_crosses_a_session_break_is_found_and_refused_as_such(tmp_path):
    path = older_file(tmp_path / "old.csv", cells(window(SESSION_BARS - 50), window(SESSION_BARS + 10)))
    ledger, rows = build_ledger(path, BARS)
    assert ledger.by_prices == {"found": 2, "ambiguous": 0, "not found": 0}
    assert ledger.dropped == {"window leaves its segment": 1, "too early in its segment": 1}
    assert rows.empty


def test_an_unknown_class_is_refused(tmp_path):
    path = older_file(tmp_path / "old.csv", cells(window(360), label="reversal"))
    assert build_ledger(path, BARS)[0].dropped == {"unknown label class": 1}


def test_an_older_file_without_a_column_names_it(tmp_path):
    path = older_file(tmp_path / "old.csv", cells(window(360)).drop(columns="label"))
    with pytest.raises(BadInput, match="must have the columns window_id, label, .* but label is missing"):
        build_ledger(path, BARS)


@pytest.mark.slow
def test_two_hundred_windows_are_found_in_five_years_of_bars_within_seconds():
    rng = np.random.default_rng(0)
    n_bars = 1_800_000
    close = np.rint(20_000 + np.cumsum(rng.integers(-4, 5, n_bars)) * 0.25)
    prices = close[:, None] + rng.integers(0, 8, (n_bars, 4)) * 0.25
    bars = pd.DataFrame(prices, columns=list(PRICE_COLUMNS))
    bars["timestamp"] = pd.date_range("2020-09-01", periods=n_bars, freq="1min", tz="UTC").as_unit("ns")
    places = rng.choice(n_bars - 105, 200, replace=False)
    started = time.perf_counter()
    timed = find_windows(cells(*(prices[row : row + 105] for row in places)), bars)
    assert time.perf_counter() - started < 5
    assert timed.cells["window_start"].tolist() == bars["timestamp"].iloc[places].tolist()
