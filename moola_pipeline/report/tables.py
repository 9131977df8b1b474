"""Tables of a report: scores by question, baselines and ablations, groups, parts not measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from moola_pipeline.report.data import (
    HEADLINE_METRICS,
    GalleryWindow,
    LossCurves,
    ReportData,
    Score,
    Scores,
)
from moola_pipeline.report.metric_catalog import (
    QUESTIONS,
    SIDES,
    Metric,
    Question,
    best,
    method_name,
    metric,
    part,
)

SHORT_TABLE = 6
"""Tables with at most this many groups share a column."""
NOT_PART = "not part of this report"
ONE_SEED = "this profile trains one seed, so the spread between seeds is unknown"


@dataclass(frozen=True)
class Named:
    """Score of a baseline or ablation, with its plain name."""

    name: str
    key: str
    score: Score


@dataclass(frozen=True)
class ScoreRow:
    """A score of the model beside the best baselines and ablations.

    Attributes:
        key: Its name in the JSON object.
        lead: Model minus the best baseline, paired by session.
        least: Smallest detectable difference.
        primary: Whether it is one of the two primary comparisons.
    """

    key: str
    metric: Metric
    score: Score
    trivial_baseline: Named | None
    baseline: Named | None
    ablation: Named | None
    lead: Score | None
    second_pass: Score | None
    least: float | None
    primary: bool


def score_row(data: ReportData, key: str) -> ScoreRow | None:
    """The row of a score; None if it was not measured."""
    score = data.metrics.get(key)
    if score is None:
        return None
    baseline = _as_named(data.baseline_beside(key))
    return ScoreRow(
        key=key,
        metric=metric(key),
        score=score,
        trivial_baseline=_as_named(best(data.trivial_baselines, key)),
        baseline=baseline,
        ablation=_as_named(best(data.ablations, key)),
        lead=data.differences.get(baseline.key, {}).get(key) if baseline else None,
        second_pass=data.second_pass.get(key),
        least=data.details.smallest_difference.get(key),
        primary=any(one.metric == key for one in data.primaries),
    )


def headline_rows(data: ReportData) -> dict[str, ScoreRow | None]:
    """Rows of the front page."""
    return {key: score_row(data, key) for key in HEADLINE_METRICS}


def score_tables(data: ReportData) -> dict[Question, list[ScoreRow]]:
    """All scores of the model by question, those of the front page first."""
    keys = [*(key for key in HEADLINE_METRICS if key in data.metrics), *data.metrics]
    rows = [row for key in dict.fromkeys(keys) if (row := score_row(data, key))]
    return {question: [row for row in rows if row.metric.question == question] for question in QUESTIONS}


@dataclass(frozen=True)
class GroupTable:
    """Scores by group, such as hour or direction.

    Attributes:
        columns: Keys of the scores.
        rows: Group, and by key its score and the score of all groups together.
    """

    title: str
    columns: list[str]
    rows: list[tuple[str, dict[str, tuple[Score, float | None]]]]


GROUP_TITLES = {
    "type": "By type",
    "hour": "By hour of the start, New York",
    "session": "By part of the trading day",
    "direction": "By direction",
}


def group_tables(data: ReportData) -> list[list[GroupTable]]:
    """One table per grouping, in two columns: short tables, long tables."""
    tables = [
        _group_table(data, GROUP_TITLES.get(way, way), groups)
        for way, groups in data.details.breakdowns.items()
        if any(groups.values())
    ]
    short = [table for table in tables if len(table.rows) <= SHORT_TABLE]
    long = [table for table in tables if len(table.rows) > SHORT_TABLE]
    return [column for column in (short, long) if column]


def _group_table(data: ReportData, title: str, groups: Mapping[str, Scores]) -> GroupTable:
    keys = dict.fromkeys(key for scores in groups.values() for key in scores)
    columns = sorted(keys, key=lambda key: metric(key).question != "identification")

    def with_levels(scores: Scores) -> dict[str, tuple[Score, float | None]]:
        overall = {key: data.metrics.get(key) or data.metrics.get(f"{key}_macro") for key in scores}
        levels = {key: score.estimate if score else None for key, score in overall.items()}
        return {key: (score, levels[key]) for key, score in scores.items()}

    return GroupTable(title, columns, [(group, with_levels(scores)) for group, scores in groups.items()])


@dataclass(frozen=True)
class MethodRow:
    """A baseline or ablation: plain name, JSON key, scores, and the model's scores minus them."""

    name: str
    key: str
    scores: Scores
    leads: Scores

    @property
    def on_front(self) -> bool:
        """Whether it has one of the front page's scores."""
        return any(key in self.scores for key in HEADLINE_METRICS)


def method_rows(data: ReportData) -> dict[str, list[MethodRow]]:
    """Baselines, trivial baselines and ablations by heading, best first."""

    def rank(row: MethodRow) -> float:
        estimates = [row.scores[key].estimate for key in HEADLINE_METRICS if key in row.scores]
        return -(estimates[0] or 0.0) if estimates else 1.0

    groups = {
        "Baselines": data.baselines,
        "Trivial baselines": data.trivial_baselines,
        "Ablations": data.ablations,
    }
    rows = {
        title: [
            MethodRow(method_name(key), key, scores, data.differences.get(key, {}))
            for key, scores in group.items()
        ]
        for title, group in groups.items()
    }
    return {title: sorted(group, key=rank) for title, group in rows.items() if group}


@dataclass(frozen=True)
class SideTable:
    """A table of SIDES with its scores.

    Attributes:
        id: Its name in the JSON object.
        columns: Keys of the scores.
        rows: Name of each scored system, and its scores by key.
    """

    id: str
    title: str
    question: str
    note: str
    columns: list[str]
    rows: list[tuple[str, Scores]]


def side_tables(data: ReportData) -> list[SideTable]:
    """Simulated ground truth and the stress test, where they were scored."""
    scored_sides = {"truth": data.details.truth, "prior": data.details.prior}
    tables = []
    for name, scored in scored_sides.items():
        side = SIDES[name]
        rows = [(title, scored[key]) for key, title in side.rows.items() if key in scored]
        columns = [key for key in side.columns if any(key in scores for _, scores in rows)]
        tables.append(SideTable(name, part(name), side.question, side.note, columns, rows))
    return [table for table in tables if table.rows]


def not_measured(data: ReportData, gallery: Sequence[GalleryWindow], curves: LossCurves) -> dict[str, str]:
    """Parts that the report does not have, by title, with the reason."""
    details = data.details
    has_part = {
        **{name: bool(getattr(details, name)) for name in _DETAILS},
        "second_pass": bool(data.second_pass),
        "trivial_baselines": bool(data.trivial_baselines),
        "baselines": bool(data.baselines),
        "ablations": bool(data.ablations),
        "checks": bool(data.checks),
        "gallery": bool(gallery),
        "pretraining_loss": bool(curves.pretraining),
        "finetuning_loss": bool(curves.finetuning),
        **{key: key in data.metrics for key in HEADLINE_METRICS},
    }
    missing = {name: NOT_PART for name, present in has_part.items() if not present} | details.not_measured
    if len(data.seeds) == 1:
        missing["Spread between seeds"] = ONE_SEED
    return {HEADLINE_METRICS.get(name) or part(name): why for name, why in missing.items()}


_DETAILS = (
    "breakdowns",
    "confusion",
    "calibration",
    "class_mix",
    "event_study",
    "learning_curve",
    "delay_curve",
    "alarm_budgets",
    "null",
    "previous",
)


def _as_named(winner: tuple[str, Score] | None) -> Named | None:
    return Named(method_name(winner[0]), winner[0], winner[1]) if winner else None
