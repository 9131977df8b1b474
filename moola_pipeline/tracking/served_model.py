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


def served_signature() -> "ModelSignature":
    """The signature of a model that reads raw bars.

    MLflow drops columns whose exact spelling is not in the schema, so all common spellings are listed:
    `close`, `Close` and `CLOSE`. It refuses integers and text in a column of type double, and times with
    a zone, so no column of the bars has a type. `bars.columns` checks the columns instead.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
    from mlflow.types.schema import AnyType

    from moola_pipeline.bars.columns import FRAME_NAMES
    from moola_pipeline.inference.expansion_table import EXPANSION_TABLE

    spelled = dict.fromkeys(form for name in FRAME_NAMES for form in (name, name.capitalize(), name.upper()))
    columns: list[ColSpec | TensorSpec] = [ColSpec(AnyType(), name, required=False) for name in spelled]
    types = {
        "datetime64[ns, UTC]": DataType.datetime,
        "float32": DataType.double,  # as it is predicted; stored it is shorter
        "str": DataType.string,
    }
    expansions: list[ColSpec | TensorSpec] = [
        ColSpec(types[column.dtype], column.name, required=not column.nullable) for column in EXPANSION_TABLE
    ]
    return ModelSignature(
        inputs=Schema(columns),
        outputs=Schema(expansions),
        params=ParamSchema([ParamSpec(name, DataType.string, "") for name in (*BAR_PARAMS, ROLLS, "mode")]),
    )


EXAMPLE_BARS = 240
"""Enough for some expansions; a window needs 145."""
EXAMPLE_OPENED_AT = "2025-04-01T14:00:00Z"


def example_bars(instrument: str) -> "pd.DataFrame":
    """Made-up bars that a served model reads, with a surge in every 40: an example of their form.

    They are never the user's own, which would be stored with the model. Times are text, as JSON has no
    other form.

    Args:
        instrument: Name of the instrument whose ticks the prices are on.
    """
    import numpy as np
    import pandas as pd

    from moola_pipeline.bars.instruments import instrument_named

    rng = np.random.default_rng(0)
    steps = rng.normal(0, 6, EXAMPLE_BARS)
    for number, first in enumerate(range(20, EXAMPLE_BARS, 40)):
        steps[first : first + 3] += 40 * (-1) ** number
    tick_points = instrument_named(instrument).tick_points
    close = 80_000 + np.cumsum(steps).round()  # in ticks, as all prices here
    open_ = np.append(80_000, close[:-1])
    wicks = rng.integers(0, 8, (2, EXAMPLE_BARS))
    prices = {
        "open": open_,
        "high": np.maximum(open_, close) + wicks[0],
        "low": np.minimum(open_, close) - wicks[1],
        "close": close,
    }
    times = pd.date_range(EXAMPLE_OPENED_AT, periods=EXAMPLE_BARS, freq="min")
    return pd.DataFrame(
        {
            "timestamp": times.strftime("%Y-%m-%dT%H:%M:%SZ"),
            **{name: (value * tick_points).round(2) for name, value in prices.items()},
            "volume": rng.integers(100, 1000, EXAMPLE_BARS),
        }
    )
