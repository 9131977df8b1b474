"""`python -m moola_pipeline_tests.evaluation.promotion_trials`: how often the promotion rule is right.

Versions of the model learn the simulated market from labels of which a share has the other type, so that
some are better than others. How good each is, 2,400 windows show that it has not seen. Then every ordered
pair stands as challenger and champion on the windows of a few sessions drawn from them, a draw for each
pair, and `decide_promotion` decides.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import NamedTuple, cast

import click
import numpy as np
import pandas as pd
import torch

from moola_pipeline.bars.instruments import INSTRUMENTS
from moola_pipeline.bars.schema import RAW_COLUMNS
from moola_pipeline.bars.simulated import LabelPeriod, SimulationSettings, simulate
from moola_pipeline.bars.table import build_table
from moola_pipeline.evaluation.promotion import MARGIN, Contender, decide_promotion, unseen_windows
from moola_pipeline.evaluation.test_set import oracle_span_probabilities
from moola_pipeline.labels.placement import split_labels
from moola_pipeline.labels.simulated_annotator import draw_labels
from moola_pipeline.labels.spans import labeled_windows
from moola_pipeline.labels.splits import SplitSettings
from moola_pipeline.metrics.bootstrap import Interval, exact_share, interval
from moola_pipeline.metrics.scores import resample_windows, score_types
from moola_pipeline.models.expansion_model import ExpansionModel
from moola_pipeline.report.data import Check, Target
from moola_pipeline.settings import PROFILES
from moola_pipeline.training.examples import TrainingData
from moola_pipeline.training.expansion_models import train_expansion_models
from moola_pipeline.training.pretrain import new_encoder
from moola_pipeline.windows.market_arrays import MarketArrays

TRAIN_END, VALIDATION_END = date(2022, 6, 30), date(2022, 9, 30)
LAST_SEEN = cast(pd.Timestamp, pd.Timestamp(2022, 10, 1, tz="UTC"))
MARKET = SimulationSettings(
    label_periods=(
        LabelPeriod(first_session=date(2020, 9, 1), last_session=TRAIN_END, windows=207),
        LabelPeriod(first_session=date(2022, 7, 1), last_session=VALIDATION_END, windows=100),
        LabelPeriod(first_session=date(2022, 10, 3), last_session=date(2025, 6, 30), windows=2400),
    )
)
SPLITS = SplitSettings(train_end=TRAIN_END, validation_end=VALIDATION_END, test_end=date(2025, 6, 30))
TARGET = Target()
SOUND = {"no_leakage": Check(passed=True, kind="integrity", value=True, limit=True)}


class Trial(NamedTuple):
    """One decision on a challenger.

    Attributes:
        challenger, champion: Number of the model.
        known: Type F1 of challenger minus champion on all unseen windows.
        estimate: The same on the sessions drawn, which the rule saw.
        promoted: Whether the rule promotes it.
        on_target: Whether type F1 reaches the default target there; before, a miss blocked promotion.
    """

    challenger: int
    champion: int
    known: float
    estimate: float
    promoted: bool
    on_target: bool


def made_market() -> tuple[MarketArrays, pd.DataFrame]:
    """Bars as arrays, and the labels with their splits."""
    market = simulate(MARKET)
    bars = build_table(market.bars.loc[:, list(RAW_COLUMNS)], market.rolls if len(market.rolls) else None)
    labels = split_labels(draw_labels(market, MARKET), bars, SPLITS).frame
    return MarketArrays.from_table(bars, INSTRUMENTS[MARKET.instrument].tick_points), labels


def trained(market: MarketArrays, labels: pd.DataFrame, flipped: float, seed: int) -> ExpansionModel:
    """A model that learned from labels of which a share has the other type."""
    train, validation = (labeled_windows(labels, split) for split in ("train", "validation"))
    rng = np.random.default_rng([seed, round(1000 * flipped)])
    kinds = train.spans.type
    kinds = np.where(rng.random(len(kinds)) < flipped, 1 - kinds, kinds)
    noisy = train._replace(spans=replace(train.spans, type=kinds))
    profile = PROFILES["smoke"]
    settings = profile.finetune.model_copy(update={"seeds": (seed,)})
    encoder = new_encoder(market, train.bar0, profile.pretrain)
    return train_expansion_models(encoder, TrainingData(market, noisy, validation), settings)[seed].model


def tried(
    market: MarketArrays, labels: pd.DataFrame, models: Sequence[ExpansionModel], n_sessions: int
) -> list[Trial]:
    """Every ordered pair, each on sessions of its own draw."""
    pool = unseen_windows(market, labels, LAST_SEEN)
    sessions = np.unique(pool.session)
    once = resample_windows(pool, 1, np.random.default_rng(0))
    answers = (oracle_span_probabilities(model, market, pool)[1] for model in models)
    known = [score_types(once, answer)["type_f1_macro"].estimate for answer in answers]
    trials = []
    for number, (new, old) in enumerate(itertools.permutations(range(len(models)), 2)):
        rng = np.random.default_rng(number)
        drawn = np.isin(pool.session, rng.choice(sessions, n_sessions, replace=False))
        shown = labels.loc[labels["window_id"].isin(pool.window_id[drawn].tolist())]
        challenger, champion = (Contender(str(one), models[one], LAST_SEEN) for one in (new, old))
        decision = decide_promotion(challenger, champion, SOUND, market, shown, rng)
        if decision.interval is None:
            raise click.ClickException(decision.reason)
        windows = pool.select(drawn)
        p_retracement = oracle_span_probabilities(models[new], market, windows)[1]
        score = score_types(resample_windows(windows, 500, rng), p_retracement)["type_f1_macro"].interval
        on_target = score.estimate >= TARGET.estimate and score.low > TARGET.low
        trials.append(
            Trial(new, old, known[new] - known[old], decision.interval.estimate, decision.promote, on_target)
        )
    return trials


KINDS: dict[str, tuple[float, float]] = {
    f"worse by more than {MARGIN}": (-1, -MARGIN),
    f"worse by at most {MARGIN}": (-MARGIN, 0),
    f"better by at most {MARGIN}": (0, MARGIN),
    f"better by {MARGIN} to .05": (MARGIN, 0.05),
    "better by more than .05": (0.05, 1),
}


def share_by_models(trials: Sequence[Trial], chosen: Sequence[bool], n_models: int) -> Interval:
    """Share of the trials that are chosen, with a 95 % interval by resampling models: pairs share them.

    Of all or none the interval is the exact one, as if the pairs were independent.
    """
    rng, hit = np.random.default_rng(0), np.array(chosen)
    pairs = np.array([(one.challenger, one.champion) for one in trials])
    counts = rng.multinomial(n_models, np.full(n_models, 1 / n_models), 2000)
    weights = counts[:, pairs[:, 0]] * counts[:, pairs[:, 1]]
    total = weights.sum(axis=1)
    shares = (weights * hit).sum(axis=1)[total > 0] / total[total > 0]
    return exact_share(interval(shares, float(hit.mean()), len(hit)))


@click.command()
@click.option("--flipped", multiple=True, type=float, default=(0.0, 0.1, 0.2, 0.3, 0.4), show_default=True)
@click.option("--seeds", default=3, show_default=True, help="Models at each share of flipped labels.")
@click.option("--sessions", "sizes", multiple=True, type=int, default=(60, 120), show_default=True)
def main(flipped: tuple[float, ...], seeds: int, sizes: tuple[int, ...]) -> None:
    """Print how often challengers of known quality are promoted."""
    torch.set_num_threads(1)
    market, labels = made_market()
    models = []
    for share, seed in itertools.product(flipped, range(seeds)):
        click.echo(f"training with {share:.0%} of the types flipped, seed {seed} ...", err=True)
        models.append(trained(market, labels, share, seed))
    for n_sessions in sizes:
        trials = tried(market, labels, models, n_sessions)
        click.echo(f"{n_sessions} sessions, {len(trials)} pairs of {len(models)} models")
        for name, (low, high) in KINDS.items():
            of_kind = [one for one in trials if low < one.known <= high]
            if not of_kind:
                continue
            for what, chosen in (
                ("promoted", [one.promoted for one in of_kind]),
                ("on target too", [one.promoted and one.on_target for one in of_kind]),
            ):
                share = share_by_models(of_kind, chosen, len(models))
                counted = f"{sum(chosen)} of {len(of_kind)}"
                shown = f"{share.estimate:.2f} [{share.low:.2f}, {share.high:.2f}]"
                click.echo(f"  {name:<26} {what:<14} {counted:>10}  {shown}")


if __name__ == "__main__":
    main()
