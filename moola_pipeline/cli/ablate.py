"""moola ablate, moola stability: what each measure is worth on time folds, and whether seeds collapse."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from moola_pipeline.cli.options import chosen_pipeline, market_options
from moola_pipeline.cli.output import emit, json_option
from moola_pipeline.errors import BadInput
from moola_pipeline.storage.home import Home

if TYPE_CHECKING:
    from moola_pipeline.instrument_data import InstrumentData
    from moola_pipeline.studies.ablation import AblationStore
    from moola_pipeline.studies.ablation_folds import StudyData

TRAINED_BY = ("training/pretrain.py", "training/finetune.py", "training/thresholds.py")
"""Files of the package that decide a training, with what they import."""


@click.command()
@market_options
@click.option("--seeds", type=click.IntRange(1, 20), default=1, show_default=True, help="Trainings a fold.")
@click.option("--row", "wanted", multiple=True, help="Rows whose name begins so; all if left out.")
@click.option("--kept", is_flag=True, help="Train nothing: show what has been trained.")
@json_option
@click.pass_obj
def ablate(
    home: Home,
    profile: str,
    market: str,
    scenario: str | None,
    seeds: int,
    wanted: tuple[str, ...],
    kept: bool,
    as_json: bool,
) -> None:
    """Change one thing at a time on five time folds of the training period, and show the table.

    Every training is kept: one that was stopped goes on, one that is there is not done again.
    """
    from moola_pipeline.studies.ablation import cached_outcomes, run_ablation
    from moola_pipeline.studies.ablation_table import table_lines, tabulate

    rows = _rows(wanted)
    found, data, store = _opened(home, profile, market, scenario)
    if not kept:
        run_ablation(data, rows, range(seeds), store, "cpu", _say)
    table = tabulate(data.train, cached_outcomes(data, rows, range(seeds), store))
    if not table:
        raise BadInput("No row has been trained on every fold. Run: moola ablate")
    facts = {"simulated": found.simulated, "rows": [_facts(row._asdict()) for row in table]}
    missing = len(rows) - len(table)
    note = [f"{missing} of {len(rows)} rows are not there yet: moola ablate"] if missing else []
    about = f"{len(data.train.spans.type)} expansions in {len(data)} windows, five time folds"
    emit(facts, [*table_lines(table), "", about + _simulated(found), *note], as_json)


@click.command()
@market_options
@click.option("--seeds", type=click.IntRange(2, 100), default=20, show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Draw them, as .svg.")
@json_option
@click.pass_obj
def stability(
    home: Home, profile: str, market: str, scenario: str | None, seeds: int, out: Path | None, as_json: bool
) -> None:
    """Train many seeds and show each type's recall and share of the answers on validation."""
    from moola_pipeline.labels.schema import TYPES
    from moola_pipeline.storage.atomic_write import atomic_write_bytes
    from moola_pipeline.studies.stability import random_seeds, run_seeds

    if out is not None and out.suffix != ".svg":
        raise BadInput(f"--out must end in .svg, got {out.name}. Name an SVG file.")
    found, data, store = _opened(home, profile, market, scenario)
    answers = run_seeds(data, range(seeds), store, "cpu", _say)
    kind = data.validation.spans.type
    true_share = [float((kind == number).mean()) for number in range(len(TYPES))]
    about = f"{seeds} seeds, {len(kind)} validation expansions{_simulated(found)}"
    if out is not None:
        atomic_write_bytes(out, random_seeds(answers, true_share, about))
    lines = [f"{'seed':<5} " + " ".join(f"{f'recall {name}':>21} {'share':>6}" for name in TYPES)]
    for one in answers:
        pairs = zip(one.recall, one.share, strict=True)
        lines.append(
            f"{one.seed:<5} " + " ".join(f"{recall:>21.2f} {share:>6.2f}" for recall, share in pairs)
        )
    n_collapsed = sum(one.collapsed for one in answers)
    lines += ["", f"{n_collapsed} of {about} collapsed"]
    facts = {
        "simulated": found.simulated,
        "collapsed": n_collapsed,
        "true_share": dict(zip(TYPES, true_share, strict=True)),
        "seeds": [one._asdict() for one in answers],
    }
    emit(facts, lines, as_json)


def _rows(wanted: tuple[str, ...]) -> list[Any]:
    """The rows asked for, each path's default with them."""
    from moola_pipeline.studies.ablation_rows import DEFAULT, ROWS

    rows = [row for row in ROWS if not wanted or row.name == DEFAULT or row.name.startswith(wanted)]
    unknown = [name for name in wanted if not any(row.name.startswith(name) for row in ROWS)]
    if unknown:
        names = "; ".join(dict.fromkeys(row.name for row in ROWS))
        raise BadInput(f"--row must begin the name of a row, got {unknown[0]}. Choose from: {names}")
    return rows


def _opened(
    home: Home, profile: str, market: str, scenario: str | None
) -> "tuple[InstrumentData, StudyData, AblationStore]":
    import torch

    from moola_pipeline.resources.pipeline import Pipeline
    from moola_pipeline.staleness.fingerprints import code_digests
    from moola_pipeline.studies.ablation import AblationStore
    from moola_pipeline.studies.ablation_folds import study_data
    from moola_pipeline.studies.store import content_key

    torch.set_num_threads(1)  # the networks are small: more threads wait for each other
    found = Pipeline(**chosen_pipeline(profile, market, scenario)).chosen_market()
    code = content_key(code_digests(*TRAINED_BY))
    return found, study_data(found), AblationStore(home.studies / found.name / "ablations", code)


def _facts(row: dict[str, Any]) -> dict[str, Any]:
    intervals = ("scores", "differences")
    return row | {name: {metric: vars(one) for metric, one in row[name].items()} for name in intervals}


def _simulated(found: "InstrumentData") -> str:
    return ", SIMULATED" if found.simulated else ""


def _say(text: str) -> None:
    click.echo(f"{text} ...", err=True)
