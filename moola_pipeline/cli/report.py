"""`moola report`: the scores of the last report."""

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from moola_pipeline.cli.output import json_option
from moola_pipeline.errors import IntegrityError, MissingArtifact, MissingFile
from moola_pipeline.storage.home import Home

if TYPE_CHECKING:
    from moola_pipeline.report.data import ReportData


@click.command()
@click.option("--open", "in_browser", is_flag=True, help="Open the report in a browser.")
@json_option
def report(in_browser: bool, as_json: bool) -> None:
    """Show the scores of the last run and the path of its report."""
    folder = latest_report_folder(Home.resolve())
    data = read_report(folder)
    page = (folder / "report.html").resolve()
    if in_browser:
        webbrowser.open(page.as_uri())
    if as_json:
        click.echo(data.model_dump_json())
        return
    from moola_pipeline.report.summary import summary_lines

    for line in summary_lines(data):
        click.echo(line)
    click.echo(f"\nreport    {page}")


def latest_report_folder(home: Home) -> Path:
    """The folder of the newest report.

    Raises:
        MissingArtifact: If there is none.
    """
    written = sorted(home.reports.glob("*/report.json"), key=lambda path: path.stat().st_mtime)
    if not written:
        raise MissingArtifact("A report must exist, but there is none. Run: moola run")
    return written[-1].parent


def read_report(folder: Path) -> "ReportData":
    """The numbers of the report in a folder.

    Raises:
        MissingArtifact: If there is none.
        MissingFile: If its checksum file is missing.
        Truncated, ChecksumMismatch: If the page or the numbers do not match their checksums.
        IntegrityError: If report.json is not a report.
    """
    from pydantic import ValidationError

    from moola_pipeline.report.data import ReportData
    from moola_pipeline.storage.asset_checksums import prove

    try:
        prove(folder / "report")
        return ReportData.model_validate_json((folder / "report.json").read_bytes())
    except MissingFile:
        raise
    except FileNotFoundError as error:
        raise MissingArtifact("A report must exist, but there is none. Run: moola run") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise IntegrityError(
            f"{folder.name}/report.json must be a report, but {first['msg']}. Run: moola run --force"
        ) from error
