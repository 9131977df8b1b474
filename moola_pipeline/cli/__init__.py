"""The commands a person types; a command's module is imported when it is called, and not for --help."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

import click

from moola_pipeline import __version__
from moola_pipeline.cli.exit_codes import exit_code_of
from moola_pipeline.storage.home import HOME_VARIABLE, Home


@dataclass(frozen=True)
class LazyCommand:
    """Where a command is defined, and the line that lists it."""

    module: str
    name: str
    summary: str


COMMANDS = {
    "run": LazyCommand("moola_pipeline.cli.run", "run", "Train on the bars and report how good it is."),
    "ui": LazyCommand("moola_pipeline.cli.ui", "ui", "Open Dagster and MLflow on this machine."),
    "status": LazyCommand("moola_pipeline.cli.status", "status", "Show what is stale, and why."),
    "report": LazyCommand("moola_pipeline.cli.report", "report", "Show the scores of the last run."),
    "ablate": LazyCommand("moola_pipeline.cli.ablate", "ablate", "Change one thing at a time on time folds."),
    "stability": LazyCommand(
        "moola_pipeline.cli.ablate", "stability", "Train many seeds and see whether one collapses."
    ),
    "study": LazyCommand("moola_pipeline.cli.study", "study", "Show what the last pretraining study found."),
    "predict": LazyCommand("moola_pipeline.cli.predict", "predict", "Mark expansions in a file of bars."),
    "registry": LazyCommand(
        "moola_pipeline.cli.registry", "registry", "List, promote, roll back and import versions."
    ),
    "bars": LazyCommand("moola_pipeline.cli.bars", "bars", "Add bars and contract rolls, and list them."),
    "labels": LazyCommand("moola_pipeline.cli.labels", "labels", "Add and check labeled windows."),
    "zigzag": LazyCommand("moola_pipeline.cli.zigzag", "zigzag", "List the swings of a file of bars."),
    "bench": LazyCommand("moola_pipeline.cli.bench", "bench", "Measure the simulated market and the speed."),
    "selftest": LazyCommand(
        "moola_pipeline.cli.selftest", "selftest", "Plant a signal and faults, and see them found."
    ),
    "verify": LazyCommand("moola_pipeline.cli.backup", "verify", "Hash again all that the home keeps."),
    "backup": LazyCommand(
        "moola_pipeline.cli.backup", "backup", "Write all that the home keeps into a file."
    ),
    "restore": LazyCommand("moola_pipeline.cli.backup", "restore", "Bring a home back from a backup."),
    "doctor": LazyCommand("moola_pipeline.cli.doctor", "doctor", "Check the installation and the home."),
}


def _choose_home(context: click.Context, _: click.Parameter, chosen: str | None) -> None:
    """Make the home known to the command and, by MOOLA_HOME, to all that it calls and starts."""
    if chosen is not None or context.parent is None:
        home = Home.resolve(chosen)
        os.environ[HOME_VARIABLE] = str(home.root)
        context.obj = home


def _home_option() -> click.Option:
    return click.Option(
        ["--home"],
        metavar="DIR",
        callback=_choose_home,
        expose_value=False,
        is_eager=True,
        help=f"Folder of all state (default: {HOME_VARIABLE}, else the project root).",
    )


def _accept_home(command: click.Command) -> None:
    """Let --home stand behind a command as well as before it."""
    command.params.append(_home_option())
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _accept_home(inner)


class LazyGroup(click.Group):
    """A group that imports the module of a command when the command is asked for.

    Args:
        listed: Its commands by name, in the order of the help; more can be added as to any group.
    """

    def __init__(self, *words: Any, listed: Mapping[str, LazyCommand] | None = None, **extra: Any) -> None:
        super().__init__(*words, **extra)
        self.listed = dict(listed or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which they are listed."""
        return list(self.listed)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now; None if there is none."""
        if cmd_name not in self.commands and cmd_name in self.listed:
            entry = self.listed[cmd_name]
            command: click.Command = getattr(import_module(entry.module), entry.name)
            _accept_home(command)
            self.add_command(command, cmd_name)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by their summaries; no command is imported."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in self.listed.items()])

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> NoReturn:
        """Run the command that `args` name, and exit as documented in `faults`."""
        words = sys.argv[1:] if args is None else list(args)

        def invoke() -> None:
            with self.make_context(prog_name or "moola", words, **extra) as context:
                self.invoke(context)

        sys.exit(exit_code_of(invoke))


@click.group(
    cls=LazyGroup,
    listed=COMMANDS,
    params=[_home_option()],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="moola", message="%(prog)s %(version)s")
def moola() -> None:
    """Learn a trader's eye for expansions from marked windows of one-minute bars."""


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run `moola`; a SIGTERM ends it as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _interrupt)
    moola.main(args, prog_name="moola")


def _interrupt(_: int, __: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
