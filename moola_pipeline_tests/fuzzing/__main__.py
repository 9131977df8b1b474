"""`python -m moola_pipeline_tests.fuzzing`: damaged files for every reader, as many and as long as asked."""

import faulthandler
import os
import sys
import warnings
from collections import Counter

import click

from moola_pipeline_tests.conftest import QUIET
from moola_pipeline_tests.fuzzing.harness import Tally, fuzz, keep_crashers
from moola_pipeline_tests.fuzzing.record_readers import forget_homes
from moola_pipeline_tests.fuzzing.suite import READERS, record_tallies


@click.command()
@click.option("--cases", type=click.IntRange(min=1), default=10_000, show_default=True, help="A reader.")
@click.option("--reader", "names", multiple=True, type=click.Choice(sorted(READERS)), help="Else all.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--minutes", type=float, default=float("inf"), help="For all readers together, in equal parts.")
def main(cases: int, names: tuple[str, ...], seed: int, minutes: float) -> None:
    """Feed damaged files to the readers; keep what crashes one. Exits 1 if anything does."""
    os.environ.update(QUIET)
    warnings.simplefilter("ignore")
    faulthandler.enable()  # a crash of a compiled reader says where it came from
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
    for path in keep_crashers(tally):
        click.echo(f"    kept {path.name}")


if __name__ == "__main__":
    main()
