"""`moola bars`: commands for bars and contract rolls, imported when called."""

import click

from moola_pipeline.cli import LazyCommand, LazyGroup

BAR_COMMANDS = {
    "add": LazyCommand("moola_pipeline.cli.bar_files", "add", "Register files of one-minute bars."),
    "inbox": LazyCommand("moola_pipeline.cli.bar_files", "inbox", "Add the files in data/inbox."),
    "list": LazyCommand(
        "moola_pipeline.cli.bar_files",
        "list_files",
        "List the registered files and whether they are intact.",
    ),
    "check": LazyCommand(
        "moola_pipeline.cli.bar_check",
        "check",
        "Compare the bars with the calendar, year by year.",
    ),
    "rolls": LazyCommand("moola_pipeline.cli.bars", "rolls", "Add, remove and propose contract rolls."),
}
ROLL_COMMANDS = {
    "add": LazyCommand("moola_pipeline.cli.rolls", "add", "Register the rolls of a csv file."),
    "remove": LazyCommand("moola_pipeline.cli.rolls", "remove", "Remove the registered rolls."),
    "propose": LazyCommand("moola_pipeline.cli.rolls", "propose", "Propose rolls from expiries and jumps."),
}


@click.group(cls=LazyGroup, listed=BAR_COMMANDS)
def bars() -> None:
    """Add bars and contract rolls, list them, and compare them with the calendar."""


@click.group(cls=LazyGroup, listed=ROLL_COMMANDS)
def rolls() -> None:
    """Contract rolls: the times at which the bars change from one contract to the next."""
