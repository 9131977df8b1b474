"""Studies of a made market propose by a rule that errs now and then, so that teachers have both answers."""

from collections.abc import Iterator

import pytest

from moola_pipeline.models.span_proposer import SpanProposer
from moola_pipeline.studies import cell_runs

LOOSE = SpanProposer(min_net_atr=1.0, min_efficiency=0.3, min_length=2, max_length=12, ordering="net")


@pytest.fixture(scope="package", autouse=True)
def loose_rule() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "fit_proposer", lambda *_: LOOSE)
        yield
