"""How a command ends: 0 done, 1 a run or an integrity check failed, 2 bad input, 130 interrupted."""

import os
import re
import shlex
import sys
import traceback
from collections.abc import Callable
from itertools import pairwise

import click

from moola_pipeline.errors import BadInput, MoolaError, one_line

DEBUG_VARIABLE = "MOOLA_DEBUG"
_COMMANDS = re.compile(
    r"(?<![\w-])moola (run|ui|status|report|predict|registry|bars|labels|verify|doctor|backup|restore)\b"
)
"""Commands that a remedy names."""
FAILED, BAD_INPUT, INTERRUPTED = MoolaError.exit_code, BadInput.exit_code, 130


def exit_code_of(invoke: Callable[[], None]) -> int:
    """Run a command and give its exit code; a fault that ends it becomes one line on stderr."""
    try:
        try:
            invoke()
        finally:
            sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.exceptions.NoArgsIsHelpError as fault:
        fault.show()
        return BAD_INPUT
    except click.ClickException as fault:
        _complain(usage_fault(fault))
        return fault.exit_code
    except MoolaError as fault:
        _complain(str(fault))
        return fault.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        _silence()
        return FAILED
    except OSError as fault:
        return _unreachable(fault)
    except Exception as fault:  # noqa: BLE001 - the last resort: whatever is left becomes a line, too
        return _unforeseen(fault)
    return 0


def _complain(text: str) -> None:
    click.echo(f"Error: {shown_line(in_this_home(text))}", err=True)


def shown_line(text: str) -> str:
    """A text as one line for a terminal: a file name may hold signs that it obeys."""
    line = " ".join(one_line(text).split())
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in line)


def in_this_home(text: str) -> str:
    """A text whose commands work where it was said: with --home, if this command was given one."""
    given = next((word for before, word in pairwise(sys.argv) if before == "--home"), None)
    given = next((word[7:] for word in sys.argv if word.startswith("--home=")), given)
    return text if given is None else _COMMANDS.sub(rf"moola --home {_literal(shlex.quote(given))} \1", text)


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\")


def usage_fault(fault: click.ClickException) -> str:
    """One sentence on a command line that click refused, and where to look."""
    context = fault.ctx if isinstance(fault, click.UsageError) else None
    remedy = f' Try "{context.command_path} --help".' if context else ""
    return fault.format_message() + remedy


def _unreachable(fault: OSError) -> int:
    """A file that the system would not open, write or rename; any other fault of the system is unforeseen."""
    if fault.filename is None or fault.strerror is None:
        return _unforeseen(fault)
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(fault)
    _complain(
        f"{fault.filename} must be open to this command, got: {fault.strerror}. "
        "Check its path, its permissions and the room on its disk."
    )
    return FAILED


def _unforeseen(fault: Exception) -> int:
    if said := settings_fault(fault):
        _complain(said)
        return BAD_INPUT
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(fault)
    named = traceback.format_exception_only(fault)[-1].strip().rstrip(".")
    _complain(f"unexpected fault: {named}, run with {DEBUG_VARIABLE}=1 for the traceback")
    return FAILED


def settings_fault(fault: Exception) -> str | None:
    """One sentence on a setting that pydantic refused; None for any other fault."""
    if "pydantic" not in sys.modules:
        return None
    from pydantic import ValidationError  # slow: not for a command that validates nothing

    if not isinstance(fault, ValidationError):
        return None
    first, *others = fault.errors(include_url=False)
    place = ".".join(map(str, first["loc"])) or fault.title
    more = f" ({len(others)} more)" if others else ""
    return f"{place}: {first['msg']}, got {first['input']!r}{more}. Choose another value."


def _silence() -> None:
    """Let what is still buffered go nowhere: the reader of the pipe has left."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
