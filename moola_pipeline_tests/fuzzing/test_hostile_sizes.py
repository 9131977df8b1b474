"""Files that stand for gigabytes end in one line, within the seconds and the memory stated here."""

from collections.abc import Callable
from pathlib import Path

import pytest

from moola_pipeline_tests.bars.examples import made_up_bars
from moola_pipeline_tests.fuzzing import hostile
from moola_pipeline_tests.fuzzing.harness import LONGEST_LINE
from moola_pipeline_tests.fuzzing.hostile import GIB, cost_of, sparse
from moola_pipeline_tests.fuzzing.label_readers import label_rows

QUICK_SECONDS, QUICK_MIB = 2.0, 64
"""For what is refused by its size, its head or its footer."""
UNPACKING_SECONDS, UNPACKING_MIB = 20.0, 1200
"""For what is unpacked, or read, up to the gibibyte that a bar file may hold."""


def _bars_of_many_columns() -> bytes:
    return hostile.many_columns(str(made_up_bars(130).to_csv(index=False)))


def _labels_of_many_columns() -> bytes:
    return hostile.many_columns(str(label_rows().to_csv(index=False)))


def _rolls_of_many_columns() -> bytes:
    return hostile.many_columns("time,old,new\n2024-03-11T22:00:00Z,NQH4,NQM4\n")


def _weights(path: Path) -> Path:
    config, weights = hostile.huge_weights()
    path.with_name("weights.safetensors").write_bytes(weights)
    path.write_bytes(config)
    return path


REFUSED_AT_ONCE = [
    ("bars", hostile.nested_zip, "a packed file in a packed file"),
    ("bars", hostile.many_rows_claimed, "at most 30,000,000 rows, got 1,099,511,627,776"),
    ("labels", hostile.many_rows_claimed, "at most 1,000,000 rows"),
    ("bars", _bars_of_many_columns, "first line of a csv must be at most 64 KiB"),
    ("labels", _labels_of_many_columns, "1,000 columns, got 6 and 100,009"),
    ("rolls", _rolls_of_many_columns, "a line of at most 16 KiB"),
    ("bars", hostile.brackets, "a csv must hold a time and four prices"),
    ("labels", hostile.brackets, "must hold at least one row"),
    ("rolls", hostile.brackets, "must be"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reader", "make", "wanted"),
    REFUSED_AT_ONCE,
    ids=[f"{one}-{make.__name__}" for one, make, _ in REFUSED_AT_ONCE],
)
def test_what_claims_to_be_huge_is_refused_at_once(
    reader: str, make: Callable[[], bytes], wanted: str, tmp_path: Path
):
    path = tmp_path / "nq.csv"
    path.write_bytes(make())
    assert path.stat().st_size < 16 << 20
    _require(reader, path, wanted, QUICK_SECONDS, QUICK_MIB)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reader", "name"),
    [
        ("manifest", "manifest.json"),
        ("splits", "splits.json"),
        ("inbox options", "options.json"),
        ("model", "config.json"),
    ],
)
def test_a_hundred_thousand_brackets_are_one_line(reader: str, name: str, tmp_path: Path):
    path = tmp_path / name
    path.write_bytes(hostile.brackets())
    _require(reader, path, "must", QUICK_SECONDS, QUICK_MIB)


@pytest.mark.slow
def test_weights_whose_head_claims_a_terabyte_are_refused_at_once(tmp_path: Path):
    _require("model", _weights(tmp_path / "config.json"), "header too large", QUICK_SECONDS, QUICK_MIB)


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["bars", "labels", "rolls", "backup"])
def test_a_sparse_file_of_a_terabyte_is_refused_at_once(reader: str, tmp_path: Path):
    path = sparse(tmp_path / "nq.csv", 1024 * GIB)
    _require(reader, path, "must", QUICK_SECONDS, QUICK_MIB)


@pytest.mark.slow
def test_a_hundred_thousand_rows_of_one_window_take_no_time_squared(tmp_path: Path):
    path = tmp_path / "labels.csv"
    path.write_bytes(hostile.crowded_window())
    cost = cost_of("labels", path)
    assert cost.seconds < UNPACKING_SECONDS
    assert cost.mib < 300


UNPACKED = [
    (hostile.gzip_bomb, "at most 1,024 MiB unpacked"),
    (hostile.zstd_bomb, "at most 1,024 MiB unpacked"),
    (hostile.zip_bomb, "at most 1,024 MiB unpacked"),
    (hostile.long_line, "each line of a csv must be at most 1 MiB long"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("make", "wanted"), UNPACKED, ids=[make.__name__ for make, _ in UNPACKED])
def test_what_unpacks_to_gigabytes_is_let_go_at_the_limit(
    make: Callable[[], bytes], wanted: str, tmp_path: Path
):
    path = tmp_path / "nq.csv"
    path.write_bytes(make())
    assert path.stat().st_size < 16 << 20
    _require("bars", path, wanted, UNPACKING_SECONDS, UNPACKING_MIB)


@pytest.mark.slow
def test_a_sparse_gigabyte_is_no_bar_file(tmp_path: Path):
    path = sparse(tmp_path / "nq.csv", 10**9)
    _require("bars", path, "got other bytes", UNPACKING_SECONDS, UNPACKING_MIB)


@pytest.mark.slow
def test_a_backup_whose_list_unpacks_to_gigabytes_is_refused_at_once(tmp_path: Path):
    path = tmp_path / "b.zip"
    path.write_bytes(hostile.huge_list())
    _require("backup", path, "must have at most 64 MiB", QUICK_SECONDS, QUICK_MIB)


def _require(reader: str, path: Path, wanted: str, most_seconds: float, most_mib: int) -> None:
    cost = cost_of(reader, path)
    assert wanted in cost.said
    assert len(cost.said.splitlines()) == 1
    assert len(cost.said) <= LONGEST_LINE
    assert cost.seconds < most_seconds
    assert cost.mib < most_mib
