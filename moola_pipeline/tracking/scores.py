"""Scores of a report in MLflow: of the parent run, of the logged model and of the registered version."""

from collections.abc import Mapping

from moola_pipeline.report.data import HEADLINE_METRICS, ReportData
from moola_pipeline.report.metric_catalog import method_name, metric
from moola_pipeline.report.verdict import interval_text, number, provisional_note, verdict
from moola_pipeline.tracking.logged_model import logged_model_of
from moola_pipeline.tracking.pages import curves_page, logged_model_page, run_page, version_page
from moola_pipeline.tracking.tracked_run import DAGSTER_RUN_TAG, NOTE_TAG, SEED_RUN, DataInput, TrackedRun

HEADLINES = (*HEADLINE_METRICS, "event_f1_untyped", "mcc", "ece", "brier", "onset_mae_bars")
"""Scores of the parent run and of the model; the run of the report holds all others."""
PAGE_FILE, DATA_FILE = "report.html", "report.json"


def log_report(parent: TrackedRun, data: ReportData, page: str) -> None:
    """Log a report to the parent run: page and data, settings, headline scores, note."""
    parent.log_text(page, PAGE_FILE)
    parent.log_text(data.model_dump_json(indent=2), DATA_FILE)
    settings = dict(data.run.settings)
    n_parameters = settings.pop("n_parameters")
    parent.log_params(settings)
    at = data.run.created_at.timestamp()
    parent.log_metrics({**headline_metrics(data), "n_parameters": n_parameters}, at=at)
    parent.set_tags({NOTE_TAG: scores_note(data, _pages_of(parent))})


def log_version_scores(
    parent: TrackedRun, data: ReportData, name: str, version: str, scored: DataInput, decision: str
) -> None:
    """Log the scores of a registered version, and describe it, its logged model and the parent run.

    Args:
        parent: The parent run.
        data: The report.
        name, version: The version in the registry.
        scored: The labels on which it was scored.
        decision: The promotion decision in a sentence.
    """
    from mlflow.entities import Metric

    client = parent.client
    model_id = logged_model_of(client.get_model_version(name, version))
    links = {f"{name} version {version}": version_page(name, version)}
    if model_id is not None:
        links["its files and signature"] = logged_model_page(parent.experiment, model_id)
    # the time of `log_report`: MLflow then keeps one point of each metric of the run, not two
    at, of_data = int(data.run.created_at.timestamp() * 1000), (scored.name, scored.short_digest)
    metrics = [
        Metric(metric_name, value, at, 0, model_id, *of_data)
        for metric_name, value in headline_metrics(data).items()
    ]
    client.log_batch(parent.id, metrics=metrics)
    note = scores_note(data, {**links, **_pages_of(parent)}, decision)
    parent.set_tags({NOTE_TAG: note})
    client.update_model_version(name, version, note)
    if model_id is not None:
        client.set_logged_model_tags(model_id, {NOTE_TAG: note})


def _pages_of(parent: TrackedRun) -> dict[str, str]:
    """The run with its report, and the training curves if the run trained the classifier."""
    client, experiment = parent.client, parent.experiment
    dagster_run = client.get_run(parent.id).data.tags[DAGSTER_RUN_TAG]
    query = f"tags.`{DAGSTER_RUN_TAG}` = '{dagster_run}' and attributes.run_name LIKE '{SEED_RUN}%'"
    seeds = [run.info.run_id for run in client.search_runs([experiment], query)]
    pages = {"run and report": run_page(experiment, parent.id)}
    if seeds:
        title = "training curves" if len(seeds) == 1 else f"training curves of {len(seeds)} seeds"
        pages[title] = curves_page(experiment, seeds, "val_loss")
    return pages


def headline_metrics(data: ReportData) -> dict[str, float]:
    """Estimate and 95 % bounds of each headline score, as NAME, NAME_low and NAME_high."""
    flat: dict[str, float] = {}
    for name in HEADLINES:
        score = data.metrics.get(name)
        bounds = {"": score.estimate, "_low": score.low, "_high": score.high} if score else {}
        flat |= {f"{name}{ending}": value for ending, value in bounds.items() if value is not None}
    return flat


def scores_note(data: ReportData, links: Mapping[str, str], decision: str = "") -> str:
    """The verdict in a sentence, a table of the headline scores, and links.

    Args:
        data: The report.
        links: Pages by their title.
        decision: The promotion decision in a sentence.
    """
    better, _, trusted, _ = verdict(data)
    rows = [
        f"| {metric(name).title} | {interval_text(score)}, n {score.n} | {_baseline(data, name)} |"
        for name in HEADLINES
        if (score := data.metrics.get(name)) is not None
    ]
    table = ["| score | model, 95 % interval | baseline |", "|---|---|---|", *rows]
    parts = [
        "**SIMULATED bars.**" if data.data.simulated else "",
        provisional_note(data),
        f"{better.short} Trust: {trusted.short}",
        decision,
        "\n".join(table),
        " · ".join(f"[{title}]({page})" for title, page in links.items()),
    ]
    return "\n\n".join(part for part in parts if part)


def _baseline(data: ReportData, name: str) -> str:
    beside = data.baseline_beside(name)
    return f"{number(beside[1].estimate)}, {method_name(beside[0])}" if beside else "–"
