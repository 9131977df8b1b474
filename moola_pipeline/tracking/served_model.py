"""What travels with a served model: its rolls, its input schema and its pinned packages."""

from collections.abc import Mapping
from importlib.metadata import version as installed
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature

ROLLS = "rolls"
"""Where the facts of a version keep them; also the parameter of a served model that takes their place."""


def served_rolls(rolls: "pd.DataFrame | None") -> list[list[str]]:
    """Registered rolls, if any, as they are kept: time (UTC), old and new contract."""
    if rolls is None:
        return []
    times = rolls["time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return [list(row) for row in zip(times, rolls["old"], rolls["new"], strict=True)]


def active_rolls(facts: Mapping[str, Any], given: str = "") -> "pd.DataFrame | None":
    """The rolls that a served version breaks bars at: those given, else its own.

    Args:
        facts: Of the version.
        given: Text of a csv with time, old and new; `none`: no rolls; empty: those of the version.

    Raises:
        BadInput: If the text holds no rolls.
    """
    import io

    import pandas as pd

    from moola_pipeline.bars.rolls import rolls_of_text

    if given.strip() == "none":
        return None
    if given.strip():
        return rolls_of_text(io.BytesIO(given.encode()), ROLLS)
    held = facts.get(ROLLS) or []
    if not held:
        return None
    rolls = pd.DataFrame(held, columns=["time", "old", "new"])
    times = pd.DatetimeIndex(pd.to_datetime(rolls["time"], utc=True)).as_unit("ns")
    return rolls.assign(time=times, old=rolls["old"].astype("str"), new=rolls["new"].astype("str"))


SERVING_PACKAGES = (
    "mlflow",
    "torch",
    "numpy",
    "pandas",
    "pyarrow",
    "TA-Lib",
    "numba",
    "scikit-learn",
    "safetensors",
)


def pinned_packages() -> list[str]:
    """The packages that serving needs, each at the version installed here."""
    return [f"{package}=={installed(package).split('+')[0]}" for package in SERVING_PACKAGES]


def bars_signature() -> "ModelSignature":
    """The signature of a model that reads raw bars.

    MLflow knows a column by its exact spelling and drops one that it does not know, so each role's
    names are listed as people write them: `close`, `Close` and `CLOSE`. It refuses whole numbers
    where it was told of fractions; so none of the columns has a type here. What must be there and
    hold numbers is said by `serving.frames`, in one line.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
    from mlflow.types.schema import AnyType

    from moola_pipeline.bars.schema import FRAME_NAMES

    spelled = dict.fromkeys(form for name in FRAME_NAMES for form in (name, name.capitalize(), name.upper()))
    columns: list[ColSpec | TensorSpec] = [ColSpec(AnyType(), name, required=False) for name in spelled]
    return ModelSignature(
        inputs=Schema(columns),
        params=ParamSchema([ParamSpec(name, DataType.string, "") for name in ("timezone", ROLLS, "mode")]),
    )
