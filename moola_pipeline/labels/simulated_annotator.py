"""The annotator of a simulated market: marks the expansions that are visible in windows."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import PRICE_COLUMNS
from moola_pipeline.bars.sessions import session_of
from moola_pipeline.bars.simulated import LabelPeriod, SimulatedMarket, SimulationSettings
from moola_pipeline.labels.other_eyes import surges_seen
from moola_pipeline.labels.schema import (
    COMPLETE,
    DRAWN,
    FIRST_DEFINITION,
    FIRST_PASS,
    LABEL_COLUMNS,
    LABEL_DTYPES,
    NONE,
    SECOND_PASS,
    TYPES,
)
from moola_pipeline.labels.surges import Setups, Surges, setups_before, visible_surges
from moola_pipeline.windows.window_geometry import (
    BARS_BEFORE,
    CORE_FIRST,
    CORE_LAST,
    OFFSET_COLLAR_BARS,
    OFFSET_COLLAR_SHARE,
    ONSET_COLLAR_BARS,
    WINDOW_BARS,
)

MARGIN_BARS = 240
"""Bars left free at both ends of a period: a session opens on the evening before its date, and
windows of different periods must lie well apart."""
NARROW_ATR = 2.4
"""A consolidation is visible where 15 closes span at most this."""
MIN_LEG_ATR, GIVEN_BACK, BARS_SINCE_PEAK = 4.0, (0.25, 0.65), (4, 20)
"""A retracement is visible where price gave back this share of a leg of at least this size, this many
bars ago."""
_SAME_FOR_ALL = ("A", "simulated", "simulated")
"""Grade, batch and annotator of every row."""
_MIN_SHARE = 0.5
"""Surges below this share of the required clarity are not considered."""
_UNKNOWN = -1


class VisibleMarket(NamedTuple):
    """The surges that an annotator can see in a market, (n_surges,) each.

    Attributes:
        surges: Position and clarity.
        setups: The bars before.
        planted: Class number of the planted expansion, -1 for a look-alike; that which another eye sees.
        luck: One uniform draw from 0..1 per surge, the same in every pass.
    """

    surges: Surges
    setups: Setups
    planted: np.ndarray
    luck: np.ndarray


def draw_labels(market: SimulatedMarket, settings: SimulationSettings) -> pd.DataFrame:
    """Draw windows in each period and mark the visible expansions that start in their bars 30-74.

    The annotator marks a surge that stands out from the bars and follows a consolidation or a
    retracement. It knows the type of a visible planted surge; it judges a look-alike by the bars
    before. It does not mark a planted surge that noise hides. First and last bar are those of the
    visible surge. Each pass draws its own leniency, misses and slips.

    A window with expansions is placed around a random visible planted surge, whose onset is uniform
    over bars 30-74, so that its position carries no information. A period with too few of these
    uses look-alikes too. Windows do not overlap.

    Returns:
        LABEL_COLUMNS: one row per marked expansion or empty window, the first pass in time
        order, then the second.

    Raises:
        ValueError: If a period has no room for its windows.
    """
    rng = np.random.default_rng([settings.seed, 1])
    view = visible_market(market, settings)
    marked = _marked_without_errors(view, market, settings)
    planted = view.surges.onset[marked & (view.planted != _UNKNOWN)]
    onsets = view.surges.onset[marked]
    session = session_of(pd.DatetimeIndex(market.bars["timestamp"])).to_numpy("datetime64[D]")
    fits = _whole_windows(market.segment_start)
    bar0, second_bar0 = [], []
    for period in settings.label_periods:
        first = int(np.searchsorted(session, np.datetime64(period.first_session)))
        last = int(np.searchsorted(session, np.datetime64(period.last_session), side="right")) - 1
        free = np.zeros_like(fits)
        inside = slice(first + MARGIN_BARS, max(last + 2 - WINDOW_BARS - MARGIN_BARS, 0))
        free[inside] = fits[inside]
        n_empty = round(period.windows * _empty_share(period, settings))
        chosen = _windows_around(planted, free, period.windows - n_empty, rng)
        if len(chosen) + n_empty < period.windows:  # too few planted surges in a short period
            chosen += _windows_around(onsets, free, period.windows - n_empty - len(chosen), rng)
        chosen += _windows_without(onsets, free, n_empty, rng)
        if len(chosen) < period.windows:
            raise ValueError(
                f"{period.windows} windows must fit into {period.first_session}..{period.last_session}, "
                f"got room for {len(chosen)}"
            )
        bar0 += sorted(chosen)
        second_bar0 += sorted(chosen) if period.passes > 1 else []
    passes = (
        (bar0, FIRST_PASS, rng),
        (second_bar0, SECOND_PASS, np.random.default_rng([settings.seed, SECOND_PASS])),
    )
    rows = [
        row
        for windows, number, pass_rng in passes
        for row in _rows(market, view, windows, number, settings, pass_rng)
    ]
    return pd.DataFrame(rows, columns=list(LABEL_COLUMNS)).astype(LABEL_DTYPES)


def label_windows(
    market: SimulatedMarket, settings: SimulationSettings, bar0: np.ndarray, rng: np.random.Generator
) -> pd.DataFrame:
    """Mark the visible expansions that start in bars 30-74 of given windows, as in `draw_labels`.

    Args:
        market, settings: The market and how its annotator labels.
        bar0: (n_windows,) rows of bar 0; each window lies inside one segment.
        rng: Source of leniency, misses and slips.

    Returns:
        LABEL_COLUMNS: one row per marked expansion or empty window, in the order of `bar0`.
    """
    view = visible_market(market, settings)
    rows = _rows(market, view, np.asarray(bar0).tolist(), FIRST_PASS, settings, rng)
    return pd.DataFrame(list(rows), columns=list(LABEL_COLUMNS)).astype(LABEL_DTYPES)


def visible_market(market: SimulatedMarket, settings: SimulationSettings) -> VisibleMarket:
    """All surges of a market that an annotator can see, and which of them were planted."""
    prices = market.bars[list(PRICE_COLUMNS)].to_numpy()
    segment = np.cumsum(market.segment_start)
    luck = np.random.default_rng([settings.seed, 3])
    if settings.eye != "surges":
        volume = market.bars["volume"].to_numpy(np.float64, na_value=0)
        surges, types = surges_seen(settings.eye, prices, volume, segment)
        surges = surges._replace(clarity=surges.clarity * settings.clear_from)
        return VisibleMarket(surges, setups_before(prices, segment, surges), types, luck.random(len(types)))
    surges = visible_surges(prices, segment, _MIN_SHARE * settings.clear_from)
    setups = setups_before(prices, segment, surges)
    return VisibleMarket(surges, setups, _planted(surges, market.truth), luck.random(len(setups.leg_atr)))


def _planted(surges: Surges, truth: pd.DataFrame) -> np.ndarray:
    """Class number of the planted expansion at each surge, -1 where none is within the collars."""
    kinds = np.full(len(surges.onset), _UNKNOWN)
    onset, offset = truth["onset"].to_numpy(), truth["offset"].to_numpy()
    reach = np.maximum(OFFSET_COLLAR_BARS, OFFSET_COLLAR_SHARE * (offset - onset + 1))
    number = np.array([TYPES.index(name) for name in truth["type"]], np.int64)
    open_still = np.ones(len(onset), bool)
    for apart in sorted(range(-ONSET_COLLAR_BARS, ONSET_COLLAR_BARS + 1), key=abs):
        place = np.searchsorted(surges.onset, onset + apart)
        there = np.minimum(place, len(surges.onset) - 1)
        same = (
            open_still
            & (place < len(surges.onset))
            & (surges.onset[there] == onset + apart)
            & (np.abs(surges.offset[there] - offset) <= reach)
            & (surges.direction[there] == truth["direction"].to_numpy())
            & (kinds[there] == _UNKNOWN)
        )
        kinds[there[same]] = number[same]
        open_still &= ~same
    return kinds


def _marked_without_errors(
    view: VisibleMarket, market: SimulatedMarket, settings: SimulationSettings
) -> np.ndarray:
    """Whether an annotator without leniency or errors marks each surge: (n_surges,) bool."""
    even = np.ones((3, len(view.luck)))
    return _classes(np.arange(len(view.luck)), even, view, market, settings) != _UNKNOWN


def _classes(
    chosen: np.ndarray,
    leniency: np.ndarray,
    view: VisibleMarket,
    market: SimulatedMarket,
    settings: SimulationSettings,
) -> np.ndarray:
    """Class number that one pass gives to each chosen surge, -1 where it marks none.

    Args:
        chosen: (n,) numbers of surges.
        leniency: (3, n) factors of clarity, range and leg in this pass.
        view, market, settings: The market and its visible surges.
    """
    setups = Setups(*(measure[chosen] for measure in view.setups))
    clear = view.surges.clarity[chosen] * leniency[0] >= settings.clear_from
    narrow = setups.range_atr <= NARROW_ATR * leniency[1]
    given, since = setups.retraced_share, setups.bars_since
    retraced = (
        (setups.leg_atr * leniency[2] >= MIN_LEG_ATR)
        & (given >= GIVEN_BACK[0])
        & (given <= GIVEN_BACK[1])
        & (since >= BARS_SINCE_PEAK[0])
        & (since <= BARS_SINCE_PEAK[1])
    )
    luck = view.luck[chosen]
    visible = np.where(retraced, 1, np.where(narrow, 0, _UNKNOWN))
    if settings.last_retracement_share is not None:
        share = np.interp(
            view.surges.onset[chosen],
            [0, len(market.bars)],
            [settings.retracement_share, settings.last_retracement_share],
        )
        rarer = _odds(share) / _odds(settings.retracement_share)
        visible[(visible == 1) & (luck >= rarer)] = _UNKNOWN
    if not settings.type_shown:
        visible = np.where(visible == _UNKNOWN, _UNKNOWN, luck < settings.retracement_share)
    kinds = np.where(view.planted[chosen] == _UNKNOWN, visible, view.planted[chosen])
    return np.where(clear, kinds, _UNKNOWN)


def _odds(share: np.ndarray | float) -> np.ndarray | float:
    return share / (1 - share)


def _rows(
    market: SimulatedMarket,
    view: VisibleMarket,
    windows: list[int],
    pass_number: int,
    settings: SimulationSettings,
    rng: np.random.Generator,
) -> Iterator[tuple]:
    """Rows of one pass over the windows that begin at these bars."""
    for start, opened_at in zip(windows, market.bars["timestamp"].iloc[windows], strict=True):
        chosen = _in_core(view.surges.onset, start)
        leniency = np.exp(settings.softness * rng.standard_normal((3, len(chosen))))
        kinds = _classes(chosen, leniency, view, market, settings)
        marks = _mark(start, chosen[kinds != _UNKNOWN], kinds[kinds != _UNKNOWN], view, settings, rng)
        for mark in marks or [(NONE, None, None)]:
            yield (
                f"sim-{opened_at:%Y%m%dT%H%M}",
                opened_at,
                *mark,
                *_SAME_FOR_ALL,
                pass_number,
                FIRST_DEFINITION,
                DRAWN[1],
                COMPLETE,
            )


def _mark(
    bar0: int,
    chosen: np.ndarray,
    kinds: np.ndarray,
    view: VisibleMarket,
    settings: SimulationSettings,
    rng: np.random.Generator,
) -> list[tuple[str, int, int]]:
    """Label, first and last bar in the window of each surge that is not missed; slips make none overlap."""
    marks: list[tuple[str, int, int]] = []
    for number, kind in zip(chosen.tolist(), kinds.tolist(), strict=True):
        if rng.random() < settings.miss_rate:
            continue
        onset, offset = int(view.surges.onset[number]) - bar0, int(view.surges.offset[number]) - bar0
        earliest = max(marks[-1][2] + 1 if marks else 0, CORE_FIRST)
        start = min(max(onset + _slip(settings, rng), earliest), CORE_LAST)
        end = min(max(offset + _slip(settings, rng), start + 1), WINDOW_BARS - 1)
        slipped = rng.random() < settings.type_slip_rate
        if start >= earliest:
            marks.append((TYPES[1 - kind if slipped else kind], start, end))
    return marks


def _slip(settings: SimulationSettings, rng: np.random.Generator) -> int:
    return int(rng.choice((-1, 1))) if rng.random() < settings.slip_rate else 0


def _empty_share(period: LabelPeriod, settings: SimulationSettings) -> float:
    """Share of a period's windows without a marked expansion: larger where expansions are rarer."""
    if settings.break_session is None or period.first_session < settings.break_session:
        return settings.empty_share
    thinner = (1 - settings.decoy_share_after_break) / (1 - settings.decoy_share)
    return 1 - (1 - settings.empty_share) * min(thinner, 1.0)


def _whole_windows(segment_start: np.ndarray) -> np.ndarray:
    """True where a window may begin: enough bars before it, and its end in the same segment."""
    rows = np.arange(len(segment_start))
    starts = np.flatnonzero(segment_start)
    number = np.cumsum(segment_start) - 1
    first = starts[number]
    after = np.append(starts[1:], len(rows))[number]
    return (rows >= first + BARS_BEFORE) & (rows + WINDOW_BARS <= after)


def _windows_around(
    onsets: np.ndarray, free: np.ndarray, n_windows: int, rng: np.random.Generator
) -> list[int]:
    """Windows that each have the onset of a randomly drawn expansion in bars 30-74.

    Only expansions that fit on each of these bars are drawn; others, near a segment's end, would
    favor some positions.
    """
    possible = np.pad(np.cumsum(free), (1, 0))
    earliest, latest = onsets - CORE_LAST, onsets - CORE_FIRST
    inside = (earliest >= 0) & (latest < len(free))
    earliest, latest, onsets = earliest[inside], latest[inside], onsets[inside]
    placeable = possible[latest + 1] - possible[earliest] == CORE_LAST - CORE_FIRST + 1
    chosen = []
    for onset in rng.permutation(onsets[placeable]):
        if len(chosen) == n_windows:
            break
        _take(int(onset - rng.integers(CORE_FIRST, CORE_LAST + 1)), free, chosen)
    return chosen


def _windows_without(
    onsets: np.ndarray, free: np.ndarray, n_windows: int, rng: np.random.Generator
) -> list[int]:
    """Windows without any of these onsets in bars 30-74."""
    chosen = []
    for bar0 in rng.permutation(np.flatnonzero(free)):
        if len(chosen) == n_windows:
            break
        if not len(_in_core(onsets, int(bar0))):
            _take(int(bar0), free, chosen)
    return chosen


def _take(bar0: int, free: np.ndarray, chosen: list[int]) -> None:
    if free[bar0]:
        chosen.append(bar0)
        free[max(bar0 - WINDOW_BARS + 1, 0) : bar0 + WINDOW_BARS] = False


def _in_core(onsets: np.ndarray, bar0: int) -> np.ndarray:
    """Numbers of the expansions that start in bars 30-74 of a window."""
    first, after = np.searchsorted(onsets, [bar0 + CORE_FIRST, bar0 + CORE_LAST + 1])
    return np.arange(first, after)
