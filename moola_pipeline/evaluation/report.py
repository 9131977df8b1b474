"""The report as one HTML file that needs nothing else: no network, no script."""

import json
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from moola_pipeline.evaluation.candles import candle_picture
from moola_pipeline.evaluation.charts import loss_picture, score_pictures
from moola_pipeline.evaluation.report_data import (
    HEADLINE_METRICS,
    GalleryWindow,
    LossCurve,
    LossCurves,
    ReportData,
    Score,
)
from moola_pipeline.evaluation.verdict import SIMULATED_NOTE, number, plain, summary_lines, verdict

__all__ = ["GalleryWindow", "LossCurve", "LossCurves", "ReportData", "render_html", "summary_lines"]

TEMPLATE = "report.html.jinja"


def render_html(data: ReportData, gallery: list[GalleryWindow], curves: LossCurves) -> str:
    """The whole page: verdict, scores beside their rivals, checks, losses, windows, provenance.

    Args:
        data: All numbers.
        gallery: Test windows to draw, in the order given.
        curves: Losses of both trainings; a training without any is said to have none.

    Returns:
        HTML that opens without a network, prints, and reads in black and white. Every text is
        escaped.
    """
    template = _environment().get_template(TEMPLATE)
    return template.render(
        data=data,
        headline=HEADLINE_METRICS,
        simulated_note=SIMULATED_NOTE,
        sentences=verdict(data),
        groups=_score_groups(data),
        others={name: score for name, score in data.metrics.items() if name not in HEADLINE_METRICS},
        pictures=score_pictures(data),
        losses={
            "Pretraining": loss_picture(curves.pretraining, "Pretraining"),
            "Fine-tuning": loss_picture(curves.finetuning, "Fine-tuning"),
        },
        gallery=[(window, candle_picture(window)) for window in gallery],
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
    environment.filters.update(number=number, plain=plain)
    return environment


def _score_groups(data: ReportData) -> dict[str, dict[str, dict[str, Score]]]:
    groups = {"Model": {"model": data.metrics}, "Baselines": data.baselines, "Peers": data.peers}
    return groups | ({"Ceiling": {"annotator, second pass": data.ceiling}} if data.ceiling else {})
