"""`moola selftest`: does this installation find what is there, and catch what is wrong?"""

import dataclasses
import sys
from typing import TYPE_CHECKING

import click

from moola_pipeline.cli.output import emit, json_option
from moola_pipeline.errors import MoolaError

if TYPE_CHECKING:
    from moola_pipeline.cli.month import Step
    from moola_pipeline.selftest.findings import Finding


@click.command()
@click.option("--month", is_flag=True, help="Instead, play a month of use; takes a few minutes.")
@json_option
@click.pass_context
def selftest(context: click.Context, month: bool, as_json: bool) -> None:
    """Plant a signal, and then faults, in a small simulated market. Exits 1 if one is missed.

    Takes a minute or two and writes nothing: bars, labels and models of the home are not touched.
    With --month it plays a month of use in a home of its own, which is removed after it: a first
    champion, new bars in the inbox, new labels, promotions, rollbacks, a home that moves.
    """
    if month:
        _play_month(context, as_json)
        return
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


def _play_month(context: click.Context, as_json: bool) -> None:
    from moola_pipeline.cli.month import rehearse_in_a_temporary_home
    from moola_pipeline.cli.run import quiet_libraries

    quiet_libraries()
    steps = rehearse_in_a_temporary_home(_say)
    passed = all(step.passed for step in steps)
    seconds = round(sum(step.seconds for step in steps), 1)
    facts = {
        "passed": passed,
        "seconds": seconds,
        "simulated": True,
        "steps": [step._asdict() for step in steps],
    }
    lines = [line for step in steps for line in _step_lines(step)]
    verdict = "Every step did what it must." if passed else "A step failed; those after it may have, too."
    emit(facts, [*lines, f"{verdict} SIMULATED market, {seconds:.0f} s."], as_json)
    context.exit(0 if passed else MoolaError.exit_code)


def _step_lines(step: "Step") -> list[str]:
    head = f"{'ok' if step.passed else 'FAIL':<4}  {step.seconds:6.1f} s  {step.name}"
    return [head, f"{'':16}{step.said}"]


def _measured(finding: "Finding") -> str:
    return f"{finding.value:+.2f} ({finding.expected})  {finding.detail}"


def _say(step: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"{step} ...", err=True)
