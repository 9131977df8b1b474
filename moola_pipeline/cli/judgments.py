"""`moola labels history`, `compare`, `export`, `define`: who judged what, and how far they agree."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from moola_pipeline.cli.output import emit, json_option, require_out, writing
from moola_pipeline.errors import BadInput
from moola_pipeline.storage.home import Home

if TYPE_CHECKING:
    import pandas as pd

    from moola_pipeline.bars.store import BarStore
    from moola_pipeline.evaluation.agreement import Agreement
    from moola_pipeline.labels.annotators import LabelChoice
    from moola_pipeline.metrics.bootstrap import Interval

SHOWN_JUDGMENTS, SHOWN_WINDOWS = 40, 10
EXPORTS = (".csv", ".parquet", ".json")


@click.command()
@click.argument("window", required=False)
@json_option
@click.pass_obj
def history(home: Home, window: str | None, as_json: bool) -> None:
    """Who judged WINDOW (or any window), what, when, and what replaced it and why; the newest last."""
    from moola_pipeline.bars.store import registered_store
    from moola_pipeline.labels.registry import registered_judgments, registered_labels

    folder = registered_store(home).labels
    registered_labels(folder)  # raises if there are none
    journal = registered_judgments(folder)
    replaced = {one.supersedes: n for n, one in enumerate(journal.judgments, 1) if one.supersedes}
    chosen = [(n, one) for n, one in enumerate(journal.judgments, 1) if window in (None, one.window_id)]
    if not chosen:
        raise BadInput(f"WINDOW must be a judged window, got {window!r}. List them: moola labels history")
    facts = [{"number": n, **dataclasses.asdict(one), "replaced_by": replaced.get(n)} for n, one in chosen]
    shown = chosen if window is not None else chosen[-SHOWN_JUDGMENTS:]
    lines = [_history_line(n, one, replaced.get(n)) for n, one in shown]
    if len(shown) < len(chosen):
        lines.insert(0, f"The newest {len(shown)} of {len(chosen):,} judgments; --json lists them all")
    emit({"judgments": facts}, lines, as_json)


def _history_line(number: int, judgment: Any, replaced_by: int | None) -> str:
    spans = "; ".join(f"{one.started_at[11:16]}-{one.ended_at[11:16]} {one.type}" for one in judgment.spans)
    about = f"definition {judgment.definition}, pass {judgment.pass_number}, {judgment.chosen}"
    notes = [] if judgment.complete else ["incomplete"]
    notes += [f"replaces {judgment.supersedes}"] if judgment.supersedes else []
    notes += [f"why: {judgment.why}"] if judgment.why else []
    notes += [f"replaced by {replaced_by}"] if replaced_by else []
    return (
        f"{number:>5}  {judgment.made_at[:16]}  {judgment.window_id}  {judgment.annotator or 'unnamed'}  "
        f"{judgment.looked_from[:10]} {spans or 'none'} UTC  ({', '.join([about, *notes])})"
    )


@click.command()
@click.argument("first", required=False)
@click.argument("second", required=False)
@click.option("--definition", type=click.IntRange(min=1), metavar="NUMBER", help="Compare under this one.")
@click.option(
    "--definitions",
    type=(click.IntRange(min=1), click.IntRange(min=1)),
    metavar="OLD NEW",
    help="Compare each annotator with himself under two definitions.",
)
@json_option
@click.pass_obj
def compare(
    home: Home,
    first: str | None,
    second: str | None,
    definition: int | None,
    definitions: tuple[int, int] | None,
    as_json: bool,
) -> None:
    """How far annotators agree, by pair: finding, onsets, types.

    FIRST and SECOND are annotators; without SECOND, FIRST is compared with all others, without both all
    pairs. Lists the windows in which they differ most. All windows that both judged count, those of the test
    split included.
    """
    from moola_pipeline.bars.store import registered_store
    from moola_pipeline.labels.registry import registered_labels

    store = registered_store(home)
    rows = registered_labels(store.labels)
    if definitions is not None:
        if second is not None or definition is not None:
            raise BadInput(
                "--definitions compares an annotator with himself, got a second annotator or --definition. "
                "Leave them out."
            )
        found = _compare_definitions(store, rows, first, *definitions)
    else:
        found = _compare_annotators(store, rows, first, second, definition)
    facts = {"pairs": [_agreement_facts(*pair) for pair in found]}
    emit(facts, [line for pair in found for line in _agreement_lines(*pair)], as_json)


def _compare_annotators(
    store: "BarStore", rows: "pd.DataFrame", first: str | None, second: str | None, definition: int | None
) -> "list[tuple[str, str, Agreement]]":
    from itertools import combinations

    from moola_pipeline.labels.annotators import LabelChoice, annotators_of, choose_labels

    names = [first, second] if first and second else sorted({*annotators_of(rows)})
    if len({*names}) < 2:
        raise BadInput(
            f"Two annotators must have judged windows, got {' and '.join(map(str, names))}. Add labels of "
            "another: moola labels add FILE --annotator NAME"
        )
    pairs = []
    couples = combinations(names, 2) if first is None or second else ((first, name) for name in names)
    for one, other in ((str(a), str(b)) for a, b in couples if a != b):
        _, choice = choose_labels(rows, LabelChoice(annotator=one, definition=definition))
        left, right = (LabelChoice(annotator=name, definition=choice.definition) for name in (one, other))
        pairs.append((one, other, left, right))
    return _measured(store, rows, pairs)


def _compare_definitions(
    store: "BarStore", rows: "pd.DataFrame", annotator: str | None, old: int, new: int
) -> "list[tuple[str, str, Agreement]]":
    """How far each annotator agrees with himself under two definitions."""
    from moola_pipeline.labels.annotators import LabelChoice, annotators_of

    judged = [set(annotators_of(rows.loc[rows["definition"] == number])) for number in (old, new)]
    names = [annotator] if annotator else sorted(set.intersection(*judged))
    if old == new or not names:
        raise BadInput(
            f"An annotator must have judged windows under both definitions, got {old} and {new}. Judge "
            f"some again: moola labels second-look; moola labels add FILE --definition {new}"
        )
    pairs = []
    for name in names:
        left, right = (LabelChoice(annotator=name, definition=number) for number in (old, new))
        pairs.append((f"{name} under definition {old}", f"under definition {new}", left, right))
    return _measured(store, rows, pairs)


def _measured(
    store: "BarStore", rows: "pd.DataFrame", pairs: "list[tuple[str, str, LabelChoice, LabelChoice]]"
) -> "list[tuple[str, str, Agreement]]":
    import numpy as np

    from moola_pipeline.bars.manifest import read_bars
    from moola_pipeline.evaluation.agreement import measure_agreement
    from moola_pipeline.labels.annotators import choose_labels

    bars, found = read_bars(store), []
    for one, other, *choices in pairs:
        left, right = (choose_labels(rows, choice)[0] for choice in choices)
        found.append((one, other, measure_agreement(left, right, bars, np.random.default_rng(0))))
    return found


def _agreement_facts(one: str, other: str, agreement: "Agreement") -> dict[str, Any]:
    scores = {name: _interval_facts(getattr(agreement, name)) for name in ("finding", "onset", "types")}
    differing = agreement.differing.to_dict("records")
    return {"annotators": [one, other], "windows": agreement.windows, **scores, "differing": differing}


def _interval_facts(interval: "Interval") -> dict[str, Any]:
    return {name: None if value != value else value for name, value in dataclasses.asdict(interval).items()}


def _agreement_lines(one: str, other: str, agreement: "Agreement") -> list[str]:
    lines = [f"{one} and {other}: {agreement.windows:,} windows judged by both"]
    if not agreement.windows:
        return lines
    lines += [
        f"  finding  untyped event F1 {_shown(agreement.finding)}",
        f"  onset    {_shown(agreement.onset, '.1f')} bars apart, of matched marks",
        f"  type     {_shown(agreement.types)} equal, of matched marks of known type",
    ]
    if len(agreement.differing):
        shown = agreement.differing.head(SHOWN_WINDOWS).itertuples(index=False)
        listed = ", ".join(f"{window} ({n})" for window, n in shown)
        lines.append(f"  differ most in {listed}")
    return lines


def _shown(interval: "Interval", form: str = ".2f") -> str:
    low, high = (format(bound, form) for bound in (interval.low, interval.high))
    return f"{interval.estimate:{form}} [{low}, {high}]"


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--annotator", metavar="NAME", help='Whose labels to write; "consensus" merges those of all.')
@click.option(
    "--definition", type=click.IntRange(min=1), metavar="NUMBER", help="The definition that they follow."
)
@json_option
@click.pass_obj
def export(home: Home, out: Path, annotator: str | None, definition: int | None, as_json: bool) -> None:
    """Write labels to OUT: .csv or .parquet as "labels add" reads them, or .json for Label Studio.

    Without options the labels of all annotators under all definitions are written; with one of them, the
    other is that of most windows.
    """
    require_out("OUT", out, EXPORTS)
    from moola_pipeline.bars.manifest import read_bars
    from moola_pipeline.bars.store import registered_store
    from moola_pipeline.labels.annotators import LabelChoice, choose_labels
    from moola_pipeline.labels.export import WRITERS
    from moola_pipeline.labels.registry import registered_labels
    from moola_pipeline.storage.atomic_write import atomic_write_bytes

    store = registered_store(home)
    rows = registered_labels(store.labels)
    if annotator is not None or definition is not None:
        rows, _ = choose_labels(rows, LabelChoice(annotator=annotator, definition=definition))
    with writing("OUT", out):
        atomic_write_bytes(out, WRITERS[out.suffix](rows, read_bars(store)))
    windows = len({*rows["window_id"]})
    emit(
        {"file": str(out), "rows": len(rows), "windows": windows},
        [f"{out}: {len(rows):,} rows in {windows:,} windows"],
        as_json,
    )


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@json_option
@click.pass_obj
def define(home: Home, file: Path | None, as_json: bool) -> None:
    """Add the text in FILE as a new definition of expansions and types; without FILE show the newest one.

    Earlier definitions and the labels made under them stay. Labels under the new one are added with
    "moola labels add FILE --definition NUMBER".
    """
    from moola_pipeline.bars.store import registered_store
    from moola_pipeline.labels.definitions import add_definition, definition_texts

    folder = registered_store(home).labels
    if file is not None:
        try:
            add_definition(folder, file.read_text("utf-8"))
        except UnicodeDecodeError:
            raise BadInput(f"{file.name}: a definition must be UTF-8 text. Save it so.") from None
    texts = definition_texts(folder)
    newest = max(texts)
    added = [f"definition {newest} added"] if file is not None else [f"definition {newest}:", texts[newest]]
    lines = added if texts[newest] else ["definition 1 has no text yet. Add one: moola labels define FILE"]
    waiting = _waiting(folder, newest)
    if waiting:
        lines.append(
            f"{waiting:,} windows were judged under an earlier definition. Those most affected first: "
            "moola labels second-look"
        )
    facts = {"newest": newest, "waiting": waiting, "definitions": {str(n): text for n, text in texts.items()}}
    emit(facts, lines, as_json)


def _waiting(folder: Path, newest: int) -> int:
    """Number of windows that an annotator judged under earlier definitions only."""
    from moola_pipeline.label_choice.second_look import waiting_windows
    from moola_pipeline.labels.annotators import annotators_of
    from moola_pipeline.labels.registry import has_labels, registered_labels

    if not has_labels(folder):
        return 0
    rows = registered_labels(folder)
    return sum(len(waiting_windows(rows, name, newest)) for name in {*annotators_of(rows)})


COMMANDS = (history, compare, export, define)
