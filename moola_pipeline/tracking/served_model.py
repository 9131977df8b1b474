"""Parts of a served model: rolls, options, input schema, pinned packages."""

from collections.abc import Mapping
from importlib.metadata import version as installed
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature

    from moola_pipeline.bars.vendor_options import VendorOptions

ROLLS = "rolls"
"""Key of the rolls in a version's facts; also the served model's parameter that replaces them."""


BAR_PARAMS = ("timezone", "stamp", "instrument", "columns", "format")
"""Parameters of the served model with the meaning of the options of `moola predict`."""


def bar_options(params: Mapping[str, str]) -> "VendorOptions":
    """The options for reading bars among a served model's parameters.

    Raises:
        BadInput: If a value is invalid.
    """
    from moola_pipeline.bars.vendor_options import VendorOptions, column_mapping

    chosen: dict[str, Any] = {name: params[name] for name in BAR_PARAMS if params.get(name)}
    columns = column_mapping(chosen.pop("columns")) if "columns" in chosen else {}
    return VendorOptions(**chosen, columns=columns)


def served_rolls(rolls: "pd.DataFrame | None") -> list[list[str]]:
    """Registered rolls as stored with a version: time (UTC), old and new contract."""
    if rolls is None:
        return []
    times = rolls["time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return [list(row) for row in zip(times, rolls["old"], rolls["new"], strict=True)]


def active_rolls(facts: Mapping[str, Any], given: str = "") -> "pd.DataFrame | None":
    """The rolls at which a served version splits bars: the given ones, else its own.

    Args:
        facts: Facts of the version.
        given: CSV text with time, old and new; `none`: no rolls; empty: the version's own.

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
    own_rolls = facts.get(ROLLS) or []
    if not own_rolls:
        return None
    rolls = pd.DataFrame(own_rolls, columns=["time", "old", "new"])
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
    """The packages for serving, each with the installed version."""
    return [f"{package}=={installed(package).split('+')[0]}" for package in SERVING_PACKAGES]


def bars_signature() -> "ModelSignature":
    """The signature of a model that reads raw bars.

    MLflow drops columns whose exact spelling is not in the schema, so all common spellings are listed:
    `close`, `Close` and `CLOSE`. It refuses integers in a column of type float, so no column has a
    type here. `bars.columns` checks the columns instead.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
    from mlflow.types.schema import AnyType

    from moola_pipeline.bars.columns import FRAME_NAMES

    spelled = dict.fromkeys(form for name in FRAME_NAMES for form in (name, name.capitalize(), name.upper()))
    columns: list[ColSpec | TensorSpec] = [ColSpec(AnyType(), name, required=False) for name in spelled]
    return ModelSignature(
        inputs=Schema(columns),
        params=ParamSchema([ParamSpec(name, DataType.string, "") for name in (*BAR_PARAMS, ROLLS, "mode")]),
    )
