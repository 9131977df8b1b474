"""Dagster's instance of a home: where its dagster.yaml is, and how a process comes to use it."""

import os
import shutil

from moola_pipeline.errors import BadInput
from moola_pipeline.home import HOME_VARIABLE, PROJECT_ROOT, Home
from moola_pipeline.publish import publishing

INSTANCE_FILE = "dagster.yaml"


def prepare_instance(home: Home) -> None:
    """Let this process, and those it starts, keep all Dagster state in `home`.

    dagster.yaml names its folders relative to the working directory, so that a home can be moved
    and a plain `dagster dev` in the project root shares it; hence the change of directory.

    Raises:
        BadInput: If the home cannot be made.
    """
    try:
        home.root.mkdir(parents=True, exist_ok=True)
        home.dagster.mkdir(exist_ok=True)
    except OSError as fault:
        raise BadInput(
            f"--home must be a folder that can be written, got {home.root} ({fault.strerror})."
        ) from fault
    instance_file = home.root / INSTANCE_FILE
    if not instance_file.exists():
        with publishing(instance_file) as temporary:
            shutil.copyfile(PROJECT_ROOT / INSTANCE_FILE, temporary)
    os.environ[HOME_VARIABLE] = str(home.root)
    os.environ["DAGSTER_HOME"] = str(home.root)
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
    os.chdir(home.root)
