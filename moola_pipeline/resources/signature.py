"""What a served model accepts and with which packages it was made, as MLflow is told."""

from importlib.metadata import version as installed
from typing import TYPE_CHECKING

from moola_pipeline.resources.served_rolls import ROLLS

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

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

    from moola_pipeline.serving.frames import FRAME_NAMES

    spelled = dict.fromkeys(form for name in FRAME_NAMES for form in (name, name.capitalize(), name.upper()))
    columns: list[ColSpec | TensorSpec] = [ColSpec(AnyType(), name, required=False) for name in spelled]
    return ModelSignature(
        inputs=Schema(columns),
        params=ParamSchema([ParamSpec(name, DataType.string, "") for name in ("timezone", ROLLS, "mode")]),
    )
