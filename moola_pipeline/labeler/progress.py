"""How much is labeled, and what it is enough for."""

from collections.abc import Mapping
from typing import Any

from moola_pipeline.labels.splits import FEW_EXPANSIONS, MIN_EXPANSIONS


def progress_facts(counts: Mapping[str, int], n_expansions: int) -> dict[str, Any]:
    """Windows by split and expansions, and a line with the next milestones.

    Args:
        counts: Usable windows of the annotator by split.
        n_expansions: Expansions of known type that start in their bars 30-74.
    """
    shown = " · ".join(f"{split} {n}" for split, n in counts.items() if n or split != "unused")
    milestones = (("first model", MIN_EXPANSIONS), ("test split", FEW_EXPANSIONS))
    to_come = [f"{what} at {limit}" for what, limit in milestones if n_expansions < limit]
    ahead = f": {', '.join(to_come)}" if to_come else ""
    text = f"{shown}  —  {n_expansions} expansion{'' if n_expansions == 1 else 's'}{ahead}"
    return {"counts": dict(counts), "expansions": n_expansions, "text": text}
