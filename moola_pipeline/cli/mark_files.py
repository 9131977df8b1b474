"""Output files of `moola predict`: tables, drawings for trading platforms, and a chart."""

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
OUT_HELP = f"Write the expansions; the suffix sets the format: {', '.join(MARK_ENDINGS)}."
PLOT_HELP = f"Draw the last session with its expansions: {' or '.join(PLOT_SUFFIXES)}."


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


def plot_marks(plot: Path, predictions: "Predictions", table: "pd.DataFrame", file: str, model: str) -> str:
    """Draw the last session with its expansions; return a line that names the session."""
    from moola_pipeline.inference.platforms import drawn_marks
    from moola_pipeline.inference.plots import draw_expansions, draw_session
    from moola_pipeline.plotting import picture_file
    from moola_pipeline.storage.atomic_write import atomic_write_bytes

    bars = table.loc[table["session"].to_numpy() == table["session"].iloc[-1]]
    session = f"{bars['session'].iloc[0]:%Y-%m-%d}"
    marks = drawn_marks(predictions.expansions, table)
    figure, axes = draw_session(bars, f"{file}, session {session}, expansions by {model}")
    draw_expansions(axes, marks.loc[marks["started_at"] >= bars["timestamp"].iloc[0]])
    with writing("--plot", plot):
        atomic_write_bytes(plot, picture_file(figure, plot.suffix))
    return f"session {session} drawn to {plot}"


def _as_json(predictions: "Predictions") -> dict[str, Any]:
    return {"expansions": records(predictions.expansions), "not_covered": records(predictions.not_covered)}
