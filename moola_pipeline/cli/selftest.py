"""`moola selftest`: does this installation find what is there, and catch what is wrong?"""

import dataclasses
import sys
from typing import TYPE_CHECKING

import click

from moola_pipeline.cli.output import emit, json_option
from moola_pipeline.errors import MoolaError

if TYPE_CHECKING:
    from moola_pipeline.selftest.findings import Finding


@click.command()
@json_option
@click.pass_context
def selftest(context: click.Context, as_json: bool) -> None:
    """Plant a signal, and then faults, in a small simulated market. Exits 1 if one is missed.

    Takes a minute or two and writes nothing: bars, labels and models of the home are not touched.
    """
    from moola_pipeline.resources.compute import Compute
    from moola_pipeline.selftest.findings import selftest as run_selftest

    found = run_selftest(Compute().prepare(), _say)
    facts = {
        "passed": found.passed,
        "seconds": round(found.seconds, 1),
        "device": found.device,
        "simulated": True,
        "findings": [dataclasses.asdict(finding) for finding in found.findings],
    }
    width = max(len(finding.name) for finding in found.findings)
    lines = [
        f"{'ok' if it.passed else 'FAIL':<4}  {it.name:<{width}}  {_measured(it)}" for it in found.findings
    ]
    missed = sum(not finding.passed for finding in found.findings)
    verdict = (
        "Everything planted was found or caught."
        if not missed
        else f"{missed} of {len(found.findings)} failed: scores of this installation cannot be trusted. "
        "Run: moola doctor"
    )
    closing = f"{verdict} SIMULATED market, {found.device}, {found.seconds:.0f} s."
    emit(facts, [*lines, closing], as_json)
    context.exit(0 if found.passed else MoolaError.exit_code)


def _measured(finding: "Finding") -> str:
    return f"{finding.value:+.2f} ({finding.expected})  {finding.detail}"


def _say(step: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"{step} ...", err=True)
