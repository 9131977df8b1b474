"""`moola labels next`, `task`, `alike`, `second-look`: windows to label, for another, like one, or again."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from moola_pipeline.cli.choice_data import ChoiceData, load_choice_data
from moola_pipeline.cli.options import SPLITS, market_options
from moola_pipeline.cli.output import emit, iso_time, json_option, require_out, shown_time, writing
from moola_pipeline.errors import BadInput
from moola_pipeline.storage.home import Home

if TYPE_CHECKING:
    import numpy as np

    from moola_pipeline.label_choice.alike import MeasuredSpans
    from moola_pipeline.models.span_proposer import SpanProposer

MAX_CANDIDATES = 4_000
"""Most windows that are scored; more are drawn from at random."""
TRAINING_ONLY = (
    "All are in the training period: labels of windows chosen by a model must not validate or test."
)


@click.command("next")
@click.argument("number", metavar="N", type=click.IntRange(min=1))
@click.option(
    "--by",
    type=click.Choice(("doubt", "random")),
    default="doubt",
    show_default=True,
    help="doubt: fewer windows to open, not fewer marks to make; random: every window alike.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the draw.")
@market_options
@json_option
@click.pass_obj
def next_windows(
    home: Home,
    number: int,
    by: str,
    seed: int,
    profile: str,
    market: str,
    scenario: str | None,
    as_json: bool,
) -> None:
    """Propose N windows to label next, those that trees on the present labels doubt most.

    Draws unlabeled windows of the training period, at most two from one session. The same labels and seed
    give the same windows.
    """
    import numpy as np

    from moola_pipeline.label_choice.doubt import (
        PER_SESSION,
        SHARPNESS,
        draw_spread,
        unlabeled_windows,
        window_doubt,
    )
    from moola_pipeline.label_choice.trees import fit_trees, score_proposals

    data = load_choice_data(home, profile, market, scenario)
    rng = np.random.default_rng([seed, len(data.train.bar0)])
    free = unlabeled_windows(data.market.segment, data.end_row, data.labeled_bar0)
    bar0 = np.sort(rng.permutation(free)[:MAX_CANDIDATES])
    proposals = score_proposals(data.market, fit_trees(data.market, data.train), bar0)
    doubt = window_doubt(proposals, len(bar0))
    session = data.market.session[bar0]
    drawn = draw_spread(doubt, session, number, rng, sharpness=SHARPNESS if by == "doubt" else 0.0)
    counts = np.bincount(proposals.spans.window, minlength=len(bar0))
    windows = [
        {
            "window_start": iso_time(data.opened(int(bar0[i]))),
            "session": str(session[i].astype("datetime64[D]")),
            "doubt_bits": round(float(doubt[i]), 3),
            "proposed_spans": int(counts[i]),
        }
        for i in drawn
    ]
    facts = {
        "simulated": data.instrument.simulated,
        "chosen": by,
        "candidates": len(bar0),
        "windows": windows,
        "use": TRAINING_ONLY,
    }
    lines = [f"{'window_start':<20} {'session':<10} {'doubt (bits)':>12} {'spans':>5}"]
    lines += [
        f"{row['window_start']:<20} {row['session']:<10} {row['doubt_bits']:>12.2f} "
        f"{row['proposed_spans']:>5}"
        for row in windows
    ]
    if len(windows) < number:
        lines.append(
            f"Only {len(windows)} of {number}: no more without labels, at most {PER_SESSION} a session."
        )
    emit(facts, [*data.heading, *lines, "", f"By {by}. {TRAINING_ONLY}"], as_json)


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--annotator", metavar="NAME", required=True, help="Who will label.")
@click.option("--windows", "number", type=click.IntRange(1, 1_000), default=50, show_default=True)
@click.option("--for", "split", type=click.Choice(SPLITS), help="Draw windows of this split only.")
@click.option("--definition", type=click.IntRange(min=1), metavar="NUMBER", help="[default: the newest]")
@json_option
@click.pass_obj
def task(
    home: Home,
    out: Path,
    annotator: str,
    number: int,
    split: str | None,
    definition: int | None,
    as_json: bool,
) -> None:
    """Write windows for NAME, who labels on another machine, to the task file OUT (.json).

    There, with the same bars registered: moola label --task OUT; moola labels export FILE.csv
    --annotator NAME. Back here: moola labels add FILE.csv
    """
    require_out("OUT", out, (".json",))
    from moola_pipeline.labeler.opening import LabelRequest, draw_task
    from moola_pipeline.labeler.task_files import task_json
    from moola_pipeline.storage.atomic_write import atomic_write_bytes

    drawn = draw_task(home, LabelRequest(annotator, definition, split), number)
    with writing("OUT", out):
        atomic_write_bytes(out, task_json(drawn))
    counts = {name: sum(window.split == name for window in drawn.windows) for name in SPLITS}
    facts = {"file": str(out), "annotator": annotator, "definition": drawn.definition, "windows": counts}
    shown = ", ".join(f"{n} of {name}" for name, n in counts.items() if n)
    lines = [
        f"{out}: {len(drawn.windows):,} windows for {annotator} ({shown})",
        *(
            [f"Only {len(drawn.windows):,} of {number:,}: no more are left."]
            if len(drawn.windows) < number
            else []
        ),
        f"There, with the same bars:  moola label --task {out.name}",
        f"then                        moola labels export {annotator}.csv --annotator {annotator}",
        f"and back here               moola labels add {annotator}.csv",
    ]
    emit(facts, lines, as_json)


@click.command("second-look")
@click.argument("number", metavar="[N]", type=click.IntRange(min=1), default=20)
@json_option
@click.pass_obj
def second_look(home: Home, number: int, as_json: bool) -> None:
    """List N windows judged under an earlier definition, those that the new one affects most first.

    A changed definition changes the marks at its border: windows come first in which trees, fitted on
    other labels under the earlier one, doubt most. Judge them again: moola labels add FILE --definition
    NUMBER
    """
    import numpy as np
    import pandas as pd

    from moola_pipeline.label_choice.second_look import labeled_doubt, waiting_windows
    from moola_pipeline.labels.annotators import choose_labels
    from moola_pipeline.labels.definitions import definition_texts
    from moola_pipeline.labels.registry import registered_labels

    data = load_choice_data(home, "auto", "registered", None, for_trees=False)
    folder = data.instrument.store.labels
    rows, newest = registered_labels(folder), max(definition_texts(folder))
    _, choice = choose_labels(rows, data.instrument.label_choice)
    waiting = waiting_windows(rows, str(choice.annotator), newest)
    bar0 = data.market.times.get_indexer(pd.DatetimeIndex(waiting["window_start"]))
    note = ""
    try:
        doubt = labeled_doubt(data.market, data.train, bar0)
    except ValueError as error:
        doubt, note = np.zeros(len(bar0)), f"By time, as no trees can be fitted: {error}."
    order = np.lexsort((bar0, -doubt))[:number]
    windows = [
        {**row, "window_start": iso_time(row["window_start"]), "doubt_bits": round(float(doubt[i]), 3)}
        for i, row in zip(order, waiting.iloc[order].to_dict("records"), strict=True)
    ]
    facts = {"annotator": choice.annotator, "newest": newest, "waiting": len(waiting), "windows": windows}
    facts["note"] = note
    lines = [
        f"{len(waiting):,} windows of {choice.annotator} were judged under an earlier definition than "
        f"{newest}."
    ]
    lines += (
        [f"{'window':<20} {'window_start':<20} {'definition':>10} {'doubt (bits)':>12}"] if windows else []
    )
    lines += [
        f"{row['window_id']:<20} {row['window_start']:<20} {row['definition']:>10} {row['doubt_bits']:>12.2f}"
        for row in windows
    ]
    emit(facts, [*lines, *([note] if note else [])], as_json)


@click.command()
@click.argument("window", metavar="WINDOW")
@market_options
@json_option
@click.pass_obj
def alike(home: Home, window: str, profile: str, market: str, scenario: str | None, as_json: bool) -> None:
    """Find the 20 windows of all years whose expansions are measured most like those of WINDOW.

    WINDOW is the id of a labeled window, or the UTC time of its first bar. Its labeled expansion is
    compared, else the largest move that the fitted rule proposes in bars 30-74.
    """
    from moola_pipeline.label_choice.alike import measure_all, nearest_windows
    from moola_pipeline.training.proposer_fit import fit_proposer
    from moola_pipeline.training.settings import FinetuneSettings

    data = load_choice_data(home, profile, market, scenario)
    bar0 = _window_row(data, window)
    complete = data.train.complete_windows
    measures = data.market.measure_spans(complete.bar0)
    proposer = fit_proposer(measures, complete.spans, FinetuneSettings().proposal_beta)
    start, end, numbers = _main_span(data, proposer, bar0, window)
    found = measure_all(data.market, proposer)
    rows = found.bar0[found.spans.window]
    nearest = nearest_windows(found.numbers, rows, numbers, bar0)
    windows = [
        _alike_row(data, found, int(i), float(distance))
        for i, distance in zip(nearest.candidate, nearest.distance, strict=True)
    ]
    facts = {
        "simulated": data.instrument.simulated,
        "window_start": iso_time(data.opened(bar0)),
        "start": start,
        "end": end,
        "spans_compared": len(found.numbers),
        "windows": windows,
    }
    lines = [
        f"Nearest to bars {start}-{end} of the window at {shown_time(data.opened(bar0))} UTC, "
        f"of {len(found.numbers):,} spans:",
        f"  {'window_start':<20} {'bars':>7}  {'distance':>8}  period",
        *(
            f"  {row['window_start']:<20} {row['start']:>3}-{row['end']:<3}  {row['distance']:>8.2f}  "
            f"{row['period']}"
            for row in windows
        ),
    ]
    emit(facts, [*data.heading, *lines], as_json)


def _alike_row(data: ChoiceData, found: "MeasuredSpans", span: int, distance: float) -> dict[str, Any]:
    bar0 = int(found.bar0[found.spans.window[span]])
    return {
        "window_start": iso_time(data.opened(bar0)),
        "start": int(found.spans.start[span]),
        "end": int(found.spans.end[span]),
        "distance": round(distance, 3),
        "period": "training" if bar0 < data.end_row else "after training",
    }


def _window_row(data: ChoiceData, window: str) -> int:
    """Row of bar 0 of a window, by its id or its time."""
    import pandas as pd

    from moola_pipeline.windows.dense import crossing_segments

    labeled = data.frame.loc[data.frame["window_id"] == window, "bar0"]
    if len(labeled):
        return int(labeled.iloc[0])
    moment = pd.to_datetime(window, utc=True, errors="coerce")
    if not isinstance(moment, pd.Timestamp):
        raise BadInput(
            f"WINDOW must be the id of a labeled window or the UTC time of its first bar, got {window}. "
            "Give an id from a label file, or a time as 2024-05-06T14:30Z."
        )
    row = pd.DatetimeIndex(data.table["timestamp"]).get_indexer(pd.DatetimeIndex([moment]))[0]
    if row < 0:
        raise BadInput(f"WINDOW must start at a bar, but no bar opens at {window}. Choose another time.")
    if crossing_segments(_array(row), data.market.segment)[0]:
        raise BadInput(
            f"WINDOW must have 105 bars of its session, and 40 bars of it before them, but that at {window} "
            "has not. Choose another time."
        )
    return int(row)


def _main_span(
    data: ChoiceData, proposer: "SpanProposer", bar0: int, window: str
) -> "tuple[int, int, np.ndarray]":
    """First and last bar of a window's main span, and its measured numbers."""
    import numpy as np

    from moola_pipeline.label_choice.trees import core_proposals

    rows = _array(bar0)
    labeled = data.train.select(data.train.bar0 == bar0).spans.pointed()
    spans = labeled if len(labeled.window) else core_proposals(data.market, proposer, rows)
    if not len(spans.window):
        raise BadInput(
            f"WINDOW must hold an expansion that starts in bars 30-74, but no span of {window} is labeled "
            "or proposed. Choose another window."
        )
    main = spans.select(np.argsort(-np.abs(data.market.net_moves(rows, spans)), kind="stable")[:1])
    return int(main.start[0]), int(main.end[0]), data.market.measure_inputs(rows, main)[0]


def _array(row: int) -> "np.ndarray":
    import numpy as np

    return np.array([row], np.int64)
