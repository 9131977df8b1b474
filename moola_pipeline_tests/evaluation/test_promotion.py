"""Promotion: the rule on made-up predictions, then on real models and unseen windows."""

import copy
from dataclasses import replace
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

from moola_pipeline.assets.registered_model import _decision
from moola_pipeline.evaluation import promotion
from moola_pipeline.evaluation.promotion import (
    Contender,
    decide_first_version,
    decide_lost_champion,
    decide_promotion,
)
from moola_pipeline.labels.spans import labeled_windows
from moola_pipeline.models.classifier import Classifier
from moola_pipeline.models.encoder import Encoder
from moola_pipeline.models.expansion_model import ExpansionModel
from moola_pipeline.report.data import Check
from moola_pipeline.storage.home import Home
from moola_pipeline.tracking.registry import load_version
from moola_pipeline.tracking.runs import open_store
from moola_pipeline.windows.market_arrays import MarketArrays
from moola_pipeline_tests.made_bars import made_bars
from moola_pipeline_tests.tracking.test_registry import model_folder, registered_again

SESSIONS, WINDOW_EVERY = 30, 200
SEEN = pd.Timestamp(2025, 1, 6, 12, tz="UTC")
GOOD = {
    "no_leakage": Check(passed=True, kind="integrity", value=0, limit=0),
    "target_f1": Check(passed=True, kind="score", value=0.8, limit=0.75),
}
BAD_SCORE = GOOD | {"target_f1": Check(passed=False, kind="score", value=0.6, limit=0.75)}
LEAKING = GOOD | {"no_leakage": Check(passed=False, kind="integrity", value=3, limit=0)}


class Trials(NamedTuple):
    """Bars and labels of a comparison."""

    market: MarketArrays
    labels: pd.DataFrame


def made_trials(n_sessions: int = SESSIONS, per_session: int = 3) -> Trials:
    """Windows with one expansion each, types alternating, `per_session` on each day after SEEN."""
    n = n_sessions * per_session
    days = pd.date_range("2025-01-07", periods=n_sessions, tz="UTC").repeat(per_session)
    opened = days + pd.to_timedelta(np.tile(np.arange(per_session), n_sessions) * 5, unit="h")
    rows = (np.arange(n) + 1) * WINDOW_EVERY
    times = pd.Series(pd.NaT, index=range(rows[-1] + WINDOW_EVERY), dtype="datetime64[ns, UTC]")
    times.iloc[0], times.iloc[-1] = SEEN, opened[-1] + pd.Timedelta("1D")
    times.iloc[rows] = opened
    stamps = times.astype("int64").where(times.notna()).interpolate()
    opened_at = pd.DatetimeIndex(pd.to_datetime(stamps.round(), utc=True)).as_unit("ns")
    market = replace(made_bars(1), times=opened_at)  # only the times are used
    labels = pd.DataFrame(
        {
            "window_id": [f"w{i}" for i in range(n)],
            "label": np.where(np.arange(n) % 2, "retracement", "consolidation"),
            "expansion_start": 50,
            "expansion_end": 55,
            "bar0": rows,
            "session": days.tz_localize(None).as_unit("ns"),
            "direction": 1,
            "in_core": True,
            "complete": "yes",
            "chosen": "import",
            "split": "unused",
        }
    )
    return Trials(market, labels)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[object, np.ndarray]:
    """Injected P(retracement) by model."""
    predictions: dict[object, np.ndarray] = {}
    monkeypatch.setattr(promotion, "_p_retracement", lambda model, trials, windows: predictions[model])
    return predictions


def ruled(trials: Trials, checks: dict[str, Check] = GOOD, new_seen: pd.Timestamp | None = None):
    new, old = Contender("2", "new", new_seen or SEEN), Contender("1", "old", SEEN)  # type: ignore[arg-type]
    return decide_promotion(new, old, checks, *trials, np.random.default_rng(0))


def right_but(n: int, wrong: list[int]) -> np.ndarray:
    """Predictions of a model that is wrong on these expansions only."""
    types = np.arange(n) % 2
    types[wrong] = 1 - types[wrong]
    return np.where(types, 0.9, 0.1)


def test_equal_predictions_promote_the_challenger(answers: dict):
    answers |= {"new": right_but(90, [3, 8]), "old": right_but(90, [3, 8])}
    decision = ruled(made_trials())
    assert decision.promote
    assert decision.reason == (
        "version 2 is at most 0.02 worse than version 1; challenger minus champion "
        "+0.000 [+0.000, +0.000], 90 expansions, 30 sessions"
    )
    assert (decision.by, decision.against, decision.rule) == ("rule", "1", promotion.RULE)


def test_a_better_challenger_is_promoted_and_a_worse_one_is_not(answers: dict):
    good, poor = right_but(90, []), right_but(90, [*range(0, 90, 5)])
    answers |= {"new": good, "old": poor}
    assert ruled(made_trials()).promote
    answers |= {"new": poor, "old": good}
    decision = ruled(made_trials())
    assert not decision.promote
    assert decision.reason.startswith("version 1 stays champion: the interval does not lie above -0.02; ")
    assert decision.interval is not None and decision.interval.estimate == pytest.approx(-0.2, abs=1e-3)


def test_an_interval_that_reaches_below_the_margin_keeps_the_champion(answers: dict):
    answers |= {"new": right_but(90, [3, 40, 61]), "old": right_but(90, [8, 50, 77])}
    decision = ruled(made_trials())
    assert decision.interval is not None
    assert decision.interval.estimate > -0.02 > decision.interval.low
    assert not decision.promote


def test_a_failed_integrity_check_blocks_promotion(answers: dict):
    answers |= {"new": right_but(90, []), "old": right_but(90, [*range(0, 90, 5)])}
    decision = ruled(made_trials(), LEAKING)
    assert not decision.promote
    assert decision.reason.startswith(
        "version 1 stays champion: an integrity check failed (no_leakage); challenger minus champion +0.2"
    )


def test_a_warning_informs_and_does_not_block(answers: dict):
    """A champion that misses the target itself must not keep out a better challenger that misses it too."""
    answers |= {"new": right_but(90, []), "old": right_but(90, [*range(0, 90, 5)])}
    decision = ruled(made_trials(), BAD_SCORE)
    assert decision.promote
    assert decision.reason.endswith("; not reached: target_f1")


@pytest.mark.parametrize(
    ("trials", "counts"),
    [
        (made_trials(n_sessions=19), "29 consolidation and 28 retracement expansions in 19 sessions"),
        (made_trials(20, per_session=1).labels.assign(label="retracement"), "0 consolidation and 20 retr"),
    ],
)
def test_too_few_unseen_expansions_keep_the_champion(trials: object, counts: str):
    if isinstance(trials, pd.DataFrame):
        trials = made_trials(20, per_session=1)._replace(labels=trials)
    assert isinstance(trials, Trials)
    decision = ruled(trials)
    assert (decision.promote, decision.interval) == (False, None)
    assert f"version 1 stays champion: after 2025-01-06 there are only {counts}" in decision.reason
    assert decision.reason.endswith(
        "that neither version was trained on; at least 10 of each type in 20 sessions are needed"
    )


def test_windows_near_the_training_bars_of_either_version_are_excluded():
    trials = made_trials()
    bar0, opened = trials.labels["bar0"].to_numpy(), list(trials.market.times)
    # window 10 reads from 20 bars before its bar 0; training may end at most 106 bars before that
    nearest = bar0[10] - 20 - 106
    assert promotion.unseen_windows(*trials, opened[nearest]).bar0.tolist() == bar0[10:].tolist()
    assert promotion.unseen_windows(*trials, opened[nearest + 1]).bar0.tolist() == bar0[11:].tolist()
    late = ruled(trials, new_seen=opened[bar0[-1]])
    assert "0 consolidation and 0 retracement expansions in 0 sessions" in late.reason


def test_the_champion_is_not_compared_with_itself():
    same = Contender("1", "old", SEEN)  # type: ignore[arg-type]
    decision = decide_promotion(same, same, GOOD, *made_trials(), np.random.default_rng(0))
    assert (decision.promote, decision.reason) == (False, "version 1 is already champion")


def test_the_first_champion_only_needs_its_integrity_checks():
    assert decide_first_version(BAD_SCORE).promote
    decision = decide_first_version(LEAKING)
    assert (decision.promote, decision.reason) == (
        False,
        "there is no champion, but an integrity check of this run failed (no_leakage)",
    )


def test_a_champion_that_cannot_be_loaded_stays_and_the_reason_has_a_remedy():
    decision = decide_lost_champion("2", "1", "its files are gone. Restore data/mlflow.")
    assert (decision.promote, decision.against) == (False, "1")
    assert decision.reason == (
        "version 1 stays champion, but it cannot be compared: its files are gone. Restore data/mlflow; "
        "or promote by hand: moola registry promote 2"
    )


def test_missing_champion_files_are_reported_at_the_next_comparison(smoke_copy: Home):
    registered_again(smoke_copy, threshold=0.123)
    (model_folder(smoke_copy) / "artifacts" / "expansion_model" / "weights.safetensors").unlink()
    market = SimpleNamespace(home=smoke_copy, model_name="moola-simulated")
    report = SimpleNamespace(data=SimpleNamespace(checks=GOOD))
    decision = _decision(SimpleNamespace(market=market), "2", report, None, None)  # type: ignore[arg-type]
    assert (decision.promote, decision.against) == (False, "1")
    assert decision.reason.startswith(
        "version 1 stays champion, but it cannot be compared: models:/moola-simulated/1: the files of "
        "version 1 must match their registration, but they are gone or changed"
    )
    assert decision.reason.endswith("; or promote by hand: moola registry promote 2")
    assert str(smoke_copy.root) not in decision.reason


@pytest.fixture(scope="module")
def trained(smoke_home: Home) -> tuple[Contender, Trials]:
    """The champion of the smoke run and its market."""
    model, facts = load_version(smoke_home, "models:/moola-simulated/1")
    folder = smoke_home.store / "simulated-smoke"
    table = pd.read_parquet(folder / "raw_nq_bars.parquet")
    labels = pd.read_parquet(folder / "labeled_expansions.parquet")
    market = MarketArrays.from_table(table, 0.25)
    last_seen = pd.to_datetime(facts["last_bar_seen"], utc=True)
    return Contender("1", model, last_seen), Trials(market, labels)


def test_unseen_windows_and_their_score_equal_the_test_windows_of_the_report(
    trained: tuple[Contender, Trials], smoke_home: Home
):
    champion, trials = trained
    unseen = promotion.unseen_windows(*trials, champion.last_bar_seen)
    test = labeled_windows(trials.labels, "test")
    assert unseen.window_id.tolist() == test.window_id.tolist()
    resampled = promotion.resample_windows(unseen, 100, np.random.default_rng(0))
    p = promotion._p_retracement(champion.model, trials.market, unseen)
    score = promotion.score_types(resampled, p)["type_f1_macro"].estimate
    tag = open_store(smoke_home).get_model_version("moola-simulated", "1").tags["type_f1_macro"]
    assert f"{score:.4f}" == tag.split()[0]


@pytest.fixture
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promotion, "MIN_SESSIONS", 5)
    monkeypatch.setattr(promotion, "MIN_OF_EACH_TYPE", 5)


@pytest.mark.usefixtures("few_are_enough")
def test_an_untrained_network_does_not_replace_a_trained_one(trained: tuple[Contender, Trials]):
    champion, trials = trained
    network = champion.model.classifier
    fresh = Classifier(Encoder(network.encoder.hidden_units), network.head_units, network.dropout_share)
    fresh.set_priors(0.1, 0.5, 0.4)  # the state before training: constant predictions
    untrained: ExpansionModel = replace(champion.model, classifier=fresh.eval())
    rng = np.random.default_rng(0)
    worse = replace(champion, version="2", model=untrained)
    assert not decide_promotion(worse, champion, GOOD, *trials, rng).promote
    lead = decide_promotion(replace(champion, version="3"), worse, GOOD, *trials, rng).interval
    assert lead is not None and lead.estimate > 0.1


@pytest.mark.usefixtures("few_are_enough")
def test_a_network_replaces_one_that_swaps_the_types_and_not_the_reverse(trained: tuple[Contender, Trials]):
    champion, trials = trained
    swapped = copy.deepcopy(champion.model.classifier)
    with torch.no_grad():
        for part in swapped.type_head.outer.parameters():
            part.neg_()
    rng = np.random.default_rng(0)
    worse = replace(champion, version="2", model=replace(champion.model, classifier=swapped))
    assert not decide_promotion(worse, champion, GOOD, *trials, rng).promote
    better = decide_promotion(replace(champion, version="3"), worse, GOOD, *trials, rng)
    assert better.promote and better.interval is not None and better.interval.low > 0.1


def test_windows_that_a_model_chose_are_not_compared(answers: dict):
    trials = made_trials()
    chosen = np.where(np.arange(len(trials.labels)) % 3 == 0, "doubt", "random")
    labels = trials.labels.assign(chosen=chosen)
    labels.loc[1, "chosen"] = "replay"  # and with it the other windows of its session
    unseen = promotion.unseen_windows(trials.market, labels, next(iter(trials.market.times)))
    assert set(unseen.window_id) == set(labels["window_id"][3:][chosen[3:] == "random"])


def test_expansions_of_unknown_type_are_not_compared(answers: dict):
    trials = made_trials()
    unknown = np.arange(len(trials.labels)) % 3 == 0
    labels = trials.labels.assign(label=np.where(unknown, "unknown", trials.labels["label"]))
    unseen = promotion.unseen_windows(trials.market, labels, next(iter(trials.market.times)))
    assert len(unseen.bar0) == len(labels)
    assert len(unseen.spans.type) == (~unknown).sum()
    answers["new"] = answers["old"] = np.full((~unknown).sum(), 0.7)
    decision = ruled(trials._replace(labels=labels))
    assert decision.interval is not None
    assert decision.interval.expansions == (~unknown).sum()
    few = ruled(trials._replace(labels=trials.labels.assign(label="unknown")))
    assert "only 0 consolidation and 0 retracement expansions in 0 sessions" in few.reason


def test_incomplete_windows_are_not_compared():
    trials = made_trials()
    labels = trials.labels.assign(complete=np.where(np.arange(len(trials.labels)) % 3, "yes", "no"))
    unseen = promotion.unseen_windows(trials.market, labels, next(iter(trials.market.times)))
    assert len(unseen.bar0) == (labels["complete"] == "yes").sum()
    assert unseen.complete.all()
