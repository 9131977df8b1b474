"""Sections of a report that are no score: details, gallery, curves, the previous run."""

from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import ValidationError

from moola_pipeline.evaluation.event_study import event_study
from moola_pipeline.evaluation.scoring import EvaluatedModel
from moola_pipeline.evaluation.shuffled_labels import permuted_training
from moola_pipeline.evaluation.test_set import LabeledTestSet, baseline_inputs
from moola_pipeline.labels.schema import TYPES
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.labels.splits import class_counts
from moola_pipeline.metrics.bootstrap import Interval
from moola_pipeline.metrics.breakdowns import break_down, confusion
from moola_pipeline.metrics.calibration import reliability
from moola_pipeline.metrics.matching import event_counts, match_events
from moola_pipeline.metrics.scores import Scored, events_of
from moola_pipeline.report.data import (
    Calibration,
    DataFacts,
    Details,
    GalleryWindow,
    LearningPoint,
    LossCurve,
    LossCurves,
    MonthMix,
    PreviousRun,
    ReliabilityBin,
    ReportData,
    RunFacts,
    Score,
)
from moola_pipeline.report.study_results import fits, learning_curve, read_study
from moola_pipeline.storage.asset_checksums import damage
from moola_pipeline.windows.window_geometry import WAITS, WINDOW_BARS

Rank = Literal["best", "worst"]


class ChosenWindow(NamedTuple):
    """A window to draw, its place among the windows, and what became of its expansions."""

    place: int
    rank: Rank
    note: str


def choose_windows(
    truth: pd.DataFrame, predicted: pd.DataFrame, window_ids: np.ndarray, n_windows: int
) -> list[ChosenWindow]:
    """The windows with the most expansions found and no error, and those with the most errors.

    Args:
        truth: window_id, start, end, type of labeled expansions.
        predicted: The same columns and probability.
        window_ids: (n,) of every window judged.
        n_windows: At most so many, half of each rank; a window is drawn once.

    Returns:
        The best first, then the worst, each from the clearest on.
    """
    ids = pd.Series(window_ids)
    counts = event_counts(match_events(truth, predicted), ids, tuple(range(len(TYPES))))
    found, false, missed = counts.sum(axis=1).T  # (n,) each
    surest = np.zeros(len(ids))
    np.maximum.at(
        surest, pd.Index(ids).get_indexer(predicted["window_id"].to_numpy()), predicted["probability"]
    )
    wrong = false + missed
    flawless = np.lexsort((np.arange(len(wrong)), -surest, -found, wrong))
    worst = np.lexsort((np.arange(len(wrong)), -surest, -wrong))
    best = [int(place) for place in flawless[: n_windows - n_windows // 2] if found[place]]
    errors = [int(place) for place in worst[: n_windows // 2] if wrong[place] and place not in best]

    def note(place: int) -> str:
        return f"{found[place]} found, {missed[place]} missed, {false[place]} false"

    return [
        *(ChosenWindow(place, "best", note(place)) for place in best),
        *(ChosenWindow(place, "worst", note(place)) for place in errors),
    ]


NOT_LIVE = "the model was not taught to answer live: this report is about hindsight, the whole window read"
NO_STUDY = "no study of these bars and labels yet: moola run --profile study"
NO_SECOND_PASS = "no test window carries a second pass of the annotator"
NO_SCRATCH = "this profile trains no network from scratch; demo and full train one seed"
FIRST_REPORT = "this is the first report on this market and profile"


def as_scores(scored: Scored) -> dict[str, Score]:
    """Scores as the report writes them."""
    return {name: Score.model_validate(one.interval) for name, one in scored.items()}


def as_tables(scored: Mapping[str, Scored]) -> dict[str, dict[str, Score]]:
    """The scores of several methods as the report writes them."""
    return {name: as_scores(one) for name, one in scored.items()}


def details_of(
    test_set: LabeledTestSet,
    judged: EvaluatedModel,
    served: int,
    train: LabeledWindows,
    labels: pd.DataFrame,
    rng: np.random.Generator,
) -> Details:
    """What stands below the front page, but for what other runs and rivals decide.

    Args:
        trial: The test windows.
        judged: The model's answers.
        served: The seed that is served: confusion, reliability and event study are its own.
        train: Training windows, for the null.
        labels: The labeled frame with splits.
        rng: Of the null's permutations.
    """
    resampled, answers = test_set.resampled, judged.answers
    by_way = break_down(resampled, test_set.labeled, list(answers.values()), test_set.market.times)
    y = resampled.windows.spans.type
    seen, asked = baseline_inputs(test_set, train), baseline_inputs(test_set, resampled.windows)
    null: Interval = permuted_training(resampled, seen, train.spans.type, asked, rng)
    closes, atr = test_set.market.prices[:, 3], test_set.market.atr
    return Details(
        breakdowns={
            way: {group: as_scores(scored) for group, scored in groups.items()}
            for way, groups in by_way.items()
        },
        confusion=confusion(y, answers[served].p_retracement),
        calibration=Calibration(
            bins=[
                ReliabilityBin(probability=float(said), share=float(share), n=int(n))
                for said, share, n in zip(*reliability(y, judged.probabilities[served]), strict=True)
            ],
            ece_band=judged.perfect_bands[served],
        ),
        by_seed={
            name: [scored[name].estimate for scored in judged.by_seed.values()] for name in judged.scores
        },
        class_mix=class_mix(labels),
        event_study=event_study(resampled, test_set.labeled, answers[served].events, closes, atr),
        delay_curve={
            wait: Score.model_validate(judged.scores[name].interval)
            for wait in WAITS
            if (name := f"event_f1_live_{wait}") in judged.scores
        },
        null=Score.model_validate(null),
    )


def class_mix(labels: pd.DataFrame) -> list[MonthMix]:
    """Labels of each month and split, in order of time."""
    counts = class_counts(labels).reset_index().sort_values("month", kind="stable")
    return [
        MonthMix.model_validate(
            {
                **{name: int(row[name]) for name in (*TYPES, "none")},
                "month": str(row["month"]),
                "split": row["split"],
            }
        )
        for row in counts.to_dict("records")
    ]


def not_measured(
    details: Details, second_pass: Scored, before: PreviousRun | None, ablations: Container[str]
) -> dict[str, str]:
    """What the report leaves out, and why.

    Args:
        details: As far as they are filled.
        second_pass: Empty where there is no second pass.
        before: The last report.
        ablations: Names of the ablations that were scored.
    """
    reasons = {
        "delay_curve": (not details.delay_curve, NOT_LIVE),
        "learning_curve": (not details.learning_curve, NO_STUDY),
        "second_pass": (not second_pass, NO_SECOND_PASS),
        "previous": (before is None, FIRST_REPORT),
        "scratch": ("scratch" not in ablations, NO_SCRATCH),
    }
    return {name: why for name, (missing, why) in reasons.items() if missing}


def previous_run(
    report: Path, current: RunFacts, data: DataFacts, is_finished: Callable[[str], bool]
) -> PreviousRun | None:
    """The report that this one replaces, and whether bars, labels or settings were other then.

    A run that was killed after it wrote its report left one that nobody was told of: this one takes
    its place, and is compared with what that one was compared with.

    Args:
        report: Where the numbers of the last report on this market and profile are kept.
        current: Of the report in the making.
        data: Its bars and labels.
        is_finished: Whether a Dagster run, by its id, came to the end of its report.

    Returns:
        None where there is none, or none that is as it was written and that this version can read.
    """
    if damage(report.with_suffix("")):
        return None
    try:
        last = ReportData.model_validate_json(report.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    if not is_finished(last.run.run_id):
        return last.details.previous
    return PreviousRun(
        run_id=last.run.run_id,
        created_at=last.run.created_at,
        metrics=last.metrics,
        bars_changed=last.data.sha256 != data.sha256,
        labels_changed=last.data.labels_sha256 != data.labels_sha256,
        settings_changed=last.run.settings != current.settings,
    )


def studied(folder: Path, sources: Mapping[str, str], encoder: Mapping[str, Any]) -> list[LearningPoint]:
    """The learning curve of the last study, if it was held on these very bars and labels.

    Args:
        folder: Where the studies of this market are kept.
        sources: Digests of the market's data.
        encoder: Settings of the model's encoder: its objective is the one drawn.
    """
    study = read_study(folder)
    return learning_curve(study, encoder["objective"]) if study and fits(study, sources) else []


def loss_curves(facts: dict[str, Any]) -> LossCurves:
    """Losses of both trainings from the facts of their making."""

    def curve(seed: int, history: list[dict[str, float]]) -> LossCurve:
        return LossCurve(seed, [e["train_loss"] for e in history], [e["val_loss"] for e in history])

    encoder = facts["encoder"]
    return LossCurves(
        [curve(encoder["settings"]["seed"], encoder["history"])],
        [curve(int(seed), history) for seed, history in facts["histories"].items()],
    )


def labels_note(labels: pd.DataFrame, simulated: bool, scenario: str = "none") -> str | None:
    """Who labeled; of a simulated market also which scenario it is."""
    if simulated:
        which = "" if scenario == "none" else f"scenario {scenario}: "
        return f"{which}labels by a simulated annotator: surges that stand out in the bars, planted or not"
    annotators = sorted(labels["annotator"].dropna().unique())
    return f"labels by {', '.join(annotators)}" if annotators else None


def flat_metrics(data: ReportData) -> dict[str, float]:
    """All scores and their bounds under dotted names, for MLflow."""
    flat: dict[str, float] = {}
    others = {
        **data.trivial_baselines,
        **data.baselines,
        **data.ablations,
        "second_pass": data.second_pass,
    }
    for prefix, scores in {"": data.metrics, **{f"{name}.": it for name, it in others.items()}}.items():
        for name, one in scores.items():
            for part in ("estimate", "low", "high"):
                value = getattr(one, part)
                if value is not None:
                    flat[f"{prefix}{name}" + ("" if part == "estimate" else f".{part}")] = value
    return flat


def gallery(
    bars: pd.DataFrame, test: LabeledWindows, events: pd.DataFrame, n_windows: int
) -> list[GalleryWindow]:
    """The test windows in which the served seed was most right, and those in which it was most wrong."""
    chosen = choose_windows(events_of(test), events, test.window_id, n_windows)
    return [_drawn(bars, test, events, one) for one in chosen]


def _drawn(
    bars: pd.DataFrame, test: LabeledWindows, events: pd.DataFrame, chosen: ChosenWindow
) -> GalleryWindow:
    rows = bars.iloc[test.bar0[chosen.place] : test.bar0[chosen.place] + WINDOW_BARS]
    spans = test.spans
    found = events.loc[events["window_id"] == test.window_id[chosen.place]]
    return GalleryWindow(
        window_id=str(test.window_id[chosen.place]),
        session=f"{test.session[chosen.place].astype('datetime64[D]')}",
        started_at=f"{rows['timestamp'].iloc[0]:%Y-%m-%d %H:%M} UTC",
        **{name: rows[name].to_numpy(float) for name in ("open", "high", "low", "close")},
        truth=[
            (int(spans.start[i]), int(spans.end[i]), TYPES[spans.type[i]], int(spans.direction[i]))
            for i in np.flatnonzero(spans.window == chosen.place)
        ],
        predicted=[
            (int(e.start), int(e.end), TYPES[int(e.type)], int(e.direction), float(e.probability))
            for e in found.itertuples()
        ],
        rank=chosen.rank,
        note=chosen.note,
    )
