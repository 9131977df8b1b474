"""The choice of the home, and its paths."""

from pathlib import Path

import pytest

from moola_pipeline.errors import BadInput, IntegrityError
from moola_pipeline.storage.checksums import read_checksummed, write_checksummed
from moola_pipeline.storage.home import (
    FORMAT_FILE,
    HOME_FORMAT,
    HOME_VARIABLE,
    PROJECT_ROOT,
    Home,
    ensure_format,
    home_format,
)

PARTS = ("data", "inbox", "simulated", "store", "reports", "studies", "tracking", "dagster")


def test_the_folder_chosen_wins_over_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "variable"))

    assert Home.resolve(tmp_path / "chosen").root == tmp_path / "chosen"
    assert Home.resolve(str(tmp_path / "chosen")).root == tmp_path / "chosen"


def test_the_variable_wins_over_the_project_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))

    assert Home.resolve().root == tmp_path


@pytest.mark.parametrize("value", [None, ""])
def test_without_either_the_home_is_the_project_root(value: str | None, monkeypatch: pytest.MonkeyPatch):
    if value is None:
        monkeypatch.delenv(HOME_VARIABLE)
    else:
        monkeypatch.setenv(HOME_VARIABLE, value)

    assert Home.resolve().root == PROJECT_ROOT
    assert (PROJECT_ROOT / "pyproject.toml").is_file()


def test_a_relative_home_and_a_tilde_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))

    assert Home.resolve("mine").root == tmp_path / "mine"
    assert Home.resolve("~/mine").root == tmp_path / "user" / "mine"


def test_naming_a_home_creates_nothing(tmp_path: Path):
    home = Home.resolve(tmp_path / "new" / "home")

    assert [getattr(home, part) for part in PARTS]
    assert list(tmp_path.iterdir()) == []


def test_two_homes_share_no_part(tmp_path: Path):
    one, other = Home.resolve(tmp_path / "one"), Home.resolve(tmp_path / "other")
    paths = [{getattr(home, part) for part in PARTS} for home in (one, other)]

    assert [len(parts) for parts in paths] == [len(PARTS)] * 2
    assert all(one.root in path.parents for path in paths[0])
    assert all(other.root in path.parents for path in paths[1])


@pytest.mark.parametrize("below", ["", "home", "a/home"])
def test_a_home_at_or_below_a_file_is_refused_by_the_name_of_the_file(tmp_path: Path, below: str):
    file = tmp_path / "notes.txt"
    file.write_text("not a folder")
    with pytest.raises(BadInput) as refused:
        Home.resolve(file / below)

    assert str(refused.value) == f"--home must be a folder, but {file} is a file. Name another folder."
    assert refused.value.exit_code == 2


def test_a_bad_variable_is_named_in_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "notes.txt"
    file.write_text("not a folder")
    monkeypatch.setenv(HOME_VARIABLE, str(file / "home"))
    with pytest.raises(BadInput) as refused:
        Home.resolve()

    assert str(refused.value) == f"MOOLA_HOME must be a folder, but {file} is a file. Name another folder."


def test_a_user_that_does_not_exist_exits_2_and_is_named():
    with pytest.raises(
        BadInput, match="--home must name a folder, but there is no user ~nobody-of-that-name"
    ):
        Home.resolve("~nobody-of-that-name/moola")


def test_a_home_without_a_format_gets_the_current_one(tmp_path: Path):
    home = Home(tmp_path)
    assert home_format(home) == HOME_FORMAT
    ensure_format(home)
    noted = (home.data / FORMAT_FILE).read_bytes()
    assert read_checksummed(home.data / FORMAT_FILE, "must be whole", "")["format"] == HOME_FORMAT == 1
    ensure_format(home)
    assert (home.data / FORMAT_FILE).read_bytes() == noted


def test_a_home_of_a_later_version_is_refused_and_left_alone(tmp_path: Path):
    home = Home(tmp_path)
    write_checksummed(home.data / FORMAT_FILE, {"format": HOME_FORMAT + 1})
    before = (home.data / FORMAT_FILE).read_bytes()
    with pytest.raises(IntegrityError, match=r"must have format 1 or earlier, got 2\. Install the version"):
        ensure_format(home)
    assert (home.data / FORMAT_FILE).read_bytes() == before


@pytest.mark.parametrize("said", [{}, {"format": 0}, {"format": "1"}, {"format": True}])
def test_a_format_that_is_no_number_is_refused_with_its_remedy(tmp_path: Path, said: dict):
    write_checksummed(tmp_path / "data" / FORMAT_FILE, said)
    with pytest.raises(IntegrityError, match=r"^format.json must hold the home's format, .*\. Delete it\.$"):
        home_format(Home(tmp_path))
