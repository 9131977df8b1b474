"""Output files of `moola predict`: tables, drawings for trading platforms, and a chart."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from moola_pipeline.cli.output import (
    PLOT_SUFFIXES,
    TABLE_SUFFIXES,
    place_of,
    records,
    require_out,
    save_table,
    timezone_option,
    writing,
)
from moola_pipeline.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd

    from moola_pipeline.inference.hindsight import Predictions

PINE, NINJATRADER = ".pine", ".ninjatrader.csv"
MARK_ENDINGS = (*TABLE_SUFFIXES, PINE, NINJATRADER)
OUT_HELP = f"Write the expansions; the suffix sets the format: {', '.join(MARK_ENDINGS)}."
PLOT_HELP = f"Draw the last complete session that has marks: {' or '.join(PLOT_SUFFIXES)}."
MAX_SESSIONS = 10
UNCOVERED = "not covered: too few bars of its segment before or after for a window"


def require_files(out: Path | None, plot: Path | None, file: Path) -> None:
    """Refuse output files that cannot be written, before any input is read.

    Raises:
        BadInput: If a suffix is unknown, or two of the files are the same.
    """
    require_out("--out", out, MARK_ENDINGS, file)
    require_out("--plot", plot, PLOT_SUFFIXES, file, out)


def write_marks(out: Path, predictions: "Predictions", table: "pd.DataFrame", source: str) -> str:
    """Write the expansions in the format that the suffix of `out` sets.

    Args:
        out: File whose name ends in one of MARK_ENDINGS.
        predictions: Expansions to write.
        table: The bars that were read.
        source: Names of the bar file and the model.

    Returns:
        One line that names the file.

    Raises:
        BadInput: If the file cannot be written.
    """
    from moola_pipeline.inference.platforms import drawn_marks, ninjatrader_csv, pine_script
    from moola_pipeline.storage.atomic_write import atomic_write_bytes

    more = ""
    with writing("--out", out):
        if out.name.endswith(NINJATRADER):
            atomic_write_bytes(out, ninjatrader_csv(drawn_marks(predictions.expansions, table)).encode())
            more = ", for the indicator in deploy/ninjatrader"
        elif out.suffix == PINE:
            script = pine_script(drawn_marks(predictions.expansions, table), f"Moola {out.stem}", source)
            atomic_write_bytes(out, script.text.encode())
            if script.n_drawn < len(predictions.expansions):
                n_found = len(predictions.expansions)
                more = f", the newest {script.n_drawn} of {n_found:,}: TradingView cannot draw more"
        else:
            save_table(out, predictions.expansions, _as_json(predictions))
    return f"written to {out}{more}"


@dataclass(frozen=True)
class ShownSessions:
    """Which sessions a chart shows, and the time zone of all times in it and in the printed table.

    Attributes:
        session: The session to draw, as 2025-06-27; None: the last complete ones with marks.
        n_last: How many of these.
        zone: IANA time zone.
    """

    session: str | None
    n_last: int
    zone: str


def shown_sessions_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --session, --last and --show-timezone to a command; it receives them as `shown_sessions`."""

    @wraps(command)
    def with_sessions(session: str | None, last: int | None, show_timezone: str, **options: Any) -> Any:
        if session is not None and last is not None:
            raise BadInput("--session and --last choose sessions in two ways, got both. Leave one out.")
        if (session or last) and not options["plot"]:
            raise BadInput("--session and --last choose what --plot draws, but it is not given. Add it")
        return command(shown_sessions=ShownSessions(session, last or 1, show_timezone), **options)

    options = (
        click.option("--session", metavar="DATE", help="Draw this session, as 2025-06-27."),
        click.option(
            "--last",
            type=click.IntRange(1, MAX_SESSIONS),
            metavar="N",
            help="Draw the last N complete sessions that have marks, below each other.  [default: 1]",
        ),
        timezone_option,
    )
    with_options: Callable[..., Any] = with_sessions
    for option in reversed(options):
        with_options = option(with_options)
    return with_options


def require_session(table: "pd.DataFrame", shown: ShownSessions, file: str) -> None:
    """Refuse a chosen session without bars.

    Raises:
        BadInput: If it has none; names the sessions of the file.
    """
    sessions = _sessions(table)
    if shown.session is not None and shown.session not in sessions:
        raise BadInput(
            f"{file}: --session must be a session of this file, {sessions[0]} to {sessions[-1]}, got "
            f"{shown.session}. Choose a session with bars."
        )


def _sessions(table: "pd.DataFrame") -> list[str]:
    return [f"{session:%Y-%m-%d}" for session in table["session"].unique()]


def sessions_to_draw(table: "pd.DataFrame", expansions: "pd.DataFrame", shown: ShownSessions) -> list[str]:
    """The sessions to draw, oldest first: as chosen, else the last complete ones with marks.

    Without marks in complete sessions: those with marks; without any marks: the last session.
    """
    import pandas as pd

    from moola_pipeline.bars.sessions import session_of
    from moola_pipeline.inference.open_session import last_grows

    if shown.session is not None:
        return [shown.session]
    sessions = _sessions(table)
    started = session_of(pd.DatetimeIndex(expansions["started_at"]))
    marked = {f"{session:%Y-%m-%d}" for session in started.unique()}
    complete = sessions[:-1] if last_grows(pd.DatetimeIndex(table["timestamp"])) else sessions
    for candidates in (complete, sessions):
        if with_marks := [session for session in candidates if session in marked]:
            return with_marks[-shown.n_last :]
    return sessions[-1:]


def plot_marks(
    plot: Path,
    predictions: "Predictions",
    table: "pd.DataFrame",
    source: tuple[str, str],
    shown: ShownSessions,
) -> str:
    """Draw sessions with their expansions and the bars that no window covers.

    Args:
        plot: The picture, .png or .svg.
        predictions: What was found in the bars.
        table: BAR_COLUMNS.
        source: Names of the bar file and of the model, for the titles.
        shown: Which sessions, and the time zone.

    Returns:
        A line that names the sessions.

    Raises:
        BadInput: If the picture cannot be written.
    """
    import numpy as np

    from moola_pipeline.inference.platforms import drawn_marks
    from moola_pipeline.inference.plots import draw_expansions, draw_sessions, draw_uncovered
    from moola_pipeline.plotting import picture_file
    from moola_pipeline.storage.atomic_write import atomic_write_bytes

    file, model = source
    days = sessions_to_draw(table, predictions.expansions, shown)
    sessions = [table.loc[table["session"].to_numpy() == np.datetime64(day)] for day in days]
    titles = [f"{file}, session {day}, expansions by {model}" for day in days]
    figure, all_axes = draw_sessions(sessions, titles, shown.zone)
    marks = drawn_marks(predictions.expansions, table)
    for axes, bars in zip(all_axes, sessions, strict=True):
        first, last = bars["timestamp"].iloc[0], bars["timestamp"].iloc[-1]
        draw_uncovered(axes, _within(predictions.not_covered, "from", first, last), UNCOVERED)
        draw_expansions(axes, _within(marks, "started_at", first, last))
    with writing("--plot", plot):
        atomic_write_bytes(plot, picture_file(figure, plot.suffix))
    n_marks = sum(len(_within(marks, "started_at", *bars["timestamp"].iloc[[0, -1]])) for bars in sessions)
    named = f"session {days[0]}" if len(days) == 1 else f"sessions {', '.join(days)}"
    more = "" if shown.session else " (another: --session DATE, more: --last N)"
    return f"{named} drawn to {plot}, {n_marks} marks, {place_of(shown.zone)}{more}"


def _within(table: "pd.DataFrame", column: str, first: Any, last: Any) -> "pd.DataFrame":
    """Rows whose time lies in a session: from its first to its last bar."""
    return table.loc[(table[column] >= first) & (table[column] <= last)]


def _as_json(predictions: "Predictions") -> dict[str, Any]:
    return {"expansions": records(predictions.expansions), "not_covered": records(predictions.not_covered)}
