"""The tables of a report: scores by question, all baselines and ablations, groups, what was not measured."""

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
    PRIMARY,
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
"""Groups in a table that leaves room for others below it."""
NOT_PART = "not part of this report"
ONE_SEED = "this profile trains one network; how much another training would differ is not known"


@dataclass(frozen=True)
class Named:
    """The score of a baseline or ablation under its plain name."""

    name: str
    key: str
    score: Score


@dataclass(frozen=True)
class ScoreRow:
    """One score of the model beside the best others.

    Attributes:
        key: Its name in the JSON object.
        lead: Model minus the best baseline, paired by session.
        least: The smallest difference that can be told from chance.
        primary: Whether it is the one comparison that decides.
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
    """A score of the model with what stands beside it; None if it was not measured."""
    score = data.metrics.get(key)
    if score is None:
        return None
    trivial_baseline, baseline = _named(data.trivial_baselines, key), _named(data.baselines, key)
    return ScoreRow(
        key=key,
        metric=metric(key),
        score=score,
        trivial_baseline=trivial_baseline,
        baseline=baseline,
        ablation=_named(data.ablations, key),
        lead=data.differences.get(baseline.key, {}).get(key) if baseline else None,
        second_pass=data.second_pass.get(key),
        least=data.details.smallest_difference.get(key),
        primary=key == PRIMARY,
    )


def headline_rows(data: ReportData) -> dict[str, ScoreRow | None]:
    """The scores of the front page."""
    return {key: score_row(data, key) for key in HEADLINE_METRICS}


def score_tables(data: ReportData) -> dict[Question, list[ScoreRow]]:
    """All scores of the model under the question they answer, those of the front page first."""
    keys = [*(key for key in HEADLINE_METRICS if key in data.metrics), *data.metrics]
    rows = [row for key in dict.fromkeys(keys) if (row := score_row(data, key))]
    return {question: [row for row in rows if row.metric.question == question] for question in QUESTIONS}


@dataclass(frozen=True)
class GroupTable:
    """Scores of the groups of one way to group expansions.

    Attributes:
        columns: Keys of the scores.
        rows: Group, and by key its score and that of all groups together.
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
    """One table for each way to group expansions, in two columns: the short ones, the long ones."""
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

    def shown(scores: Scores) -> dict[str, tuple[Score, float | None]]:
        overall = {key: data.metrics.get(key) or data.metrics.get(f"{key}_macro") for key in scores}
        levels = {key: one.estimate if one else None for key, one in overall.items()}
        return {key: (score, levels[key]) for key, score in scores.items()}

    return GroupTable(title, columns, [(group, shown(scores)) for group, scores in groups.items()])


@dataclass(frozen=True)
class MethodRow:
    """A baseline or ablation: its plain name, its name in the JSON object, scores, and model minus them."""

    name: str
    key: str
    scores: Scores
    leads: Scores

    @property
    def on_front(self) -> bool:
        """Whether it has a score of the front page."""
        return any(key in self.scores for key in HEADLINE_METRICS)


def method_rows(data: ReportData) -> dict[str, list[MethodRow]]:
    """Baselines, trivial baselines and ablations under their headings, the best first."""

    def rank(row: MethodRow) -> float:
        known = [row.scores[key].estimate for key in HEADLINE_METRICS if key in row.scores]
        return -(known[0] or 0.0) if known else 1.0

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
    """Scores of a question of its own: a few rows, the same scores in each.

    Attributes:
        id: Its name in the JSON object.
        columns: Keys of the scores.
        rows: What is scored, in words, and its scores by key.
    """

    id: str
    title: str
    question: str
    note: str
    columns: list[str]
    rows: list[tuple[str, Scores]]


def side_tables(data: ReportData) -> list[SideTable]:
    """The truth of a simulated market, and retracements grown rarer, where they were scored."""
    held = {"truth": data.details.truth, "prior": data.details.prior}
    tables = []
    for name, scored in held.items():
        side = SIDES[name]
        rows = [(words, scored[key]) for key, words in side.rows.items() if key in scored]
        columns = [key for key in side.columns if any(key in scores for _, scores in rows)]
        tables.append(SideTable(name, part(name), side.question, side.note, columns, rows))
    return [table for table in tables if table.rows]


def not_measured(data: ReportData, gallery: Sequence[GalleryWindow], curves: LossCurves) -> dict[str, str]:
    """What the page cannot show, by its plain name, and why."""
    details = data.details
    there = {
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
    missing = {name: NOT_PART for name, present in there.items() if not present} | details.not_measured
    if len(data.seeds) == 1:
        missing["Spread between trainings"] = ONE_SEED
    named = {name: HEADLINE_METRICS.get(name) or part(name) for name in missing}
    return {named[name]: why for name, why in missing.items()}


_DETAILS = (
    "breakdowns",
    "confusion",
    "calibration",
    "class_mix",
    "event_study",
    "learning_curve",
    "delay_curve",
    "null",
    "previous",
)


def _named(among: dict[str, Scores], key: str) -> Named | None:
    found = best(among, key)
    return Named(method_name(found[0]), found[0], found[1]) if found else None
