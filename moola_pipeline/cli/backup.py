"""`moola verify`, `moola backup` and `moola restore`: check, archive and restore a home."""

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
    """Check all files of this home against their SHA256, and name each one that is missing or damaged.

    Waits for a `moola run` in progress: a run writes a file just before its checksum.
    """
    from moola_pipeline.cli.run import exclusive_run
    from moola_pipeline.selftest.verify import verify_home

    home = Home.resolve()
    with exclusive_run(home) if home.dagster.exists() else nullcontext():
        verification = verify_home(home)
    facts = {
        "sound": not verification.findings,
        "proven": dict(verification.counts),
        "findings": [vars(damaged) for damaged in verification.findings],
    }
    emit(facts, _lines(verification), as_json)
    if verification.findings:
        context.exit(1)


def _lines(verification: "Verification") -> Iterator[str]:
    for kind, number in verification.counts.items():
        yield f"{number:>6,} {kind}"
    if not verification.counts:
        yield "This home holds no files to check yet."
    for damaged in verification.findings:
        yield f"{damaged.kind.upper()}  {damaged.file}"
        yield f"  {in_this_home(damaged.what)}"
    if verification.counts:
        n_damaged = len(verification.findings)
        yield f"Missing or damaged: {n_damaged}." if n_damaged else "All files match their checksums."


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def backup(file: Path, as_json: bool) -> None:
    """Save bars, labels, assets, models and databases of this home in FILE, a zip archive.

    Waits for a `moola run` in progress.
    """
    from moola_pipeline.cli.run import exclusive_run
    from moola_pipeline.storage.backup import back_up

    home = Home.resolve()
    with exclusive_run(home):
        saved = back_up(home, file)
    facts = {
        "file": str(file),
        "files": saved.files,
        "bytes": saved.bytes,
        "archive_bytes": file.stat().st_size,
    }
    archive_mb = file.stat().st_size / 2**20
    shown = f"{file}: {saved.files:,} files, {saved.bytes / 2**20:.1f} MB in {archive_mb:.1f} MB"
    emit(facts, [shown, f"Restore it with: moola --home DIR restore {file}"], as_json)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Move the present files of the home aside, and restore.")
@json_option
def restore(file: Path, force: bool, as_json: bool) -> None:
    """Restore this home from FILE, an archive of `moola backup`. Every file is checked first."""
    from moola_pipeline.cli.run import exclusive_run
    from moola_pipeline.storage.backup import restore as restore_home

    home = Home.resolve()
    with exclusive_run(home):
        restored = restore_home(home, file, force)
    aside = str(restored.aside) if restored.aside else None
    facts = {"home": str(home.root), "files": restored.files, "bytes": restored.bytes, "set_aside": aside}
    lines = [f"{home.root}: {restored.files:,} files restored, all match their checksums"]
    emit(facts, [*lines, *([f"previous files: {aside}"] if aside else [])], as_json)
