"""Tests for label shift: between batches, between months, and along the order of labels."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import ndtri, stdtrit

from moola_pipeline.labels.permutation import N_PERMUTATIONS, adjust_families, permutation_p_values
from moola_pipeline.labels.schema import TYPES, type_numbers
from moola_pipeline.windows.window_geometry import UNTYPED

LEVEL = 0.05
"""Rate of false alarms: the share of label sets without shift that raise one."""
BATCH, MONTH, FILE_ORDER, TIME_ORDER = "batch", "month", "file order", "time order"
RATIOS = {
    "retracement_share": ("retracements", "typed"),
    "empty_share": ("empty", "windows"),
    "mean_span_bars": ("bars", "expansions"),
}
"""Measures of a batch or month: numerator and denominator of each."""
DRIFT, NEIGHBORS = "drift", "neighbors"
"""Measures of an order: a change in the share of retracements, and correlation of neighbors."""
_COUNTS = ("retracements", "typed", "expansions", "empty", "windows", "bars")
_NUMERATORS = [_COUNTS.index(numerator) for numerator, _ in RATIOS.values()]
_DENOMINATORS = [_COUNTS.index(denominator) for _, denominator in RATIOS.values()]
_TAIL = 0.975
"""Upper quantile of a 95 % interval."""


@dataclass(frozen=True)
class Measured:
    """A share or a mean with its 95 % interval; None where the counts are too small."""

    estimate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Group:
    """The labels of one batch or month.

    Attributes:
        name: The batch, or the month as 2024-05.
        windows, expansions: Their numbers; an expansion counts if it starts in bars 30-74.
        typed: Expansions of known type.
        retracement_share: Of these (Wilson interval).
        empty_share: Windows without an expansion, of all (Wilson interval).
        mean_span_bars: Mean length of an expansion (interval from the spread between sessions).
    """

    name: str
    windows: int
    expansions: int
    typed: int
    retracement_share: Measured
    empty_share: Measured
    mean_span_bars: Measured


@dataclass(frozen=True)
class Comparison:
    """A group of labels compared with the rest.

    Attributes:
        family: batch, month, file order or time order.
        name: The batch or month; for an order the first window of its later part.
        measure: A key of RATIOS; for an order DRIFT or NEIGHBORS.
        value: The ratio; for DRIFT the share of retracements in the later part, for NEIGHBORS the
            correlation.
        rest: The ratio of all other labels; for DRIFT the share in the earlier part, for NEIGHBORS 0.
        p_value: Adjusted for all comparisons.
    """

    family: str
    name: str
    measure: str
    value: float
    rest: float
    p_value: float = 1.0


@dataclass(frozen=True)
class LabelShift:
    """Result of the tests for shift.

    Attributes:
        level: Rate of false alarms.
        p_value: The smallest adjusted p-value; 1 if nothing could be compared.
        batches, months: Counts and shares of each.
        alarms: Comparisons that are significant at that level, smallest p-value first.
    """

    level: float
    p_value: float
    batches: list[Group]
    months: list[Group]
    alarms: list[Comparison]


def find_shift(
    placed: pd.DataFrame, rng: np.random.Generator, n_permutations: int = N_PERMUTATIONS
) -> LabelShift:
    """Compare each batch and each month with the rest, and look for structure in the order of labels.

    Batches and months are compared by permuting whole sessions, so that expansions of one session
    need not be independent; orders by permuting windows. All p-values are adjusted together.

    Args:
        placed: The frame of `place_labels` with `batch` filled in, and `row`: the row number in
            its file, NaN if unknown.
        rng: Source of the permutations.
        n_permutations: Their number.
    """
    windows = _by_window(placed)
    families = [
        _compare_groups(windows, BATCH, rng, n_permutations),
        _compare_groups(windows, MONTH, rng, n_permutations),
        _compare_orders(windows, rng, n_permutations),
    ]
    adjusted = adjust_families([np.array([raw.p_value for raw in family]) for family in families])
    comparisons = [
        replace(raw, p_value=float(p))
        for family, p_values in zip(families, adjusted, strict=True)
        for raw, p in zip(family, p_values, strict=True)
    ]
    return LabelShift(
        level=LEVEL,
        p_value=min((comparison.p_value for comparison in comparisons), default=1.0),
        batches=_groups(windows, BATCH),
        months=_groups(windows, MONTH),
        alarms=sorted((c for c in comparisons if c.p_value <= LEVEL), key=lambda c: c.p_value),
    )


def _by_window(placed: pd.DataFrame) -> pd.DataFrame:
    """One row for each window, by time: its batch, month, session, row in the file, and _COUNTS."""
    core = placed["in_core"]
    length = (placed["expansion_end"] - placed["expansion_start"] + 1).where(core, 0)
    types = type_numbers(placed)
    rows = pd.DataFrame(
        {
            **{name: placed[name] for name in ("window_id", "bar0", "session", BATCH, "row")},
            MONTH: placed["window_start"].dt.strftime("%Y-%m"),
            "retracements": core & (types == TYPES.index("retracement")),
            "typed": core & (types != UNTYPED),
            "expansions": core,
            "bars": length.astype("int64"),
        }
    )
    how = dict.fromkeys(("bar0", "session", BATCH, MONTH, "row"), "first")
    how |= dict.fromkeys(("retracements", "typed", "expansions", "bars"), "sum")
    windows = rows.groupby("window_id", as_index=False).agg(how)
    windows = windows.assign(empty=(windows["expansions"] == 0).astype("int64"), windows=1)
    return windows.sort_values(["bar0", "window_id"], ignore_index=True)


def _compare_groups(
    windows: pd.DataFrame, kind: str, rng: np.random.Generator, n_permutations: int
) -> list[Comparison]:
    units = pd.DataFrame(windows.groupby([kind, "session"], sort=True)[list(_COUNTS)].sum())
    names = units.index.get_level_values(kind)
    starts = np.flatnonzero(~names.duplicated())
    if len(starts) < 2:
        return []
    counts = units.to_numpy(np.float64)

    def ratios(order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own = np.add.reduceat(counts[order], starts, axis=0)
        rest = counts.sum(axis=0) - own
        with np.errstate(divide="ignore", invalid="ignore"):
            return own[:, _NUMERATORS] / own[:, _DENOMINATORS], rest[:, _NUMERATORS] / rest[:, _DENOMINATORS]

    def differences(order: np.ndarray) -> np.ndarray:
        own, rest = ratios(order)
        return np.abs(own - rest).ravel()

    p_values = permutation_p_values(differences, len(counts), rng, n_permutations)
    own, rest = ratios(np.arange(len(counts)))
    return [
        Comparison(kind, str(name), measure, float(own[i, k]), float(rest[i, k]), float(p))
        for (i, name), p_row in zip(
            enumerate(names[starts]), p_values.reshape(len(starts), len(RATIOS)), strict=True
        )
        for (k, measure), p in zip(enumerate(RATIOS), p_row, strict=True)
    ]


def _compare_orders(windows: pd.DataFrame, rng: np.random.Generator, n_permutations: int) -> list[Comparison]:
    marked = windows.loc[windows["typed"] > 0]
    by_file = marked.loc[marked["row"].notna()].sort_values("row", kind="stable")
    orders = {TIME_ORDER: marked}
    if len(by_file) and not by_file["bar0"].is_monotonic_increasing:
        orders[FILE_ORDER] = by_file
    comparisons = []
    for name, ordered in orders.items():
        comparisons += _compare_order(name, ordered, rng, n_permutations, len(orders))
    return comparisons


def _compare_order(
    name: str, ordered: pd.DataFrame, rng: np.random.Generator, n_permutations: int, n_orders: int
) -> list[Comparison]:
    share = (ordered["retracements"] / ordered["typed"]).to_numpy(np.float64)
    if len(share) < 2 or not np.ptp(share):
        return []
    centered = share - share.mean()

    def statistics(order: np.ndarray) -> np.ndarray:
        moved = centered[order]
        return np.array([np.abs(np.cumsum(moved)).max(), abs(moved[1:] @ moved[:-1])])

    p_values = permutation_p_values(statistics, len(share), rng, n_permutations) * n_orders
    later = int(np.abs(np.cumsum(centered)[:-1]).argmax()) + 1
    border = str(ordered["window_id"].iloc[later])
    correlation = float(centered[1:] @ centered[:-1] / (centered @ centered))
    return [
        Comparison(
            name, border, DRIFT, float(share[later:].mean()), float(share[:later].mean()), float(p_values[0])
        ),
        Comparison(name, border, NEIGHBORS, correlation, 0.0, float(p_values[1])),
    ]


def _groups(windows: pd.DataFrame, kind: str) -> list[Group]:
    return [_group(str(name), rows) for name, rows in windows.groupby(kind, sort=True)]


def _group(name: str, windows: pd.DataFrame) -> Group:
    counts = {count: sum(windows[count].tolist()) for count in _COUNTS}
    sessions = pd.DataFrame(windows.groupby("session")[["bars", "expansions"]].sum())
    return Group(
        name,
        counts["windows"],
        counts["expansions"],
        counts["typed"],
        _share(counts["retracements"], counts["typed"]),
        _share(counts["empty"], counts["windows"]),
        _mean(sessions["bars"].to_numpy(np.float64), sessions["expansions"].to_numpy(np.float64)),
    )


def _share(n: int, of: int) -> Measured:
    """A share with its Wilson interval: Wilson (1927), JASA 22(158)."""
    if not of:
        return Measured(None, None, None)
    z = float(ndtri(_TAIL))
    share, weight = n / of, z**2 / of
    center = (share + weight / 2) / (1 + weight)
    half = z * np.sqrt(share * (1 - share) / of + weight / of / 4) / (1 + weight)
    return Measured(share, max(float(center - half), 0.0), min(float(center + half), 1.0))


def _mean(totals: np.ndarray, numbers: np.ndarray) -> Measured:
    """A mean over units of unequal size; its interval follows from the spread between the units.

    Source:
        The ratio estimator: Cochran (1977), Sampling Techniques, 6.3.
    """
    if not numbers.sum():
        return Measured(None, None, None)
    mean, n_units = totals.sum() / numbers.sum(), int((numbers > 0).sum())
    if n_units < 2:
        return Measured(float(mean), None, None)
    spread = np.square(totals - mean * numbers).sum() * n_units / (n_units - 1)
    half = float(stdtrit(n_units - 1, _TAIL)) * np.sqrt(spread) / numbers.sum()
    return Measured(float(mean), float(mean - half), float(mean + half))
