"""`moola selftest`: test this installation with a planted signal and planted faults."""

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

    Takes one or two minutes and writes nothing to the home.
    """
    from moola_pipeline.resources.compute import Compute
    from moola_pipeline.selftest.checks import selftest as run_selftest

    outcome = run_selftest(Compute().prepare(), _show_progress)
    facts = {
        "passed": outcome.passed,
        "seconds": round(outcome.seconds, 1),
        "device": outcome.device,
        "simulated": True,
        "checks": [dataclasses.asdict(check) for check in outcome.checks],
    }
    width = max(len(check.name) for check in outcome.checks)
    lines = [
        f"{'ok' if it.passed else 'FAIL':<4}  {it.name:<{width}}  {_measured(it)}" for it in outcome.checks
    ]
    missed = sum(not check.passed for check in outcome.checks)
    verdict = (
        "The planted signal and all planted faults were detected."
        if not missed
        else f"{missed} of {len(outcome.checks)} checks failed: do not trust scores of this installation. "
        "Run: moola doctor"
    )
    closing = f"{verdict} SIMULATED market, {outcome.device}, {outcome.seconds:.0f} s."
    emit(facts, [*lines, closing], as_json)
    context.exit(0 if outcome.passed else MoolaError.exit_code)


def _measured(check: "SelftestCheck") -> str:
    return f"{check.value:+.2f} ({check.expected})  {check.detail}"


def _show_progress(step: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"{step} ...", err=True)
