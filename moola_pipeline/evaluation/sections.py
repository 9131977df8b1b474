"""Report sections other than scores: details, gallery, curves, previous run."""

from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import ValidationError

from moola_pipeline.evaluation.event_study import event_study
from moola_pipeline.evaluation.folds import EvaluationFold
from moola_pipeline.evaluation.scoring import EvaluatedModel
from moola_pipeline.evaluation.shuffled_labels import permuted_training
from moola_pipeline.evaluation.test_set import LabeledTestSet, baseline_inputs
from moola_pipeline.labels.schema import TYPES, type_name
from moola_pipeline.labels.spans import LabeledWindows
from moola_pipeline.metrics.bootstrap import Interval, Resampled, exact_share
from moola_pipeline.metrics.breakdowns import break_down, confusion
from moola_pipeline.metrics.calibration import reliability
from moola_pipeline.metrics.matching import event_counts, match_events
from moola_pipeline.metrics.scores import Scored, events_of
from moola_pipeline.report.asset_charts import class_mix
from moola_pipeline.report.data import (
    AlarmBudget,
    Calibration,
    DataFacts,
    Details,
    GalleryWindow,
    LearningPoint,
    LossCurve,
    LossCurves,
    PreviousRun,
    ReliabilityBin,
    ReportData,
    RunFacts,
    Score,
)
from moola_pipeline.report.metric_catalog import metric
from moola_pipeline.report.study_results import fits, learning_curve, read_study
from moola_pipeline.storage.asset_checksums import damage
from moola_pipeline.windows.window_geometry import WAITS, WINDOW_BARS

Rank = Literal["best", "worst"]


class ChosenWindow(NamedTuple):
    """A window to draw: its index, its rank, and the counts of its expansions as text."""

    place: int
    rank: Rank
    note: str


def choose_windows(
    truth: pd.DataFrame, predicted: pd.DataFrame, window_ids: np.ndarray, n_windows: int
) -> list[ChosenWindow]:
    """Choose windows with many found expansions and few errors, and windows with the most errors.

    Expansions of unknown type do not count.

    Args:
        truth: window_id, start, end, type of labeled expansions.
        predicted: The same columns and probability.
        window_ids: (n,) of every scored window.
        n_windows: Maximum number, half of each rank; each window at most once.

    Returns:
        The best, then the worst, clearest cases first.
    """
    ids = pd.Series(window_ids)
    counts = event_counts(match_events(truth, predicted), ids, tuple(range(len(TYPES))))
    found, false, missed = counts.sum(axis=1).T  # (n,) each
    top = np.zeros(len(ids))
    np.maximum.at(top, pd.Index(ids).get_indexer(predicted["window_id"].to_numpy()), predicted["probability"])
    wrong = false + missed
    by_quality = np.lexsort((np.arange(len(wrong)), -top, -found, wrong))
    by_errors = np.lexsort((np.arange(len(wrong)), -top, -wrong))
    best = [int(place) for place in by_quality[: n_windows - n_windows // 2] if found[place]]
    worst = [int(place) for place in by_errors[: n_windows // 2] if wrong[place] and place not in best]

    def note(place: int) -> str:
        return f"{found[place]} found, {missed[place]} missed, {false[place]} false"

    return [
        *(ChosenWindow(place, "best", note(place)) for place in best),
        *(ChosenWindow(place, "worst", note(place)) for place in worst),
    ]


NOT_LIVE = "the model was not trained for live mode; all scores use the whole window (hindsight)"
NO_STUDY = "no study of these bars and labels yet; run moola run --profile study"
NO_SECOND_PASS = "no test window has a second pass by the annotator"
NO_SCRATCH = "this profile trains no network from scratch; the profiles demo and full train one seed"
FEW_LABELS = "there are too few labels for a test split"
WITHOUT_TEST = dict.fromkeys(("alarm_budgets", "delay_curve", "null", "scratch"), FEW_LABELS)
"""Parts that cross-validation does not have, with the reason."""
FIRST_REPORT = "this is the first report on this market and profile"


def as_scores(scored: Scored) -> dict[str, Score]:
    """Scores in the form of the report; shares of all or none get an exact interval."""
    return {name: Score.model_validate(_shown_interval(name, one)) for name, one in scored.items()}


def _shown_interval(name: str, one: Resampled) -> Interval:
    about = metric(name)
    is_share = about.unit == "share" and about.better == "higher"
    return exact_share(one.interval) if is_share else one.interval


def as_tables(scored: Mapping[str, Scored]) -> dict[str, dict[str, Score]]:
    """Scores of several methods in the form of the report."""
    return {name: as_scores(one) for name, one in scored.items()}


def details_of(
    test_set: LabeledTestSet,
    evaluated: EvaluatedModel,
    served: int,
    folds: Sequence[EvaluationFold],
    labels: pd.DataFrame,
    rng: np.random.Generator,
) -> Details:
    """Details below the front page, without the parts that need other runs or methods.

    Args:
        test_set: The test windows.
        evaluated: Scores and predictions of the model.
        served: The served seed, used for confusion, calibration and event study.
        folds: Windows learned from; the control with shuffled labels needs a test split.
        labels: The labeled frame with splits.
        rng: Source of the permutations.
    """
    resampled, answers = test_set.resampled, evaluated.answers
    by_way = break_down(resampled, test_set.labeled, list(answers.values()), test_set.market.times)
    labeled = resampled.windows.spans
    y, p = labeled.type[labeled.is_typed], evaluated.probabilities[served][labeled.is_typed]
    null: Interval | None = None
    if len(folds) == 1:
        train = folds[0].train.typed
        inputs, test_inputs = (baseline_inputs(test_set, windows) for windows in (train, resampled.windows))
        null = permuted_training(resampled, inputs, train.spans.type, test_inputs, rng)
    closes, atr = test_set.market.prices[:, 3], test_set.market.atr
    return Details(
        breakdowns={
            way: {group: as_scores(scored) for group, scored in groups.items()}
            for way, groups in by_way.items()
        },
        confusion=confusion(labeled.type, answers[served].p_retracement),
        calibration=Calibration(
            bins=[
                ReliabilityBin(probability=float(probability), share=float(share), n=int(n))
                for probability, share, n in zip(*reliability(y, p), strict=True)
            ],
            ece_band=evaluated.perfect_bands[served],
        ),
        by_seed={
            name: [scored[name].estimate for scored in evaluated.by_seed.values()]
            for name in evaluated.scores
        },
        class_mix=class_mix(labels),
        event_study=event_study(resampled, test_set.labeled, answers[served].events, closes, atr),
        delay_curve={
            wait: Score.model_validate(_shown_interval(name, evaluated.scores[name]))
            for wait in WAITS
            if (name := f"event_f1_live_{wait}") in evaluated.scores
        },
        null=Score.model_validate(null) if null else None,
    )


def alarm_budget_rows(scored: Mapping[int, tuple[float, Scored]]) -> list[AlarmBudget]:
    """Scores by alarm budget in the form of the report; see `alarm_budgets.score_alarm_budgets`."""
    return [
        AlarmBudget.model_validate({"budget": budget, "threshold": threshold, **as_scores(scores)})
        for budget, (threshold, scores) in scored.items()
    ]


def not_measured(
    details: Details, second_pass: Scored, before: PreviousRun | None, ablations: Container[str]
) -> dict[str, str]:
    """Missing parts of the report, with the reason.

    Args:
        details: The details so far.
        second_pass: Empty if there is no second pass.
        before: The previous report.
        ablations: Names of the scored ablations.
    """
    reasons = {
        "delay_curve": (not details.delay_curve, NOT_LIVE),
        "alarm_budgets": (not details.alarm_budgets, NOT_LIVE),
        "learning_curve": (not details.learning_curve, NO_STUDY),
        "second_pass": (not second_pass, NO_SECOND_PASS),
        "previous": (before is None, FIRST_REPORT),
        "scratch": ("scratch" not in ablations, NO_SCRATCH),
    }
    return {name: why for name, (missing, why) in reasons.items() if missing}


def previous_run(
    report: Path, current: RunFacts, data: DataFacts, is_finished: Callable[[str], bool]
) -> PreviousRun | None:
    """The report that the new one replaces, and whether bars, labels or settings differ.

    If the last report belongs to a run that was killed before its end, the new report is compared
    with the previous run of that report instead.

    Args:
        report: File with the numbers of the last report on this market and profile.
        current: Run facts of the new report.
        data: Its bars and labels.
        is_finished: Whether the Dagster run with this id finished its report.

    Returns:
        None if there is no report, or it is damaged, or this version cannot read it.
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


def study_learning_curve(folder: Path, data_digests: Mapping[str, str]) -> list[LearningPoint]:
    """The learning curve of the last study, if it used these bars and labels.

    Args:
        folder: Folder of the market's studies.
        data_digests: Digests of the market's data.
    """
    study = read_study(folder)
    return learning_curve(study) if study and fits(study, data_digests) else []


def loss_curves(facts: dict[str, Any]) -> LossCurves:
    """Losses of pretraining and fine-tuning from the training facts."""

    def curve(seed: int, history: list[dict[str, float]]) -> LossCurve:
        return LossCurve(seed, [e["train_loss"] for e in history], [e["val_loss"] for e in history])

    encoder = facts["encoder"]
    return LossCurves(
        [curve(encoder["settings"]["seed"], encoder["history"])],
        [curve(int(seed), history) for seed, history in facts["histories"].items()],
    )


def labels_note(labels: pd.DataFrame, simulated: bool, scenario: str = "none") -> str | None:
    """Source of the labels; for a simulated market also its scenario."""
    if simulated:
        prefix = "" if scenario == "none" else f"scenario {scenario}: "
        return f"{prefix}labels by a simulated annotator for all clearly visible surges"
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
    """The test windows with the best and with the worst predictions of the served seed."""
    chosen = choose_windows(events_of(test), events, test.window_id, n_windows)
    return [_gallery_window(bars, test, events, window) for window in chosen]


def _gallery_window(
    bars: pd.DataFrame, test: LabeledWindows, events: pd.DataFrame, chosen: ChosenWindow
) -> GalleryWindow:
    rows = bars.iloc[test.bar0[chosen.place] : test.bar0[chosen.place] + WINDOW_BARS]
    spans = test.spans
    predicted = events.loc[events["window_id"] == test.window_id[chosen.place]]
    return GalleryWindow(
        window_id=str(test.window_id[chosen.place]),
        session=f"{test.session[chosen.place].astype('datetime64[D]')}",
        started_at=f"{rows['timestamp'].iloc[0]:%Y-%m-%d %H:%M} UTC",
        **{name: rows[name].to_numpy(float) for name in ("open", "high", "low", "close")},
        truth=[
            (int(spans.start[i]), int(spans.end[i]), type_name(spans.type[i]), int(spans.direction[i]))
            for i in np.flatnonzero(spans.window == chosen.place)
        ],
        predicted=[
            (int(e.start), int(e.end), TYPES[int(e.type)], int(e.direction), float(e.probability))
            for e in predicted.itertuples()
        ],
        rank=chosen.rank,
        note=chosen.note,
    )
