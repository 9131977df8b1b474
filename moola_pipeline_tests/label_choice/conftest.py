"""Few trees, and a loose span proposer, so that the judge of a made market gets both classes."""

from collections.abc import Iterator

import pytest

from moola_pipeline.label_choice import trees
from moola_pipeline.models.span_proposer import SpanProposer

LOOSE = SpanProposer(min_net_atr=1.0, min_efficiency=0.3, min_length=2, max_length=12, ordering="net")


@pytest.fixture(autouse=True)
def quick_trees() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trees, "N_TREES", 30)
        patch.setattr(trees, "fit_proposer", lambda *_: LOOSE)
        yield
