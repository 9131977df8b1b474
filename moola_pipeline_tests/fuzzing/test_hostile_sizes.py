"""Files that claim or unpack to gigabytes are refused in one line, within limits of time and memory."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from moola_pipeline.errors import MAX_LINE_LENGTH
from moola_pipeline.storage.checksums import write_checksummed
from moola_pipeline_tests.bars.examples import made_up_bars
from moola_pipeline_tests.counts import record
from moola_pipeline_tests.fuzzing import hostile
from moola_pipeline_tests.fuzzing.hostile import GIB, Cost, costs_of, sparse
from moola_pipeline_tests.fuzzing.label_readers import label_rows

QUICK_SECONDS, QUICK_MIB = 2.0, 64
"""Limits for files that are refused by their size, header or footer."""
UNPACKING_SECONDS, UNPACKING_MIB = 20.0, 1200
"""Limits for files that are unpacked or read up to the maximum of one GiB."""

Make = Callable[[Path], Path]


def _file(name: str, make: Callable[[], bytes]) -> Make:
    def write(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(make())
        assert path.stat().st_size < 16 << 20
        return path

    return write


def _terabyte(folder: Path) -> Path:
    return sparse(folder / "nq.csv", 1024 * GIB)


def _weights(folder: Path) -> Path:
    config, weights = hostile.huge_weights()
    (folder / "weights.safetensors").write_bytes(weights)
    write_checksummed(folder / "config.json", config)
    return folder / "config.json"


def _columns(table: object) -> Callable[[], bytes]:
    return lambda: hostile.many_columns(str(table))


BARS, LABELS = made_up_bars(130).to_csv(index=False), label_rows().to_csv(index=False)
ROLLS = "time,old,new\n2024-03-11T22:00:00Z,NQH4,NQM4\n"
REFUSED_AT_ONCE: dict[str, tuple[str, Make, str]] = {
    "a zip of a zip": ("bars", _file("a.csv", hostile.nested_zip), "a compressed file in a compressed file"),
    "rows that a footer claims": (
        "bars",
        _file("b.csv", hostile.many_rows_claimed),
        "at most 30,000,000 rows, got 1,099,511,627,776",
    ),
    "labels that a footer claims": (
        "labels",
        _file("c.csv", hostile.many_rows_claimed),
        "at most 1,000,000 rows",
    ),
    "columns of bars": ("bars", _file("d.csv", _columns(BARS)), "first line of a csv must be at most 64 KiB"),
    "columns of labels": (
        "labels",
        _file("e.csv", _columns(LABELS)),
        "first line of a csv must be at most 64 KiB",
    ),
    "columns of rolls": (
        "rolls",
        _file("f.csv", _columns(ROLLS)),
        "the header of rolls must have at most 16 KiB",
    ),
    "brackets for bars": (
        "bars",
        _file("g.csv", hostile.brackets),
        "JSON must hold rows",
    ),
    "brackets for labels": ("labels", _file("h.csv", hostile.brackets), "got JSON. Save it as csv"),
    "brackets for rolls": (
        "rolls",
        _file("i.csv", hostile.brackets),
        "header of rolls must have at most 16 KiB",
    ),
    "brackets for a manifest": ("manifest", _file("manifest.json", hostile.brackets), "nested too deeply"),
    "brackets for split dates": ("splits", _file("splits.json", hostile.brackets), "nested too deeply"),
    "brackets for options": (
        "inbox options",
        _file("options.json", hostile.brackets),
        "must be a JSON object",
    ),
    "brackets for a model": ("model", _file("config.json", hostile.brackets), "nested too deeply"),
    "weights of a terabyte": ("model", _weights, "header too large"),
    "a terabyte of bars": ("bars", _terabyte, "at most 1,024 MiB"),
    "a terabyte of labels": ("labels", _terabyte, "at most 256 MiB"),
    "a terabyte of rolls": ("rolls", _terabyte, "at most 16 MiB"),
    "a terabyte of a backup": ("backup", _terabyte, "it is not an archive"),
    "a backup's list": ("backup", _file("b.zip", hostile.huge_list), "must have at most 64 MiB"),
}


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cost]:
    """Cost of each of REFUSED_AT_ONCE."""
    began = time.monotonic()
    made = [(reader, make(tmp_path_factory.mktemp("huge"))) for reader, make, _ in REFUSED_AT_ONCE.values()]
    costs = dict(zip(REFUSED_AT_ONCE, costs_of(*made), strict=True))
    record("files that claim to be huge", files=len(costs), crashes=0, seconds=time.monotonic() - began)
    return costs


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED_AT_ONCE)
def test_files_that_claim_to_be_huge_are_refused_at_once(name: str, at_once: dict[str, Cost]):
    _require(at_once[name], REFUSED_AT_ONCE[name][2], QUICK_SECONDS, QUICK_MIB)


UNPACKED = {
    "gzip": (hostile.gzip_bomb, "at most 1,024 MiB of content"),
    "zstd": (hostile.zstd_bomb, "at most 1,024 MiB of content"),
    "zip": (hostile.zip_bomb, "at most 1,024 MiB of content"),
    "a line": (hostile.long_line, "each line of a csv must be at most 1 MiB long"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", UNPACKED)
def test_unpacking_stops_at_the_limit(name: str, tmp_path: Path):
    make, wanted = UNPACKED[name]
    (cost,) = costs_of(("bars", _file("nq.csv", make)(tmp_path)))
    _require(cost, wanted, UNPACKING_SECONDS, UNPACKING_MIB)


@pytest.mark.slow
def test_a_sparse_gigabyte_is_refused(tmp_path: Path):
    (cost,) = costs_of(("bars", sparse(tmp_path / "nq.csv", 10**9)))
    _require(cost, "got other bytes", UNPACKING_SECONDS, UNPACKING_MIB)


@pytest.mark.slow
def test_a_hundred_thousand_rows_of_one_window_do_not_take_quadratic_time(tmp_path: Path):
    (cost,) = costs_of(("labels", _file("labels.csv", hostile.crowded_window)(tmp_path)))
    assert cost.seconds < UNPACKING_SECONDS
    assert cost.mib < UNPACKING_MIB / 4


def _require(cost: Cost, wanted: str, most_seconds: float, most_mib: int) -> None:
    assert wanted in cost.message
    assert len(cost.message.splitlines()) == 1
    assert len(cost.message) <= MAX_LINE_LENGTH
    assert cost.seconds < most_seconds
    assert cost.mib < most_mib
