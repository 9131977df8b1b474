"""Telling price paths apart: half right on equal markets, nearly always right on unlike ones."""

import numpy as np
import pytest

from moola_pipeline.benchmarks.market_facts import PATH_BARS, auc_of_telling_apart


def walks(seed: int, memory: float = 0.0) -> np.ndarray:
    steps = np.random.default_rng(seed).standard_normal((300, PATH_BARS))
    steps[:, 1:] += memory * steps[:, :-1]
    return steps.cumsum(axis=1)


def test_walks_alike_cannot_be_told_apart_and_unlike_ones_can():
    assert auc_of_telling_apart(walks(1), walks(2)) == pytest.approx(0.5, abs=0.1)
    assert auc_of_telling_apart(walks(1), 1.5 * walks(2)) > 0.9
