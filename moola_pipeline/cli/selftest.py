"""`moola selftest`: does this installation find what is there, and catch what is wrong?"""

import dataclasses
import sys
from typing import TYPE_CHECKING

import click

from moola_pipeline.cli.output import emit, json_option
from moola_pipeline.errors import MoolaError

if TYPE_CHECKING:
    from moola_pipeline.selftest.checks import SelftestCheck


@click.command()
@json_option
@click.pass_context
def selftest(context: click.Context, as_json: bool) -> None:
    """Plant a signal, and then faults, in a small simulated market. Exits 1 if one is missed.

    Takes a minute or two and writes nothing: bars, labels and models of the home are not touched.
    """
    from moola_pipeline.resources.compute import Compute
    from moola_pipeline.selftest.checks import selftest as run_selftest

    found = run_selftest(Compute().prepare(), _say)
    facts = {
        "passed": found.passed,
        "seconds": round(found.seconds, 1),
        "device": found.device,
        "simulated": True,
        "checks": [dataclasses.asdict(check) for check in found.checks],
    }
    width = max(len(check.name) for check in found.checks)
    lines = [
        f"{'ok' if it.passed else 'FAIL':<4}  {it.name:<{width}}  {_measured(it)}" for it in found.checks
    ]
    missed = sum(not check.passed for check in found.checks)
    verdict = (
        "Everything planted was found or caught."
        if not missed
        else f"{missed} of {len(found.checks)} failed: scores of this installation cannot be trusted. "
        "Run: moola doctor"
    )
    closing = f"{verdict} SIMULATED market, {found.device}, {found.seconds:.0f} s."
    emit(facts, [*lines, closing], as_json)
    context.exit(0 if found.passed else MoolaError.exit_code)


def _measured(check: "SelftestCheck") -> str:
    return f"{check.value:+.2f} ({check.expected})  {check.detail}"


def _say(step: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"{step} ...", err=True)
