"""Where `moola predict` puts its marks: tables, drawing objects of a platform, a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from moola_pipeline.cli.output import (
    PLOT_SUFFIXES,
    TABLE_SUFFIXES,
    records,
    require_out,
    save_table,
    writing,
)

if TYPE_CHECKING:
    import pandas as pd

    from moola_pipeline.inference.hindsight import Predictions

PINE, NINJATRADER = ".pine", ".ninjatrader.csv"
MARK_ENDINGS = (*TABLE_SUFFIXES, PINE, NINJATRADER)
OUT_HELP = f"Write a file; its ending says which: {', '.join(MARK_ENDINGS)}."
PLOT_HELP = f"Draw the last session with its marks: {' or '.join(PLOT_SUFFIXES)}."


def require_files(out: Path | None, plot: Path | None, file: Path) -> None:
    """Refuse files that cannot be written as asked, before anything is read.

    Raises:
        BadInput: If an ending is unknown, or two of the files are one.
    """
    require_out("--out", out, MARK_ENDINGS, file)
    require_out("--plot", plot, PLOT_SUFFIXES, file, out)


def write_marks(out: Path, found: "Predictions", table: "pd.DataFrame", source: str) -> str:
    """Write the marks as the name of `out` asks.

    Args:
        out: Whose name ends in one of MARK_ENDINGS.
        found: The marks.
        table: The bars they were found in.
        source: What was marked by what, in words.

    Returns:
        What was done, in a line.

    Raises:
        BadInput: If it cannot be written.
    """
    from moola_pipeline.inference.platforms import drawn_marks, ninjatrader_csv, pine_script
    from moola_pipeline.storage.atomic_write import atomic_write_bytes

    more = ""
    with writing("--out", out):
        if out.name.endswith(NINJATRADER):
            atomic_write_bytes(out, ninjatrader_csv(drawn_marks(found.expansions, table)).encode())
            more = ", for the indicator in deploy/ninjatrader"
        elif out.suffix == PINE:
            script = pine_script(drawn_marks(found.expansions, table), f"Moola {out.stem}", source)
            atomic_write_bytes(out, script.text.encode())
            if script.n_drawn < len(found.expansions):
                more = (
                    f", the newest {script.n_drawn} of {len(found.expansions):,}: TradingView draws no more"
                )
        else:
            save_table(out, found.expansions, _as_json(found))
    return f"written to {out}{more}"


def plot_marks(plot: Path, found: "Predictions", table: "pd.DataFrame", file: str, model: str) -> str:
    """Draw the last session and what was found in it; which session, in a line."""
    from moola_pipeline.inference.platforms import drawn_marks
    from moola_pipeline.inference.plots import draw_expansions, draw_session
    from moola_pipeline.plotting import picture_file
    from moola_pipeline.storage.atomic_write import atomic_write_bytes

    bars = table.loc[table["session"].to_numpy() == table["session"].iloc[-1]]
    session = f"{bars['session'].iloc[0]:%Y-%m-%d}"
    marks = drawn_marks(found.expansions, table)
    figure, axes = draw_session(bars, f"{file}, session {session}, expansions by {model}")
    draw_expansions(axes, marks.loc[marks["started_at"] >= bars["timestamp"].iloc[0]])
    with writing("--plot", plot):
        atomic_write_bytes(plot, picture_file(figure, plot.suffix))
    return f"session {session} drawn to {plot}"


def _as_json(found: "Predictions") -> dict[str, Any]:
    return {"expansions": records(found.expansions), "not_covered": records(found.not_covered)}
