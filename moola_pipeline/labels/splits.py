"""Train, validation and test splits of labeled windows: by time, whole windows, purged."""

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from moola_pipeline.bars.schema import nanoseconds
from moola_pipeline.errors import BadInput
from moola_pipeline.labels.schema import DRAWN, LABELS, REPLAY, TYPES, is_complete
from moola_pipeline.windows.window_geometry import CONTEXT_BARS, WINDOW_BARS

SPLITS = ("train", "validation", "test")
UNUSED = "unused"
MIN_EXPANSIONS = 30
"""Expansions of known type that a first model needs."""
FEW_EXPANSIONS = 80
"""With fewer, and too few of them for a test split, all serve training and cross-validation."""
MIN_TEST_OF_TYPE = 5
"""Expansions of each type in a test split of dates that nobody chose."""
VALIDATION_SHARE = 0.25
"""Share of the expansions, the newest, that validate while there is no test split."""
PROPOSED_SHARES = (0.60, 0.75)
"""Shares of the sessions at which proposed dates end training and validation."""


class UnsoundSplit(BadInput):
    """A split that cannot be used for training or evaluation."""


class SplitSettings(BaseModel):
    """How labeled windows are split; dates are inclusive and refer to the window's start in UTC."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: Literal["fixed", "rolling", "provisional"] = Field(
        default="fixed",
        description="fixed: by the dates below; rolling: test on the newest labeled months; provisional: no "
        "test split, as there are too few labels",
    )
    proposed: bool = Field(
        default=False, description="whether nobody chose the dates; few labels then give a provisional report"
    )
    train_end: date = Field(default=date(2024, 12, 31), description="last day of training")
    validation_end: date = Field(default=date(2025, 3, 31), description="last day of validation")
    test_end: date = Field(default=date(2025, 6, 30), description="last day of test")
    embargo_bars: int = Field(default=WINDOW_BARS, ge=0, description="minimum bars between two splits")
    rolling_test_months: int = Field(default=3, ge=1, description="newest labeled months, for test")
    rolling_validation_months: int = Field(
        default=3, ge=1, description="labeled months before these, for validation"
    )

    @model_validator(mode="after")
    def _in_order(self) -> "SplitSettings":
        if not self.train_end < self.validation_end < self.test_end:
            raise ValueError(
                "train_end, validation_end and test_end must follow each other, "
                f"got {self.train_end}, {self.validation_end}, {self.test_end}"
            )
        return self

    @property
    def ends(self) -> tuple[date, date, date]:
        """Last day of each split, in the order of SPLITS."""
        return self.train_end, self.validation_end, self.test_end

    @property
    def shown(self) -> str:
        """The split dates as text."""
        if self.rule == "fixed":
            dates = f"to {self.train_end}, {self.validation_end}, {self.test_end}"
            is_default = not self.proposed or self.ends == SplitSettings().ends
            return dates if is_default else f"{dates} (proposed for these bars)"
        if self.rule == "provisional":
            return (
                f"provisional, as there are too few labels for a test split: training to {self.train_end}, "
                "the rest for validation; scores by cross-validation"
            )
        return (
            f"rolling: the newest {self.rolling_test_months} labeled months for test, "
            f"{self.rolling_validation_months} before for validation"
        )


def resolve_dates(settings: SplitSettings, placed: pd.DataFrame) -> SplitSettings:
    """The dates of the splits: of rolling settings by the months of drawn windows.

    Fixed dates stay, unless they are proposed and the labels too few for a test split: then the rule is
    provisional, and the newest quarter of the expansions validates.

    Raises:
        UnsoundSplit: If there are too few labeled months for a rolling split.
    """
    if settings.rule == "rolling":
        return _rolling_dates(settings, placed)
    if settings.rule == "fixed" and settings.proposed and _are_few(settings, placed):
        return _provisional_dates(settings, placed)
    return settings


def _rolling_dates(settings: SplitSettings, placed: pd.DataFrame) -> SplitSettings:
    months = sorted(_months(placed.loc[is_drawn(placed)]).unique())
    n_test, n_later = (
        settings.rolling_test_months,
        settings.rolling_test_months + settings.rolling_validation_months,
    )
    if len(months) <= n_later:
        raise UnsoundSplit(
            "A rolling split must leave a labeled month for training, but validation and test take "
            f"{n_later} months and only {len(months)} are labeled. {_per_month(placed)} "
            f"{_fewer_months(len(months))}"
        )
    cuts = {
        "train_end": months[-n_later].start_time.date() - timedelta(days=1),
        "validation_end": months[-n_test].start_time.date() - timedelta(days=1),
        "test_end": months[-1].end_time.date(),
    }
    return settings.model_copy(update={"rule": "fixed", **cuts})


def _are_few(settings: SplitSettings, placed: pd.DataFrame) -> bool:
    """Whether the expansions are enough for a first model, but too few for a split by these dates."""
    typed = _typed(placed)
    if not MIN_EXPANSIONS <= len(typed) < FEW_EXPANSIONS:
        return False
    drawn, days = typed["drawn"].to_numpy(bool), _days(typed)
    train, validation, test = (np.datetime64(end) for end in settings.ends)
    parts = (
        (days <= train, 1),
        ((days > train) & (days <= validation) & drawn, 1),
        ((days > validation) & (days <= test) & drawn, MIN_TEST_OF_TYPE),
    )
    return any(min(_of_each_type(typed.loc[part])) < least for part, least in parts)


def _provisional_dates(settings: SplitSettings, placed: pd.DataFrame) -> SplitSettings:
    """Training to the day nearest to three quarters of the expansions that parts both types, if one does."""
    typed = _typed(placed)
    drawn, days = typed["drawn"].to_numpy(bool), _days(typed)
    cuts = [
        (abs((days <= day).mean() - (1 - VALIDATION_SHARE)), day)
        for day in np.unique(days)[:-1]
        if min(*_of_each_type(typed.loc[days <= day]), *_of_each_type(typed.loc[(days > day) & drawn]))
    ]
    if not cuts:
        return settings
    last = pd.Timestamp(_days(placed).max()).date()
    train_end = pd.Timestamp(min(cuts)[1]).date()
    ends = {"train_end": train_end, "validation_end": last, "test_end": last + timedelta(days=1)}
    return settings.model_copy(update={"rule": "provisional", **ends})


def proposed_dates(bars: pd.DataFrame, default: SplitSettings) -> SplitSettings:
    """Dates that nobody chose, where each split has bars; else training takes 60 % of the sessions.

    Validation takes 15 %, and test the newest 25 %. Dates that somebody chose stay.

    Args:
        bars: BAR_COLUMNS.
        default: The dates so far.
    """
    if not default.proposed:
        return default
    sessions = np.unique(bars["session"].to_numpy("datetime64[D]"))
    train, validation, test = (np.datetime64(end) for end in default.ends)
    counts = np.bincount(np.searchsorted([train, validation, test], sessions), minlength=len(SPLITS) + 1)
    if counts[: len(SPLITS)].all() or len(sessions) <= len(SPLITS):
        return default
    last = [round(share * len(sessions)) - 1 for share in PROPOSED_SHARES]
    ends = [pd.Timestamp(sessions[place]).date() for place in (*last, -1)]
    return default.model_copy(update={"train_end": ends[0], "validation_end": ends[1], "test_end": ends[2]})


def _typed(placed: pd.DataFrame) -> pd.DataFrame:
    """The expansions of known type that are learned from, and whether they may be scored: `drawn`."""
    placed = placed.assign(drawn=is_drawn(placed))
    return placed.loc[placed["in_core"] & placed["label"].isin(TYPES)]


def _of_each_type(rows: pd.DataFrame) -> list[int]:
    return [list(rows["label"]).count(kind) for kind in TYPES]


def _days(placed: pd.DataFrame) -> np.ndarray:
    """(n,) datetime64[D] UTC day of each window."""
    return placed["window_start"].dt.tz_localize(None).to_numpy("datetime64[D]")


def assign_splits(placed: pd.DataFrame, bars: pd.DataFrame, settings: SplitSettings) -> pd.DataFrame:
    """Add the column `split`: train, validation, test, or unused.

    All rows of a window get one split. A window is unused if any bar it reads (20 before bar 0 to
    bar 104) lies within the embargo before the first bar that a window of the next split may read.
    Only windows that were drawn at random or imported enter validation and test, and none of a session
    that was replayed: what a model or a choice showed the annotator would flatter the scores. Incomplete
    windows do not enter them either: there a correct prediction without a label would count as false.

    Args:
        placed: The frame of `place_labels`.
        bars: BAR_COLUMNS.
        settings: Fixed or rolling.
    """
    settings = resolve_dates(settings, placed)
    days = placed["window_start"].dt.tz_localize(None).dt.normalize()
    choices = [days <= pd.Timestamp(end) for end in settings.ends]
    split = pd.Series(np.select(choices, SPLITS, UNUSED), index=placed.index, dtype="str")
    last_bar = placed["bar0"] + WINDOW_BARS - 1
    for name in SPLITS[:-1]:
        crowded = (split == name) & (last_bar >= used_rows_end(bars, settings, name))
        split[crowded] = UNUSED
    split[(split != SPLITS[0]).to_numpy() & ~is_drawn(placed)] = UNUSED
    return placed.assign(split=split)


def is_drawn(placed: pd.DataFrame) -> np.ndarray:
    """True (n,) for rows of complete windows, drawn at random or imported, in no replayed session.

    Only these show how often expansions and their types occur.
    """
    replayed = placed.loc[placed["chosen"] == REPLAY, "session"]
    other = placed.loc[~placed["chosen"].isin(DRAWN), "window_id"]
    was_chosen = placed["window_id"].isin(other) | placed["session"].isin(replayed)
    return ~was_chosen.to_numpy(bool) & is_complete(placed)


def training_rows_end(bars: pd.DataFrame, settings: SplitSettings) -> int:
    """First row of the bar table that pretraining and fitting must not use; see `used_rows_end`."""
    return used_rows_end(bars, settings, "train")


def used_rows_end(bars: pd.DataFrame, settings: SplitSettings, split: str) -> int:
    """First row that a split and the splits before it must not use.

    For training and validation it lies one embargo before the first bar that a window of the
    next split may read; for test, behind the last bar that its windows may read.

    Raises:
        ValueError: If the settings are rolling: `resolve_dates` must come first.
    """
    if settings.rule == "rolling":
        raise ValueError(
            "settings must have fixed dates, got rolling ones. Call resolve_dates(settings, placed) first."
        )
    end = settings.ends[SPLITS.index(split)]
    if split == SPLITS[-1]:
        return min(_bars_until(nanoseconds(bars), end) + WINDOW_BARS - 1, len(bars))
    return _apart_from_later(nanoseconds(bars), end, settings.embargo_bars)


def _bars_until(opened: np.ndarray, end: date) -> int:
    """Number of bars that open on the last day of a split or before."""
    after = np.datetime64(end + timedelta(days=1), "ns").astype(np.int64)
    return int(np.searchsorted(opened, after))


def _apart_from_later(opened: np.ndarray, end: date, embargo_bars: int) -> int:
    """First row within the embargo before the bars that windows after `end` may read."""
    boundary = _bars_until(opened, end)
    return max(boundary - CONTEXT_BARS - embargo_bars, 0) if boundary < len(opened) else boundary


def check_splits(frame: pd.DataFrame, bars: pd.DataFrame, settings: SplitSettings) -> None:
    """Check that each split holds expansions of both types in bars 30-74 of complete windows.

    Raises:
        UnsoundSplit: If one does not; names the split, the labels per month and the command with
            the nearest dates that work.
    """
    settings = resolve_dates(settings, frame)
    for name in SPLITS[:2] if settings.rule == "provisional" else SPLITS:
        part = frame.loc[(frame["split"] == name) & _counts(frame)]
        counts = [list(part["label"]).count(kind) for kind in TYPES]
        if not all(counts):
            held = " and ".join(f"{n} {kind}" for n, kind in zip(counts, TYPES, strict=True))
            raise UnsoundSplit(
                f"The {name} split ({_period(settings, name)}) must hold expansions of both types, "
                f"but holds {held}. {_per_month(frame)} {_incomplete(frame)}"
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
    core, drawn = frame.loc[_counts(frame)], is_drawn(frame)[_counts(frame)]
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
    keys = [frame["split"], _months(frame).rename("month")]
    counts = pd.crosstab(keys, frame["label"]).reindex(list(LABELS), axis="columns", fill_value=0)
    return counts.assign(windows=frame.groupby(keys)["window_id"].nunique()).rename_axis(columns=None)


def _too_near(first: pd.DataFrame, second: pd.DataFrame, embargo_bars: int) -> Iterator[tuple[str, str, int]]:
    """Pairs of windows with fewer than `embargo_bars` bars between the bars they may read."""
    distance = np.abs(first["bar0"].to_numpy()[:, None] - second["bar0"].to_numpy()[None, :])
    between = np.maximum(distance - CONTEXT_BARS - WINDOW_BARS, 0)
    touching = (between < embargo_bars) | (distance < CONTEXT_BARS + WINDOW_BARS)
    for row, column in zip(*np.nonzero(touching), strict=True):
        yield first["window_id"].iloc[row], second["window_id"].iloc[column], int(between[row, column])


def _counts(frame: pd.DataFrame) -> np.ndarray:
    """Whether each row is an expansion in bars 30-74 of a complete window: (n_rows,) bool."""
    return frame["in_core"].to_numpy(bool) & is_complete(frame)


def _months(frame: pd.DataFrame) -> pd.Series:
    return frame["window_start"].dt.tz_localize(None).dt.to_period("M")


def _period(settings: SplitSettings, split: str) -> str:
    place = SPLITS.index(split)
    if place == 0:
        return f"to {settings.train_end}"
    return f"{settings.ends[place - 1] + timedelta(days=1)} to {settings.ends[place]}"


def _fewer_months(n_months: int) -> str:
    most = (n_months - 1) // 2
    if not most:
        return "Label windows of more months, or choose dates: moola run --train-end DATE"
    return f"Choose {most} at most: moola run --rolling {most}"


def _per_month(frame: pd.DataFrame) -> str:
    core = frame.loc[_counts(frame)]
    table = pd.crosstab(_months(core).rename("month"), core["label"])
    table = table.reindex(list(TYPES), axis="columns", fill_value=0)
    listed = ", ".join(f"{month} {a}/{b}" for month, a, b in table.itertuples())
    return f"Labels per month ({'/'.join(TYPES)}): {listed or 'none'}."


def _incomplete(frame: pd.DataFrame) -> str:
    n_windows = frame.loc[~is_complete(frame), "window_id"].nunique()
    return f"{n_windows} windows do not count, because they are incomplete. " if n_windows else ""


def _of_first_model(frame: pd.DataFrame, settings: SplitSettings) -> str:
    """From how many labels on a first model needs no test split, where that would help."""
    n = len(_typed(frame))
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
    rows_end = [_apart_from_later(opened, end, settings.embargo_bars) for end in ends]
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
