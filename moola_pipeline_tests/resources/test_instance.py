"""Dagster's instance is stored in the home."""

import os
from pathlib import Path

import dagster as dg
import pytest

from moola_pipeline.errors import BadInput, IntegrityError
from moola_pipeline.resources.instance import INSTANCE_FILE, open_instance, prepare_instance
from moola_pipeline.storage.home import HOME_VARIABLE, PROJECT_ROOT, Home


def test_a_new_home_gets_the_projects_instance_file(tmp_path: Path):
    home = Home(tmp_path / "new" / "home")
    prepare_instance(home)
    assert (home.root / INSTANCE_FILE).read_bytes() == (PROJECT_ROOT / INSTANCE_FILE).read_bytes()
    assert os.environ["DAGSTER_HOME"] == os.environ[HOME_VARIABLE] == str(home.root)
    assert Path.cwd() == home.root


def test_an_instance_file_of_the_users_is_kept(tmp_path: Path):
    (tmp_path / INSTANCE_FILE).write_text("telemetry: {enabled: false}\n")
    prepare_instance(Home(tmp_path))
    assert (tmp_path / INSTANCE_FILE).read_text() == "telemetry: {enabled: false}\n"


def test_what_dagster_records_stays_in_the_home(tmp_path: Path):
    home = Home(tmp_path / "home")
    prepare_instance(home)
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("files", ["a"])
    assert list(home.dagster.rglob("*.db"))
    assert {path.name for path in home.root.iterdir()} == {".dagster", "data", INSTANCE_FILE}


def test_dagster_sends_no_telemetry_and_opens_without_its_pop_up(tmp_path: Path):
    prepare_instance(Home(tmp_path))
    with dg.DagsterInstance.get() as instance:
        assert not instance.telemetry_enabled and not instance.nux_enabled


def test_a_home_that_cannot_be_made_is_refused_in_one_line(tmp_path: Path):
    (tmp_path / "file").touch()
    wanted = r"^--home must be a folder that can be written, got .*file/home \(.*\)\. Name another folder\.$"
    with pytest.raises(BadInput, match=wanted):
        prepare_instance(Home(tmp_path / "file" / "home"))


@pytest.mark.parametrize("content", ["a: [", "no_such_setting: 1"])
def test_settings_that_dagster_cannot_read_are_refused_by_name(tmp_path: Path, content: str):
    (tmp_path / INSTANCE_FILE).write_text(content)
    prepare_instance(Home(tmp_path))
    with pytest.raises(BadInput) as fault:
        open_instance(Home(tmp_path))
    assert str(fault.value).startswith(f"{tmp_path / INSTANCE_FILE} must hold Dagster's settings, got: ")
    assert str(fault.value).endswith("Correct it, or delete it; moola then writes a new one.")
    assert len(str(fault.value)) < 500


def test_a_file_in_place_of_dagster_s_database_is_refused_by_name(tmp_path: Path):
    home = Home(tmp_path)
    prepare_instance(home)
    with open_instance(home) as instance:
        instance.add_dynamic_partitions("files", ["a"])
    database = next(home.dagster.rglob("*.db"))
    database.write_bytes(b"no database" * 500)
    with pytest.raises(IntegrityError) as fault:
        prepare_instance(home)
    assert str(fault.value) == (
        f"{database} must be an SQLite database that can be opened, got: file is not a database. "
        f"Restore it, or move the folder {home.dagster} away: the next run rebuilds everything."
    )
