"""The annotator of a simulated market, and the one place where such a market is published."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from moola_pipeline.bars.manifest import add_bars
from moola_pipeline.bars.rolls import register_rolls
from moola_pipeline.bars.sessions import session_of
from moola_pipeline.bars.simulated import (
    GENERATOR_VERSION,
    LabelPeriod,
    SimulatedMarket,
    SimulationSettings,
    simulate,
)
from moola_pipeline.bars.store import BarStore, read_manifest
from moola_pipeline.bars.vendor import VendorOptions
from moola_pipeline.errors import ChecksumMismatch
from moola_pipeline.labels.schema import FIRST_PASS, LABEL_COLUMNS, LABEL_DTYPES, NONE, SECOND_PASS, TYPES
from moola_pipeline.publish import file_sha256, locked, publish_json, publishing
from moola_pipeline.windows.frame import BARS_BEFORE, CORE_FIRST, CORE_LAST, WINDOW_BARS

DIGESTS = "files"
"""Under this name the record of a market holds the SHA256 of its labels and rolls."""
MARGIN_BARS = 240
"""Bars left alone at both ends of a period: a session opens on the evening before its date, and
windows of different periods must lie well apart."""
_SAME_FOR_ALL = ("A", "simulated", "simulated")
"""Grade, batch and annotator of every row."""


def draw_labels(market: SimulatedMarket, settings: SimulationSettings) -> pd.DataFrame:
    """Look at windows of each period and mark the expansions that start in their bars 30-74.

    A window with expansions is laid around one drawn at random, whose onset falls evenly on
    bars 30-74: its position says nothing. Windows do not overlap. In periods of two passes the
    annotator looks at the same windows once more, and slips and misses elsewhere.

    Returns:
        LABEL_COLUMNS: one row per marked expansion or empty window, the first pass in time
        order, then the second.

    Raises:
        ValueError: If a period has no room for its windows.
    """
    rng = np.random.default_rng([settings.seed, 1])
    session = session_of(pd.DatetimeIndex(market.bars["timestamp"])).to_numpy("datetime64[D]")
    fits = _whole_windows(market.segment_start)
    onsets = market.truth["onset"].to_numpy()
    bar0, again = [], []
    for period in settings.label_periods:
        first = int(np.searchsorted(session, np.datetime64(period.first_session)))
        last = int(np.searchsorted(session, np.datetime64(period.last_session), side="right")) - 1
        free = np.zeros_like(fits)
        inside = slice(first + MARGIN_BARS, max(last + 2 - WINDOW_BARS - MARGIN_BARS, 0))
        free[inside] = fits[inside]
        n_empty = round(period.windows * _empty_share(period, settings))
        chosen = _windows_around(onsets, free, period.windows - n_empty, rng)
        chosen += _windows_without(onsets, free, n_empty, rng)
        if len(chosen) < period.windows:
            raise ValueError(
                f"{period.windows} windows must fit into {period.first_session}..{period.last_session}, "
                f"got room for {len(chosen)}"
            )
        bar0 += sorted(chosen)
        again += sorted(chosen) if period.passes > 1 else []
    looks = (
        (bar0, FIRST_PASS, rng),
        (again, SECOND_PASS, np.random.default_rng([settings.seed, SECOND_PASS])),
    )
    rows = [row for windows, number, hand in looks for row in _look(market, windows, number, settings, hand)]
    return pd.DataFrame(rows, columns=list(LABEL_COLUMNS)).astype(LABEL_DTYPES)


def _look(
    market: SimulatedMarket,
    windows: list[int],
    pass_number: int,
    settings: SimulationSettings,
    rng: np.random.Generator,
) -> Iterator[tuple]:
    """Rows of one pass over the windows that begin at these bars."""
    events = list(market.truth[["onset", "offset", "type"]].itertuples(index=False, name=None))
    onsets = market.truth["onset"].to_numpy()
    for start, opened_at in zip(windows, market.bars["timestamp"].iloc[windows], strict=True):
        seen = [events[number] for number in _in_core(onsets, start)]
        for mark in _mark(start, seen, settings, rng) or [(NONE, None, None)]:
            yield (f"sim-{opened_at:%Y%m%dT%H%M}", opened_at, *mark, *_SAME_FOR_ALL, pass_number)


def _empty_share(period: LabelPeriod, settings: SimulationSettings) -> float:
    """Share of a period's windows without an expansion: the thinner they lie after a break, the larger."""
    if settings.break_session is None or period.first_session < settings.break_session:
        return settings.empty_share
    thinner = (1 - settings.decoy_share_after_break) / (1 - settings.decoy_share)
    return 1 - (1 - settings.empty_share) * min(thinner, 1.0)


def ensure_simulated(store: BarStore, settings: SimulationSettings) -> None:
    """Make the market of these settings and its labels in a store, unless it is there already.

    The store then holds raw/bars.parquet, rolls.csv (where a contract rolls), truth.parquet,
    labels.csv, settings.json and, written last, manifest.json. Two processes that ask at once get one market.

    Raises:
        ValueError: If the store is not for simulated bars, or the settings cannot be met.
        ChecksumMismatch: If the labels or the rolls are no longer those that were made.
    """
    if not store.simulated:
        raise ValueError(f"a simulated market must lie apart from registered bars, got {store.root.name}")
    settings_file = _settings_file(store)
    with locked(settings_file):
        if is_simulated(store, settings):
            _require_as_made(store, _read_record(settings_file)[DIGESTS])
            return
        store.manifest.unlink(missing_ok=True)
        market = simulate(settings)
        labels = draw_labels(market, settings)
        bars_file = store.raw / "bars.parquet"
        _publish_parquet(bars_file, market.bars)
        _publish_parquet(store.root / "truth.parquet", market.truth)
        with publishing(labels_file(store)) as temporary:
            labels.to_csv(temporary, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
        store.rolls.unlink(missing_ok=True)
        if len(market.rolls):
            register_rolls(store, market.rolls)
        beside = [path for path in (labels_file(store), store.rolls) if path.exists()]
        digests = {path.name: file_sha256(path) for path in beside}
        publish_json(settings_file, {**_recorded(settings), DIGESTS: digests})
        add_bars(store, bars_file, VendorOptions(instrument=settings.instrument))


def is_simulated(store: BarStore, settings: SimulationSettings) -> bool:
    """Whether the market of these settings has been made in a store; it may have been changed since."""
    made = _read_record(_settings_file(store))
    digests = made.pop(DIGESTS, None)
    return made == _recorded(settings) and digests is not None and bool(read_manifest(store).files)


def _settings_file(store: BarStore) -> Path:
    return store.root / "settings.json"


def _recorded(settings: SimulationSettings) -> dict[str, Any]:
    return {"generator_version": GENERATOR_VERSION, **settings.model_dump(mode="json")}


def _require_as_made(store: BarStore, digests: dict[str, str]) -> None:
    for name, recorded in digests.items():
        path = store.root / name
        actual = file_sha256(path) if path.exists() else "that of no file"
        if actual != recorded:
            raise ChecksumMismatch(
                f"{name}: SHA256 is {actual}, {store.root.name}/settings.json records {recorded}. "
                + store.remedy("")
            )


def labels_file(store: BarStore) -> Path:
    """Where the labels of a simulated market lie."""
    return store.root / "labels.csv"


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

    Only expansions that any of these bars could hold are drawn, else those near a segment's
    end would prefer some positions.
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
    """Windows in whose bars 30-74 no expansion starts."""
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


def _mark(
    bar0: int, seen: list[tuple[int, int, str]], settings: SimulationSettings, rng: np.random.Generator
) -> list[tuple[str, int, int]]:
    """Label, first and last bar in the window of each (onset, offset, type) that is not missed."""
    marks = []
    for onset, offset, label in seen:
        if rng.random() < settings.miss_rate:
            continue
        start = min(max(onset - bar0 + _slip(settings, rng), CORE_FIRST), CORE_LAST)
        end = min(max(offset - bar0 + _slip(settings, rng), start + 1), WINDOW_BARS - 1)
        slipped = rng.random() < settings.type_slip_rate
        marks.append((TYPES[1 - TYPES.index(label)] if slipped else label, start, end))
    return marks


def _slip(settings: SimulationSettings, rng: np.random.Generator) -> int:
    return int(rng.choice((-1, 1))) if rng.random() < settings.slip_rate else 0


def _read_record(path: Path) -> dict[str, Any]:
    """What was recorded of the market; nothing where no record can be read."""
    try:
        record = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _publish_parquet(path: Path, frame: pd.DataFrame) -> None:
    with publishing(path) as temporary:
        frame.to_parquet(temporary, index=False)
