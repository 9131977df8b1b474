"""The report as one self-contained HTML file without scripts."""

import json
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from moola_pipeline.labels.schema import TYPES
from moola_pipeline.report.candles import candle_figure
from moola_pipeline.report.checks import SCORE_CHECKS
from moola_pipeline.report.data import (
    HEADLINE_METRICS,
    GalleryWindow,
    LossCurve,
    LossCurves,
    ReportData,
)
from moola_pipeline.report.figures import (
    delay_figure,
    learning_figure,
    loss_figure,
    mix_figure,
    path_figures,
    reliability_figure,
    score_figure,
)
from moola_pipeline.report.metric_catalog import QUESTIONS, SHORT, metric
from moola_pipeline.report.protocol import protocol
from moola_pipeline.report.side_tables import side_tables
from moola_pipeline.report.style import inline_svg
from moola_pipeline.report.summary import summary_lines
from moola_pipeline.report.tables import (
    front_table,
    group_tables,
    method_rows,
    not_measured,
    score_tables,
)
from moola_pipeline.report.verdict import (
    SIMULATED_NOTE,
    calibration_note,
    check_texts,
    chosen_by,
    counts,
    interval_text,
    number,
    p_value_note,
    provisional_note,
    target_outcome,
    verdict,
)

__all__ = ["GalleryWindow", "LossCurve", "LossCurves", "ReportData", "render_html", "summary_lines"]

SHOWN_BUDGETS = (1, 2, 3, 5, 10, 20)
"""Alarm budgets on the page; the JSON has all."""
CASE_HEIGHT = 112
"""Pixels of the candles of a case: lower than in the gallery, so that the first screen holds both."""
TEMPLATE = "report.html.jinja"
CASES = {"best": "Found right", "worst": "Found wrong"}
"""Charts of the first screen, by rank."""
RANKS = {
    "best": "Best predictions",
    "worst": "Worst predictions",
    None: "Other test windows",
}


def render_html(data: ReportData, gallery: Sequence[GalleryWindow], curves: LossCurves) -> str:
    """Render the page: verdict, one table and two charts; then pictures; details folded below.

    Args:
        data: All numbers.
        gallery: Test windows to draw, in this order.
        curves: Losses of both trainings.

    Returns:
        HTML that opens offline, prints without the folded details, and is readable in black and
        white. Every text is escaped. Missing parts are listed under "Not measured, and why".
    """
    details = data.details
    template = _environment().get_template(TEMPLATE)
    return template.render(
        data=data,
        details=details,
        simulated_note=SIMULATED_NOTE,
        provisional_note=provisional_note(data),
        target=target_outcome(data),
        answers=verdict(data),
        front=front_table(data),
        scores_picture=score_figure(data),
        calibration_note=calibration_note(data),
        protocol=protocol(data),
        chosen_by=chosen_by(data),
        p_value_note=p_value_note(data),
        score_checks=SCORE_CHECKS,
        questions=QUESTIONS,
        tables=score_tables(data),
        comparison=method_rows(data),
        headline_keys=HEADLINE_METRICS,
        groups=group_tables(data),
        sides=side_tables(data),
        delay=delay_figure(details.delay_curve, data.metrics.get("event_f1_macro")),
        budgets=[row for row in details.alarm_budgets if row.budget in SHOWN_BUDGETS],
        reliability=reliability_figure(details.calibration) if details.calibration else None,
        paths=path_figures(details.event_study),
        mix=mix_figure(details.class_mix),
        learning=learning_figure(details.learning_curve),
        losses=_losses(curves),
        cases=_cases(gallery),
        gallery=_ranked(gallery),
        missing=not_measured(data, gallery, curves),
        gists=_gists(data, gallery),
        types=TYPES,
        settings=json.dumps(data.run.settings, indent=2, ensure_ascii=False, default=str),
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number,
        interval_text=interval_text,
        drawn=lambda figure: Markup(inline_svg(figure)),
    )
    environment.globals.update(metric=metric, short=SHORT, check_texts=check_texts)
    return environment


def _losses(curves: LossCurves) -> dict[str, Figure]:
    """Loss charts of the stages that recorded losses."""
    trainings = {"Pretraining": curves.pretraining, "Fine-tuning": curves.finetuning}
    drawn = {title: loss_figure(lines, title) for title, lines in trainings.items()}
    return {title: picture for title, picture in drawn.items() if picture}


def _cases(gallery: Sequence[GalleryWindow]) -> list[tuple[str, GalleryWindow, Figure]]:
    """The clearest window of each rank with its heading and chart."""
    first = {rank: next((window for window in gallery if window.rank == rank), None) for rank in CASES}
    return [
        (CASES[rank], window, candle_figure(window, CASE_HEIGHT)) for rank, window in first.items() if window
    ]


def _ranked(gallery: Sequence[GalleryWindow]) -> dict[str, list[tuple[GalleryWindow, Figure]]]:
    """Windows with their charts by heading of their rank."""
    ranked = {
        heading: [(window, candle_figure(window)) for window in gallery if window.rank == rank]
        for rank, heading in RANKS.items()
    }
    return {heading: windows for heading, windows in ranked.items() if windows}


def _gists(data: ReportData, gallery: Sequence[GalleryWindow]) -> dict[str, str]:
    """Short summaries beside the headings of folded parts."""

    def scored(key: str, title: str) -> str:
        score = data.metrics.get(key)
        return f"{title} {interval_text(score)}" if score and score.estimate is not None else ""

    failed = [name for name, check in data.checks.items() if not check.passed]
    return {
        "detection": scored("event_f1_macro", "event F1"),
        "identification": scored("type_f1_macro", "type F1"),
        "onset": scored("onset_mae_bars", "mean absolute error of the start")
        + " bars" * ("onset_mae_bars" in data.metrics),
        "comparison": f"{len(data.baselines)} baselines, {len(data.trivial_baselines)} trivial baselines, "
        f"{len(data.ablations)} ablations",
        "gallery": f"{len(gallery)} windows",
        "checks": f"failed: {', '.join(failed)}" if failed else counts(data.checks, "integrity"),
        "provenance": f"code {data.run.code_version}, bars {data.data.sha256[:8]}",
    }
