"""The served model: raw bars in, expansions out. MLflow runs this file to load it."""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


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
            params: `timezone`, the IANA zone of naive times; `rolls`, CSV text (time, old, new) that
                replaces the version's own rolls, or `none`; `mode`, hindsight or live.

        Raises:
            BadInput: If the mode is unknown, or the bars are refused: see `table_from_frame`.
        """
        from moola_pipeline.bars.instruments import INSTRUMENTS
        from moola_pipeline.inference.bar_tables import table_from_frame
        from moola_pipeline.inference.live import predictor_of
        from moola_pipeline.tracking.served_model import ROLLS, active_rolls

        instrument = INSTRUMENTS[self.facts["instrument"]]
        options = params or {}
        rolls = active_rolls(self.facts, options.get(ROLLS) or "")
        table = table_from_frame(model_input, instrument.name, options.get("timezone") or None, rolls)
        predict_expansions = predictor_of(options.get("mode") or "")
        return predict_expansions(
            self.model, table, instrument.tick_points, self.facts["model_version"]
        ).expansions


set_model(ServedModel())
