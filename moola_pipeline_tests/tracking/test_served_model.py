"""The example of a served model: bars of its instrument, readable for every instrument."""

import numpy as np
import pytest

from moola_pipeline.bars.instruments import INSTRUMENTS
from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.bars.vendor_options import VendorOptions
from moola_pipeline.inference.bar_tables import table_from_frame
from moola_pipeline.tracking.served_model import EXAMPLE_BARS, example_bars


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_the_example_is_read_as_bars_of_its_instrument(instrument: str):
    example = example_bars(instrument)
    table = table_from_frame(example, VendorOptions(), instrument)
    assert len(table) == EXAMPLE_BARS
    ticks = table[list(PRICE_COLUMNS)].to_numpy() / INSTRUMENTS[instrument].tick_points
    np.testing.assert_allclose(ticks, ticks.round(), atol=1e-6)


def test_the_example_is_the_same_each_time():
    assert example_bars("NQ").equals(example_bars("NQ"))
