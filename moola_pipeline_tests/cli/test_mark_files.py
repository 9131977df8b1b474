"""`moola predict --out` and `--plot`: files for trading platforms, and a chart of the last session."""

from pathlib import Path

import pandas as pd
import pytest

from moola_pipeline.cli.exit_codes import BAD_INPUT
from moola_pipeline.inference.platforms import NINJATRADER_COLUMNS
from moola_pipeline.storage.home import Home
from moola_pipeline_tests.cli.calls import call, complaint, facts

MODEL = ("--model", "models:/moola-simulated@champion")


@pytest.fixture(scope="module")
def bar_file(smoke_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session of the simulated market and most of the next."""
    [path] = smoke_home.simulated.rglob("raw/bars.parquet")
    target = tmp_path_factory.mktemp("bars") / "two.parquet"
    pd.read_parquet(path).iloc[:2600].to_parquet(target, index=False)
    return target


@pytest.fixture(scope="module")
def shown(smoke_home: Home, bar_file: Path) -> dict:
    return facts(call("predict", bar_file, *MODEL, "--json", home=smoke_home.root))


def test_a_pine_script_holds_every_mark(smoke_home: Home, bar_file: Path, shown: dict, tmp_path: Path):
    out = tmp_path / "june.pine"
    done = call("predict", bar_file, *MODEL, "--out", out, home=smoke_home.root)
    assert f"written to {out}" in done.stdout.splitlines()
    script = out.read_text()
    assert script.splitlines()[1] == f"// two.parquet, {MODEL[1]} (version 1)"
    assert 'indicator("Moola june", overlay = true' in script
    first = pd.Timestamp(shown["expansions"][0]["started_at"]).value // 10**6
    assert f"     {first}" in script


def test_a_ninjatrader_file_has_a_row_for_every_mark(
    smoke_home: Home, bar_file: Path, shown: dict, tmp_path: Path
):
    out = tmp_path / "june.ninjatrader.csv"
    done = call("predict", bar_file, *MODEL, "--out", out, home=smoke_home.root)
    assert done.stdout.splitlines()[-1] == f"written to {out}, for the indicator in deploy/ninjatrader"
    rows = pd.read_csv(out)
    assert tuple(rows.columns) == NINJATRADER_COLUMNS
    assert rows["label"].tolist() == [one["label"] for one in shown["expansions"]]


def test_the_indicator_reads_the_columns_that_are_written():
    source = (Path(__file__).parents[2] / "deploy/ninjatrader/MoolaMarks.cs").read_text()
    assert f'"{",".join(NINJATRADER_COLUMNS)}"' in source


def test_a_picture_shows_the_last_session_with_its_marks(
    smoke_home: Home, bar_file: Path, shown: dict, tmp_path: Path
):
    plot = tmp_path / "last.svg"
    done = call("predict", bar_file, *MODEL, "--plot", plot, home=smoke_home.root)
    [line] = [line for line in done.stdout.splitlines() if "drawn to" in line]
    session = line.split()[1]
    picture = plot.read_text()
    assert f"session {session}, expansions by {MODEL[1]} (version 1)" in picture
    session_start = pd.Timestamp(session, tz="UTC") - pd.Timedelta(hours=2)
    inside = [one for one in shown["expansions"] if pd.Timestamp(one["started_at"]) >= session_start]
    assert len(inside) > 0
    assert sum(picture.count(f">{one['probability']:.2f}<") > 0 for one in inside) == len(inside)


def test_a_png_is_written_as_well(smoke_home: Home, bar_file: Path, tmp_path: Path):
    plot = tmp_path / "last.png"
    call("predict", bar_file, *MODEL, "--plot", plot, home=smoke_home.root)
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_an_existing_file_is_replaced(smoke_home: Home, bar_file: Path, tmp_path: Path):
    out = tmp_path / "marks.pine"
    out.write_text("mine")
    call("predict", bar_file, *MODEL, "--out", out, home=smoke_home.root)
    assert out.read_text().startswith("//@version=6")


def test_an_unknown_picture_and_one_file_for_both_are_refused(bar_file: Path, tmp_path: Path):
    result = call("predict", bar_file, "--plot", tmp_path / "marks.gif")
    assert result.exit_code == BAD_INPUT
    assert complaint(result) == "--plot must end in .png, .svg, got marks.gif. Choose one of them."
