"""Any bytes give `moola bars add` valid bars, or one error line and no files."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moola_pipeline.bars.instruments import INSTRUMENTS
from moola_pipeline.bars.manifest import read_bars
from moola_pipeline.bars.schema import validate_bars
from moola_pipeline.bars.store import read_manifest, registered_store
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.bars import vendor_files as made
from moola_pipeline_tests.bars.examples import made_up_bars, wall_clock, write_parquet
from moola_pipeline_tests.cli.calls import call

CASES_VARIABLE = "MOOLA_FUZZ_CASES"
N_CASES = int(os.environ.get(CASES_VARIABLE, "60"))
NAIVE = wall_clock(made_up_bars(5), "America/New_York")


def _parquet() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_parquet(Path(folder) / "nq.parquet", made_up_bars(5)).read_bytes()


def _sound_files() -> list[bytes]:
    bars = made_up_bars(5)
    files = [
        bars.to_csv(index=False).encode(),
        NAIVE.to_csv(index=False, sep=";").encode(),
        bars.assign(timestamp=bars["timestamp"].astype("int64")).to_csv(index=False, sep="\t").encode(),
        made.ninjatrader(bars),
        made.metatrader(bars),
        made.firstrate(bars, header=False),
        made.databento_csv(bars, pretty=False),
        _parquet(),
        made.ninjatrader(bars).replace(b".", b","),
        b"NQ\n" + made_up_bars(150).to_csv(index=False, sep="|").encode(),
    ]
    with suppress(ModuleNotFoundError):  # without the extra: one format fewer
        files.append(made.dbn(bars))
    return [*files, made.gzipped(files[0]), made.zstd(files[4]), made.zipped(files[3])]


SOUND = _sound_files()
TOKENS = [
    *(b"", b"0", b"-1", b"nan", b"inf", b"1e308", b"-0.0", b"0.1", b"99999999999999999999", b'"', b"\0"),
    *(b",", b";", b"\t", b"\n", b"\r\n", b"\xff", b"NULL", b"2024-13-45 25:61:61", b"1677-09-21 00:12:43"),
    *(b"9999-12-31 23:59", b"2024-03-10 02:30:00", b"24:00", b"1_000", "１２".encode(), b"=1+1", b"#", b" "),
    *(b"time", b"PAR1", b"DBN", b"\x1f\x8b", b"PK\3\4", b"\x28\xb5\x2f\xfd", b"../x"),
    *(
        b"|",
        b"18,000.25",
        b"18.000,25",
        b"2090-01-02 15:00:00",
        b"2024-03-09",
        b"PM",
        b"\xff\xfe",
        b"#1",
        b"close",
    ),
]


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """A valid file of some format with bytes cut out, overwritten, inserted or doubled."""
    content = draw(st.sampled_from(SOUND))
    for _ in range(draw(st.integers(0, 4))):
        first = draw(st.integers(0, len(content)))
        last = draw(st.integers(first, min(len(content), first + draw(st.sampled_from([0, 1, 8, 64])))))
        new = draw(st.sampled_from(TOKENS) | st.binary(max_size=8) | st.just(content[first:last] * 2))
        content = content[:first] + new + content[last:]
    return content


CONTENTS = damaged_files() | st.binary(max_size=200) | st.text(max_size=200).map(str.encode)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "--format": st.sampled_from(
            ["csv", "parquet", "databento", "firstrate", "ninjatrader", "tradingview"]
        ),
        "--timezone": st.sampled_from(["UTC", "America/New_York", "Etc/GMT+5", "Asia/Tokyo"]),
        "--stamp": st.sampled_from(["open", "close"]),
        "--instrument": st.sampled_from(sorted(INSTRUMENTS)),
        "--columns": st.sampled_from(["time=1,open=2", "close=low,low=close", "date=open", "volume=7"]),
    },
)


@settings(
    max_examples=N_CASES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(content=CONTENTS, options=OPTIONS, packed=st.sampled_from([bytes, bytes, made.gzipped, made.zipped]))
def test_any_bytes_give_valid_bars_or_one_error_line_and_no_files(content, options, packed):
    with tempfile.TemporaryDirectory() as folder:
        path, home = Path(folder) / "nq.csv", Path(folder) / "home"
        path.write_bytes(packed(content))
        words = [word for option in options.items() for word in option]
        result = call("bars", "add", path, *words, home=home)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        files = {file for file in home.rglob("*") if file.suffix != ".lock" and file.is_file()}
        store = registered_store(Home(home))
        if result.exit_code == 0:
            (entry,) = read_manifest(store).files
            bars = read_bars(store)
            validate_bars(bars, INSTRUMENTS[entry.instrument])
            assert len(bars) == entry.rows
            expected = {store.manifest, store.raw / entry.file, store.parsed(entry)}
            assert files - expected <= {store.quarantined(entry)}
        else:
            assert result.exit_code == 2
            created, fault = result.stderr.splitlines()
            assert created == f"The home {home} does not exist yet: it will be created."
            assert fault.startswith("Error: ")
            assert files == set()


@pytest.mark.parametrize("content", SOUND, ids=range(len(SOUND)))
def test_the_files_to_be_damaged_are_valid(content: bytes, tmp_path: Path):
    path = made.saved(tmp_path / "nq.csv", content)
    results = [
        call("bars", "add", path, *words, home=tmp_path / str(number)).exit_code
        for number, words in enumerate(
            [[], ["--timezone", "UTC"], ["--stamp", "close"], ["--format", "firstrate"]]
        )
    ]
    assert 0 in results
