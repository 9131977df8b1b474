"""moola predict: the expansions in any file of one-minute bars."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from moola_pipeline.cli.added import first_rejected, reading_line, row_facts, rows_line
from moola_pipeline.cli.mark_files import OUT_HELP, PLOT_HELP, plot_marks, require_files, write_marks
from moola_pipeline.cli.out_files import records
from moola_pipeline.cli.output import emit, json_option
from moola_pipeline.cli.roll_options import applied_rolls, roll_facts, roll_line, rolls_option
from moola_pipeline.cli.run import quiet_libraries
from moola_pipeline.cli.vendor import chosen_options, vendor_options
from moola_pipeline.errors import BadInput
from moola_pipeline.home import Home

if TYPE_CHECKING:
    from moola_pipeline.bars.vendor import VendorBars
    from moola_pipeline.serving.annotate import Annotation


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--model",
    metavar="URI",
    help="models:/NAME@ALIAS or models:/NAME/VERSION; else the instrument's champion.",
)
@click.option("--mode", type=click.Choice(["hindsight"]), default="hindsight", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help=OUT_HELP)
@click.option("--plot", type=click.Path(path_type=Path), help=PLOT_HELP)
@rolls_option
@vendor_options
@json_option
def predict(
    file: Path,
    model: str | None,
    mode: str,
    out: Path | None,
    plot: Path | None,
    rolls: Path | None,
    as_json: bool,
    **vendor: Any,
) -> None:
    """Mark the expansions in FILE; in hindsight each window is read whole."""
    from moola_pipeline.bars.schema import INSTRUMENTS
    from moola_pipeline.bars.vendor import read_vendor_file
    from moola_pipeline.serving.frames import table_from_bars

    require_files(out, plot, file)
    options = chosen_options(**vendor)
    bars = read_vendor_file(file, options)
    known = applied_rolls(Home.resolve(), bars.frame, options.instrument, rolls)
    table = table_from_bars(bars, file.name, known.rolls)
    # Slow to import: a wrong option or file is refused before.
    quiet_libraries()
    from moola_pipeline.resources.registry import load_version
    from moola_pipeline.serving.annotate import annotate

    model = model or f"models:/moola-{options.instrument.lower()}@champion"
    annotator, facts = load_version(Home.resolve(), model)
    if facts["instrument"] != options.instrument:
        raise BadInput(
            f"{model} marks {facts['instrument']}, got bars of {options.instrument}. Choose another model."
        )
    tick_points = INSTRUMENTS[options.instrument].tick_points
    found = annotate(annotator, table, tick_points, facts["model_version"])
    named = f"{model} (version {facts['model_version']})"
    written = [write_marks(out, found, table, f"{file.name}, {named}")] if out else []
    written += [plot_marks(plot, found, table, file.name, named)] if plot else []
    shown = {
        "model": model,
        "model_version": facts["model_version"],
        "simulated_model": facts["simulated"],
        "bars": len(table),
        "rows": row_facts(bars),
        "windows": found.n_windows,
        "rolls": roll_facts(known),
        "expansions": records(found.expansions),
        "not_covered": records(found.not_covered),
        "waiting_bars": found.n_waiting,
    }
    lines = [*_read_lines(bars), roll_line(known), *_lines(shown, found, written, out is None)]
    emit(shown, lines, as_json)


def _read_lines(bars: "VendorBars") -> list[str]:
    lines = [f"rows {rows_line(bars)}", f"read {reading_line(bars)}"]
    return lines if bars.rejected.empty else [*lines, f"set aside: {first_rejected(bars)}"]


def _lines(shown: dict[str, Any], found: "Annotation", written: list[str], listed: bool) -> list[str]:
    marked = "SIMULATED model" if shown["simulated_model"] else "model"
    missed = int(found.not_covered["bars"].to_numpy().sum())
    lines = [
        f"{marked} {shown['model']} (version {shown['model_version']}), {shown['bars']:,} bars, "
        f"{shown['windows']:,} windows read in hindsight",
        f"{len(found.expansions):,} expansions; {missed:,} bars at the edges of "
        f"{len(found.not_covered):,} stretches are not covered by any window; times are UTC bar opens",
    ]
    if found.n_waiting:
        lines.append(
            f"the last session is not over: its last {found.n_waiting:,} bars wait for later ones, "
            "what is marked stays"
        )
    lines += written
    if listed and len(found.expansions):
        columns = ["started_at", "ended_at", "direction", "label", "probability", "p_retracement"]
        table = found.expansions[columns].assign(
            started_at=found.expansions["started_at"].dt.strftime("%Y-%m-%d %H:%M"),
            ended_at=found.expansions["ended_at"].dt.strftime("%H:%M"),
        )
        lines += ["", table.to_string(index=False, float_format=lambda share: f"{share:.2f}")]
    return lines
