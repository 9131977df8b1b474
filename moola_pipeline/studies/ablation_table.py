"""The ablation table: scores of each row on the folds, and differences to the default."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.metrics.bootstrap import N_RESAMPLES, Interval, Resampled, resample
from moola_pipeline.metrics.scores import (
    ResampledWindows,
    Scored,
    mean_scores,
    resample_windows,
    score_events,
    score_types,
)
from moola_pipeline.studies.ablation import Outcome
from moola_pipeline.studies.ablation_rows import DEFAULT, LABELS, PSEUDO_LABELS, Path

METRICS = {
    "type_f1_macro": "type F1",
    "aucpr_retracement": "AUCPR",
    "type_log_loss": "log-loss",
    "event_f1_macro": "event F1",
    "event_f1_untyped": "untyped",
}
"""Columns of the table; for the log-loss, lower is better."""
_MIN_P = 1e-6
_TITLES = {
    PSEUDO_LABELS: "the default path: judge and typer learn from pseudo-labels",
    LABELS: "labels alone, for changes that act on labels only",
}


class TableRow(NamedTuple):
    """Scores of one change.

    Attributes:
        name, path: As in `Row`.
        n_seeds: Trainings per fold.
        scores: By metric, over all folds together, averaged over seeds.
        differences: To the row compared with, of the same path and with the same seeds, paired by session;
            empty for that row itself.
        spread: Standard deviation over the seeds, of the differences or, for that row, of the scores;
            empty for one seed.
        seconds: Mean time of a training.
    """

    name: str
    path: Path
    n_seeds: int
    scores: dict[str, Interval]
    differences: dict[str, Interval]
    spread: dict[str, float]
    seconds: float


def tabulate(windows: LabeledWindows, outcomes: Sequence[Outcome], against: str = DEFAULT) -> list[TableRow]:
    """Score every row, each default first.

    Args:
        windows: The scored windows of all folds.
        outcomes: Of complete rows: each has every fold.
        against: Name of the row that the others of its path are compared with.
    """
    data = resample_windows(windows, N_RESAMPLES, np.random.default_rng(0))
    by_training: dict[tuple[str, str], dict[int, list[Outcome]]] = {}
    for outcome in outcomes:
        by_training.setdefault((outcome.row.path, outcome.row.name), {}).setdefault(outcome.seed, []).append(
            outcome
        )
    scored = {
        key: {seed: _scored(data, parts) for seed, parts in seeds.items()}
        for key, seeds in by_training.items()
    }
    return [
        _row(key, seeds, scored[key], {} if key[1] == against else scored.get((key[0], against), {}))
        for key, seeds in by_training.items()
    ]


def _row(
    key: tuple[str, str],
    seeds: dict[int, list[Outcome]],
    scored: dict[int, Scored],
    base: dict[int, Scored],
) -> TableRow:
    first = next(iter(seeds.values()))[0].row
    shared = sorted(set(scored) & set(base))
    means = mean_scores(list(scored.values()))
    differences, per_seed = {}, {name: [it[name] for it in scored.values()] for name in METRICS}
    if shared:
        changed, plain = (mean_scores([scores[seed] for seed in shared]) for scores in (scored, base))
        differences = {name: changed[name].minus(plain[name]).interval for name in METRICS}
        per_seed = {name: [scored[seed][name].minus(base[seed][name]) for seed in shared] for name in METRICS}
    spread = {
        name: float(np.std([it.estimate for it in values], ddof=1))
        for name, values in per_seed.items()
        if len(values) > 1
    }
    seconds = float(np.mean([outcome.seconds for parts in seeds.values() for outcome in parts]))
    scores = {name: means[name].interval for name in METRICS}
    return TableRow(first.name, first.path, len(scored), scores, differences, spread, seconds)


def _scored(data: ResampledWindows, parts: Sequence[Outcome]) -> Scored:
    """Scores of all folds together; folds are blocks of windows in order of time."""
    parts = sorted(parts, key=lambda outcome: outcome.fold)
    ids = [name for outcome in parts for name in outcome.window_id]
    if ids != data.windows.window_id.tolist():
        raise ValueError(
            f"the folds must hold all {len(data.windows.bar0)} scored windows in order, got {len(ids)}"
        )
    balanced, calibrated = (
        np.concatenate([getattr(outcome, name) for outcome in parts])
        for name in ("p_balanced", "p_calibrated")
    )
    events = pd.concat([_events(outcome) for outcome in parts], ignore_index=True)
    return {
        **score_types(data, balanced),
        "type_log_loss": _log_loss(data, calibrated),
        **score_events(data, events),
    }


def _events(outcome: Outcome) -> pd.DataFrame:
    frame = pd.DataFrame(outcome.events).astype(np.int64)
    return frame.assign(window_id=np.array(outcome.window_id, object)[frame["window"]])


def _log_loss(data: ResampledWindows, p: np.ndarray) -> Resampled:
    typed, p = data.typed, p[data.windows.spans.is_typed]
    loss = -np.log(np.clip(np.where(typed.windows.spans.type == 1, p, 1 - p), _MIN_P, 1))
    return resample(lambda weights: weights @ loss / weights.sum(axis=-1), typed.event_weights)


def table_lines(rows: Sequence[TableRow]) -> list[str]:
    """The table in Markdown, one part per path."""
    lines = []
    for path, title in _TITLES.items():
        of_path = [row for row in rows if row.path == path]
        if not of_path:
            continue
        heads = " | ".join(METRICS.values())
        lines += ["", f"| {title} | seeds | {heads} |", "|---|---" + "|---" * len(METRICS) + "|"]
        lines += [
            f"| {row.name} | {row.n_seeds} | " + " | ".join(_cell(row, name) for name in METRICS) + " |"
            for row in of_path
        ]
    return lines[1:]


def _cell(row: TableRow, name: str) -> str:
    """The score of the row compared with, or the difference to it, in bold if its interval excludes 0."""
    spread = f" ± {row.spread[name]:.3f}" if row.spread else ""
    if not row.differences:
        return _interval_text(row.scores[name], "") + spread
    difference = row.differences[name]
    text = _interval_text(difference, "+") + spread
    return f"**{text}**" if difference.low > 0 or difference.high < 0 else text


def _interval_text(it: Interval, sign: str) -> str:
    numbers = (f"{value:{sign}.3f}".replace("-", "−") for value in (it.estimate, it.low, it.high))
    return "{} [{}, {}]".format(*numbers)
