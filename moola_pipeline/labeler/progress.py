"""How many windows are labeled in each split, and what they are enough for."""

from collections.abc import Mapping
from typing import Any

FIRST_MODEL, FIRST_TEST = 30, 50
"""Training windows from which a model can learn, and test windows from which its scores say something."""


def progress_facts(counts: Mapping[str, int]) -> dict[str, Any]:
    """Counts by split, and a line with the next milestones.

    Args:
        counts: Usable windows of the annotator by split.
    """
    shown = " · ".join(f"{split} {n}" for split, n in counts.items() if n or split != "unused")
    to_come = [
        f"{what} at {limit}"
        for what, split, limit in (("first model", "train", FIRST_MODEL), ("test", "test", FIRST_TEST))
        if counts.get(split, 0) < limit
    ]
    return {"counts": dict(counts), "text": f"{shown}  —  {', '.join(to_come)}" if to_come else shown}
