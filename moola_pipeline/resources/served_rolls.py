"""The rolls that travel with a version, so that it breaks bars by itself as `moola predict` does at home."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from moola_pipeline.profiles import Market

ROLLS = "rolls"
"""Where the facts of a version keep them; also the parameter of a served model that takes their place."""


def served_rolls(market: "Market") -> list[list[str]]:
    """The market's registered rolls as they are kept: time (UTC), old and new contract."""
    from moola_pipeline.bars.rolls import registered_rolls

    rolls = registered_rolls(market.store)
    if rolls is None:
        return []
    times = rolls["time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return [list(row) for row in zip(times, rolls["old"], rolls["new"], strict=True)]


def rolls_in_force(facts: Mapping[str, Any], given: str = "") -> "pd.DataFrame | None":
    """The rolls that a served version breaks bars at: those given, else its own.

    Args:
        facts: Of the version.
        given: Text of a csv with time, old and new; `none`: no rolls; empty: those of the version.

    Raises:
        BadInput: If the text holds no rolls.
    """
    import io

    import pandas as pd

    from moola_pipeline.bars.rolls import rolls_of_text

    if given.strip() == "none":
        return None
    if given.strip():
        return rolls_of_text(io.BytesIO(given.encode()), ROLLS)
    held = facts.get(ROLLS) or []
    if not held:
        return None
    rolls = pd.DataFrame(held, columns=["time", "old", "new"])
    times = pd.DatetimeIndex(pd.to_datetime(rolls["time"], utc=True)).as_unit("ns")
    return rolls.assign(time=times, old=rolls["old"].astype("str"), new=rolls["new"].astype("str"))
