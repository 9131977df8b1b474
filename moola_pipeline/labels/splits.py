"""Train, validation and test splits of labeled windows: by time, whole windows, purged."""

from datetime import date, timedelta
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from moola_pipeline.bars.schema import nanoseconds
from moola_pipeline.errors import BadInput
from moola_pipeline.labels.schema import DRAWN, REPLAY, TYPES, is_complete
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
    months = sorted(months_of(placed.loc[is_drawn(placed)]).unique())
    n_test, n_later = (
        settings.rolling_test_months,
        settings.rolling_test_months + settings.rolling_validation_months,
    )
    if len(months) <= n_later:
        raise UnsoundSplit(
            "A rolling split must leave a labeled month for training, but validation and test take "
            f"{n_later} months and only {len(months)} are labeled. {labels_per_month(placed)} "
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
    train_last, validation_last = (round(share * len(sessions)) - 1 for share in PROPOSED_SHARES)
    places = (train_last, max(validation_last, train_last + 1), -1)  # of 6 sessions both shares round to 4
    ends = (pd.Timestamp(sessions[place]).date() for place in places)
    dates = dict(zip(("train_end", "validation_end", "test_end"), ends, strict=True))
    return SplitSettings.model_validate({**default.model_dump(), **dates})


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
    return rows_before_embargo(nanoseconds(bars), end, settings.embargo_bars)


def _bars_until(opened: np.ndarray, end: date) -> int:
    """Number of bars that open on the last day of a split or before."""
    after = np.datetime64(end + timedelta(days=1), "ns").astype(np.int64)
    return int(np.searchsorted(opened, after))


def rows_before_embargo(opened: np.ndarray, end: date, embargo_bars: int) -> int:
    """First row within the embargo before the bars that windows after `end` may read."""
    boundary = _bars_until(opened, end)
    return max(boundary - CONTEXT_BARS - embargo_bars, 0) if boundary < len(opened) else boundary


def in_complete_core(frame: pd.DataFrame) -> np.ndarray:
    """Whether each row is an expansion in bars 30-74 of a complete window: (n_rows,) bool."""
    return frame["in_core"].to_numpy(bool) & is_complete(frame)


def months_of(frame: pd.DataFrame) -> pd.Series:
    """UTC month of each row's window, as a period."""
    return frame["window_start"].dt.tz_localize(None).dt.to_period("M")


def _fewer_months(n_months: int) -> str:
    most = (n_months - 1) // 2
    if not most:
        return "Label windows of more months, or choose dates: moola run --train-end DATE"
    return f"Choose {most} at most: moola run --rolling {most}"


def labels_per_month(frame: pd.DataFrame) -> str:
    """A sentence with the expansions of each type by month."""
    core = frame.loc[in_complete_core(frame)]
    table = pd.crosstab(months_of(core).rename("month"), core["label"])
    table = table.reindex(list(TYPES), axis="columns", fill_value=0)
    listed = ", ".join(f"{month} {a}/{b}" for month, a, b in table.itertuples())
    return f"Labels per month ({'/'.join(TYPES)}): {listed or 'none'}."
