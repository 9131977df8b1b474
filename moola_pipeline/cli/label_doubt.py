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


@click.command()
@click.argument("number", metavar="[N]", type=click.IntRange(min=1), default=20)
@market_options
@json_option
@click.pass_obj
def doubtful(home: Home, number: int, profile: str, market: str, scenario: str | None, as_json: bool) -> None:
    """Rank labels that trees contradict which were fitted on other sessions; show N of them.

    Labels of the training period only. Also lists spans without a label that look like expansions. A
    contradiction is a reason to look again, not an error.
    """
    from moola_pipeline.label_choice.contradictions import contradicted_labels, out_of_fold

    data = load_choice_data(home, profile, market, scenario)
    answers = from_parts(lambda: out_of_fold(data.market, data.train))
    ranking = contradicted_labels(answers.given, answers.probability)
    n_labels = len(data.train.spans.window)
    contradicted = [row for row in ranking.order.tolist() if ranking.suggested[row] != answers.given[row]]
    labels = [_doubtful_row(data, answers, ranking, row) for row in contradicted if row < n_labels]
    unmarked = [_doubtful_row(data, answers, ranking, row) for row in contradicted if row >= n_labels]
    facts = {
        "simulated": data.instrument.simulated,
        "labels": n_labels,
        "contradicted": len(labels),
        "doubtful": labels[:number],
        "unmarked": unmarked[:number],
    }
    lines = [
        f"{len(labels)} of {n_labels} labels are contradicted by trees that learned from other sessions:",
        *_doubtful_lines(labels[:number]),
        "",
        f"{len(unmarked)} spans without a label look like expansions:",
        *_doubtful_lines(unmarked[:number]),
    ]
    emit(facts, [*data.heading, *lines], as_json)


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
