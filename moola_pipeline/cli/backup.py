"""moola verify, backup, restore: prove what the home keeps, copy it into one archive, bring it back."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from moola_pipeline.cli.exit_codes import in_this_home
from moola_pipeline.cli.output import emit, json_option
from moola_pipeline.storage.home import Home

if TYPE_CHECKING:
    from moola_pipeline.selftest.verify import Verification


@click.command()
@json_option
@click.pass_context
def verify(context: click.Context, as_json: bool) -> None:
    """Hash again all that this home keeps, and name each file that is not as it was recorded.

    It waits for a `moola run` that is at work: a file is there a moment before its record.
    """
    from moola_pipeline.cli.run import exclusive_run
    from moola_pipeline.selftest.verify import verify_home

    home = Home.resolve()
    with exclusive_run(home) if home.dagster.exists() else nullcontext():
        found = verify_home(home)
    facts = {
        "sound": not found.findings,
        "proven": dict(found.counts),
        "findings": [vars(one) for one in found.findings],
    }
    emit(facts, _lines(found), as_json)
    if found.findings:
        context.exit(1)


def _lines(found: "Verification") -> Iterator[str]:
    for kind, number in found.counts.items():
        yield f"{number:>6,} {kind}"
    if not found.counts:
        yield "This home keeps nothing yet."
    for one in found.findings:
        yield f"{one.kind.upper()}  {one.file}"
        yield f"  {in_this_home(one.what)}"
    if found.counts:
        wrong = len(found.findings)
        yield f"{wrong} of them not as recorded." if wrong else "All as it was recorded."


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def backup(file: Path, as_json: bool) -> None:
    """Write bars, labels, assets, models and databases of this home into FILE, a zip archive.

    It waits for a `moola run` that is at work.
    """
    from moola_pipeline.cli.run import exclusive_run
    from moola_pipeline.storage.backup import back_up

    home = Home.resolve()
    with exclusive_run(home):
        made = back_up(home, file)
    facts = {
        "file": str(file),
        "files": made.files,
        "bytes": made.bytes,
        "archive_bytes": file.stat().st_size,
    }
    packed = file.stat().st_size / 2**20
    shown = f"{file}: {made.files:,} files, {made.bytes / 2**20:.1f} MB in {packed:.1f} MB"
    emit(facts, [shown, f"Back: moola --home DIR restore {file}"], as_json)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Set aside what the home keeps now, and restore.")
@json_option
def restore(file: Path, force: bool, as_json: bool) -> None:
    """Bring this home to the state in FILE, which `moola backup` wrote; all of it is proven first."""
    from moola_pipeline.cli.run import exclusive_run
    from moola_pipeline.storage.backup import restore as bring_back

    home = Home.resolve()
    with exclusive_run(home):
        done = bring_back(home, file, force)
    aside = str(done.aside) if done.aside else None
    facts = {"home": str(home.root), "files": done.files, "bytes": done.bytes, "set_aside": aside}
    lines = [f"{home.root}: {done.files:,} files restored, each as its digest says"]
    emit(facts, [*lines, *([f"what was there before: {aside}"] if aside else [])], as_json)
