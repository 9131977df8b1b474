"""The `moola` commands; the module of a command is imported only when the command runs."""

import atexit
import gc
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

import click

from moola_pipeline import __version__
from moola_pipeline.cli.exit_codes import exit_code_of
from moola_pipeline.cli.home_access import accessible_home
from moola_pipeline.storage.home import HOME_VARIABLE, Home

RARE_COLLECTIONS = (100_000, 50, 1000)
"""Thresholds of the garbage collector: by default it takes a seventh of the time of all imports."""


@dataclass(frozen=True)
class LazyCommand:
    """Module and name of a command, and its line in the help."""

    module: str
    name: str
    summary: str


COMMANDS = {
    "run": LazyCommand("moola_pipeline.cli.run", "run", "Train a model on the bars and report its scores."),
    "ui": LazyCommand("moola_pipeline.cli.ui", "ui", "Serve Dagster and MLflow on this machine."),
    "status": LazyCommand("moola_pipeline.cli.status", "status", "Show which assets are stale, and why."),
    "report": LazyCommand("moola_pipeline.cli.report", "report", "Show the scores of the last run."),
    "ablate": LazyCommand("moola_pipeline.cli.ablate", "ablate", "Compare ablations on time folds."),
    "stability": LazyCommand(
        "moola_pipeline.cli.ablate", "stability", "Train many seeds and count collapsed trainings."
    ),
    "study": LazyCommand(
        "moola_pipeline.cli.study", "study", "Show the results of the last pretraining study."
    ),
    "predict": LazyCommand("moola_pipeline.cli.predict", "predict", "Mark expansions in a file of bars."),
    "registry": LazyCommand(
        "moola_pipeline.cli.registry", "registry", "List, promote, roll back and import model versions."
    ),
    "bars": LazyCommand("moola_pipeline.cli.bars", "bars", "Add bars and contract rolls, and list them."),
    "labels": LazyCommand("moola_pipeline.cli.labels", "labels", "Add and check labeled windows."),
    "label": LazyCommand("moola_pipeline.cli.label", "label", "Label windows of bars in the browser."),
    "zigzag": LazyCommand("moola_pipeline.cli.zigzag", "zigzag", "List the swings of a file of bars."),
    "bench": LazyCommand(
        "moola_pipeline.cli.bench", "bench", "Measure speed, memory and the simulated market."
    ),
    "selftest": LazyCommand(
        "moola_pipeline.cli.selftest", "selftest", "Test this installation with a planted signal and faults."
    ),
    "verify": LazyCommand(
        "moola_pipeline.cli.backup", "verify", "Check all files of the home against their SHA256."
    ),
    "backup": LazyCommand("moola_pipeline.cli.backup", "backup", "Save the home in one archive."),
    "restore": LazyCommand("moola_pipeline.cli.backup", "restore", "Restore a home from a backup."),
    "doctor": LazyCommand("moola_pipeline.cli.doctor", "doctor", "Check the installation and the home."),
}


def _choose_home(context: click.Context, _: click.Parameter, chosen: str | None) -> None:
    """Pass the home to the command and, in MOOLA_HOME, to the processes that it starts."""
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
    """Accept --home after a command as well as before it, and run the command in a home that fits it."""
    command.params.append(_home_option())
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _accept_home(inner)
    elif command.callback is not None:
        command.callback = _in_home(command.callback)


def _in_home(act: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(act)
    def act_in_home(*words: Any, **options: Any) -> Any:
        with accessible_home(click.get_current_context()):
            return act(*words, **options)

    return act_in_home


class LazyGroup(click.Group):
    """A group that imports the module of a command only when the command is used.

    Args:
        listed: Commands by name, in the order of the help.
    """

    def __init__(self, *words: Any, listed: Mapping[str, LazyCommand] | None = None, **extra: Any) -> None:
        super().__init__(*words, **extra)
        self.listed = dict(listed or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order of the help."""
        return list(self.listed)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported on first use; None if there is none."""
        if cmd_name not in self.commands and cmd_name in self.listed:
            entry = self.listed[cmd_name]
            command: click.Command = getattr(import_module(entry.module), entry.name)
            _accept_home(command)
            self.add_command(command, cmd_name)
        return self.commands.get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names.

        Raises:
            click.UsageError: If there is none; names those with a similar name.
        """
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as fault:
            possible = self.list_commands(ctx)
            raise click.exceptions.NoSuchCommand(fault.command_name, None, possible, ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by their summaries; no command is imported."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in self.listed.items()])

    def main(  # pyright: ignore[reportIncompatibleMethodOverride] - it always exits, in one way
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run the command that `args` name, and exit as documented in `exit_codes`."""
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
    """Find expansions in one-minute bars with a model trained on labeled windows."""


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run `moola`; SIGTERM ends it as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _interrupt)
    gc.set_threshold(*RARE_COLLECTIONS)
    atexit.register(gc.freeze)  # at exit Python searches all objects three times for garbage: two seconds
    moola.main(args, prog_name="moola")


def _interrupt(_: int, __: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
