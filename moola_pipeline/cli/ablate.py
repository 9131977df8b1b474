"""`moola ablate` and `moola stability`: ablations on time folds, and trainings with many seeds."""

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

TRAINING_CODE = ("training/pretrain.py", "training/finetune.py", "training/thresholds.py")
"""Modules whose code decides a training, with the modules that they import."""


@click.command()
@market_options
@click.option("--seeds", type=click.IntRange(1, 20), default=1, show_default=True, help="Trainings per fold.")
@click.option(
    "--labels",
    "n_labels",
    type=click.IntRange(4),
    help="Labels that each seed draws for itself in each fold.  [default: all]",
)
@click.option(
    "--validation",
    "on_validation",
    is_flag=True,
    help="Learn from all training labels and score validation, each half with thresholds of the other.",
)
@click.option(
    "--path", type=click.Choice(["pseudo_labels", "labels"]), help="Rows of this table.  [default: both]"
)
@click.option("--row", "row_names", multiple=True, help="Rows whose name starts with this; default: all.")
@click.option("--against", help="Compare with this row in place of the default: the start of its name.")
@click.option(
    "--encoders",
    is_flag=True,
    help="Show instead what the encoder knows of the numbers that the heads read.",
)
@click.option("--kept", "only_finished", is_flag=True, help="Train nothing; show the finished trainings.")
@json_option
@click.pass_obj
def ablate(
    home: Home,
    profile: str,
    market: str,
    scenario: str | None,
    seeds: int,
    n_labels: int | None,
    on_validation: bool,
    path: str | None,
    row_names: tuple[str, ...],
    against: str | None,
    encoders: bool,
    only_finished: bool,
    as_json: bool,
) -> None:
    """Compare ablations on five time folds of the training period, and show the table.

    Numbers in brackets are 95 % intervals by session; ± is the standard deviation over the seeds. A
    difference in bold excludes 0. Finished trainings are saved: an interrupted command resumes and repeats
    none of them.
    """
    from moola_pipeline.studies.ablation import Plan, cached_outcomes, run_ablation
    from moola_pipeline.studies.ablation_rows import DEFAULT
    from moola_pipeline.studies.ablation_table import table_lines, tabulate
    from moola_pipeline.training.parallel import n_workers

    base = _base(against, path) if against else DEFAULT
    rows = _rows((*row_names, base) if row_names else (), path)
    instrument, data, store = _load(home, profile, market, scenario)
    plan = Plan(rows, range(seeds), n_labels, on_validation)
    if encoders:
        _show_encoders(instrument, data, store, as_json)
        return
    if not only_finished:
        run_ablation(data, plan, store, "cpu", _show_progress, n_workers("cpu"))
    windows = plan.scored_windows(data)
    table = tabulate(windows, cached_outcomes(data, plan, store), base)
    if not table:
        raise BadInput("No row has been trained on every fold. Run the same command without --kept.")
    facts = {"simulated": instrument.simulated, "rows": [_facts(row._asdict()) for row in table]}
    missing = len(rows) - len(table)
    note = [f"{missing} of {len(rows)} rows are not trained yet: leave out --kept."] if missing else []
    where = "validation" if on_validation else "five time folds"
    about = f"{len(windows.spans.type)} expansions in {len(windows.bar0)} windows, {where}"
    about += f", {n_labels} labels drawn by each seed" if n_labels else ""
    emit(facts, [*table_lines(table), "", about + _simulated(instrument), *note], as_json)


@click.command()
@market_options
@click.option("--seeds", type=click.IntRange(2, 100), default=20, show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write a chart of the seeds: .svg."
)
@json_option
@click.pass_obj
def stability(
    home: Home, profile: str, market: str, scenario: str | None, seeds: int, out: Path | None, as_json: bool
) -> None:
    """Train many seeds and show each type's recall and share of predictions on validation."""
    from moola_pipeline.labels.schema import TYPES
    from moola_pipeline.storage.atomic_write import atomic_write_bytes
    from moola_pipeline.studies.stability import random_seeds, run_seeds

    if out is not None and out.suffix != ".svg":
        raise BadInput(f"--out must end in .svg, got {out.name}. Name an SVG file.")
    instrument, data, store = _load(home, profile, market, scenario)
    outcomes = run_seeds(data, range(seeds), store, "cpu", _show_progress)
    types = data.validation.typed.spans.type
    true_share = [float((types == number).mean()) for number in range(len(TYPES))]
    about = f"{seeds} seeds, {len(types)} validation expansions{_simulated(instrument)}"
    if out is not None:
        atomic_write_bytes(out, random_seeds(outcomes, true_share, about))
    lines = [f"{'seed':<5} " + " ".join(f"{f'recall {name}':>21} {'share':>6}" for name in TYPES)]
    for outcome in outcomes:
        pairs = zip(outcome.recall, outcome.share, strict=True)
        lines.append(
            f"{outcome.seed:<5} " + " ".join(f"{recall:>21.2f} {share:>6.2f}" for recall, share in pairs)
        )
    n_collapsed = sum(outcome.collapsed for outcome in outcomes)
    lines += ["", f"{n_collapsed} of {about} collapsed"]
    facts = {
        "simulated": instrument.simulated,
        "collapsed": n_collapsed,
        "true_share": dict(zip(TYPES, true_share, strict=True)),
        "seeds": [outcome._asdict() for outcome in outcomes],
    }
    emit(facts, lines, as_json)


def _base(against: str, path: str | None) -> str:
    """Name of the row that the others are compared with: in full, or its start if no other begins so."""
    names = list(dict.fromkeys(row.name for row in _on_path(path)))
    matching = [against] if against in names else [name for name in names if name.startswith(against)]
    if len(matching) != 1:
        raise BadInput(
            f"--against must be the start of one row's name, got {against}, which {len(matching)} have. "
            f"Choose from: {'; '.join(matching or names)}"
        )
    return matching[0]


def _on_path(path: str | None) -> list[Any]:
    from moola_pipeline.studies.ablation_rows import ROWS

    return [row for row in ROWS if path in (None, row.path)]


def _rows(names: tuple[str, ...], path: str | None) -> list[Any]:
    """The selected rows, with the default row of each of their paths."""
    from moola_pipeline.studies.ablation_rows import DEFAULT

    on_path = _on_path(path)
    unknown = [name for name in names if not any(row.name.startswith(name) for row in on_path)]
    if unknown:
        choices = "; ".join(dict.fromkeys(row.name for row in on_path))
        raise BadInput(f"--row must be the start of a row's name, got {unknown[0]}. Choose from: {choices}")
    chosen = [row for row in on_path if not names or row.name.startswith(names)]
    paths = {row.path for row in chosen}
    return [row for row in on_path if row in chosen or (row.name == DEFAULT and row.path in paths)]


def _show_encoders(
    instrument: "InstrumentData", data: "StudyData", store: "AblationStore", as_json: bool
) -> None:
    """What the pretrained encoder, and one with random weights, know of the measured numbers."""
    from moola_pipeline.studies.ablation_folds import whole_training
    from moola_pipeline.studies.read_back import N_WINDOWS, read_back, read_back_lines
    from moola_pipeline.training.ablations import random_like

    whole = whole_training(data)
    _show_progress("pretraining")
    pretrained = store.encoder(whole, "cpu")
    rows = read_back(whole, {"random weights": random_like(pretrained, 0), "pretrained": pretrained})
    about = f"proposed spans of {N_WINDOWS:,} unlabeled windows, the last fifth in time predicted"
    facts = {"simulated": instrument.simulated, "encoders": [row._asdict() for row in rows]}
    emit(facts, [*read_back_lines(rows), "", about + _simulated(instrument)], as_json)


def _load(
    home: Home, profile: str, market: str, scenario: str | None
) -> "tuple[InstrumentData, StudyData, AblationStore]":
    import torch

    from moola_pipeline.resources.pipeline import Pipeline
    from moola_pipeline.staleness.fingerprints import code_digests
    from moola_pipeline.studies.ablation import AblationStore
    from moola_pipeline.studies.ablation_folds import study_data
    from moola_pipeline.studies.store import content_key

    torch.set_num_threads(1)  # the networks are small: more threads only wait for each other
    instrument = Pipeline(**chosen_pipeline(profile, market, scenario)).chosen_market()
    code = content_key(code_digests(*TRAINING_CODE))
    data = study_data(instrument)
    store = AblationStore(home.studies / instrument.name / "ablations", data.digest, code)
    return instrument, data, store


def _facts(row: dict[str, Any]) -> dict[str, Any]:
    intervals = ("scores", "differences")
    return row | {
        name: {metric: vars(interval) for metric, interval in row[name].items()} for name in intervals
    }


def _simulated(instrument: "InstrumentData") -> str:
    return ", SIMULATED" if instrument.simulated else ""


def _show_progress(text: str) -> None:
    click.echo(f"{text} ...", err=True)
