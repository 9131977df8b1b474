"""`moola predict`: the expansions in any file of one-minute bars."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from moola_pipeline.cli.mark_files import (
    OUT_HELP,
    PLOT_HELP,
    ShownSessions,
    plot_marks,
    require_files,
    require_session,
    shown_sessions_options,
    write_marks,
)
from moola_pipeline.cli.output import emit, json_option, place_of, records
from moola_pipeline.cli.progress import busy
from moola_pipeline.cli.roll_options import applied_rolls, roll_facts, roll_line, rolls_option
from moola_pipeline.cli.run import quiet_libraries
from moola_pipeline.cli.vendor_files import (
    chosen_options,
    first_rejected,
    reading_line,
    row_facts,
    rows_line,
    vendor_options,
)
from moola_pipeline.errors import BadInput
from moola_pipeline.storage.home import Home
from moola_pipeline.windows.window_geometry import MAX_WAIT, WAITS

if TYPE_CHECKING:
    from moola_pipeline.bars.bar_reader import VendorBars
    from moola_pipeline.inference.hindsight import Predictions

READ = {"hindsight": "read in hindsight", "live": "read live, one per closed bar"}
MAX_BUDGET = 20
"""Alarms per session."""
FOUND = {"hindsight": "expansions", "live": "alarms"}


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--model",
    metavar="URI",
    help="models:/NAME@ALIAS or models:/NAME/VERSION (default: the instrument's champion).",
)
@click.option(
    "--mode",
    type=click.Choice(["hindsight", "live"]),
    default="hindsight",
    show_default=True,
    help="hindsight: read whole windows. live: decide at each bar close whether to raise an alarm.",
)
@click.option(
    "--max-wait",
    type=click.Choice([str(bars) for bars in WAITS]),
    help=f"Live: most bars from the predicted start of an expansion to its alarm (default: {MAX_WAIT}).",
)
@click.option(
    "--alarms-per-session",
    type=click.IntRange(1, MAX_BUDGET),
    metavar="N",
    help=f"Live: raise about N alarms per session, 1 to {MAX_BUDGET}, by the threshold that kept to N on "
    "validation sessions.  [default: the threshold with the best F1]",
)
@click.option("--out", type=click.Path(path_type=Path), help=OUT_HELP)
@click.option("--plot", type=click.Path(path_type=Path), help=PLOT_HELP)
@rolls_option
@vendor_options
@json_option
@shown_sessions_options
def predict(
    file: Path,
    model: str | None,
    mode: str,
    max_wait: str | None,
    alarms_per_session: int | None,
    out: Path | None,
    plot: Path | None,
    rolls: Path | None,
    as_json: bool,
    shown_sessions: ShownSessions,
    **vendor: Any,
) -> None:
    """Mark the expansions in FILE: in hindsight, or as live alarms."""
    from moola_pipeline.bars.instruments import INSTRUMENTS
    from moola_pipeline.bars.store import home_instrument
    from moola_pipeline.bars.vendor import read_vendor_file
    from moola_pipeline.inference.bar_tables import table_from_bars

    if max_wait is not None and mode != "live":
        raise BadInput(
            f"--max-wait needs --mode live, got --mode {mode}. Add --mode live, or leave --max-wait out."
        )
    if alarms_per_session is not None and (mode != "live" or max_wait is not None):
        raise BadInput(
            "--alarms-per-session needs --mode live and no --max-wait, got "
            f"{'--max-wait' if mode == 'live' else f'--mode {mode}'}. Change that, or leave it out."
        )
    require_files(out, plot, file)
    options = chosen_options(**vendor)
    home = Home.resolve()
    with busy(f"Reading {file.name}"):
        bars = read_vendor_file(file, options, home_instrument(home))
    instrument = bars.facts.instrument
    rolls_used = applied_rolls(home, bars.frame, instrument, rolls)
    table = table_from_bars(bars, file.name, rolls_used.rolls)
    require_session(table, shown_sessions, file.name)
    model = model or f"models:/moola-{instrument.lower()}@champion"
    with busy(f"Loading {model}"):  # slow imports: refuse a wrong option or file first
        quiet_libraries()
        from moola_pipeline.inference.hindsight import predict_expansions
        from moola_pipeline.inference.live import predict_live
        from moola_pipeline.tracking.registry import load_version

        loaded, facts = load_version(home, model)
    threshold = _budget_threshold(facts, alarms_per_session) if alarms_per_session else None
    trained_on = facts["instrument"]
    if instrument != trained_on and options.instrument is None:
        raise BadInput(
            f"{model} was trained on bars of {trained_on}, but {file.name} was read as {instrument}. "
            f"Give --instrument {trained_on} if it holds {trained_on}, or --instrument {instrument} to mark "
            "it with this model all the same."
        )
    tick_points = INSTRUMENTS[instrument].tick_points
    inputs = loaded, table, tick_points, facts["model_version"]
    wait = int(max_wait or MAX_WAIT)
    with busy(f"Finding {FOUND[mode]} in {len(table):,} bars"):
        if mode == "live":
            predictions = predict_live(*inputs, max_wait=wait, threshold=threshold)
        else:
            predictions = predict_expansions(*inputs)
    other = "" if instrument == trained_on else f", trained on {trained_on}"
    model_title = f"{model} (version {facts['model_version']}{other})"
    written = [write_marks(out, predictions, table, f"{file.name}, {model_title}")] if out else []
    if plot:
        written.append(plot_marks(plot, predictions, table, (file.name, model_title), shown_sessions))
    shown = {
        "model": model,
        "model_version": facts["model_version"],
        "simulated_model": facts["simulated"],
        "trained_on": trained_on,
        "instrument": instrument,
        "mode": mode,
        "max_wait": wait if mode == "live" else None,
        "alarms_per_session": alarms_per_session,
        "bars": len(table),
        "rows": row_facts(bars),
        "windows": predictions.n_windows,
        "rolls": roll_facts(rolls_used),
        "expansions": records(predictions.expansions),
        "not_covered": records(predictions.not_covered),
        "waiting_bars": predictions.n_waiting,
    }
    listed = None if out else shown_sessions
    lines = [*_read_lines(bars), roll_line(rolls_used), *_lines(shown, predictions, written, listed)]
    emit(shown, lines, as_json)


def _budget_threshold(facts: dict[str, Any], budget: int) -> float:
    """The threshold of a version for an alarm budget.

    Raises:
        BadInput: If the version was registered without.
    """
    from moola_pipeline.evaluation.alarm_budgets import ALARM_THRESHOLDS

    thresholds = facts.get(ALARM_THRESHOLDS) or {}
    if str(budget) not in thresholds:
        raise BadInput(
            f"--alarms-per-session needs a version with thresholds by alarm budget, but version "
            f"{facts['model_version']} has none. Train one: moola run"
        )
    return float(thresholds[str(budget)])


def _read_lines(bars: "VendorBars") -> list[str]:
    lines = [f"rows {rows_line(bars)}", f"read {reading_line(bars)}"]
    return lines if bars.rejected.empty else [*lines, f"set aside: {first_rejected(bars)}"]


def _lines(
    shown: dict[str, Any], predictions: "Predictions", written: list[str], listed: ShownSessions | None
) -> list[str]:
    """Lines of text; the expansions are listed in the time zone of `listed`, if it is given."""
    title = "SIMULATED model" if shown["simulated_model"] else "model"
    missed = int(predictions.not_covered["bars"].to_numpy().sum())
    lines = [
        f"{title} {shown['model']} (version {shown['model_version']}), {shown['bars']:,} bars, "
        f"{shown['windows']:,} windows {READ[shown['mode']]}",
        f"{len(predictions.expansions):,} {FOUND[shown['mode']]}; {missed:,} bars at the edges of "
        f"{len(predictions.not_covered):,} stretches are not covered by any window",
    ]
    if predictions.n_waiting:
        lines.append(
            f"the last session is still open: its last {predictions.n_waiting:,} bars need later bars; "
            "expansions found so far will not change"
        )
    lines += written
    if listed is not None and len(predictions.expansions):
        time_column = "decided_at" if shown["mode"] == "live" else "ended_at"
        columns = ["started_at", time_column, "direction", "label", "probability", "p_retracement"]
        local = {name: predictions.expansions[name].dt.tz_convert(listed.zone) for name in columns[:2]}
        table = predictions.expansions[columns].assign(
            started_at=local["started_at"].dt.strftime("%Y-%m-%d %H:%M"),
            **{time_column: local[time_column].dt.strftime("%H:%M")},
        )
        shares = table.to_string(index=False, float_format=lambda share: f"{share:.2f}")
        lines += ["", f"times are bar opens, {place_of(listed.zone)} ({listed.zone})", shares]
    return lines
