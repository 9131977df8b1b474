"""moola backup: all that the home keeps, in one archive."""

from pathlib import Path

import click

from moola_pipeline.cli.output import emit, json_option
from moola_pipeline.storage.home import Home


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def backup(file: Path, as_json: bool) -> None:
    """Write bars, labels, assets, models and databases of this home into FILE, a zip archive.

    It waits for a `moola run` that is at work.
    """
    from moola_pipeline.cli.run import alone_in
    from moola_pipeline.resources.backup import back_up

    home = Home.resolve()
    with alone_in(home):
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
