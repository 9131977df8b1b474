"""Separation of price paths: AUC near 0.5 on equal markets, near 1 on different ones."""

import numpy as np
import pytest

from moola_pipeline.benchmarks.market_facts import PATH_BARS, separation_auc


def walks(seed: int, memory: float = 0.0) -> np.ndarray:
    steps = np.random.default_rng(seed).standard_normal((300, PATH_BARS))
    steps[:, 1:] += memory * steps[:, :-1]
    return steps.cumsum(axis=1)


def test_equal_walks_cannot_be_separated_and_different_ones_can():
    assert separation_auc(walks(1), walks(2)) == pytest.approx(0.5, abs=0.1)
    assert separation_auc(walks(1), 1.5 * walks(2)) > 0.9
