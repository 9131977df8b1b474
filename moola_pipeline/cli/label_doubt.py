"""`moola labels doubtful`: labels that trees contradict which did not learn from them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from moola_pipeline.cli.choice_data import ChoiceData, from_parts, load_choice_data
from moola_pipeline.cli.options import market_options
from moola_pipeline.cli.output import emit, iso_time, json_option
from moola_pipeline.storage.home import Home

if TYPE_CHECKING:
    from moola_pipeline.label_choice.contradictions import Contradictions, OutOfFold

TITLES = {
    "spans": "{} of {} labels look like no expansion to trees that learned from other sessions:",
    "types": "{} of {} labels seem to have the other type:",
    "unmarked": "{} spans without a label look like expansions:",
}


@click.command()
@click.argument("number", metavar="[N]", type=click.IntRange(min=1), default=20)
@click.option("--unmarked", is_flag=True, help="Also list spans without a label that look like expansions.")
@market_options
@json_option
@click.pass_obj
def doubtful(
    home: Home,
    number: int,
    unmarked: bool,
    profile: str,
    market: str,
    scenario: str | None,
    as_json: bool,
) -> None:
    """Rank labels whose span or type is contradicted by trees fitted on other sessions; show N of each.

    Labels of the training period only. A contradiction is a reason to look again, not an error.
    """
    from moola_pipeline.label_choice.contradictions import NOTHING, contradicted_labels, out_of_fold

    data = load_choice_data(home, profile, market, scenario)
    answers = from_parts(lambda: out_of_fold(data.market, data.train))
    ranking, n = contradicted_labels(answers.given, answers.probability), answers.n_labels
    rows = [row for row in ranking.order.tolist() if ranking.suggested[row] != answers.given[row]]
    spans = [row for row in rows if row < n and ranking.suggested[row] == NOTHING]
    by_type = contradicted_labels(answers.given[:n], answers.type_probability)
    types = [row for row in by_type.order.tolist() if by_type.suggested[row] != answers.given[row]]
    groups = {
        "spans": _described(data, answers, ranking, spans),
        "types": _described(data, answers, by_type, types),
    }
    if unmarked:
        groups["unmarked"] = _described(data, answers, ranking, [row for row in rows if row >= n])
    facts = {
        "simulated": data.instrument.simulated,
        "labels": n,
        "contradicted": {name: len(group) for name, group in groups.items()},
        **{name: group[:number] for name, group in groups.items()},
    }
    lines = [
        line
        for name, group in groups.items()
        for line in ("", TITLES[name].format(len(group), n), *_doubtful_lines(group[:number]))
    ]
    emit(facts, [*data.heading, *lines[1:]], as_json)


def _described(
    data: ChoiceData, answers: "OutOfFold", ranking: "Contradictions", rows: Sequence[int]
) -> list[dict[str, Any]]:
    return [_doubtful_row(data, answers, ranking, row) for row in rows]


def _doubtful_row(
    data: ChoiceData, answers: "OutOfFold", ranking: "Contradictions", row: int
) -> dict[str, Any]:
    from moola_pipeline.label_choice.contradictions import CLASSES

    spans, given = answers.spans, int(answers.given[row])
    window = int(spans.window[row])
    return {
        "window_id": str(data.train.window_id[window]),
        "window_start": iso_time(data.opened(int(data.train.bar0[window]))),
        "start": int(spans.start[row]),
        "end": int(spans.end[row]),
        "label": CLASSES[given],
        "suggested": CLASSES[int(ranking.suggested[row])],
        "probability_of_label": round(float(answers.probability[row, given]), 3),
        "margin": round(float(ranking.margin[row]), 3),
    }


def _doubtful_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    if not rows:
        return ["  none"]
    width = max(len("window"), *(len(row["window_id"]) for row in rows))
    lines = [f"  {'window':<{width}} {'bars':>7}  {'label':<13} {'suggested':<13} {'P(label)':>8}"]
    return lines + [
        f"  {row['window_id']:<{width}} {row['start']:>3}-{row['end']:<3}  {row['label']:<13} "
        f"{row['suggested']:<13} {row['probability_of_label']:>8.2f}"
        for row in rows
    ]
