"""Compile ahead what the first run would: every compiled function, by calling it on a few bars.

Run by `make install`, beside the imports whose bytecode it makes.
"""

from datetime import date

import numpy as np

from moola_pipeline.bars.simulated import SimulationSettings, simulate
from moola_pipeline.bars.table import build_table
from moola_pipeline.features.zigzag import causal_zigzag
from moola_pipeline.models.live import OnsetCandidates, raised_alarms
from moola_pipeline.models.span_proposer import SpanProposer, propose
from moola_pipeline.training.proposer_fit import fit_proposer
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import MAX_WAIT

MARKET = SimulationSettings(first_session=date(2024, 9, 3), last_session=date(2024, 9, 4), label_periods=())
TICK_POINTS = 0.25
BAR0 = np.array([200, 400])
"""Rows of bar 0 of two windows."""
ANY_SPAN = SpanProposer(min_net_atr=1, min_efficiency=0, min_length=1, max_length=10, ordering="net")


def compile_ahead() -> None:
    """Simulate two sessions, compute features and swings, fit a proposer and raise an alarm."""
    market = MarketArrays.from_table(build_table(simulate(MARKET).bars, None), TICK_POINTS)
    _, high, low, close = market.prices.T
    causal_zigzag(high, low, close, market.atr)
    measures = market.measure_spans(BAR0)
    fit_proposer(measures, propose(measures, ANY_SPAN))
    zero, row = np.zeros(1), np.zeros(1, np.int64)
    candidate = OnsetCandidates(row, row, row.astype(np.int8), row, zero, zero)
    raised_alarms(candidate, row, zero, 0.0, MAX_WAIT)


if __name__ == "__main__":
    compile_ahead()
