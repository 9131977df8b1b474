"""The entry point: imports of --help, errors and exit codes, and positions of --home."""

import errno
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from pydantic import BaseModel, Field

from moola_pipeline import __version__
from moola_pipeline.cli import COMMANDS, LazyCommand, LazyGroup
from moola_pipeline.cli.bars import BAR_COMMANDS, ROLL_COMMANDS
from moola_pipeline.errors import BadInput, ChecksumMismatch
from moola_pipeline.storage.home import HOME_VARIABLE, PROJECT_ROOT, Home
from moola_pipeline_tests.cli.calls import call, complaint, start

WRITTEN = [name for name, entry in COMMANDS.items() if importlib.util.find_spec(entry.module)]
HEAVY = {"pandas", "numpy", "pyarrow", "torch", "dagster", "mlflow", "sklearn", "matplotlib", "pydantic"}


class Epochs(BaseModel):
    epochs: int = Field(gt=0)


def ending_in(fault: Callable[[], None]) -> Result:
    """The result of a command that only calls `fault`."""
    group = LazyGroup("moola", params=[])
    group.add_command(click.Command("act", callback=fault))
    return CliRunner().invoke(group, ["act"])


@pytest.mark.parametrize("sqlite", [True, False])
def test_a_full_disk_names_the_home_and_its_largest_folders(isolated_home: Path, sqlite: bool):
    (isolated_home / "data" / "mlflow").mkdir(parents=True)
    (isolated_home / "data" / "mlflow" / "runs").write_bytes(bytes(3 << 20))
    file = str(isolated_home / "data" / "nq" / "manifest.json")
    full = OSError(errno.ENOSPC, "No space left on device", file)
    result = ending_in(raising(RuntimeError("database or disk is full") if sqlite else full))
    assert result.exit_code == 1
    assert complaint(result) == (
        f"The disk of the home {isolated_home} is full. Free space on it (in the home: data/mlflow 3 MiB), "
        "then run the command again."
    )


def test_a_full_disk_of_another_file_is_named_by_the_file(isolated_home: Path, tmp_path: Path):
    full = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "elsewhere" / "out.csv"))
    assert "out.csv must be accessible, got: No space left" in complaint(ending_in(raising(full)))


def raising(fault: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise fault

    return act


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("rnu",), "No such command 'rnu'. Did you mean 'run'?"),
        (("bars", "rols"), "No such command 'rols'. Did you mean 'rolls'?"),
        (("labels", "ad"), "No such command 'ad'. Did you mean 'add'?"),
        (
            ("status", "--maket", "auto"),
            "No such option '--maket'. (Did you mean one of: '--home', '--market'?)",
        ),
        (("status", "--profile", "Dmo"), "'study'. Did you mean 'demo'?"),
        (("status", "--scenario", "no-signal"), "Did you mean 'no_signal'?"),
        (("xyzzy",), "No such command 'xyzzy'. Try"),
    ],
)
def test_a_mistyped_word_names_the_nearest_one(words: tuple[str, ...], said: str):
    result = call(*words)
    assert result.exit_code == 2
    assert said in complaint(result)


@pytest.mark.parametrize(
    ("words", "commands"),
    [((), COMMANDS), (("bars",), BAR_COMMANDS), (("bars", "rolls"), ROLL_COMMANDS)],
    ids=["moola", "bars", "rolls"],
)
def test_help_lists_every_command_and_imports_nothing_heavy(
    words: tuple[str, ...], commands: dict[str, LazyCommand]
):
    code = (
        "import sys, atexit; from moola_pipeline.cli import main\n"
        "atexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr)); main()"
    )
    process = start(code, *words, "--help")
    shown, modules = process.communicate()
    assert process.returncode == 0
    listed = [line.split()[0] for line in shown.partition("Commands:\n")[2].splitlines()]
    assert listed == list(commands)
    assert not HEAVY & set(modules.split())
    imported = {name for name in modules.split() if name.startswith("moola_pipeline.cli.")}
    light = {"moola_pipeline.cli.exit_codes", "moola_pipeline.cli.home_access"}
    assert imported <= {*light, *(["moola_pipeline.cli.bars"] if words else [])}


@pytest.mark.parametrize("name", WRITTEN)
def test_every_command_loads_and_shows_help(name: str):
    result = call(name, "--help")
    assert result.exit_code == 0
    assert f"Usage: moola {name}" in result.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("bars", "add"),
        ("bars", "list"),
        ("bars", "check"),
        ("bars", "rolls", "add"),
        ("bars", "rolls", "propose"),
        ("labels", "add"),
        ("doctor",),
    ],
)
def test_commands_that_print_results_take_json_and_a_home(words: tuple[str, ...]):
    shown = call(*words, "--help").stdout
    assert "--json" in shown
    assert "--home" in shown


def test_the_module_and_the_command_are_one_program():
    command = [sys.executable, "-m", "moola_pipeline", "--version"]
    shown = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout == f"moola {__version__}\n"


@pytest.mark.parametrize(
    ("fault", "code", "line"),
    [
        (BadInput("k must be > 0, got -4."), 2, "k must be > 0, got -4."),
        (ChecksumMismatch("a.csv: SHA256\nis another."), 1, "a.csv: SHA256 is another."),
        (
            KeyError("x"),
            1,
            "unexpected error: KeyError: 'x'. Set MOOLA_DEBUG=1 for the traceback.",
        ),
        (
            OSError(5, "Input/output error"),
            1,
            "unexpected error: OSError: [Errno 5] Input/output error. Set MOOLA_DEBUG=1 for the traceback.",
        ),
        (
            PermissionError(13, "Permission denied", "labels.csv"),
            1,
            "labels.csv must be accessible, got: Permission denied. "
            "Check its path, its permissions and the free disk space.",
        ),
        (BadInput("\x1b[31mred\u202e.csv: no bars."), 2, "\\x1b[31mred\\u202e.csv: no bars."),
        (click.UsageError("Nothing to do."), 2, 'Nothing to do. Try "moola act --help".'),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(fault: Exception, code: int, line: str):
    result = ending_in(raising(fault))
    assert complaint(result) == line
    assert (result.exit_code, result.stdout) == (code, "")


def test_a_setting_that_pydantic_refuses_is_bad_input():
    result = ending_in(lambda: print(Epochs(epochs=0)))  # noqa: T201
    assert complaint(result) == "epochs: Input should be greater than 0, got 0. Choose another value."
    assert result.exit_code == 2


def test_debugging_shows_the_traceback_before_the_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MOOLA_DEBUG", "1")
    result = ending_in(raising(KeyError("x")))
    assert result.exit_code == 1
    assert result.stderr.startswith("Traceback")
    assert "\nError: unexpected error: KeyError: 'x'" in result.stderr


def test_at_exit_no_object_is_searched_for_garbage():
    code = (
        "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 1000));"
        "from moola_pipeline.cli import main; main(['--version'])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "True"


def test_an_interrupt_exits_130_with_one_short_line():
    result = ending_in(raising(KeyboardInterrupt()))
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "Interrupted.\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_process_with_130_after_cleanup(number: signal.Signals):
    code = (
        "import signal, sys, time, click; from moola_pipeline.cli import main, moola\n"
        # background jobs of a shell inherit an ignored SIGINT
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def act():\n"
        "    try:\n"
        "        print('at work', flush=True); time.sleep(60)\n"
        "    finally:\n"
        "        print('cleaned up')\n"
        "moola.add_command(click.Command('act', callback=act)); main(['act'])"
    )
    process = start(code)
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    process.send_signal(number)
    shown, complained = process.communicate(timeout=30)
    assert (process.returncode, shown, complained) == (130, "cleaned up\n", "Interrupted.\n")


@pytest.mark.parametrize("words", [("--help",), ("bars", "list")])
def test_a_closed_pipe_ends_a_command_without_a_message(words: tuple[str, ...]):
    process = start("from moola_pipeline.cli import main; main()", *words)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.wait(timeout=60) == 1
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("juggle",), "No such command 'juggle'. Try \"moola --help\"."),
        (("bar",), "No such command 'bar'. Did you mean 'bars'? Try \"moola --help\"."),
        (("bars", "add"), "Missing argument 'FILE...'. Try \"moola bars add --help\"."),
        (("doctor", "--fix"), "No such option '--fix'. Try \"moola doctor --help\"."),
    ],
)
def test_a_wrong_command_line_exits_2_with_one_line(words: tuple[str, ...], line: str):
    result = call(*words)
    assert (result.exit_code, complaint(result)) == (2, line)


def test_no_command_at_all_shows_the_help_and_exits_2():
    result = call()
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: moola")


@pytest.mark.parametrize("place", ["before", "behind", "variable"])
def test_a_home_below_a_file_exits_2_and_creates_nothing(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "notes.txt"
    file.write_text("not a folder")
    home = file / "home"
    named = "--home"
    if place == "variable":
        monkeypatch.setenv(HOME_VARIABLE, str(home))
        result, named = call("bars", "list"), HOME_VARIABLE
    else:
        words = ["--home", home, "bars", "list"] if place == "before" else ["bars", "list", "--home", home]
        result = call(*words)
    assert complaint(result) == f"{named} must be a folder, but {file} is a file. Name another folder."
    assert result.exit_code == 2
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("behind", [True, False])
def test_the_chosen_home_reaches_the_command_and_the_environment(
    behind: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    homes: list[tuple[Home, str]] = []
    monkeypatch.setattr(
        "moola_pipeline.cli.bar_files.read_manifest",
        lambda store: homes.append((Home(store.root.parents[1]), os.environ[HOME_VARIABLE])) or _Empty(),
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    option = ["--home", "mine"]
    result = call(*([] if behind else option), "bars", "list", *(option if behind else []))
    assert result.exit_code == 0
    assert homes == [(Home(tmp_path / "mine"), str(tmp_path / "mine"))]
    assert list((tmp_path / "mine").iterdir()) == []


def test_the_variable_sets_the_home_without_an_option(isolated_home: Path):
    shown = json.loads(call("doctor", "--json").stdout)
    assert shown["home"] == str(isolated_home)


class _Empty:
    files = ()
