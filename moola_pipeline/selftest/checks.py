"""Self-test checks: a planted signal must be found, and planted faults must be caught."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from moola_pipeline.evaluation.scoring import EvaluatedModel
from moola_pipeline.evaluation.shuffled_labels import permuted_training
from moola_pipeline.evaluation.test_set import LabeledTestSet, baseline_inputs
from moola_pipeline.evaluation.trivial_baselines import constant_span, trivial_type_baselines
from moola_pipeline.labels.split_checks import find_leakage
from moola_pipeline.metrics.bootstrap import Resampled, resample
from moola_pipeline.metrics.breakdowns import ScoredPredictions
from moola_pipeline.metrics.definitions import prevalence
from moola_pipeline.metrics.scores import (
    ResampledWindows,
    Scored,
    score_ends,
    score_events,
    score_mean_pointer,
    score_types,
)
from moola_pipeline.report.checks import MEAN_POINTER, POINTER, PRIMARY, margins
from moola_pipeline.selftest.planted import PlantedSignal, evaluate, plant, trained

EVENTS = "event_f1_untyped"


@dataclass(frozen=True)
class SelftestCheck:
    """The result of one check of this installation.

    Attributes:
        name: Name of the check.
        passed: Whether it passed.
        value: The measured value.
        expected: The condition on the value, as text.
        detail: A sentence on the check.
    """

    name: str
    passed: bool
    value: float
    expected: str
    detail: str


@dataclass(frozen=True)
class Selftest:
    """All checks, their duration in seconds, and the device."""

    checks: tuple[SelftestCheck, ...]
    seconds: float
    device: str

    @property
    def passed(self) -> bool:
        """Whether all of them passed."""
        return all(check.passed for check in self.checks)


def selftest(device: str, on_step: Callable[[str], None] = lambda step: None) -> Selftest:
    """Train on a simulated market and plant faults in the results; writes nothing.

    Args:
        device: Device of the networks.
        on_step: Called with the name of each step.
    """
    started = time.perf_counter()
    rng = np.random.default_rng(0)
    on_step("simulating a market")
    planted = plant(rng)
    on_step("training on its labels")
    evaluated = evaluate(planted, trained(planted, device), device, rng)
    on_step("training on a market without a type signal")
    silent = plant(rng, type_shown=False)
    chance = evaluate(silent, trained(silent, device), device, rng)
    on_step("planting faults")
    checks = (
        signal_found(planted, evaluated),
        expansions_found(planted, evaluated),
        no_signal_at_chance(silent, chance),
        null_refit_at_chance(planted, rng),
        leak_caught(planted.frame),
        collapse_caught(planted, evaluated),
        constant_pointer_caught(planted, evaluated),
    )
    return Selftest(checks, time.perf_counter() - started, device)


def signal_found(planted: PlantedSignal, evaluated: EvaluatedModel) -> SelftestCheck:
    """The planted types are learned: type F1 is significantly above every trivial baseline."""
    lead = margins(evaluated.scores, _baselines(planted, evaluated))[PRIMARY]
    return SelftestCheck(
        "signal_found",
        lead > 0,
        lead,
        "> 0",
        f"type F1 {evaluated.scores[PRIMARY].estimate:.2f} on planted types; "
        "value: smallest lead over the baselines",
    )


def expansions_found(planted: PlantedSignal, evaluated: EvaluatedModel) -> SelftestCheck:
    """The planted expansions are found: event F1 is significantly above one constant span in every window."""
    resampled = planted.test_set.resampled
    start, end = constant_span(planted.train)
    constant = score_events(resampled, _everywhere(resampled, start, end))[EVENTS]
    lead = evaluated.scores[EVENTS].minus(constant).interval.low
    return SelftestCheck(
        "expansions_found",
        lead > 0,
        lead,
        "> 0",
        f"event F1 {evaluated.scores[EVENTS].estimate:.2f}, untyped; value: lead over one constant span",
    )


def no_signal_at_chance(silent: PlantedSignal, chance: EvaluatedModel) -> SelftestCheck:
    """Without a type signal in the market, a network ranks types at chance level."""
    gain = _above_prevalence(silent.test_set.resampled, chance.scores["aucpr_retracement"])
    bounds = gain.interval
    return SelftestCheck(
        "no_signal_at_chance",
        bounds.low <= 0 <= bounds.high,
        gain.estimate,
        "interval contains 0",
        "AUCPR minus prevalence on a market without a type signal, "
        f"interval {bounds.low:+.2f} to {bounds.high:+.2f}",
    )


def null_refit_at_chance(planted: PlantedSignal, rng: np.random.Generator) -> SelftestCheck:
    """Twenty refits of a baseline on shuffled labels score at chance level."""
    test_set, train = planted.test_set, planted.train.typed
    train_inputs, test_inputs = (
        baseline_inputs(test_set, train),
        baseline_inputs(test_set, test_set.resampled.windows),
    )
    null = permuted_training(test_set.resampled, train_inputs, train.spans.type, test_inputs, rng)
    return SelftestCheck(
        "null_refits_at_chance",
        null.low <= 0 <= null.high,
        null.estimate,
        "interval contains 0",
        "AUCPR minus prevalence of 20 refits on shuffled labels, "
        f"interval {null.low:+.2f} to {null.high:+.2f}",
    )


def leak_caught(frame: pd.DataFrame) -> SelftestCheck:
    """A training window that overlaps a test window is reported; valid splits are not."""
    reported_in_valid = find_leakage(frame)
    test = frame.loc[frame["split"] == "test"]
    overlapped = int(test["bar0"].iloc[len(test) // 2])
    copied = test.loc[test["bar0"] == overlapped].assign(
        bar0=overlapped + 3, window_id="planted", split="train"
    )
    leaks = find_leakage(pd.concat([frame, copied], ignore_index=True))
    return SelftestCheck(
        "leak_caught",
        not reported_in_valid and len(leaks) > 0,
        float(len(leaks)),
        "> 0",
        "a test window copied into training, 3 bars later; "
        f"the original splits report {len(reported_in_valid)}",
    )


def collapse_caught(planted: PlantedSignal, evaluated: EvaluatedModel) -> SelftestCheck:
    """A network with a constant type probability is not better than the majority."""
    p = np.full(len(planted.test_set.resampled.windows.spans.type), 0.4)
    collapsed = {**evaluated.scores, **score_types(planted.test_set.resampled, p)}
    lead = margins(collapsed, _baselines(planted, evaluated))[PRIMARY]
    return SelftestCheck(
        "collapse_caught",
        lead <= 0,
        lead,
        "<= 0",
        "P(retracement) 0.4 for every expansion; value: smallest lead over the baselines",
    )


def constant_pointer_caught(planted: PlantedSignal, evaluated: EvaluatedModel) -> SelftestCheck:
    """One constant span is not ahead of the constant mean, but the network is."""
    resampled = planted.test_set.resampled
    own = margins(evaluated.scores, _baselines(planted, evaluated))[POINTER]
    spans = _everywhere(resampled, 50, 56)
    constant = {**evaluated.scores, **score_ends(resampled, spans)}
    answers = replace(evaluated, answers={0: ScoredPredictions(evaluated.answers[0].p_retracement, spans)})
    lead = margins(constant, _baselines(planted, answers))[POINTER]
    return SelftestCheck(
        "constant_pointer_caught",
        lead <= 0 < own,
        lead,
        "<= 0",
        f"bars 50-56 in every window; value: lead over the mean in bars (network: {own:.1f})",
    )


def _baselines(planted: PlantedSignal, evaluated: EvaluatedModel) -> dict[str, Scored]:
    test_set: LabeledTestSet = planted.test_set
    train, spans = planted.train.typed.spans, test_set.resampled.windows.spans
    answers = trivial_type_baselines(train.type, train.start, spans.start)
    pointer = score_mean_pointer(test_set.resampled, evaluated.answers[0].events)
    return {
        **{name: score_types(test_set.resampled, p) for name, p in answers.items()},
        MEAN_POINTER: pointer,
    }


def _everywhere(resampled: ResampledWindows, start: int, end: int) -> pd.DataFrame:
    return pd.DataFrame({"window_id": resampled.windows.window_id, "start": start, "end": end, "type": 0})


def _above_prevalence(resampled: ResampledWindows, precision: Resampled) -> Resampled:
    typed = resampled.typed
    y = typed.windows.spans.type
    return precision.minus(resample(lambda weights: prevalence(y, weights), typed.event_weights))
