"""Dagster's instance of a home: where its dagster.yaml is, and how a process comes to use it."""

import os
import shutil
from typing import TYPE_CHECKING

from moola_pipeline.errors import BadInput
from moola_pipeline.resources.formats import bring_up_to_date
from moola_pipeline.storage.atomic_write import files_below, locked, publishing, sweep
from moola_pipeline.storage.database_migration import migrate_instance, require_database
from moola_pipeline.storage.home import HOME_VARIABLE, PROJECT_ROOT, Home

if TYPE_CHECKING:
    import dagster as dg

INSTANCE_FILE = "dagster.yaml"


def prepare_instance(home: Home) -> None:
    """Let this process, and those it starts, keep all Dagster state in `home`.

    dagster.yaml names its folders relative to the working directory, so that a home can be moved
    and a plain `dagster dev` in the project root shares it; hence the change of directory.

    Raises:
        BadInput: If the home cannot be made.
        IntegrityError: If a database of Dagster's cannot be opened.
    """
    try:
        home.root.mkdir(parents=True, exist_ok=True)
        home.dagster.mkdir(exist_ok=True)
    except OSError as fault:
        raise BadInput(
            f"--home must be a folder that can be written, got {home.root} ({fault.strerror}). "
            "Name another folder."
        ) from fault
    instance_file = home.root / INSTANCE_FILE
    if not instance_file.exists():
        with publishing(instance_file) as temporary:
            shutil.copyfile(PROJECT_ROOT / INSTANCE_FILE, temporary)
    for folder in (home.store, home.reports):
        sweep(folder)
    for database in files_below(home.dagster, "*.db"):
        require_database(
            database, f"Restore it, or move the folder {home.dagster} away: the next run makes everything."
        )
    bring_up_to_date(home)
    os.environ[HOME_VARIABLE] = str(home.root)
    os.environ["DAGSTER_HOME"] = str(home.root)
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
    os.chdir(home.root)


def open_instance(home: Home) -> "dg.DagsterInstance":
    """Dagster's instance of a home that `prepare_instance` has prepared, its tables up to date.

    Raises:
        IntegrityError: If a later Dagster has made them.
        BadInput: If its dagster.yaml cannot be read.
    """
    import dagster as dg
    from yaml import YAMLError

    try:
        instance = dg.DagsterInstance.get()
    except (YAMLError, dg.DagsterInvalidConfigError) as fault:
        came = " ".join(str(fault).split()).partition(" Expected:")[0]
        raise BadInput(
            f"{home.root / INSTANCE_FILE} must hold Dagster's settings, got: {came}. "
            "Correct it, or delete it: it is then written anew."
        ) from fault
    with locked(home.dagster / "schema"):
        migrate_instance(sorted(files_below(home.dagster, "*.db")), instance)
    return instance
