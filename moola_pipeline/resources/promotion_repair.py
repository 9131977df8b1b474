"""A damaged log of promotions, mended without a backup: what is proven stays, the rest is set aside."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from moola_pipeline.resources.promotions import log_file, proven_lines, reconcile
from moola_pipeline.storage.atomic_write import locked, publish_bytes
from moola_pipeline.storage.home import Home

if TYPE_CHECKING:
    from mlflow import MlflowClient


class Repaired(NamedTuple):
    """What a repair did: lines kept, lines set aside, and where those lie; nothing where none was damaged."""

    n_kept: int
    n_aside: int
    aside: Path | None


def repair_log(home: Home, client: "MlflowClient", models: list[str]) -> Repaired:
    """Keep the lines up to the damage, set the whole file aside, and note the champions that stand now.

    What the lost lines said is still in MLflow: the tags `promotion.*` of each registered model.

    Args:
        home: Whose log.
        client: Of its registry.
        models: All registered models.
    """
    path = log_file(home)
    with locked(path):
        kept, n_lines = proven_lines(home)
        if len(kept) == n_lines:
            return Repaired(len(kept), 0, None)
        number = 1
        while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
            number += 1
        publish_bytes(aside, path.read_bytes())
        publish_bytes(path, "".join(f"{line}\n" for line in kept).encode())
    for model in models:
        reconcile(home, client, model)
    return Repaired(len(kept), n_lines - len(kept), aside)
