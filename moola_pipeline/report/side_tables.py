"""Tables beside those of the three questions: simulated ground truth, and fewer retracements."""

from dataclasses import dataclass

from moola_pipeline.report.data import ReportData, Scores
from moola_pipeline.report.metric_catalog import part


@dataclass(frozen=True)
class Side:
    """Texts of a table beside those of QUESTIONS.

    Attributes:
        columns: Keys of the metrics.
        rows: Key in the JSON object, and name, of each scored system.
    """

    question: str
    note: str
    columns: tuple[str, ...]
    rows: dict[str, str]


SIDES = {
    "truth": Side(
        "How many of the simulated expansions does the model find?",
        "The ground truth is every expansion that the simulator put into bars 30 to 74 of a test window. "
        "Some of them are hidden by noise and cannot be found in the bars. The scores of the labels limit "
        "what a model can learn from them. Types are scored on labeled expansions of the simulator.",
        ("event_f1_macro", "event_f1_untyped", "type_f1_macro"),
        {"model": "Moola", "labels": "labels"},
    ),
    "prior": Side(
        "What if retracements are rarer than in the labels?",
        "Given span and direction. Prior kept: P(retracement) as calibrated on the validation period, types "
        "decided at one half. Prior re-estimated: the share of retracements is estimated from the "
        "probabilities alone, without labels, and once: the intervals do not hold how uncertain it is. "
        "At 23 %: the test expansions are weighted so that 23 % are retracements.",
        ("type_f1_macro", "brier", "ece"),
        {
            "prior_frozen": "prior kept",
            "prior_reestimated": "prior re-estimated",
            "prior_frozen_at_23_percent": "at 23 %, prior kept",
            "prior_reestimated_at_23_percent": "at 23 %, prior re-estimated",
        },
    ),
}
"""Tables beside those of QUESTIONS."""


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
