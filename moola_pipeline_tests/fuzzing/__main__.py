"""`python -m moola_pipeline_tests.fuzzing`: feed damaged files to every reader."""

import faulthandler
import os
import sys
import warnings
from collections import Counter

import click

from moola_pipeline_tests.conftest import QUIET
from moola_pipeline_tests.fuzzing.harness import Tally, fuzz, save_crashers
from moola_pipeline_tests.fuzzing.record_readers import forget_homes
from moola_pipeline_tests.fuzzing.suite import READERS, record_tallies


@click.command()
@click.option(
    "--cases",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="Number of cases per reader.",
)
@click.option(
    "--reader", "names", multiple=True, type=click.Choice(sorted(READERS)), help="Only this reader."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--minutes", type=float, default=float("inf"), help="Time limit, shared equally by all readers."
)
def main(cases: int, names: tuple[str, ...], seed: int, minutes: float) -> None:
    """Feed damaged files to the readers, and save those that crash one. Exits with 1 after a crash."""
    os.environ.update(QUIET)
    warnings.simplefilter("ignore")
    faulthandler.enable()  # prints a traceback if compiled code crashes
    chosen = [READERS[name] for name in names or READERS]
    click.echo(f"{'reader':20}{'cases':>8}{'accepted':>10}{'refused':>9}{'crashes':>9}{'seconds':>9}")
    tallies = []
    try:
        for reader in chosen:
            tally = fuzz(reader, cases, seed, 60 * minutes / len(chosen))
            tallies.append(tally)
            _show(tally)
    finally:
        forget_homes()
    if not names:
        record_tallies(f"fuzzed readers, seed {seed}", tallies)
    sys.exit(any(tally.crashes for tally in tallies))


def _show(tally: Tally) -> None:
    click.echo(
        f"{tally.reader:20}{tally.cases:8,}{tally.accepted:10,}{tally.refused:9,}{len(tally.crashes):9,}"
        f"{tally.seconds:9.1f}"
    )
    reasons = Counter(reason.partition(": ")[2] for reason, _ in tally.crashes)
    first = {reason.partition(": ")[2]: reason.partition(": ")[0] for reason, _ in reversed(tally.crashes)}
    for reason, count in reasons.most_common():
        click.echo(f"    {count:,} times {reason}, first in {first[reason]}")
    for path in save_crashers(tally):
        click.echo(f"    saved {path.name}")


if __name__ == "__main__":
    main()
