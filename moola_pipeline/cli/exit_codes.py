"""Exit codes and error lines: 0 done, 1 failed run or integrity check, 2 bad input, 130 interrupted."""

import errno
import os
import re
import shlex
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import click

from moola_pipeline.cli.home_access import real_paths
from moola_pipeline.errors import BadInput, MoolaError, did_you_mean, one_line
from moola_pipeline.storage.home import HOME_VARIABLE, PROJECT_ROOT

DEBUG_VARIABLE = "MOOLA_DEBUG"
_COMMANDS = re.compile(
    r"(?<![\w-])moola (ablate|backup|bars|bench|doctor|labels?|predict|registry|report|restore|run|selftest"
    r"|stability|status|study|ui|verify|zigzag)\b"
)
"""Commands in error texts; `in_this_home` adds --home to them."""
_NOT_A_CHOICE = re.compile(r"'(?P<name>.*)' is not one of ")
"""Click's words for a value that is no choice of its option."""
_DISK_FULL, _SQLITE_FULL = (errno.ENOSPC, errno.EDQUOT), "database or disk is full"
_SHOWN_FOLDERS = 3
FAILED, BAD_INPUT, INTERRUPTED = MoolaError.exit_code, BadInput.exit_code, 130


def exit_code_of(invoke: Callable[[], None]) -> int:
    """Run a command and return its exit code; an error becomes one line on stderr."""
    try:
        try:
            invoke()
        finally:
            sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return BAD_INPUT
    except click.ClickException as error:
        _print_error(usage_error_text(error))
        return error.exit_code
    except MoolaError as error:
        full = disk_full_text(error)
        _print_error(f"{error} {full}" if full else str(error))
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        _discard_stdout()
        return FAILED
    except OSError as error:
        return _file_error(error)
    except Exception as error:  # noqa: BLE001 - last resort: print any other error as one line
        return _unexpected_error(error)
    return 0


def _print_error(text: str) -> None:
    click.echo(f"Error: {printable_line(in_this_home(real_paths(text)))}", err=True)


def printable_line(text: str) -> str:
    """Text as one line; escapes control characters, which a file name may hold."""
    line = " ".join(one_line(text).split())
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)


def in_this_home(text: str) -> str:
    """The text, with --home added to its commands if the user gave --home."""
    home = next((word for before, word in pairwise(sys.argv) if before == "--home"), None)
    home = next((word[7:] for word in sys.argv if word.startswith("--home=")), home)
    return text if home is None else _COMMANDS.sub(rf"moola --home {_literal(shlex.quote(home))} \1", text)


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\")


def usage_error_text(error: click.ClickException) -> str:
    """One sentence for a command line that click refused, with a pointer to --help."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    remedy = f' Try "{context.command_path} --help".' if context else ""
    return error.format_message() + _similar_choice(error) + remedy


def _similar_choice(error: click.ClickException) -> str:
    """The most similar choice of an option, if the error is about one."""
    refused = _NOT_A_CHOICE.match(error.message)
    kind = error.param.type if isinstance(error, click.BadParameter) and error.param else None
    if refused is None or not isinstance(kind, click.Choice):
        return ""
    return did_you_mean(refused["name"], map(str, kind.choices))


def disk_full_text(error: BaseException) -> str | None:
    """One sentence for a full disk of the home, with its largest folders; None for any other error.

    SQLite says so in its text; other errors, or their causes, carry the system's number.
    """
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    if not any(getattr(one, "errno", None) in _DISK_FULL or _SQLITE_FULL in str(one) for one in chain):
        return None
    root = Path(os.environ.get(HOME_VARIABLE) or PROJECT_ROOT)
    names = [str(name) for one in chain if (name := getattr(one, "filename", None)) is not None]
    if names and not any(Path(name).absolute().is_relative_to(root) for name in names):
        return None  # the disk of another file
    folders = (*root.glob("data/*/"), root / ".dagster")
    sizes = {str(folder.relative_to(root)): _bytes_in(folder) for folder in folders}
    largest = sorted(sizes, key=lambda name: -sizes[name])[:_SHOWN_FOLDERS]
    taken = ", ".join(f"{name} {sizes[name] / 2**20:,.0f} MiB" for name in largest if sizes[name])
    return (
        f"The disk of the home {root} is full. Free space on it"
        f"{f' (in the home: {taken})' if taken else ''}, then run the command again."
    )


def _bytes_in(folder: Path) -> int:
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(path, name)).st_size
    return total


def _file_error(error: OSError) -> int:
    """Report a file that could not be opened, written or renamed; other OSErrors are unexpected."""
    if text := disk_full_text(error):
        _print_error(text)
        return FAILED
    if error.filename is None or error.strerror is None:
        return _unexpected_error(error)
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error)
    _print_error(
        f"{error.filename} must be accessible, got: {error.strerror}. "
        "Check its path, its permissions and the free disk space."
    )
    return FAILED


def _unexpected_error(error: Exception) -> int:
    if text := settings_error_text(error):
        _print_error(text)
        return BAD_INPUT
    if text := disk_full_text(error):
        _print_error(text)
        return FAILED
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error)
    name = traceback.format_exception_only(error)[-1].strip().rstrip(".")
    _print_error(f"unexpected error: {name}. Set {DEBUG_VARIABLE}=1 for the traceback.")
    return FAILED


def settings_error_text(error: Exception) -> str | None:
    """One sentence for a setting that pydantic refused; None for any other error."""
    if "pydantic" not in sys.modules:
        return None
    from pydantic import ValidationError  # slow to import

    if not isinstance(error, ValidationError):
        return None
    first, *others = error.errors(include_url=False)
    field = ".".join(map(str, first["loc"])) or error.title
    more = f" ({len(others)} more)" if others else ""
    return f"{field}: {first['msg']}, got {first['input']!r}{more}. Choose another value."


def _discard_stdout() -> None:
    """Discard buffered output: the reader has closed the pipe."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
