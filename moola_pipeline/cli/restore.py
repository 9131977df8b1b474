"""moola restore: a home as it was when it was backed up."""

from pathlib import Path

import click

from moola_pipeline.cli.output import emit, json_option
from moola_pipeline.storage.home import Home


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Set aside what the home keeps now, and restore.")
@json_option
def restore(file: Path, force: bool, as_json: bool) -> None:
    """Bring this home to the state in FILE, which `moola backup` wrote; all of it is proven first."""
    from moola_pipeline.cli.run import alone_in
    from moola_pipeline.resources.backup import restore as bring_back

    home = Home.resolve()
    with alone_in(home):
        done = bring_back(home, file, force)
    aside = str(done.aside) if done.aside else None
    facts = {"home": str(home.root), "files": done.files, "bytes": done.bytes, "set_aside": aside}
    lines = [f"{home.root}: {done.files:,} files restored, each as its digest says"]
    emit(facts, [*lines, *([f"what was there before: {aside}"] if aside else [])], as_json)
