"""`moola predict --out` and `--plot`: files for trading platforms, and charts of sessions with marks."""

from pathlib import Path

import pandas as pd
import pytest

from moola_pipeline.cli.exit_codes import BAD_INPUT
from moola_pipeline.cli.mark_files import ShownSessions, sessions_to_draw
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


FRIDAY, MONDAY, TUESDAY = "2025-01-03", "2025-01-06", "2025-01-07"


def table_of(*sessions: str, minutes: int = 1380) -> pd.DataFrame:
    """Bars of whole sessions; the last one has `minutes`."""
    opened = [pd.Timestamp(day, tz="America/New_York") - pd.Timedelta(hours=6) for day in sessions]
    lengths = [1380] * (len(sessions) - 1) + [minutes]
    times = [pd.date_range(one, periods=n, freq="min") for one, n in zip(opened, lengths, strict=True)]
    days = [pd.Timestamp(day) for day, n in zip(sessions, lengths, strict=True) for _ in range(n)]
    stamps = pd.DatetimeIndex([moment for one in times for moment in one.tz_convert("UTC")])
    return pd.DataFrame({"timestamp": stamps, "session": days})


def marks_in(*sessions: str) -> pd.DataFrame:
    noons = [pd.Timestamp(f"{day} 12:00", tz="America/New_York").tz_convert("UTC") for day in sessions]
    return pd.DataFrame({"started_at": pd.DatetimeIndex(noons, tz="UTC")})


@pytest.mark.parametrize(
    ("table", "marked", "n_last", "drawn"),
    [
        (table_of(FRIDAY, MONDAY, TUESDAY), (FRIDAY, MONDAY), 1, [MONDAY]),
        (table_of(FRIDAY, MONDAY, TUESDAY), (FRIDAY, MONDAY, TUESDAY), 2, [MONDAY, TUESDAY]),
        (table_of(FRIDAY, MONDAY, minutes=700), (FRIDAY, MONDAY), 1, [FRIDAY]),
        (table_of(FRIDAY, MONDAY, minutes=1200), (MONDAY,), 1, [MONDAY]),
        (table_of(FRIDAY, MONDAY), (), 3, [MONDAY]),
        (table_of(FRIDAY, MONDAY), (FRIDAY, MONDAY), 9, [FRIDAY, MONDAY]),
    ],
    ids=["without marks", "two", "open", "marks in the open one only", "no marks", "fewer than asked"],
)
def test_the_last_complete_sessions_with_marks_are_drawn(
    table: pd.DataFrame, marked: tuple[str, ...], n_last: int, drawn: list[str]
):
    assert sessions_to_draw(table, marks_in(*marked), ShownSessions(None, n_last, "UTC")) == drawn


def test_a_picture_shows_the_last_complete_session_with_its_marks_and_what_is_not_covered(
    smoke_home: Home, bar_file: Path, shown: dict, tmp_path: Path
):
    plot = tmp_path / "last.svg"
    done = call("predict", bar_file, *MODEL, "--plot", plot, home=smoke_home.root)
    [line] = [line for line in done.stdout.splitlines() if "drawn to" in line]
    session = line.split()[1]
    picture = plot.read_text()
    assert f"session {session}, expansions by {MODEL[1]} (version 1)" in picture
    session_start = pd.Timestamp(session, tz="America/New_York") - pd.Timedelta(hours=6)
    session_end = session_start + pd.Timedelta(hours=23)
    found = [pd.Timestamp(one["started_at"]) for one in shown["expansions"]]
    inside = [
        one
        for one, started in zip(shown["expansions"], found, strict=True)
        if session_start <= started < session_end
    ]
    assert len(inside) > 0
    assert line == (
        f"session {session} drawn to {plot}, {len(inside)} marks, New York time "
        "(another: --session DATE, more: --last N)"
    )
    assert sum(picture.count(f">{one['probability']:.2f}<") > 0 for one in inside) == len(inside)
    assert ">70 bars not covered<" in picture and ">30 bars not covered<" in picture
    assert ">New York time (" in picture


def test_printed_times_and_the_chart_are_in_the_chosen_zone(
    smoke_home: Home, bar_file: Path, shown: dict, tmp_path: Path
):
    plot = tmp_path / "berlin.svg"
    session = f"{pd.Timestamp(shown['expansions'][0]['started_at']) + pd.Timedelta(hours=2):%Y-%m-%d}"
    options = ("--plot", plot, "--session", session, "--show-timezone", "Europe/Berlin")
    done = call("predict", bar_file, *MODEL, *options, home=smoke_home.root)
    lines = done.stdout.splitlines()
    place = lines.index("times are bar opens, Berlin time (Europe/Berlin)")
    first = pd.Timestamp(shown["expansions"][0]["started_at"]).tz_convert("Europe/Berlin")
    assert lines[place + 2].split()[:2] == [f"{first:%Y-%m-%d}", f"{first:%H:%M}"]
    assert ">Berlin time (" in plot.read_text()
    [drawn] = [line for line in lines if "drawn to" in line]
    assert drawn.startswith(f"session {session} drawn to {plot}") and drawn.endswith(" marks, Berlin time")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--session", "2030-01-01", "--plot", "a.png"), "--session must be a session of this file, "),
        (("--session", "2025-05-02"), "choose what --plot draws, but it is not given. Add it"),
        (("--last", "2", "--session", "2025-05-02", "--plot", "a.png"), "got both. Leave one out."),
        (("--show-timezone", "Europe/Belin"), "got 'Europe/Belin'. Did you mean 'Europe/Berlin'?"),
        (("--show-timezone", "???"), "Give UTC or America/Chicago, for example."),
    ],
)
def test_a_session_or_zone_that_does_not_exist_is_refused(
    bar_file: Path, options: tuple[str, ...], said: str
):
    result = call("predict", bar_file, *options)
    assert result.exit_code == BAD_INPUT
    assert said in complaint(result)


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
