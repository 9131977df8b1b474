"""Bars and labels for the commands that choose labels, and how they show intervals."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from moola_pipeline.errors import BadInput
from moola_pipeline.storage.home import Home

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from moola_pipeline.instrument_data import InstrumentData
    from moola_pipeline.labels.spans import LabeledWindows
    from moola_pipeline.metrics.bootstrap import Interval
    from moola_pipeline.windows.market_arrays import MarketArrays

_Result = TypeVar("_Result")


class ChoiceData(NamedTuple):
    """Bars and labels of the chosen market.

    Attributes:
        frame: The placed labels with their splits.
        labeled_bar0: Rows of bar 0 of every window with a label, those of grade D included.
        train: Labeled windows of the training period.
        end_row: First row behind the training period.
    """

    instrument: "InstrumentData"
    table: "pd.DataFrame"
    market: "MarketArrays"
    frame: "pd.DataFrame"
    labeled_bar0: "np.ndarray"
    train: "LabeledWindows"
    end_row: int

    def opened(self, row: int) -> "pd.Timestamp":
        """UTC open of a row of the bar table."""
        return self.table["timestamp"].iloc[row]

    @property
    def heading(self) -> list[str]:
        """A first line for simulated markets."""
        return ["SIMULATED market", ""] if self.instrument.simulated else []


def load_choice_data(home: Home, profile: str, market: str, scenario: str | None) -> ChoiceData:
    """Bars and labels of the market that `moola run` would use."""
    import numpy as np
    import pandas as pd

    from moola_pipeline.instrument_data import choose_instrument_data, choose_profile
    from moola_pipeline.label_choice.trees import MIN_EACH_TYPE, can_learn, type_counts
    from moola_pipeline.labels.placement import split_labels
    from moola_pipeline.labels.spans import labeled_windows
    from moola_pipeline.labels.splits import resolve_dates, training_rows_end
    from moola_pipeline.windows.market_arrays import MarketArrays

    names: Any = (market, profile, scenario or "none")
    chosen = choose_profile(home, names[1], names[0], names[2])
    instrument = choose_instrument_data(home, names[0], chosen, names[2])
    table = instrument.bars()
    labels = instrument.labels()
    frame = split_labels(labels, table, instrument.splits).frame
    dates = resolve_dates(instrument.splits, frame)
    train = labeled_windows(frame, "train")
    if not can_learn(train):
        first, second = type_counts(train)
        raise BadInput(
            f"The training period, to {dates.train_end}, must hold at least {MIN_EACH_TYPE} labeled "
            f"expansions of each type, got {first} and {second}. "
            "Label more windows, then run: moola labels add FILE"
        )
    arrays = MarketArrays.from_table(table, instrument.instrument.tick_points)
    rows = arrays.times.get_indexer(pd.DatetimeIndex(labels["window_start"]))
    end_row = training_rows_end(table, dates)
    return ChoiceData(instrument, table, arrays, frame, np.unique(rows[rows >= 0]), train, end_row)


def from_parts(compute: "Callable[[], _Result]") -> "_Result":
    """A result of trees fitted on parts of the labels.

    Raises:
        BadInput: If the labels are too few for the parts.
    """
    try:
        return compute()
    except ValueError as error:
        raise BadInput(
            f"The training labels are too few to be divided: {error}. "
            "Label more windows, then run: moola labels add FILE"
        ) from error


def shown_interval(value: "Interval", digits: int = 2, signed: bool = False) -> str:
    """An estimate with its interval."""
    sign = "+" if signed else ""
    estimate, low, high = (f"{number:{sign}.{digits}f}" for number in (value.estimate, value.low, value.high))
    return f"{estimate} [{low}, {high}]"
