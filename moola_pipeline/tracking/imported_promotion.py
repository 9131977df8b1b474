"""Compare a registered version with the champion on this home's labels."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from moola_pipeline.errors import BadInput, IntegrityError
from moola_pipeline.evaluation.promotion import (
    RULE,
    Contender,
    PromotionDecision,
    decide_lost_champion,
    decide_promotion,
)
from moola_pipeline.instrument_data import InstrumentData, choose_instrument_data
from moola_pipeline.labels.placement import split_labels
from moola_pipeline.labels.simulated import is_simulated
from moola_pipeline.report.data import Check
from moola_pipeline.settings import PROFILES
from moola_pipeline.storage.home import Home
from moola_pipeline.tracking.registry import champion_version, load_version
from moola_pipeline.windows.market_arrays import MarketArrays

UNCHECKED = "its checks ran in another home"


def market_of(home: Home, model: str) -> InstrumentData | None:
    """The market of a home that belongs to a model name; None if it has no bars."""
    for wanted in ("registered", "simulated"):
        for profile in PROFILES.values():
            try:
                market = choose_instrument_data(home, wanted, profile)
            except BadInput:
                continue
            is_ready = market.simulation is None or is_simulated(market.store, market.simulation)
            if market.model_name == model and is_ready:
                return market
    return None


def contender(home: Home, model: str, version: str) -> Contender:
    """A registered version, and the last bar that it was fitted on.

    Raises:
        IntegrityError: If its files are gone or changed.
    """
    loaded, facts = load_version(home, f"models:/{model}/{version}")
    return Contender(version, loaded, pd.to_datetime(facts["last_bar_seen"], utc=True))


def decide_version(
    home: Home, model: str, version: str, checks: Mapping[str, Check], rng: np.random.Generator
) -> PromotionDecision:
    """The promotion decision on a registered version; no alias is changed.

    Args:
        home: The home with registry, bars and labels.
        model, version: The registered version.
        checks: Checks of its report.
        rng: Draws the resamples.
    """
    champion = champion_version(home, model)
    if champion is None:
        reason = "there is no champion to compare it with"
        return PromotionDecision(False, "rule", None, RULE, reason)
    market = market_of(home, model)
    if market is None:
        reason = f"version {champion} stays champion: this home has no bars and labels for a comparison"
        return PromotionDecision(False, "rule", champion, RULE, reason)
    try:
        new, old = (contender(home, model, one) for one in (version, champion))
    except IntegrityError as fault:
        return decide_lost_champion(version, champion, str(fault).replace(f"{home.root}/", ""))
    table = market.bars()
    labels = split_labels(market.labels(), table, market.splits).frame
    arrays = MarketArrays.from_table(table, market.instrument.tick_points)
    return decide_promotion(new, old, checks, arrays, labels, rng)


def decide_imported_version(
    home: Home, model: str, version: str, rng: np.random.Generator
) -> PromotionDecision:
    """The decision on an imported version: never promoted, as its checks ran in another home."""
    decision = decide_version(home, model, version, {}, rng)
    if not decision.promote:
        return decision
    reason = f"version {decision.against} stays champion: {UNCHECKED}; {decision.reason}"
    return PromotionDecision(False, "rule", decision.against, RULE, reason, decision.interval)
