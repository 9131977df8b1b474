"""Simulates a month of use in a temporary home; exits with 1 if a step failed.

Steps: first champion, new bars in the inbox, new labels, promotions, rollbacks, moving the home.
"""

import sys

import click

from moola_pipeline.cli.run import quiet_libraries
from moola_pipeline_tests.month.rehearsal import Step, rehearse_in_a_temporary_home


def main() -> int:
    """Run all steps; return 1 if one failed."""
    quiet_libraries()
    return int(not all(step.passed for step in rehearse_in_a_temporary_home(_show)))


def _show(step: Step) -> None:
    click.echo(
        f"{'ok' if step.passed else 'FAIL':<4}  {step.seconds:6.1f} s  {step.name}\n{'':16}{step.text}"
    )


if __name__ == "__main__":
    sys.exit(main())
