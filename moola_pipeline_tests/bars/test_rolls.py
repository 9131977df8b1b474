"""Contract rolls: requirements of roll files, registration, and the contract of each bar."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moola_pipeline.bars.manifest import add_bars, read_bars
from moola_pipeline.bars.rolls import (
    AddedRolls,
    add_rolls,
    read_rolls,
    registered_rolls,
    remove_rolls,
)
from moola_pipeline.bars.store import BarStore
from moola_pipeline.bars.table import contract_of
from moola_pipeline.errors import BadInput, ChecksumMismatch, IntegrityError, MissingFile
from moola_pipeline_tests.bars.examples import made_up_bars, write_csv

TWO_ROLLS = """time,old,new,spread
2024-03-12T05:01:00Z,NQH4,NQM4,201.5
2024-06-17 01:01:00-04:00,NQM4,NQU4,198
"""


def rolls_file(folder: Path, text: str = TWO_ROLLS) -> Path:
    path = folder / "my_rolls.csv"
    path.write_text(text, encoding="utf-8")
    return path


def n_registered(store: BarStore) -> int:
    rolls = registered_rolls(store)
    return 0 if rolls is None else len(rolls)


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(BadInput) as caught:
        read_rolls(rolls_file(folder, text))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_two_rolls_are_read_in_utc_and_other_columns_ignored(tmp_path: Path):
    rolls = read_rolls(rolls_file(tmp_path))

    assert list(rolls.columns) == ["time", "old", "new"]
    assert list(rolls["time"]) == [pd.Timestamp("2024-03-12 05:01Z"), pd.Timestamp("2024-06-17 05:01Z")]
    assert rolls["time"].dtype == "datetime64[ns, UTC]"
    assert rolls["new"].tolist() == ["NQM4", "NQU4"]


def test_a_bar_at_the_time_of_a_roll_has_the_new_contract(tmp_path: Path):
    rolls = read_rolls(rolls_file(tmp_path))
    opened_at = pd.Series(
        pd.to_datetime(
            [
                "2023-01-01 00:00Z",
                "2024-03-12 05:00Z",
                "2024-03-12 05:01Z",
                "2024-06-17 05:00Z",
                "2024-06-17 05:01Z",
            ]
        ).as_unit("ns"),
        index=[3, 5, 8, 13, 21],
    )

    contracts = contract_of(opened_at, rolls)

    assert contracts.tolist() == ["NQH4", "NQH4", "NQM4", "NQM4", "NQU4"]
    assert contracts.index.tolist() == [3, 5, 8, 13, 21]
    assert str(contracts.dtype) == "str"


def test_contracts_equal_those_of_a_naive_loop(tmp_path: Path):
    rolls = read_rolls(rolls_file(tmp_path))
    rng = np.random.default_rng(3)
    minutes = pd.to_timedelta(rng.integers(0, 200 * 1440, 300), unit="min")
    opened_at = pd.Series(pd.Timestamp("2024-02-01", tz="UTC") + minutes).dt.as_unit("ns")

    def plain(moment: pd.Timestamp) -> str:
        contract = rolls["old"].tolist()[0]
        for time, new in zip(rolls["time"], rolls["new"], strict=True):
            if moment >= time:
                contract = new
        return contract

    assert contract_of(opened_at, rolls).tolist() == [plain(moment) for moment in opened_at]


@pytest.mark.parametrize("name", ["time", "Timestamp", "roll_ts_utc"])
def test_known_time_names_are_recognized(tmp_path: Path, name: str):
    assert len(read_rolls(rolls_file(tmp_path, TWO_ROLLS.replace("time", name, 1)))) == 2


def test_naive_times_are_utc_only_if_the_column_name_ends_in_utc(tmp_path: Path):
    naive = "{},old,new\n2024-03-12 05:01:00,NQH4,NQM4\n"

    rolls = read_rolls(rolls_file(tmp_path, naive.format("roll_ts_utc")))
    assert list(rolls["time"]) == [pd.Timestamp("2024-03-12 05:01Z")]
    assert refusal(tmp_path, naive.format("time")) == (
        "my_rolls.csv: the times in time must prove their time zone, got none. "
        "Write them with their offset, as in 2024-12-16T23:00:00Z, or name the column roll_ts_utc."
    )


def test_joined_contract_names_are_valid(tmp_path: Path):
    rolls = read_rolls(
        rolls_file(
            tmp_path,
            "roll_ts_utc,old,new\n2021-09-13 05:01:00+00:00,NQU1,NQZ1/NQH2/NQM2\n"
            "2022-06-13 05:01:00+00:00,NQZ1/NQH2/NQM2,NQU2\n",
        )
    )

    assert rolls["old"].tolist() == ["NQU1", "NQZ1/NQH2/NQM2"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "rolls must be a csv file, got: Empty CSV file"),
        ("time,old,new\n", "must hold at least one roll, got no rows"),
        ("time,old\n2024-03-12T05:01Z,NQH4\n", "one column named new, got time, old"),
        ("time,timestamp,old,new\n", "one column named time or timestamp or roll_ts_utc"),
        ("time,old,new\n2024-03-12T05:01Z,NQH4,\n", "but row 1 lacks one"),
        ("time,old,new\n2024-03-12T05:01Z,NQH4,NQM4\n,NQM4,NQU4\n", "row 2 lacks one"),
        ("time,old,new\n2024-03-12T05:01Z,NQH4,NQH4\n", "must change the contract, got NQH4 to NQH4"),
        (
            "time,old,new\n2024-06-17T05:01Z,NQH4,NQM4\n2024-03-12T05:01Z,NQM4,NQU4\n",
            "must be later than the previous roll, got NQM4 to NQU4 at 2024-03-12 05:01",
        ),
        (
            "time,old,new\n2024-03-12T05:01Z,NQH4,NQM4\n2024-06-17T05:01Z,NQU4,NQZ4\n",
            "must start from the new contract of the previous roll, got NQU4 to NQZ4 at 2024-06-17",
        ),
        ("time,old,new\nsoon,NQH4,NQM4\n", "must hold a date and a time"),
    ],
)
def test_a_file_that_is_not_a_chain_of_rolls_is_refused(tmp_path: Path, text: str, words: str):
    assert words in refusal(tmp_path, text)


def test_new_rolls_replace_all_registered_rolls(tmp_path: Path):
    store = BarStore(tmp_path / "data", simulated=False)
    assert registered_rolls(store) is None

    assert add_rolls(store, rolls_file(tmp_path)) == AddedRolls(n_rolls=2, n_before=0, changed=True)
    written = store.rolls.read_bytes()
    assert add_rolls(store, rolls_file(tmp_path)) == AddedRolls(n_rolls=2, n_before=2, changed=False)
    assert store.rolls.read_bytes() == written
    pd.testing.assert_frame_equal(read_rolls(store.rolls), read_rolls(rolls_file(tmp_path)))

    one = "".join(TWO_ROLLS.splitlines(keepends=True)[:2])
    assert add_rolls(store, rolls_file(tmp_path, one)) == AddedRolls(n_rolls=1, n_before=2, changed=True)
    assert n_registered(store) == 1


def test_damaged_rolls_are_refused_and_can_be_added_again(tmp_path: Path):
    store = BarStore(tmp_path / "data", simulated=False)
    add_rolls(store, rolls_file(tmp_path))
    store.rolls.write_text("time,old,new\nnonsense\n", encoding="utf-8")

    with pytest.raises(IntegrityError, match='Register the rolls again with "moola bars rolls add FILE"'):
        registered_rolls(store)
    assert add_rolls(store, rolls_file(tmp_path)).changed
    assert n_registered(store) == 2


def test_a_changed_contract_in_registered_rolls_is_refused_with_both_digests(tmp_path: Path):
    store = BarStore(tmp_path / "data", simulated=False)
    add_rolls(store, rolls_file(tmp_path))
    store.rolls.write_text(store.rolls.read_text().replace("NQU4", "NQZ4"))

    with pytest.raises(ChecksumMismatch, match=r"^rolls.csv: it was changed: its SHA256 is \w{64}"):
        registered_rolls(store)


def test_missing_rolls_are_refused_and_can_be_added_again_or_removed(tmp_path: Path):
    store = BarStore(tmp_path / "data", simulated=False)
    add_rolls(store, rolls_file(tmp_path))
    store.rolls.unlink()
    with pytest.raises(MissingFile) as fault:
        registered_rolls(store)
    assert str(fault.value) == (
        "rolls.csv: data/manifest.json records that rolls are registered, but it is gone. "
        'Register the rolls again with "moola bars rolls add FILE", or remove them: moola bars rolls remove'
    )
    assert add_rolls(store, rolls_file(tmp_path)).changed
    assert n_registered(store) == 2
    assert remove_rolls(store) == 2
    assert registered_rolls(store) is None
    add_rolls(store, rolls_file(tmp_path))
    store.rolls.unlink()
    assert remove_rolls(store) == 0
    assert registered_rolls(store) is None


def test_with_a_broken_manifest_rolls_are_not_changed(tmp_path: Path):
    store = BarStore(tmp_path / "data", simulated=False)
    add_rolls(store, rolls_file(tmp_path))
    store.manifest.write_text("{")
    before, one = store.rolls.read_bytes(), rolls_file(tmp_path, TWO_ROLLS.rsplit("2024", 1)[0])
    for change in (lambda: add_rolls(store, one), lambda: remove_rolls(store)):
        with pytest.raises(IntegrityError, match="manifest.json must list the registered files"):
            change()
        assert store.rolls.read_bytes() == before


def test_adding_bars_keeps_the_rolls_recorded(tmp_path: Path):
    store = BarStore(tmp_path / "data", simulated=False)
    add_rolls(store, rolls_file(tmp_path))
    add_bars(store, write_csv(tmp_path / "nq.csv", made_up_bars(200)))
    store.rolls.unlink()
    with pytest.raises(MissingFile):
        read_bars(store)


def test_private_rolls_are_accepted(private_data: Path):
    rolls = read_rolls(private_data / "real" / "nq_rolls.csv")

    assert rolls["time"].is_monotonic_increasing
    assert (rolls["old"].iloc[1:].to_numpy() == rolls["new"].iloc[:-1].to_numpy()).all()
