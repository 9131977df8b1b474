"""The served model: raw bars in, expansions out. MLflow runs this file to load it."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from moola_pipeline.errors import BadInput


class RefusedBars(BadInput, MlflowException):
    """Bars that a served model refuses: over HTTP status 400 with the one line of the refusal."""

    def __init__(self, text: str) -> None:
        MlflowException.__init__(self, text, INVALID_PARAMETER_VALUE)
        self.refusal = text

    def serialize_as_json(self) -> str:
        """The body of the HTTP answer; MLflow puts all rows of the request into `message`."""
        return json.dumps({"error_code": self.error_code, "message": self.refusal})


class ServedModel(PythonModel):
    """Finds and types the expansions in a frame of raw one-minute bars."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read weights and config; nothing is unpickled."""
        from moola_pipeline.models.expansion_model import load_expansion_model

        self.model, self.facts = load_expansion_model(Path(context.artifacts["expansion_model"]))

    def predict(  # pyright: ignore[reportIncompatibleMethodOverride] - MLflow annotates None
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Expansions in the bars, one row each; see `inference.hindsight.EXPANSION_COLUMNS`.

        Args:
            context: MLflow's context.
            model_input: Time as a column or the index; open, high, low, close; volume optional.
            params: `timezone`, `stamp`, `instrument`, `columns` and `format`, the options of
                `moola predict`; `rolls`, CSV text (time, old, new) that replaces the version's own
                rolls, or `none`; `mode`, hindsight or live.

        Raises:
            RefusedBars: If the mode is unknown, or the bars are refused: see `table_from_frame`.
        """
        from moola_pipeline.bars.instruments import INSTRUMENTS
        from moola_pipeline.inference.bar_tables import table_from_frame
        from moola_pipeline.inference.live import predictor_of
        from moola_pipeline.tracking.served_model import ROLLS, active_rolls, bar_options

        given = {name: value for name, value in (params or {}).items() if value}
        try:
            options = bar_options(given)
            instrument = INSTRUMENTS[options.instrument or self.facts["instrument"]]
            rolls = active_rolls(self.facts, given.get(ROLLS, ""))
            table = table_from_frame(model_input, options, instrument.name, rolls)
            predict_expansions = predictor_of(given.get("mode", ""))
        except BadInput as refusal:
            raise RefusedBars(str(refusal)) from None
        version = self.facts["model_version"]
        return predict_expansions(self.model, table, instrument.tick_points, version).expansions


set_model(ServedModel())
