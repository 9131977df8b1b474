"""What `moola run` prints at its end: the report's summary, the registered model, lines for a notebook."""

import json
from typing import TYPE_CHECKING

import click

from moola_pipeline.cli.exit_codes import in_this_home
from moola_pipeline.cli.output import emit
from moola_pipeline.cli.progress import busy
from moola_pipeline.storage.home import Home

if TYPE_CHECKING:
    from moola_pipeline.resources.pipeline import Pipeline


def show_outcome(home: Home, pipeline: "Pipeline", rebuilt: list[str], seconds: float, as_json: bool) -> None:
    """Print the outcome of a run.

    Args:
        home: Its home.
        pipeline: Its market and profile.
        rebuilt: The assets that it made.
        seconds: How long it took.
        as_json: Print one JSON object.

    Raises:
        MissingArtifact: If there is no report.
    """
    from moola_pipeline.cli.report import read_report
    from moola_pipeline.report.html import summary_lines
    from moola_pipeline.storage.remote_stores import remote_tracking_uri
    from moola_pipeline.tracking.runs import tracking_uri

    market = pipeline.chosen_market()
    data = read_report(pipeline.report_folder)
    page = pipeline.report_folder / "report.html"
    # A remote address may hold a password: never print it.
    uri = None if remote_tracking_uri() else tracking_uri(home)
    notebook = notebook_lines(uri, market.model_name)
    with busy("Reading the registry"):
        model = _registered(home, pipeline)
    if as_json:
        facts = {
            "made": rebuilt,
            "seconds": round(seconds, 1),
            "report": str(page),
            "model": model,
            "notebook": notebook,
        }
        emit({**data.model_dump(mode="json"), **facts}, [], as_json)
        return
    if not rebuilt:
        click.echo(
            "Nothing has changed since the last run: all nine assets are up to date. "
            "Use --force to rebuild them."
        )
    click.echo("")
    for line in summary_lines(data):
        click.echo(line)
    click.echo(f"\nreport    {page}")
    click.echo(f"model     {standing_of(model)}")
    click.echo(
        f"size      {data.run.settings['n_parameters']:,} parameters "
        "(weights, scales, span proposer, thresholds)"
    )
    click.echo("notebook  " + "\n          ".join(notebook))
    if market.simulated:
        click.echo(in_this_home("own data  moola bars add FILE && moola labels add FILE, then moola run"))
    click.echo(f"done in {seconds:.1f} s")


def _registered(home: Home, pipeline: "Pipeline") -> dict[str, str | None]:
    """The registered version of this market and profile, and the champion."""
    from moola_pipeline.storage.asset_checksums import prove
    from moola_pipeline.tracking.registry import champion_version

    path = pipeline.artifact_path("registered_model")
    prove(path)
    record = json.loads(path.with_suffix(".json").read_bytes())
    name = pipeline.chosen_market().model_name
    return {"name": name, "version": record["version"], "champion": champion_version(home, name)}


def standing_of(model: dict[str, str | None]) -> str:
    """Whether a version is champion or challenger, in words; name, version and champion as given."""
    name, version, champion = model["name"], model["version"], model["champion"]
    if version == champion:
        return f"models:/{name}/{version} is champion"
    if champion is None:
        return f"models:/{name}/{version}; there is no champion"
    return f"models:/{name}/{version} is challenger; the lines below load the champion, version {champion}"


def notebook_lines(uri: str | None, model: str) -> list[str]:
    """Lines to paste into a notebook; if `uri` is None, they read it from the environment."""
    where = f'mlflow.set_tracking_uri("{uri}")'
    if uri is None:
        where = 'import os; mlflow.set_tracking_uri(os.environ["MOOLA_TRACKING_URI"])'
    return [
        f"import mlflow; {where}",
        f'model = mlflow.pyfunc.load_model("models:/{model}@champion")',
    ]
