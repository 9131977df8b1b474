"""moola verify: everything that the home keeps, hashed again."""

from collections.abc import Iterator
from contextlib import nullcontext
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
    from moola_pipeline.cli.run import alone_in
    from moola_pipeline.selftest.verify import verify_home

    home = Home.resolve()
    with alone_in(home) if home.dagster.exists() else nullcontext():
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
