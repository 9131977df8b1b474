"""Tables of a report: first screen, scores by question, methods, groups, parts not measured."""

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
    COUNTED,
    PRIMARIES,
    QUESTIONS,
    SHORT,
    Metric,
    Question,
    best,
    method_name,
    metric,
    part,
)
from moola_pipeline.report.standings import ComparedMethod, beside_baseline, beside_trivial_baseline
from moola_pipeline.report.verdict import OUTCOMES, number, p_text

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
    beside, baseline = beside_baseline(data, key), _as_named(data.baseline_beside(key))
    return ScoreRow(
        key=key,
        metric=metric(key),
        score=score,
        trivial_baseline=_as_named(best(data.trivial_baselines, key)),
        baseline=baseline,
        ablation=_as_named(best(data.ablations, key)),
        lead=data.differences.get(baseline.key, {}).get(key) if baseline else None,
        second_pass=data.second_pass.get(key),
        least=beside.smallest_difference if beside else data.details.smallest_difference.get(key),
        primary=beside.primary if beside else False,
    )


def score_tables(data: ReportData) -> dict[Question, list[ScoreRow]]:
    """All scores of the model by question, those of the front page first."""
    keys = [*(key for key in HEADLINE_METRICS if key in data.metrics), *data.metrics]
    rows = [row for key in dict.fromkeys(keys) if (row := score_row(data, key))]
    return {question: [row for row in rows if row.metric.question == question] for question in QUESTIONS}


@dataclass(frozen=True)
class FrontCell:
    """A number of the first screen.

    Attributes:
        text: The number, or a dash.
        bounds: Its interval in brackets; empty if it has none.
        note: What it counts, the method's name, or the difference in words.
    """

    text: str = "–"
    bounds: str = ""
    note: str = ""


@dataclass(frozen=True)
class FrontTable:
    """The one table of the first screen; the terminal prints the same.

    Attributes:
        columns: Short name and plain meaning of each score.
        rows: Name and one cell per score.
    """

    columns: list[tuple[str, str]]
    rows: list[tuple[str, list[FrontCell]]]


def front_table(data: ReportData) -> FrontTable:
    """Type F1 and event F1 beside the best baseline and the best trivial baseline, each kind in its row."""
    baselines = [beside_baseline(data, key) for key in PRIMARIES]
    trivial_baselines = [beside_trivial_baseline(data, key) for key in PRIMARIES]
    rows = {"Moola": [_model_cell(data, key) for key in PRIMARIES]}
    if any(baselines):
        rows |= {
            "best baseline": [_method_cell(one) for one in baselines],
            "Moola minus baseline": [_difference_cell(one) for one in baselines],
            "smallest difference": [_smallest_cell(one) for one in baselines],
        }
    if any(trivial_baselines):
        rows["best trivial baseline"] = [_method_cell(one) for one in trivial_baselines]
    return FrontTable([SHORT[key] for key in PRIMARIES], list(rows.items()))


def _model_cell(data: ReportData, key: str) -> FrontCell:
    score = data.metrics.get(key)
    if score is None or score.estimate is None:
        return FrontCell(note="not measured")
    return _score_cell(score, f"n {score.n} {COUNTED[metric(key).question]}")


def _method_cell(method: ComparedMethod | None) -> FrontCell:
    return _score_cell(method.score, method.name) if method else FrontCell()


def _difference_cell(method: ComparedMethod | None) -> FrontCell:
    if method is None or method.difference is None:
        return FrontCell()
    kind = p_text(method.p_value) if method.primary else "exploratory"
    return _score_cell(method.difference, f"{OUTCOMES[method.standing]}, {kind}")


def _smallest_cell(method: ComparedMethod | None) -> FrontCell:
    return FrontCell(number(method.smallest_difference if method else None))


def _score_cell(score: Score, note: str) -> FrontCell:
    return FrontCell(number(score.estimate), f"[{number(score.low)}, {number(score.high)}]", note)


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
