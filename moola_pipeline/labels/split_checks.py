"""Checks of splits: what each holds, leaks between them, and the nearest dates that would be sound."""

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import combinations

import numpy as np
import pandas as pd

from moola_pipeline.bars.schema import nanoseconds
from moola_pipeline.labels.schema import LABELS, TYPES, is_complete
from moola_pipeline.labels.splits import (
    MIN_EXPANSIONS,
    SPLITS,
    SplitSettings,
    UnsoundSplit,
    in_complete_core,
    is_drawn,
    labels_per_month,
    months_of,
    resolve_dates,
    rows_before_embargo,
)
from moola_pipeline.windows.window_geometry import CONTEXT_BARS, WINDOW_BARS


def check_splits(frame: pd.DataFrame, bars: pd.DataFrame, settings: SplitSettings) -> None:
    """Check that each split holds expansions of both types in bars 30-74 of complete windows.

    Raises:
        UnsoundSplit: If one does not; names the split, the labels per month and the command with
            the nearest dates that work.
    """
    settings = resolve_dates(settings, frame)
    for name in SPLITS[:2] if settings.rule == "provisional" else SPLITS:
        part = frame.loc[(frame["split"] == name) & in_complete_core(frame)]
        counts = [list(part["label"]).count(kind) for kind in TYPES]
        if not all(counts):
            held = " and ".join(f"{n} {kind}" for n, kind in zip(counts, TYPES, strict=True))
            raise UnsoundSplit(
                f"The {name} split ({_period(settings, name)}) must hold expansions of both types, "
                f"but holds {held}. {labels_per_month(frame)} {_incomplete(frame)}"
                f"{_of_first_model(frame, settings)}{_advice(frame, bars, settings)}"
            )


def nearest_dates(
    frame: pd.DataFrame, bars: pd.DataFrame, settings: SplitSettings
) -> tuple[date, date, date] | None:
    """The dates nearest to the chosen ones that give every split both types, purging included.

    Month ends are tried first, then labeled days.

    Args:
        frame: The frame of `place_labels`.
        bars: BAR_COLUMNS.
        settings: With fixed dates.

    Returns:
        The last days of training, validation and test; None if no dates work.
    """
    core, drawn = frame.loc[in_complete_core(frame)], is_drawn(frame)[in_complete_core(frame)]
    days = core["window_start"].dt.tz_localize(None).dt.normalize()
    months = days.dt.to_period("M").drop_duplicates().sort_values().dt.end_time.dt.normalize()
    for cuts in (months, days.drop_duplicates().sort_values()):
        ends = [cut.date() for cut in cuts]
        nearest = _nearest(core.assign(drawn=drawn), days.to_numpy(), bars, ends, settings)
        if nearest is not None:
            return nearest
    return None


def find_leakage(frame: pd.DataFrame, embargo_bars: int = WINDOW_BARS) -> list[str]:
    """Leaks between splits, one line each; empty if there are none.

    Args:
        frame: The frame of `assign_splits`, or any with window_id, bar0 and split.
        embargo_bars: Bars that must lie between the bars two splits may read.
    """
    windows = frame.loc[:, ["window_id", "bar0", "split"]].drop_duplicates()
    leaks = []
    for name, other in combinations(SPLITS, 2):
        first, second = (windows.loc[windows["split"] == part] for part in (name, other))
        shared = sorted(set(first["window_id"]) & set(second["window_id"]))
        leaks += [f"window {window} is in {name} and in {other}" for window in shared]
        leaks += [
            f"window {a} ({name}) lies {gap} bars from window {b} ({other}), embargo is {embargo_bars}"
            for a, b, gap in _too_near(first, second, embargo_bars)
            if a != b
        ]
        if first["bar0"].max() > second["bar0"].min():
            leaks.append(f"a window of {name} starts after one of {other}")
    return leaks


def class_counts(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of complete windows per split and month (index), by label class, and the number of windows."""
    frame = frame.loc[is_complete(frame)]
    keys = [frame["split"], months_of(frame).rename("month")]
    counts = pd.crosstab(keys, frame["label"]).reindex(list(LABELS), axis="columns", fill_value=0)
    return counts.assign(windows=frame.groupby(keys)["window_id"].nunique()).rename_axis(columns=None)


def _too_near(first: pd.DataFrame, second: pd.DataFrame, embargo_bars: int) -> Iterator[tuple[str, str, int]]:
    """Pairs of windows with fewer than `embargo_bars` bars between the bars they may read."""
    distance = np.abs(first["bar0"].to_numpy()[:, None] - second["bar0"].to_numpy()[None, :])
    between = np.maximum(distance - CONTEXT_BARS - WINDOW_BARS, 0)
    touching = (between < embargo_bars) | (distance < CONTEXT_BARS + WINDOW_BARS)
    for row, column in zip(*np.nonzero(touching), strict=True):
        yield first["window_id"].iloc[row], second["window_id"].iloc[column], int(between[row, column])


def _period(settings: SplitSettings, split: str) -> str:
    place = SPLITS.index(split)
    if place == 0:
        return f"to {settings.train_end}"
    return f"{settings.ends[place - 1] + timedelta(days=1)} to {settings.ends[place]}"


def _incomplete(frame: pd.DataFrame) -> str:
    n_windows = frame.loc[~is_complete(frame), "window_id"].nunique()
    return f"{n_windows} windows do not count, because they are incomplete. " if n_windows else ""


def _of_first_model(frame: pd.DataFrame, settings: SplitSettings) -> str:
    """From how many labels on a first model needs no test split, where that would help."""
    n = int(np.count_nonzero(frame["in_core"] & frame["label"].isin(TYPES)))
    if not settings.proposed or n >= MIN_EXPANSIONS:
        return ""
    return f"With {MIN_EXPANSIONS} expansions of known type, not {n}, a first model needs no test split. "


def _advice(frame: pd.DataFrame, bars: pd.DataFrame, settings: SplitSettings) -> str:
    ends = nearest_dates(frame, bars, settings)
    if ends is None:
        return "No dates give every split both types: add labels."
    options = zip(("--train-end", "--validation-end", "--test-end"), ends, strict=True)
    return "Nearest dates that work: moola run " + " ".join(f"{name} {end}" for name, end in options)


def _nearest(
    core: pd.DataFrame, days: np.ndarray, bars: pd.DataFrame, ends: list[date], settings: SplitSettings
) -> tuple[date, date, date] | None:
    kinds = core["label"].to_numpy()[:, None] == np.array(TYPES, object)  # (n_expansions, 2)
    drawn = kinds & core["drawn"].to_numpy(bool)[:, None]  # they validate and test
    last_bar = core["bar0"].to_numpy() + WINDOW_BARS - 1
    until = days[None, :] <= np.array(ends, "datetime64[ns]")[:, None]  # (n_ends, n_expansions)
    opened = nanoseconds(bars)
    rows_end = [rows_before_embargo(opened, end, settings.embargo_bars) for end in ends]
    before_embargo = last_bar[None, :] < np.array(rows_end)[:, None]
    away = np.abs(
        np.array(ends, "datetime64[D]")[:, None] - np.array(settings.ends, "datetime64[D]")[None, :]
    ).astype(int)  # (n_ends, 3) days
    trains = ((until & before_embargo) @ kinds).all(axis=1)
    options = []
    for middle in range(1, len(ends) - 1):
        validates = ((until[middle] & before_embargo[middle] & ~until[:middle]) @ drawn).all(axis=1)
        tests = ((until[middle + 1 :] & ~until[middle]) @ drawn).all(axis=1)
        first = np.flatnonzero(validates & trains[:middle])
        last = np.flatnonzero(tests) + middle + 1
        if len(first) and len(last):
            i = int(first[away[first, 0].argmin()])
            k = int(last[away[last, 2].argmin()])
            options.append((away[i, 0] + away[middle, 1] + away[k, 2], (ends[i], ends[middle], ends[k])))
    return min(options)[1] if options else None
