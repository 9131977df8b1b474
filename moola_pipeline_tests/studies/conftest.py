"""Studies of a made market use a loose span proposer, so that teachers get both classes."""

from collections.abc import Iterator

import pytest

from moola_pipeline.models.span_proposer import SpanProposer
from moola_pipeline.studies import cell_runs

LOOSE = SpanProposer(min_net_atr=1.0, min_efficiency=0.3, min_length=2, max_length=12, ordering="net")


@pytest.fixture(scope="package", autouse=True)
def loose_proposer() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cell_runs, "fit_proposer", lambda *_: LOOSE)
        yield
