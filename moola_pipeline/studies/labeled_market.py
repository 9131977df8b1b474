"""A short simulated market whose annotator has labeled every window: the ground of the label studies."""

from dataclasses import dataclass
from datetime import date

import numpy as np

from moola_pipeline.bars.instruments import INSTRUMENTS
from moola_pipeline.bars.simulated import LabelPeriod, SimulationSettings, simulate
from moola_pipeline.bars.table import build_table
from moola_pipeline.labels.placement import place_labels
from moola_pipeline.labels.simulated_annotator import label_windows
from moola_pipeline.labels.spans import LabeledWindows, labeled_windows
from moola_pipeline.windows.dense import pretraining_windows
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline.windows.window_geometry import WINDOW_BARS

FIRST_SESSION, LAST_POOL_SESSION, LAST_SESSION = date(2024, 1, 2), date(2024, 4, 30), date(2024, 6, 28)
_NO_SLIPS = {"miss_rate": 0.0, "slip_rate": 0.0, "type_slip_rate": 0.0}


@dataclass(frozen=True)
class LabeledMarket:
    """A simulated market with a label for every window of a tiling.

    Attributes:
        market: The bars and their features.
        pool: Windows of the first four months: those that may be labeled.
        test: Windows of the two months after them, for scores.
    """

    market: MarketArrays
    pool: LabeledWindows
    test: LabeledWindows


def make_labeled_market(seed: int, with_slips: bool = True) -> LabeledMarket:
    """Simulate six months and let the annotator label windows 105 bars apart.

    Args:
        seed: Of bars and annotator.
        with_slips: False: the annotator misses nothing and makes no slips.
    """
    settings = SimulationSettings(
        seed=seed,
        first_session=FIRST_SESSION,
        last_session=LAST_SESSION,
        label_periods=(LabelPeriod(first_session=FIRST_SESSION, last_session=LAST_SESSION, windows=1),),
    ).model_copy(update={} if with_slips else _NO_SLIPS)
    simulated = simulate(settings)
    table = build_table(simulated.bars, None)
    segment = np.cumsum(simulated.segment_start)
    bar0 = pretraining_windows(segment, len(segment), WINDOW_BARS)
    labels = label_windows(simulated, settings, bar0, np.random.default_rng([seed, 7]))
    frame = place_labels(labels, table).frame
    in_pool = frame["session"] <= np.datetime64(LAST_POOL_SESSION)
    split = frame.assign(split=np.where(in_pool, "train", "test"))
    market = MarketArrays.from_table(table, INSTRUMENTS[settings.instrument].tick_points)
    return LabeledMarket(market, labeled_windows(split, "train"), labeled_windows(split, "test"))
