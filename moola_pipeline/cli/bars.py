"""`moola bars`: the commands on bars and contract rolls; each is imported when it is called."""

import click

from moola_pipeline.cli import LazyCommand, LazyGroup

BAR_COMMANDS = {
    "add": LazyCommand("moola_pipeline.cli.bar_files", "add", "Register files of one-minute bars."),
    "inbox": LazyCommand("moola_pipeline.cli.bar_files", "inbox", "Add what lies in data/inbox."),
    "list": LazyCommand(
        "moola_pipeline.cli.bar_files",
        "list_files",
        "List the registered files, and whether they are intact.",
    ),
    "check": LazyCommand(
        "moola_pipeline.cli.bar_check",
        "check",
        "Hold the bars against the calendar: what is missing, what is kept.",
    ),
    "rolls": LazyCommand("moola_pipeline.cli.bars", "rolls", "Add, remove and propose contract rolls."),
}
ROLL_COMMANDS = {
    "add": LazyCommand("moola_pipeline.cli.rolls", "add", "Register the rolls of a csv."),
    "remove": LazyCommand("moola_pipeline.cli.rolls", "remove", "Register no rolls any more."),
    "propose": LazyCommand("moola_pipeline.cli.rolls", "propose", "Propose rolls from expiries and jumps."),
}


@click.group(cls=LazyGroup, listed=BAR_COMMANDS)
def bars() -> None:
    """Add bars and contract rolls, list them, and hold them against the calendar."""


@click.group(cls=LazyGroup, listed=ROLL_COMMANDS)
def rolls() -> None:
    """Contract rolls: when one contract gave way to the next."""
