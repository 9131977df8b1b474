"""Hidden states of simulated bars: legs, consolidations, retracements and expansions."""

from dataclasses import dataclass
from typing import Self

import numpy as np

CONSOLIDATION, RETRACEMENT, SURGE = range(3)
"""Kinds of pattern by the phase before the surge; SURGE has no such phase."""

APPROACH, SETUP, EXPANSION, PULLBACK, SECOND_EXPANSION, AFTERMATH = range(6)
"""The phases of a pattern in their order; a phase may have no bars."""
_PHASES = 6

GIVEN_BACK = (0.25, 0.65)
"""Range of the share of a leg that a retracement gives back."""
SURGE_SPEED, SURGE_SPREAD = 1.1, 0.15
"""Move of a surge in mean bar ranges, over the square root of its bars: median, and spread of its log."""
SURGE_NOISE = (0.5, 0.8)
"""Range of the volatility in a surge, relative to that around it."""
QUIET_BARS = 12
"""Least number of unplanned bars at both ends of a segment."""
HASTE = 0.3
"""Share of patterns that follow the previous one within a few bars."""


@dataclass(frozen=True)
class Phase:
    """One phase of each pattern, (n_patterns,) each; fields as in `Phases`."""

    length: np.ndarray
    drift: np.ndarray
    noise: np.ndarray
    pull: np.ndarray | float = 0.0
    same_unit: bool = False


@dataclass(frozen=True)
class Phases:
    """All phases of each pattern, (n_patterns, 6) each.

    Attributes:
        length: Bars; 0 if the pattern does not have the phase.
        drift: Move over the whole phase, signed, in units of the mean bar range before it.
        noise: Scale of the volatility.
        pull: Share of the distance to the phase's first price that price loses per bar.
        same_unit: The unit of the drift is that of the phase before.
    """

    length: np.ndarray
    drift: np.ndarray
    noise: np.ndarray
    pull: np.ndarray
    same_unit: np.ndarray

    @classmethod
    def none(cls, n_patterns: int) -> Self:
        """Phases without bars, to be filled."""
        shape = (n_patterns, _PHASES)
        drift, noise, pull = np.zeros((3, *shape))
        return cls(np.zeros(shape, np.int64), drift, noise, pull, np.zeros(shape, bool))

    def fill(self, phase: int, where: np.ndarray, drawn: "Phase") -> None:
        """Set this phase of the patterns in `where`, (n_patterns,) bool."""
        self.length[where, phase] = drawn.length[where]
        self.drift[where, phase] = drawn.drift[where]
        self.noise[where, phase] = drawn.noise[where]
        self.pull[where, phase] = np.broadcast_to(drawn.pull, where.shape)[where]
        self.same_unit[where, phase] = drawn.same_unit


@dataclass(frozen=True)
class Patterns:
    """Patterns in the order they are played, (n_patterns,) each.

    Attributes:
        kind: The phase before the surge.
        direction: 1 or -1, direction of the surge.
        complete: True if the surge is an expansion; else the pattern is a decoy.
        pause: Bars between the previous pattern and this one.
        phases: Its phases.
    """

    kind: np.ndarray
    direction: np.ndarray
    complete: np.ndarray
    pause: np.ndarray
    phases: Phases


@dataclass(frozen=True)
class BarPlan:
    """Parameters of the path by bar, (n_bars,) each; fields as in `Phases`.

    `anew` is True where a phase begins; its anchor is the price there. `new_unit` is True where
    the unit of the drift is measured too. `free` is True outside patterns.
    """

    drift: np.ndarray
    noise: np.ndarray
    pull: np.ndarray
    anew: np.ndarray
    new_unit: np.ndarray
    free: np.ndarray


@dataclass(frozen=True)
class Expansions:
    """True expansions in time order: first and last bar (included), kind before, direction."""

    onset: np.ndarray
    offset: np.ndarray
    kind: np.ndarray
    direction: np.ndarray


def draw_patterns(
    n_patterns: int,
    pause_bars: float,
    decoy_share: float | np.ndarray,
    retracement_share: float | np.ndarray,
    rng: np.random.Generator,
) -> Patterns:
    """Draw patterns of every kind; a decoy is a setup without expansion or a surge without setup.

    Each parameter is drawn independently from a wide range, so no single one identifies the kind.
    After some expansions price pulls back and surges again, so fewer patterns begin with a
    retracement.

    Args:
        n_patterns: How many.
        pause_bars: Mean bars between one pattern and the next.
        decoy_share: Share of patterns without an expansion, one for all or (n_patterns,).
        retracement_share: Share of expansions that follow a retracement, one for all or
            (n_patterns,).
        rng: Random generator.
    """
    n = n_patterns
    again_share = retracement_share / 2
    retraced = rng.random(n) < retracement_share * (1 + again_share) - again_share
    complete = rng.random(n) >= decoy_share
    bare = ~complete & (rng.random(n) < 0.5)
    again = complete & (rng.random(n) < again_share)
    kind = np.where(bare, SURGE, np.where(retraced, RETRACEMENT, CONSOLIDATION))
    direction = np.where(rng.random(n) < 0.5, 1, -1)
    pause = np.where(rng.random(n) < HASTE, rng.integers(1, 8, n), rng.exponential(pause_bars, n))
    phases = Phases.none(n)
    _draw_consolidations(phases, kind == CONSOLIDATION, rng)
    _draw_retracements(phases, kind == RETRACEMENT, direction, rng)
    _draw_surges(phases, complete | bare, again, direction, rng)
    return Patterns(kind, direction, complete, pause.astype(np.int64), phases)


def _draw_consolidations(phases: Phases, where: np.ndarray, rng: np.random.Generator) -> None:
    """A narrow range that pulls price back, after a drift to either side or none."""
    n = len(where)
    phases.fill(
        APPROACH,
        where & (rng.random(n) < 0.6),
        Phase(
            length=rng.integers(8, 26, n),
            drift=rng.choice((-1, 1), n) * _leg_move(n, rng) * rng.uniform(0.0, 0.8, n),
            noise=rng.uniform(0.6, 1.0, n),
        ),
    )
    phases.fill(
        SETUP,
        where,
        Phase(
            length=rng.integers(15, 46, n),
            drift=rng.normal(0, 0.8, n),
            noise=rng.uniform(0.4, 0.85, n),
            pull=rng.uniform(0.08, 0.35, n),
        ),
    )


def _draw_retracements(
    phases: Phases, where: np.ndarray, direction: np.ndarray, rng: np.random.Generator
) -> None:
    """A leg in the direction of the surge to come, and a retracement of part of it."""
    n = len(where)
    leg = direction * _leg_move(n, rng)
    phases.fill(
        APPROACH, where, Phase(length=rng.integers(8, 26, n), drift=leg, noise=rng.uniform(0.6, 1.0, n))
    )
    _retrace(phases, SETUP, where, leg, rng)


def _draw_surges(
    phases: Phases, where: np.ndarray, again: np.ndarray, direction: np.ndarray, rng: np.random.Generator
) -> None:
    """Surges, some with a pullback and a second surge, and the aftermath."""
    n = len(where)
    for phase, surging in ((EXPANSION, where), (SECOND_EXPANSION, again)):
        bars = np.minimum(2 + rng.negative_binomial(2, 0.5, n), 14)
        move = direction * rng.lognormal(np.log(SURGE_SPEED), SURGE_SPREAD, n) * bars**0.5
        phases.fill(phase, surging, Phase(length=bars, drift=move, noise=rng.uniform(*SURGE_NOISE, n)))
    _retrace(phases, PULLBACK, again, phases.drift[:, EXPANSION], rng)
    last_move = np.where(again, phases.drift[:, SECOND_EXPANSION], phases.drift[:, EXPANSION])
    phases.fill(
        AFTERMATH,
        np.ones(n, bool),
        Phase(
            length=rng.integers(3, 15, n),
            drift=-last_move * rng.uniform(0.0, 0.9, n),
            noise=rng.uniform(0.8, 1.4, n),
            same_unit=True,
        ),
    )


def _leg_move(n_patterns: int, rng: np.random.Generator) -> np.ndarray:
    return rng.lognormal(np.log(3.2), 0.35, n_patterns)


def _retrace(
    phases: Phases, phase: int, where: np.ndarray, leg: np.ndarray, rng: np.random.Generator
) -> None:
    n = len(where)
    phases.fill(
        phase,
        where,
        Phase(
            length=rng.integers(5, 19, n),
            drift=-leg * rng.uniform(*GIVEN_BACK, n),
            noise=rng.uniform(0.5, 0.95, n),
            same_unit=True,
        ),
    )


def place_patterns(patterns: Patterns, segment_lengths: np.ndarray) -> np.ndarray:
    """Place patterns one after another in segments, none across the end of a segment.

    Returns:
        (n_placed,) int64 first bar of each placed pattern; the last ones may find no room.
    """
    starts = []
    ends = np.cumsum(segment_lengths).tolist()
    segment, cursor = 0, QUIET_BARS
    lengths = patterns.phases.length.sum(axis=1)
    for pause, bars in zip(patterns.pause.tolist(), lengths.tolist(), strict=True):
        while cursor + pause + bars + QUIET_BARS > ends[segment]:
            cursor = ends[segment] + QUIET_BARS
            segment += 1
            if segment == len(ends):
                return np.array(starts, np.int64)
        starts.append(cursor + pause)
        cursor += pause + bars
    return np.array(starts, np.int64)


def plan_bars(patterns: Patterns, starts: np.ndarray, n_bars: int, rng: np.random.Generator) -> BarPlan:
    """Spread the phases of placed patterns over their bars; other bars are a free random walk.

    The drift of a phase is split over its bars at random: no phase moves evenly.
    """
    phases, n = patterns.phases, len(starts)
    length = phases.length[:n].ravel()
    first = (starts[:, None] + np.cumsum(phases.length[:n], axis=1)).ravel() - length
    since_first = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    rows = np.repeat(first, length) + since_first
    phase = np.repeat(np.arange(len(length)), length)
    weight = rng.lognormal(0.0, 0.5, len(rows))
    share = weight / np.bincount(phase, weight, minlength=len(length))[phase]

    def on_bars(values: np.ndarray, elsewhere: float) -> np.ndarray:
        spread = np.full(n_bars, elsewhere)
        spread[rows] = values[:n].ravel()[phase]
        return spread

    drift = on_bars(phases.drift, 0.0)
    drift[rows] *= share
    anew = np.zeros(n_bars, bool)
    anew[first[length > 0]] = True
    new_unit = anew & (on_bars(phases.same_unit, 0.0) == 0)
    free = np.ones(n_bars, bool)
    free[rows] = False
    return BarPlan(drift, on_bars(phases.noise, 1.0), on_bars(phases.pull, 0.0), anew, new_unit, free)


def expansions(patterns: Patterns, starts: np.ndarray) -> Expansions:
    """The expansions among placed patterns; the second of a pattern follows a retracement."""
    n = len(starts)
    length = patterns.phases.length[:n]
    after = starts[:, None] + np.cumsum(length, axis=1)
    number, phase = np.nonzero((length > 0) & patterns.complete[:n, None])
    surge = np.isin(phase, (EXPANSION, SECOND_EXPANSION))
    number, phase = number[surge], phase[surge]
    kind = np.where(phase == SECOND_EXPANSION, RETRACEMENT, patterns.kind[number])
    end = after[number, phase]
    return Expansions(end - length[number, phase], end - 1, kind, patterns.direction[number])
