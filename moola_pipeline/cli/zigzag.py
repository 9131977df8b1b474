"""`moola zigzag`: the swings of any file of one-minute bars, as a table, a file or a chart."""

import math
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from moola_pipeline.cli.output import (
    PLOT_SUFFIXES,
    TABLE_SUFFIXES,
    emit,
    json_option,
    place_of,
    records,
    require_out,
    save_table,
    timezone_option,
    writing,
)
from moola_pipeline.cli.roll_options import applied_rolls, roll_facts, roll_line, rolls_option
from moola_pipeline.cli.vendor_files import chosen_options, vendor_options
from moola_pipeline.errors import BadInput
from moola_pipeline.features.zigzag import ATR_BARS, ZIGZAG_K
from moola_pipeline.storage.home import Home

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("time", "price", "kind", "confirmed_at")
SHOWN_MOST = 20


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--k", type=float, default=ZIGZAG_K, show_default=True, help="Retracement that confirms a swing, ATR."
)
@click.option("--atr", type=int, default=ATR_BARS, show_default=True, help="Length of the ATR, bars.")
@click.option("--out", type=click.Path(path_type=Path), help="Write all swings: .csv, .parquet or .json.")
@click.option(
    "--plot", type=click.Path(path_type=Path), help="Draw one session with its swings: .png or .svg."
)
@click.option("--session", metavar="DATE", help="The session to draw, as 2025-06-30 (default: the last).")
@timezone_option
@rolls_option
@vendor_options
@json_option
def zigzag(
    file: Path,
    k: float,
    atr: int,
    out: Path | None,
    plot: Path | None,
    session: str | None,
    show_timezone: str,
    rolls: Path | None,
    as_json: bool,
    **vendor: Any,
) -> None:
    """List the swings of FILE: each extreme, and the later bar that confirmed it.

    Bars are read as "moola bars add" reads them. A swing lies in one session and crosses no halt,
    weekend or roll. Rolls come from the file's contracts, --rolls or the registered rolls. Times are
    bar opens.
    """
    from moola_pipeline import api
    from moola_pipeline.bars.store import home_instrument
    from moola_pipeline.bars.table import build_table
    from moola_pipeline.bars.vendor import read_vendor_file

    _require_settings(k, atr, session, plot)
    require_out("--out", out, TABLE_SUFFIXES, file)
    require_out("--plot", plot, PLOT_SUFFIXES, file, out)
    options = chosen_options(**vendor)
    read = read_vendor_file(file, options, home_instrument(Home.resolve()))
    rolls_used = applied_rolls(Home.resolve(), read.frame, read.facts.instrument, rolls)
    bars = build_table(read.frame, rolls_used.rolls)
    lengths = bars["segment"].value_counts()
    if lengths.max() <= atr:
        raise BadInput(
            f"{file.name}: swings need more than {atr} bars of one segment (--atr; no gap over 10 minutes), "
            f"got {lengths.max()}. Give more bars, or a smaller --atr."
        )
    drawn = _chosen_session(bars, session, file.name) if plot is not None else None
    swings = api.zigzag(bars, k, atr, read.facts.instrument)
    listed = swings.loc[:, list(COLUMNS)]
    rows = records(listed)
    if out is not None:
        with writing("--out", out):
            save_table(out, listed, rows)
    if plot is not None and drawn is not None:
        with writing("--plot", plot):
            title = f"{file.name}, session {drawn}, zigzag k = {k:g}, ATR({atr})"
            _draw(plot, bars, swings, drawn, title, show_timezone)
    shown = {
        "file": file.name,
        "k": k,
        "atr_bars": atr,
        "bars": len(bars),
        "segments": len(lengths),
        "segments_too_short": int((lengths <= atr).sum()),
        "plotted_session": drawn,
        "rolls": roll_facts(rolls_used),
        "swings": rows,
    }
    first, *more = _lines(shown, swings, out, plot, show_timezone)
    emit(shown, [first, roll_line(rolls_used), *more], as_json)


def _require_settings(k: float, atr: int, session: str | None, plot: Path | None) -> None:
    if not (k > 0 and math.isfinite(k)):
        raise BadInput(f"--k must be > 0 ATR, got {k:g}. Leave it out for {ZIGZAG_K:g}.")
    if not 1 <= atr <= 1000:
        raise BadInput(f"--atr must be 1 to 1000 bars, got {atr}. Leave it out for {ATR_BARS}.")
    if session is not None:
        if plot is None:
            raise BadInput("--session needs --plot, got no --plot. Add --plot swings.png.")
        try:
            date.fromisoformat(session)
        except ValueError:
            raise BadInput(f"--session must be a date, got {session!r}. Write it as 2025-06-30.") from None


def _chosen_session(bars: "pd.DataFrame", wanted: str | None, source: str) -> str:
    sessions = bars["session"].dt.strftime("%Y-%m-%d")
    first, last = sessions.iloc[0], sessions.iloc[-1]
    if wanted is not None and not (sessions == wanted).any():
        raise BadInput(
            f"{source}: --session must be a session of this file, {first} to {last}, got {wanted}. "
            "Choose a session with bars."
        )
    return wanted or str(last)


def _draw(
    plot: Path, bars: "pd.DataFrame", swings: "pd.DataFrame", session: str, title: str, zone: str
) -> None:
    import numpy as np

    from moola_pipeline.inference.plots import draw_session, draw_swings
    from moola_pipeline.plotting import picture_file
    from moola_pipeline.storage.atomic_write import atomic_write_bytes

    drawn = bars.loc[bars["session"].to_numpy() == np.datetime64(session)]
    figure, axes = draw_session(drawn, title, zone)
    draw_swings(axes, drawn, swings.loc[swings["time"].isin(drawn["timestamp"])])
    atomic_write_bytes(plot, picture_file(figure, plot.suffix))


def _lines(
    shown: dict[str, Any], swings: "pd.DataFrame", out: Path | None, plot: Path | None, zone: str
) -> list[str]:
    lines = [
        f"{shown['file']}: {len(swings):,} swings in {shown['bars']:,} bars, {shown['segments']:,} segments",
        f"each confirmed by a retracement of {shown['k']:g} ATR({shown['atr_bars']})",
    ]
    if few := shown["segments_too_short"]:
        are, them = ("segment is", "it") if few == 1 else ("segments are", "them")
        lines.append(f"{few:,} {are} too short for the ATR: no swing can be confirmed in {them}")
    if plot is not None:
        drawn = f"session {shown['plotted_session']} drawn to {plot}"
        lines.append(f"{drawn}, {place_of(zone)} (another: --session DATE)")
    if out is not None:
        return [*lines, f"written to {out}"]
    if len(swings) > SHOWN_MOST:
        lines.append(f"the last {SHOWN_MOST} (all: --out swings.csv)")
    if len(swings):
        table = swings.tail(SHOWN_MOST).loc[:, list(COLUMNS)]
        local = {name: table[name].dt.tz_convert(zone) for name in ("time", "confirmed_at")}
        times = {name: moments.dt.strftime("%Y-%m-%d %H:%M") for name, moments in local.items()}
        named = f"times are bar opens, {place_of(zone)} ({zone})"
        lines += ["", named, table.assign(**times).to_string(index=False)]
    return lines
