"""What must be found on the planted market, and what must be caught when it is planted there."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from moola_pipeline.evaluation.scoring import EvaluatedModel, Trial, seen_in
from moola_pipeline.evaluation.shuffled_labels import permuted_training
from moola_pipeline.evaluation.trivial_baselines import constant_span, type_baselines
from moola_pipeline.labels.splits import find_leakage
from moola_pipeline.metrics.bootstrap import Resampled, resample
from moola_pipeline.metrics.breakdowns import Answers
from moola_pipeline.metrics.definitions import prevalence
from moola_pipeline.metrics.scores import (
    Ground,
    Scored,
    score_ends,
    score_events,
    score_mean_pointer,
    score_types,
)
from moola_pipeline.report.checks import MEAN_POINTER, POINTER, PRIMARY, margins
from moola_pipeline.selftest.planted import Planted, judge, plant, trained

EVENTS = "event_f1_untyped"


@dataclass(frozen=True)
class Finding:
    """One thing that this installation must do.

    Attributes:
        name: What.
        passed: Whether it did.
        value: What was measured.
        expected: What must hold of the value, in words.
        detail: What was done, in a sentence.
    """

    name: str
    passed: bool
    value: float
    expected: str
    detail: str


@dataclass(frozen=True)
class Selftest:
    """All findings, the seconds they took, and the device they were made on."""

    findings: tuple[Finding, ...]
    seconds: float
    device: str

    @property
    def passed(self) -> bool:
        """Whether all of them passed."""
        return all(finding.passed for finding in self.findings)


def selftest(device: str, on_step: Callable[[str], None] = lambda step: None) -> Selftest:
    """Train on a simulated market and plant faults in the outcome; nothing is written.

    Args:
        device: Where the networks run.
        on_step: Called with what begins.
    """
    started = time.perf_counter()
    rng = np.random.default_rng(0)
    on_step("making a market")
    planted = plant(rng)
    on_step("training on its labels")
    judged = judge(planted, trained(planted, device), device, rng)
    on_step("training where nothing tells the type")
    silent = plant(rng, type_shown=False)
    chance = judge(silent, trained(silent, device), device, rng)
    on_step("planting faults")
    findings = (
        signal_found(planted, judged),
        expansions_found(planted, judged),
        no_signal_at_chance(silent, chance),
        null_refit_at_chance(planted, rng),
        leak_caught(planted.frame),
        collapse_caught(planted, judged),
        constant_pointer_caught(planted, judged),
    )
    return Selftest(findings, time.perf_counter() - started, device)


def signal_found(planted: Planted, judged: EvaluatedModel) -> Finding:
    """The planted types are learned: type F1 is surely above that of every constant and of position."""
    lead = margins(judged.scores, _baselines(planted, judged))[PRIMARY]
    return Finding(
        "signal_found",
        lead > 0,
        lead,
        "> 0",
        f"type F1 {judged.scores[PRIMARY].estimate:.2f} on planted types; value: least lead over baselines",
    )


def expansions_found(planted: Planted, judged: EvaluatedModel) -> Finding:
    """The planted expansions are found: event F1 is surely above that of one span said everywhere."""
    ground = planted.trial.ground
    start, end = constant_span(planted.train)
    constant = score_events(ground, _everywhere(ground, start, end))[EVENTS]
    lead = judged.scores[EVENTS].minus(constant).interval.low
    return Finding(
        "expansions_found",
        lead > 0,
        lead,
        "> 0",
        f"event F1 {judged.scores[EVENTS].estimate:.2f}, untyped; value: least lead over one constant span",
    )


def no_signal_at_chance(silent: Planted, chance: EvaluatedModel) -> Finding:
    """Where nothing before an expansion tells its type, a network ranks types as chance does."""
    gain = _above_prevalence(silent.trial.ground, chance.scores["aucpr_retracement"])
    bounds = gain.interval
    return Finding(
        "no_signal_at_chance",
        bounds.low <= 0 <= bounds.high,
        gain.estimate,
        "interval holds 0",
        "AUCPR minus prevalence where nothing tells the type, "
        f"interval {bounds.low:+.2f} to {bounds.high:+.2f}",
    )


def null_refit_at_chance(planted: Planted, rng: np.random.Generator) -> Finding:
    """Twenty refits of a peer on permuted labels spread around chance."""
    trial = planted.trial
    seen, asked = seen_in(trial, planted.train), seen_in(trial, trial.ground.windows)
    null = permuted_training(trial.ground, seen, planted.train.spans.type, asked, rng)
    return Finding(
        "null_refits_at_chance",
        null.low <= 0 <= null.high,
        null.estimate,
        "interval holds 0",
        f"AUCPR minus prevalence of 20 refits, interval {null.low:+.2f} to {null.high:+.2f}",
    )


def leak_caught(frame: pd.DataFrame) -> Finding:
    """A training window laid over a test window is reported, and sound splits are not."""
    honest = find_leakage(frame)
    test = frame.loc[frame["split"] == "test"]
    victim = int(test["bar0"].iloc[len(test) // 2])
    copied = test.loc[test["bar0"] == victim].assign(bar0=victim + 3, window_id="planted", split="train")
    leaks = find_leakage(pd.concat([frame, copied], ignore_index=True))
    return Finding(
        "leak_caught",
        not honest and len(leaks) > 0,
        float(len(leaks)),
        "> 0",
        f"a copy of a test window, 3 bars on, put into training; sound splits report {len(honest)}",
    )


def collapse_caught(planted: Planted, judged: EvaluatedModel) -> Finding:
    """A network whose type head gives one number is no better than the majority."""
    p = np.full(len(planted.trial.ground.windows.spans.type), 0.4)
    collapsed = {**judged.scores, **score_types(planted.trial.ground, p)}
    lead = margins(collapsed, _baselines(planted, judged))[PRIMARY]
    return Finding(
        "collapse_caught",
        lead <= 0,
        lead,
        "<= 0",
        "P(retracement) 0.4 for every expansion; value: least lead over baselines",
    )


def constant_pointer_caught(planted: Planted, judged: EvaluatedModel) -> Finding:
    """One span said of every window is not ahead of the constant mean; what the network says is."""
    ground = planted.trial.ground
    own = margins(judged.scores, _baselines(planted, judged))[POINTER]
    said = _everywhere(ground, 50, 56)
    constant = {**judged.scores, **score_ends(ground, said)}
    answers = replace(judged, answers={0: Answers(judged.answers[0].p_retracement, said)})
    lead = margins(constant, _baselines(planted, answers))[POINTER]
    return Finding(
        "constant_pointer_caught",
        lead <= 0 < own,
        lead,
        "<= 0",
        f"bars 50-56 said of every window; value: least lead over the mean in bars, the network's {own:.1f}",
    )


def _baselines(planted: Planted, judged: EvaluatedModel) -> dict[str, Scored]:
    trial: Trial = planted.trial
    train, spans = planted.train.spans, trial.ground.windows.spans
    answers = type_baselines(train.type, train.start, spans.start)
    pointer = score_mean_pointer(trial.ground, judged.answers[0].events)
    return {**{name: score_types(trial.ground, p) for name, p in answers.items()}, MEAN_POINTER: pointer}


def _everywhere(ground: Ground, start: int, end: int) -> pd.DataFrame:
    return pd.DataFrame({"window_id": ground.windows.window_id, "start": start, "end": end, "type": 0})


def _above_prevalence(ground: Ground, precision: Resampled) -> Resampled:
    y = ground.windows.spans.type
    return precision.minus(resample(lambda weights: prevalence(y, weights), ground.event_weights))
