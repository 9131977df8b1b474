"""A version that was not made by the run at hand, compared with the champion on this home's labels."""

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
    """The market of a home whose models have this name, its bars there to be read; None without one."""
    for wanted in ("registered", "simulated"):
        for profile in PROFILES.values():
            try:
                market = choose_instrument_data(home, wanted, profile)
            except BadInput:
                continue
            made = market.simulation is None or is_simulated(market.store, market.simulation)
            if market.model_name == model and made:
                return market
    return None


def contender(home: Home, model: str, version: str) -> Contender:
    """A registered version, and the last bar it has seen.

    Raises:
        IntegrityError: If its files are gone or changed.
    """
    loaded, facts = load_version(home, f"models:/{model}/{version}")
    return Contender(version, loaded, pd.to_datetime(facts["last_bar_seen"], utc=True))


def decide_version(
    home: Home, model: str, version: str, checks: Mapping[str, Check], rng: np.random.Generator
) -> PromotionDecision:
    """What the rule of promotion makes of a registered version; nothing is moved.

    Args:
        home: Whose registry, bars and labels.
        model, version: Which.
        checks: Of its report.
        rng: Source of the resamples.
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
    """The ruling on an imported version: compared, and left to a person, for its checks ran elsewhere."""
    found = decide_version(home, model, version, {}, rng)
    if not found.promote:
        return found
    reason = f"version {found.against} stays champion: {UNCHECKED}; {found.reason}"
    return PromotionDecision(False, "rule", found.against, RULE, reason, found.interval)
